"""What to do next with one content: which step, how long to wait, or how it ended.

Four rules decide. The app is never notified of a content that was rejected; only its validator is asked again now and
then. A failed step is tried again, those marked `continue` after the steps behind them, so that one target that fails
or hangs delays no other. A target that is still asked with former content is left alone until it answers, or hangs for
so long that newer content takes its place. And a `confirm` waits for all steps before it; when it fails, they are done
again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from types import MappingProxyType

from sidecars.kit.notify.core.options import OnFailure, StepOptions, Webhook
from sidecars.kit.notify.core.outcome import Outcome, Result

from .schedule import HANDLER_SECONDS, retry_seconds
from .steps import Step


class StepKind(StrEnum):
    """What a step does; label `step` of the attempts metric. Those without a key in the settings are our own."""

    RENDER = "render"
    VALIDATE = "validate"
    PUBLISH = "publish"
    HOLD = "hold"
    """Wait for the splay, and at the first start until somebody is there to be notified."""
    OBSERVE = "observe"
    """See what the confirm steps see before the app is notified."""
    SIGNAL = "signal"
    WEBHOOK = "webhook"
    EXEC = "exec"
    CONFIRM = "confirm"
    PUT_BACK = "put back"
    """Publish the last good generation again."""


PREPARING = frozenset({StepKind.RENDER, StepKind.VALIDATE, StepKind.PUBLISH, StepKind.PUT_BACK})
"""Steps that do not touch the app."""
NOTIFYING = frozenset({StepKind.SIGNAL, StepKind.WEBHOOK, StepKind.EXEC})
"""Steps after which the app may have the content."""
UNCOUNTED = frozenset({StepKind.HOLD, StepKind.OBSERVE, StepKind.PUT_BACK})
"""Steps whose attempts are no news."""


class RolloutResult(StrEnum):
    """How a rollout ended; label `result` of the reloads metric."""

    APPLIED = "applied"
    REJECTED = "rejected"
    UNCONFIRMED = "unconfirmed"
    FAILED = "failed"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True, eq=False)
class PlanStep:
    """One thing to do, with its place in the settings' steps (-1 for our own). Compared by identity."""

    kind: StepKind
    options: StepOptions
    index: int = -1

    @property
    def stops(self) -> bool:
        """Return whether the steps after it wait for it."""
        if self.options.on_failure is not None:
            return self.options.on_failure is OnFailure.STOP
        return self.kind not in {StepKind.SIGNAL, StepKind.WEBHOOK}

    @property
    def retries(self) -> float:
        """Return how many attempts there may be after the first."""
        if self.options.retries is not None:
            return self.options.retries
        if self.kind is StepKind.CONFIRM:
            return 0 if getattr(self.options, "rollback", False) else 2
        return 0 if self.kind is StepKind.PUT_BACK else inf

    def pause_seconds(self, result: Result, attempts: int, chance: float) -> float:
        """Return the pause after so many attempts: growing, or steady (as it is set; for who is not ready yet)."""
        if isinstance(self.options, Webhook) and self.options.retry_seconds is not None:
            return self.options.retry_seconds
        if self.kind is StepKind.HOLD or (self.kind is StepKind.SIGNAL and result is Result.UNREACHABLE):
            return HANDLER_SECONDS
        return retry_seconds(result, attempts, chance)


@dataclass(frozen=True, slots=True)
class Do:
    """Attempt this step now."""

    step: PlanStep


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Give up the attempt with former content that hangs at this step."""

    step: PlanStep


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before `until` (monotonic seconds; infinity: before an attempt that is under way ended)."""

    until: float


@dataclass(frozen=True, slots=True)
class Done:
    """It ended, with the reason for people; `kind` is the step that refused it."""

    result: RolloutResult
    reason: str = ""
    kind: StepKind | None = None
    may_pass: bool = False
    """A validator said no before anybody was notified: it is asked again now and then, for the reason may lie outside
    of the content (a name that cannot be resolved just now).
    """


@dataclass
class _Progress:
    attempts: int = 0
    refusals: int = 0
    begun_at: float | None = None
    """Since when an attempt is under way, with this content or with `former` one."""
    former: bool = False
    given_way: bool = False
    """The attempt with former content is being cancelled."""
    done: bool = False
    given_up: bool = False
    due_at: float = 0.0
    last: Outcome | None = None


_REFUSALS = 2
"""With a rollback: how often an app may say no and be asked again, unless `retries` says so."""
PATIENCE_SECONDS = 1.0
"""After so long the steps behind one that may fail (`continue`) do not wait for it any more."""
HANGS_SECONDS = 2.0
"""A request without an answer for so long gives way to newer content. Not at once: an app that is merely slow would be
asked again and again by a volume that changes often.
"""


def steps_of(steps: Sequence[Step], *, renders: bool, notifies: bool = True) -> tuple[PlanStep, ...]:
    """Return everything to do, in order: our own steps around those of the settings. Without `notifies` only what
    prepares the content.
    """
    named = [_plan_step(step, index) for index, step in enumerate(steps)]
    first = next((place for place, step in enumerate(named) if step.kind is not StepKind.VALIDATE), len(named))
    before = [PlanStep(StepKind.RENDER, StepOptions())] if renders else []
    publish = [PlanStep(StepKind.PUBLISH, StepOptions())] if renders else []
    after = [PlanStep(StepKind.HOLD, StepOptions()), *_observed(named[first:])] if notifies and named[first:] else []
    return (*before, *named[:first], *publish, *after)


def rollback_steps(steps: Sequence[Step]) -> tuple[PlanStep, ...]:
    """Return what to do with the last good content when the newest did not take effect."""
    named = (_plan_step(step, index) for index, step in enumerate(steps))
    return (PlanStep(StepKind.PUT_BACK, StepOptions()), *(step for step in named if step.kind in NOTIFYING))


def _observed(named: list[PlanStep]) -> list[PlanStep]:
    """Put an observation before the first step that notifies, if anything is confirmed."""
    first = next((place for place, step in enumerate(named) if step.kind in NOTIFYING), None)
    if first is None or all(step.kind is not StepKind.CONFIRM for step in named):
        return named
    return [*named[:first], PlanStep(StepKind.OBSERVE, StepOptions()), *named[first:]]


def _plan_step(step: Step, index: int) -> PlanStep:
    for kind in (StepKind.VALIDATE, StepKind.SIGNAL, StepKind.WEBHOOK, StepKind.EXEC, StepKind.CONFIRM):
        if (options := getattr(step, kind.value)) is not None:
            return PlanStep(kind, options, index)
    raise ValueError("a step without a key")


class Plan:
    """How far one content has come. Without `patient` nothing is tried twice. `hung`: the steps (by index) whose last
    attempt, with former content, had no answer: nobody waits for them.
    """

    def __init__(
        self, steps: Sequence[PlanStep], *, patient: bool = True, hung: Mapping[int, Outcome] = MappingProxyType({})
    ) -> None:
        self.steps = tuple(steps)
        self._patient = patient
        self._hung = set(hung)
        self._progress = {step: _Progress(last=hung.get(step.index)) for step in self.steps}

    def next(self, now: float) -> Do | GiveUp | Wait | Done:
        """Return what to do at this time."""
        due: list[float] = []
        failed: list[str] = []
        for step in self.steps:
            progress = self._progress[step]
            if progress.done:
                continue
            if progress.given_up:
                failed.append(self._text(step))
                if step.stops:
                    break
                continue
            if step.kind is StepKind.CONFIRM and (due or failed):
                break  # nothing to confirm before all have been notified
            due_at = self._due_at(step)
            if due_at <= now:
                return Do(step) if progress.begun_at is None else GiveUp(step)
            due.append(due_at)
            if step.stops:
                break
            if (left_behind_at := self._left_behind_at(step)) > now:
                due.append(left_behind_at)
                break
        if due:
            return Wait(min(due))
        if not failed:
            return Done(RolloutResult.APPLIED)
        if self._refused:
            return Done(RolloutResult.UNCONFIRMED, "; ".join(failed), StepKind.CONFIRM)
        return Done(RolloutResult.FAILED, "; ".join(failed))

    def defer(self, step: PlanStep, until: float) -> None:
        """Do not attempt it before this time."""
        self._progress[step].due_at = until

    def begun(self, step: PlanStep, at: float) -> None:
        """Note that an attempt is under way: nothing else is to be done with this step before it ended."""
        self._progress[step].begun_at = at

    def occupied(self, index: int, since: float) -> None:
        """Note that an attempt with former content is under way at the step with this index."""
        for progress in self._at(index):
            progress.begun_at, progress.former = since, True

    def gives_way(self, step: PlanStep) -> None:
        """Note that its attempt with former content is being cancelled."""
        self._progress[step].given_way = True

    def freed(self, index: int) -> None:
        """Note that this attempt ended: the target can have the new content now."""
        for progress in self._at(index):
            progress.begun_at, progress.former, progress.given_way = None, False, False

    def ended(self, step: PlanStep, outcome: Outcome, now: float, chance: float) -> Done | None:
        """Take note of an attempt; the end, when this was it. `chance` in [0, 1) spreads the next attempt."""
        progress = self._progress[step]
        progress.begun_at = None
        progress.attempts += 1
        progress.refusals += outcome.result is Result.FAILED
        progress.last = None if step.kind is StepKind.HOLD else outcome
        (self._hung.add if outcome.result is Result.TIMEOUT else self._hung.discard)(step.index)
        if outcome.ok:
            progress.done = True
        elif outcome.result is Result.REJECTED:
            may_pass = step.kind is StepKind.VALIDATE and not self._anybody_notified
            return Done(RolloutResult.REJECTED, self._text(step), step.kind, may_pass)
        elif outcome.result is Result.SUPERSEDED:
            return Done(RolloutResult.SUPERSEDED, outcome.detail)
        elif self._gives_up(step, progress):
            if step.kind is StepKind.CONFIRM:
                return Done(RolloutResult.UNCONFIRMED, self._text(step), step.kind)
            progress.given_up = True
        else:
            progress.due_at = now + step.pause_seconds(outcome.result, progress.attempts, chance)
            if step.kind is StepKind.CONFIRM:
                self._notify_again(step, progress.due_at)
        return None

    @property
    def lacks_answers_only(self) -> bool:
        """Return whether the app is being notified, and all else is done."""
        return all(
            progress.done or (step.kind in NOTIFYING and progress.begun_at is not None and not progress.former)
            for step, progress in self._progress.items()
        )

    def attempts(self, step: PlanStep) -> int:
        """Return how often it was attempted."""
        return self._progress[step].attempts

    def blocked(self) -> str:
        """Return what the last attempts said of what is not done yet, for people."""
        return "; ".join(self._text(step) for step, at in self._progress.items() if not at.done and at.last)

    def _at(self, index: int) -> list[_Progress]:
        return [progress for step, progress in self._progress.items() if step.index == index and index >= 0]

    def _due_at(self, step: PlanStep) -> float:
        """Return when there is something to do with it; infinity before its attempt ended."""
        progress = self._progress[step]
        if progress.begun_at is None:
            return progress.due_at
        # A command is not cut in the middle.
        gives_way = progress.former and not progress.given_way and step.kind is StepKind.WEBHOOK
        return progress.begun_at + HANGS_SECONDS if gives_way else inf

    def _left_behind_at(self, step: PlanStep) -> float:
        """Return until when the steps behind one that may fail wait for its answer."""
        begun_at = self._progress[step].begun_at
        return -inf if begun_at is None or step.index in self._hung else begun_at + PATIENCE_SECONDS

    @property
    def _anybody_notified(self) -> bool:
        return any(
            step.kind in NOTIFYING and (progress.attempts or (progress.begun_at is not None and not progress.former))
            for step, progress in self._progress.items()
        )

    def _gives_up(self, step: PlanStep, progress: _Progress) -> bool:
        """Return whether there is no further attempt. Where a confirm goes back, an app that says no a few times has
        the last good content again, instead of being asked for ever; one that is not there is waited for.
        """
        if not self._patient or progress.attempts > step.retries:
            return True
        no_more = progress.refusals > _REFUSALS and step.options.retries is None
        return self._careful and no_more and step.kind in NOTIFYING

    @property
    def _careful(self) -> bool:
        return any(getattr(step.options, "rollback", False) for step in self.steps)

    @property
    def _refused(self) -> bool:
        """Return whether the app was notified and answered no (Prometheus: 500), and a confirm goes back in such a
        case. One that was not there has seen nothing, and is to find the new content when it comes.
        """
        given_up = [at.last for step, at in self._progress.items() if at.given_up and step.kind in NOTIFYING]
        return self._careful and any(last is not None and last.result is Result.FAILED for last in given_up)

    def _notify_again(self, confirm: PlanStep, at: float) -> None:
        for step in self.steps[: self.steps.index(confirm)]:
            if step.kind in NOTIFYING or step.kind is StepKind.OBSERVE:
                self._progress[step].done = False
                self._progress[step].due_at = at

    def _text(self, step: PlanStep) -> str:
        last = self._progress[step].last
        return f"{step.kind}: {last.detail or last.result}" if last else str(step.kind)
