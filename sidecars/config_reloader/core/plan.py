"""What to do next with one content: which step, how long to wait, or how it ended. Pure: time and chance are arguments.

Four rules decide. A refused content is never told; only its validator is asked again now and then. A failed step is
tried again, those marked `continue` after the steps behind them, so that one target that fails or hangs delays no
other. A target that is still asked with former content is left alone until it answers, or hangs for so long that newer
content takes its place. And what was told is not yet applied: a `confirm` waits for all steps before it, and when it
fails they are done again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from types import MappingProxyType

from sidecars.kit.notify.core.options import OnFailure, StepOptions, Webhook
from sidecars.kit.notify.core.outcome import Outcome, Result

from .steps import Step


class Kind(StrEnum):
    """What a step does; label `step` of the attempts metric. Those without a key in the settings are our own."""

    RENDER = "render"
    VALIDATE = "validate"
    PUBLISH = "publish"
    HOLD = "hold"
    SIGNAL = "signal"
    WEBHOOK = "webhook"
    EXEC = "exec"
    CONFIRM = "confirm"


PREPARING = frozenset({Kind.RENDER, Kind.VALIDATE, Kind.PUBLISH})
"""Steps that do not touch the app."""
TELLING = frozenset({Kind.SIGNAL, Kind.WEBHOOK, Kind.EXEC})
"""Steps after which the app may have the content."""


class Verdict(StrEnum):
    """How a content ended; label `result` of the reloads metric."""

    APPLIED = "applied"
    REJECTED = "rejected"
    UNCONFIRMED = "unconfirmed"
    FAILED = "failed"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One thing to do, with its place in the settings' steps (-1 for our own). Compared by identity."""

    kind: Kind
    options: StepOptions
    index: int = -1

    @property
    def stops(self) -> bool:
        """Whether the steps after it wait for it."""
        if self.options.on_failure is not None:
            return self.options.on_failure is OnFailure.STOP
        return self.kind not in {Kind.SIGNAL, Kind.WEBHOOK}

    @property
    def retries(self) -> float:
        """Attempts after the first."""
        if self.options.retries is not None:
            return self.options.retries
        if self.kind is Kind.CONFIRM:
            return 0 if getattr(self.options, "rollback", False) else 2
        return inf


@dataclass(frozen=True, slots=True)
class Do:
    """Attempt this item now."""

    item: Item


@dataclass(frozen=True, slots=True)
class Cut:
    """Give up the attempt with former content that hangs at this item."""

    item: Item


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before `until` (monotonic seconds; infinity: before an attempt that is under way ended)."""

    until: float


@dataclass(frozen=True, slots=True)
class Done:
    """It ended, with the reason for people; `kind` is the step that refused it."""

    verdict: Verdict
    reason: str = ""
    kind: Kind | None = None
    may_pass: bool = False
    """A validator said no before anybody was told: it is asked again now and then, for the reason may lie outside of
    the content (a name that cannot be resolved just now).
    """


@dataclass
class _Progress:
    attempts: int = 0
    refusals: int = 0
    begun_at: float | None = None
    """Since when an attempt is under way, with this content or with `former` one."""
    former: bool = False
    cut: bool = False
    done: bool = False
    given_up: bool = False
    due_at: float = 0.0
    last: Outcome | None = None


_BASE_SECONDS = 0.25
# Who is not there yet must hear of the change within 5 s of being there; who says no may be asked less often.
_CAP_SECONDS = {Result.UNREACHABLE: 4.0, Result.FAILED: 10.0, Result.TIMEOUT: 10.0, Result.DENIED: 30.0}
_REFUSALS = 2
"""With a rollback: how often an app may say no and be asked again, unless `retries` says so."""
_ASK_SECONDS, _ASK_CAP_SECONDS = 30.0, 300.0
PATIENCE_SECONDS = 1.0
"""After so long the steps behind one that may fail (`continue`) do not wait for it any more."""
HANGS_SECONDS = 2.0
"""A request without an answer for so long gives way to newer content. Not at once: an app that is merely slow would be
asked again and again by a volume that changes often.
"""
_HANDLER_SECONDS = 0.5
"""How often a process is looked at that is missing or has no handler yet: it hears within a second of being ready."""


def items_of(steps: Sequence[Step], *, renders: bool, tells: bool = True) -> tuple[Item, ...]:
    """Return everything to do, in order: our own steps around those of the settings. Without `tells` only what
    prepares the content.
    """
    named = [_item(step, index) for index, step in enumerate(steps)]
    first = next((place for place, item in enumerate(named) if item.kind is not Kind.VALIDATE), len(named))
    before = [Item(Kind.RENDER, StepOptions())] if renders else []
    publish = [Item(Kind.PUBLISH, StepOptions())] if renders else []
    after = [Item(Kind.HOLD, StepOptions()), *named[first:]] if tells and named[first:] else []
    return (*before, *named[:first], *publish, *after)


def _item(step: Step, index: int) -> Item:
    for kind in (Kind.VALIDATE, Kind.SIGNAL, Kind.WEBHOOK, Kind.EXEC, Kind.CONFIRM):
        if (options := getattr(step, kind.value)) is not None:
            return Item(kind, options, index)
    raise ValueError("a step without a key")


class Plan:
    """How far one content has come. Without `patient` nothing is tried twice. `hung`: the steps (by index) whose last
    attempt, with former content, had no answer: nobody waits for them.
    """

    def __init__(
        self, items: Sequence[Item], *, patient: bool = True, hung: Mapping[int, Outcome] = MappingProxyType({})
    ) -> None:
        self.items = tuple(items)
        self._patient = patient
        self._hung = set(hung)
        self._progress = {item: _Progress(last=hung.get(item.index)) for item in self.items}

    def next(self, now: float) -> Do | Cut | Wait | Done:
        """Return what to do at this time."""
        due: list[float] = []
        failed: list[str] = []
        for item in self.items:
            state = self._progress[item]
            if state.done:
                continue
            if state.given_up:
                failed.append(self._text(item))
                if item.stops:
                    break
                continue
            if item.kind is Kind.CONFIRM and (due or failed):
                break  # nothing to confirm before all have been told
            due_at = self._due_at(item)
            if due_at <= now:
                return Do(item) if state.begun_at is None else Cut(item)
            due.append(due_at)
            if item.stops:
                break
            if (left_behind_at := self._left_behind_at(item)) > now:
                due.append(left_behind_at)
                break
        if due:
            return Wait(min(due))
        if not failed:
            return Done(Verdict.APPLIED)
        if self._refused:
            return Done(Verdict.UNCONFIRMED, "; ".join(failed), Kind.CONFIRM)
        return Done(Verdict.FAILED, "; ".join(failed))

    def begun(self, item: Item, at: float) -> None:
        """An attempt is under way: nothing else is to be done with this item before it ended."""
        self._progress[item].begun_at = at

    def occupied(self, index: int, since: float) -> None:
        """At the step with this index an attempt with former content is under way."""
        for state in self._at(index):
            state.begun_at, state.former = since, True

    def cut(self, item: Item) -> None:
        """Its attempt with former content was told to end."""
        self._progress[item].cut = True

    def freed(self, index: int) -> None:
        """That attempt ended: the app is told this content now."""
        for state in self._at(index):
            state.begun_at, state.former, state.cut = None, False, False

    def ended(self, item: Item, outcome: Outcome, now: float, chance: float) -> Done | None:
        """Take note of an attempt; the end, when this was it. `chance` in [0, 1) spreads the next attempt."""
        state = self._progress[item]
        state.begun_at = None
        state.attempts += 1
        state.refusals += outcome.result is Result.FAILED
        state.last = outcome
        (self._hung.add if outcome.result is Result.TIMEOUT else self._hung.discard)(item.index)
        if outcome.ok:
            state.done = True
        elif outcome.result is Result.REJECTED:
            may_pass = item.kind is Kind.VALIDATE and not self._anybody_told
            return Done(Verdict.REJECTED, self._text(item), item.kind, may_pass)
        elif outcome.result is Result.SUPERSEDED:
            return Done(Verdict.SUPERSEDED, outcome.detail)
        elif self._gives_up(item, state):
            if item.kind is Kind.CONFIRM:
                return Done(Verdict.UNCONFIRMED, self._text(item), item.kind)
            state.given_up = True
        else:
            state.due_at = now + delay_seconds(item, outcome.result, state.attempts, chance)
            if item.kind is Kind.CONFIRM:
                self._tell_again(item, state.due_at)
        return None

    @property
    def _anybody_told(self) -> bool:
        return any(
            item.kind in TELLING and (state.attempts or (state.begun_at is not None and not state.former))
            for item, state in self._progress.items()
        )

    @property
    def only_answers_are_missing(self) -> bool:
        """Whether the app is being told, and all else is done."""
        return all(
            state.done or (item.kind in TELLING and state.begun_at is not None and not state.former)
            for item, state in self._progress.items()
        )

    def attempts(self, item: Item) -> int:
        """How often it was attempted."""
        return self._progress[item].attempts

    def blocked(self) -> str:
        """What the last attempts said of what is not done yet, for people."""
        open_items = [item for item in self.items if not self._progress[item].done and self._progress[item].last]
        return "; ".join(self._text(item) for item in open_items)

    def _at(self, index: int) -> list[_Progress]:
        return [state for item, state in self._progress.items() if item.index == index and index >= 0]

    def _due_at(self, item: Item) -> float:
        """When there is something to do with it; infinity before its attempt ended."""
        state = self._progress[item]
        if state.begun_at is None:
            return state.due_at
        gives_way = state.former and not state.cut and item.kind is Kind.WEBHOOK  # a command is not cut in the middle
        return state.begun_at + HANGS_SECONDS if gives_way else inf

    def _left_behind_at(self, item: Item) -> float:
        """Until when the steps behind one that may fail wait for its answer."""
        begun_at = self._progress[item].begun_at
        return -inf if begun_at is None or item.index in self._hung else begun_at + PATIENCE_SECONDS

    def _gives_up(self, item: Item, state: _Progress) -> bool:
        """Whether there is no further attempt. Where a confirm goes back, an app that says no a few times has the last
        good content again, instead of being asked for ever; one that is not there is waited for.
        """
        if not self._patient or state.attempts > item.retries:
            return True
        return self._careful and item.options.retries is None and item.kind in TELLING and state.refusals > _REFUSALS

    @property
    def _careful(self) -> bool:
        return any(getattr(item.options, "rollback", False) for item in self.items)

    @property
    def _refused(self) -> bool:
        """Whether the app was told and answered no (Prometheus: 500), and a confirm goes back in such a case. One that
        was not there has seen nothing, and is to find the new content when it comes.
        """
        answers = [state.last for item, state in self._progress.items() if state.given_up and item.kind in TELLING]
        return self._careful and any(last is not None and last.result is Result.FAILED for last in answers)

    def _tell_again(self, confirm: Item, at: float) -> None:
        for item in self.items[: self.items.index(confirm)]:
            if item.kind in TELLING:
                self._progress[item].done = False
                self._progress[item].due_at = at

    def _text(self, item: Item) -> str:
        last = self._progress[item].last
        return f"{item.kind}: {last.detail or last.result}" if last else str(item.kind)


def delay_seconds(item: Item, result: Result, attempts: int, chance: float) -> float:
    """Return the pause before the next attempt: exponential with full jitter up to a cap, or steady: as it is set, or
    for a process that is not ready.
    """
    if isinstance(item.options, Webhook) and item.options.retry_seconds is not None:
        return item.options.retry_seconds
    if item.kind is Kind.SIGNAL and result is Result.UNREACHABLE:
        return _HANDLER_SECONDS
    ceiling = min(_CAP_SECONDS.get(result, 10.0), _BASE_SECONDS * 2.0 ** min(attempts - 1, 20))
    return chance * ceiling


def ask_again_seconds(times: int) -> float:
    """Return the pause before a validator that said no so often is asked again about the same content."""
    return min(_ASK_CAP_SECONDS, _ASK_SECONDS * 2.0 ** min(times - 1, 20))
