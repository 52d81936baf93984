"""How it stands with all targets together: what follows from it, and how it is told."""

from enum import StrEnum

_REASON_CHARACTERS = 200


class Standing(StrEnum):
    """How it stands with one target."""

    WAITING = "waiting"
    READY = "ready"
    HOPELESS = "hopeless"
    """It can never become ready."""


class End(StrEnum):
    """How the waiting ended."""

    READY = "ready"
    TIMED_OUT = "timed out"
    HOPELESS = "hopeless"
    INTERRUPTED = "interrupted"


class Verdict:
    """The standing of each target, by its place in the list, with the last thing that was wrong with it."""

    def __init__(self, shown: tuple[str, ...], *, any_suffices: bool) -> None:
        self._shown = shown
        self._any = any_suffices
        self._standings = [Standing.WAITING] * len(shown)
        self._reasons = ["no answer yet"] * len(shown)

    def blocked(self, place: int, reason: str) -> None:
        """Note why a target is not ready yet."""
        self._reasons[place] = _line(reason)

    def ready(self, place: int) -> None:
        """Note that a target is ready."""
        self._standings[place] = Standing.READY

    def hopeless(self, place: int, reason: str) -> None:
        """Note why a target can never become ready."""
        self._standings[place] = Standing.HOPELESS
        self._reasons[place] = _line(reason)

    def end(self) -> End | None:
        """What the standings amount to: None as long as waiting makes sense."""
        enough, lost = (any, all) if self._any else (all, any)
        if enough(standing is Standing.READY for standing in self._standings):
            return End.READY
        return End.HOPELESS if lost(standing is Standing.HOPELESS for standing in self._standings) else None

    @property
    def blocking(self) -> list[dict[str, str]]:
        """The targets that are not ready, each with its reason, for the log's fields."""
        rows = zip(self._shown, self._standings, self._reasons, strict=True)
        return [
            {"target": shown, "reason": reason} for shown, standing, reason in rows if standing is not Standing.READY
        ]

    def progress(self, waited_seconds: float) -> str:
        """Return the line that says what is still missing."""
        return f"still waiting after {waited_seconds:.0f} s for {self._missing}"

    def explanation(self, end: End, waited_seconds: float) -> str:
        """Return for people why the waiting ended, other than with success."""
        if end is End.HOPELESS:
            rows = zip(self._shown, self._standings, self._reasons, strict=True)
            lost = [f"{shown} ({reason})" for shown, standing, reason in rows if standing is Standing.HOPELESS]
            return f"cannot go on: this can never become ready, correct it: {', '.join(lost)}"
        why = "interrupted" if end is End.INTERRUPTED else "timed out"
        return f"cannot go on: {why} after {round(waited_seconds, 1):g} s waiting for {self._missing}"

    @property
    def _missing(self) -> str:
        """`2 of 3: tcp://db:5432 (connection refused), ...`."""
        blocking = self.blocking
        count = "one" if self._any else str(len(blocking))
        return f"{count} of {len(self._shown)}: " + ", ".join(f"{row['target']} ({row['reason']})" for row in blocking)


def _line(reason: str) -> str:
    """Make one short printable line of a reason: parts of it may come from the other side."""
    text = "".join(c if c.isprintable() else " " for c in reason)
    return text if len(text) <= _REASON_CHARACTERS else f"{text[:_REASON_CHARACTERS]}..."
