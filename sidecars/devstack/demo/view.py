"""The demo on a terminal: redrawn in place where that is possible, else one plain line per event.

A frame is 80 columns wide. A view only reads the `Stage`; it holds no knowledge of its own but what it drew last.
"""

import os
from typing import Protocol, TextIO

from sidecars.devstack.terminal import Ink, Redrawn, can_redraw, ink_for

from .stage import ActorState, Event, Stage

_BAR_COLUMNS = 44
_CURVE_COLUMNS = 56
_ABOUT_COLUMNS = 36
_LEVELS = "▁▂▃▄▅▆▇█"
_PLAIN_SECONDS = 3.0
_FRAME_LINES_BESIDE_EVENTS = 14

_BOLD, _DIM, _RED, _GREEN, _YELLOW, _CYAN = "1", "2", "31", "32", "33", "36"
_COLORS = {
    ActorState.ABSENT: _DIM,
    ActorState.STARTING: _YELLOW,
    ActorState.RETRYING: _YELLOW,
    ActorState.DRAINING: _YELLOW,
    ActorState.KILLED: _RED,
    ActorState.AWAY: _RED,
    ActorState.ENDED: _DIM,
}  # every other state is as it should be
_MOVING = (ActorState.WRITING, ActorState.SHIPPING, ActorState.DRAINING)


class View(Protocol):
    """Shows a stage while it changes."""

    def draw(self) -> None:
        """To be called about five times a second."""

    def close(self) -> None:
        """Draws for the last time, and leaves the terminal as it was."""


def view_for(stage: Stage, out: TextIO) -> View:
    """The live view where `out` is a terminal that can move its cursor, else the plain one."""
    return LiveView(stage, out, ink_for(out)) if can_redraw(out) else PlainView(stage, out)


class PlainView:
    """For logs and pipes: a line for each event, and the counts now and then."""

    def __init__(self, stage: Stage, out: TextIO) -> None:
        self._stage = stage
        self._out = out
        self._told = 0
        self._counted_at = 0.0

    def draw(self) -> None:
        """Prints what is new."""
        stage = self._stage
        if not self._told and stage.events:
            print(f"sidecars demo, about {stage.planned_seconds:.0f} s, backend: {stage.backend_name}", file=self._out)
        for event in stage.events[self._told :]:
            print(f"{clock(event.seconds)}  {event.text}", file=self._out)
        self._told = len(stage.events)
        if stage.seconds - self._counted_at >= _PLAIN_SECONDS:
            self._counted_at = stage.seconds
            again = f" ({stage.shipped.duplicates:,} sent again, stored once)" if stage.shipped.duplicates else ""
            counts = f"written {stage.written:,}, shipped {stage.shipped_once:,}{again}, found {stage.found:,}"
            print(
                f"{clock(stage.seconds)}    {counts}; shipper {stage.shipper}, backend {stage.backend}", file=self._out
            )
        self._out.flush()

    def close(self) -> None:
        """Prints what is new."""
        self.draw()


class LiveView:
    """A frame that is drawn over the last one."""

    def __init__(self, stage: Stage, out: TextIO, ink: Ink) -> None:
        self._stage = stage
        self._out = out
        self._ink = ink
        self._drawn = Redrawn(out)

    def draw(self) -> None:
        """Draws over the last frame; the oldest events are left out where the terminal is low."""
        rows = os.get_terminal_size(self._out.fileno()).lines
        self._drawn.put(frame(self._stage, self._ink, max(1, rows - _FRAME_LINES_BESIDE_EVENTS)))

    def close(self) -> None:
        """The last frame, with all events, stays."""
        self._drawn.put(frame(self._stage, self._ink, len(self._stage.events)))
        self._drawn.close()


def frame(stage: Stage, ink: Ink, most_events: int) -> list[str]:
    """The whole picture, as lines of at most 80 columns."""
    writing, shipping = stage.rates()
    lives = {0: "", 1: f"process {stage.shipper_pid}"}
    life = lives.get(stage.shipper_lives, f"process {stage.shipper_pid}, after kill -9")
    rotated = ("app.log", "app.log, rotated once", "app.log, rotated twice", "app.log, rotated 3 times")[
        stage.rotations
    ]
    again = f"{stage.shipped.duplicates:,} again" if stage.shipped.duplicates else ""
    title = f"  {ink(_BOLD, 'sidecars demo')}  {ink(_DIM, 'an app, its log, and the log shipper')}"
    time = f"{clock(stage.seconds)} / {clock(stage.planned_seconds)}"
    return [
        title + time.rjust(78 - len("  sidecars demo  an app, its log, and the log shipper")),
        "",
        _actor(ink, "app", stage.app, _rate(writing), rotated),
        _actor(ink, "shipper", stage.shipper, _rate(shipping), life),
        _actor(ink, "backend", stage.backend, "", stage.backend_name),
        "",
        _bar(stage, ink(_DIM, "written"), ink, (stage.written, _CYAN)),
        _bar(stage, ink(_DIM, "shipped"), ink, (stage.shipped_once, _GREEN)) + ink(_DIM, f"  {again}"),
        _bar(stage, ink(_DIM, "found  "), ink, (stage.found, _GREEN)),
        "",
        *_curve(stage, ink),
        "",
        *(_event(ink, number, event) for number, event in list(enumerate(stage.events))[-most_events:]),
    ]


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    whole = int(seconds)
    return f"{whole // 60:02}:{whole % 60:02}"


def _rate(lines_per_second: float) -> str:
    return f"{round(lines_per_second):,} lines/s" if lines_per_second >= 1 else ""


def _actor(ink: Ink, name: str, state: ActorState, rate: str, about: str) -> str:
    shown_rate = rate if state in _MOVING else ""
    shown = about if len(about) <= _ABOUT_COLUMNS else about[: _ABOUT_COLUMNS - 1] + "…"
    doing = ink(_COLORS.get(state, _GREEN), f"● {state}".ljust(16))
    return f"  {ink(_DIM, name.ljust(9))}{doing}{shown_rate.rjust(14)}   {ink(_DIM, shown)}"


def _bar(stage: Stage, label: str, ink: Ink, value: tuple[int, str]) -> str:
    count, color = value
    most = max(stage.written, 1) if stage.app is ActorState.ENDED else max(stage.planned_lines, stage.written)
    filled = min(_BAR_COLUMNS, round(count / most * _BAR_COLUMNS))
    return f"  {label}  {ink(color, '█' * filled)}{ink(_DIM, '░' * (_BAR_COLUMNS - filled))} {count:>9,}"


def _curve(stage: Stage, ink: Ink) -> list[str]:
    """How far the backend is behind the app over time, and the numbers of the events below it."""
    span = max(stage.planned_seconds, stage.seconds, 1e-3)

    def column(seconds: float) -> int:
        return min(_CURVE_COLUMNS - 1, int(seconds / span * _CURVE_COLUMNS))

    heights: dict[int, int] = {}
    for sample in stage.samples:
        place = column(sample.seconds)
        heights[place] = max(heights.get(place, 0), sample.behind)
    top = max(*heights.values(), stage.planned_lines // 8, 1) if heights else 1
    curve, last = "", 0
    for place in range(max(heights, default=-1) + 1):
        last = heights.get(place, last)  # a column between two samples shows the one before
        curve += _LEVELS[min(len(_LEVELS) - 1, last * len(_LEVELS) // (top + 1))]
    marks = [" "] * _CURVE_COLUMNS
    for number, event in enumerate(stage.events):
        if number:
            free = [place for place in range(column(event.seconds), _CURVE_COLUMNS) if marks[place] == " "]
            marks[free[0] if free else -1] = _mark(number)
    behind = stage.samples[-1].behind if stage.samples else 0
    return [
        f"  {ink(_DIM, 'behind ')}  {ink(_YELLOW, curve.ljust(_CURVE_COLUMNS))} {behind:>9,}",
        f"  {' ' * 7}  {''.join(marks)}".rstrip(),
    ]


def _mark(number: int) -> str:
    return str(number) if number < 10 else chr(ord("a") + number - 10)


def _event(ink: Ink, number: int, event: Event) -> str:
    mark = _mark(number) if number else " "
    return f"  {ink(_BOLD, mark)} {ink(_DIM, clock(event.seconds))}  {event.text}"
