"""Decide what the app is to have next: the one owner of what the app has, may have, and is given.

Events go in (a snapshot was taken, an attempt ended, time passed, somebody asks by POST /reload), actions come out
(begin or cancel an attempt, write the state file, answer), and facts for the log and the metrics. Everything else is
derived: the conditions, /status, the gauges, and what the state file says. `plan.py` decides within one content, this
module between contents:

- One rollout is active, at most one waits: the newest content takes the place of what waits, and of what is active as
  soon as that is not at work.
- At most one attempt of a step is under way, whatever content it is with: a target that is being notified is left alone
  until it answers, or hangs for so long that newer content takes its place.
- A rollout that lacks nothing but answers when newer content takes over may still be applied, as long as the app is
  given nothing newer.
- A content that a validator rejects never reaches the app. Its validator is asked again now and then.
- A content that did not take effect is rolled back where the settings say so: the last good generation is published
  again, and the app is notified with the hash of that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import inf

from sidecars.kit.notify.core.options import Http
from sidecars.kit.notify.core.outcome import OK, Outcome, Result
from sidecars.kit.notify.core.request import shown

from .advance import Value
from .messages import (
    Action,
    Asked,
    AttemptEnded,
    Cancel,
    Content,
    ContentChanged,
    Discard,
    Event,
    Initial,
    Keep,
    Policy,
    Refused,
    Remembered,
    RequestAnswer,
    RolledBack,
    RolloutReport,
    Seen,
    StepAttempt,
    StepReport,
    TimePassed,
    WriteState,
)
from .plan import (
    NOTIFYING,
    PATIENCE_SECONDS,
    PREPARING,
    Do,
    Done,
    GiveUp,
    Plan,
    PlanStep,
    RolloutResult,
    StepKind,
    Wait,
    rollback_steps,
    steps_of,
)
from .schedule import Debounce, ask_again_seconds
from .snapshot import Snapshot

BY_HAND_SECONDS = 10.0
"""How long POST /reload waits for the end."""
_CUT_SHORT = frozenset({StepKind.VALIDATE, StepKind.HOLD, StepKind.OBSERVE, StepKind.CONFIRM})
"""Steps that only look or wait: newer content ends them."""
_SUPERSEDED = Done(RolloutResult.SUPERSEDED, "newer content came")
_STILL_REFUSED = "it did not take effect before the restart; the last good generation is in force"


class RolloutState(StrEnum):
    """How far a content has come."""

    PENDING = "pending"
    """The newest content, whose turn has not come."""
    ACTIVE = "active"
    ANSWERING = "answering"
    """Newer content took over while all that was missing were the answers of targets."""
    ROLLING_BACK = "rolling back"
    ENDED = "ended"


TRANSITIONS: Mapping[RolloutState, frozenset[RolloutState]] = {
    RolloutState.PENDING: frozenset({RolloutState.ACTIVE, RolloutState.ENDED}),
    # Pending again: it was only prepared, and then it turned out that the app must hear of it.
    RolloutState.ACTIVE: frozenset(
        {RolloutState.ANSWERING, RolloutState.ROLLING_BACK, RolloutState.PENDING, RolloutState.ENDED}
    ),
    RolloutState.ANSWERING: frozenset({RolloutState.ENDED}),
    RolloutState.ROLLING_BACK: frozenset({RolloutState.ENDED}),
    RolloutState.ENDED: frozenset({RolloutState.PENDING}),  # a validator is asked again
}


@dataclass
class _Rollout:
    """One content on its way."""

    content: Content
    state: RolloutState = RolloutState.PENDING
    plan: Plan = field(default_factory=lambda: Plan(()))
    hash: str = ""
    """What the app is notified of: the content, or in a rollback the last good one."""
    folder: str = ""
    """The generation that holds it."""
    staged: str = ""
    """The generation, as long as it is not published."""
    observed: dict[int, Value | None] = field(default_factory=dict)
    """What each confirm step (by index) saw before the app was notified."""
    failed: bool = False
    """Whether an attempt failed."""
    unwritten: bool = False
    """Whether the last attempt to write the output failed, for another reason than the content itself."""
    end: Done | None = None
    """Set by an attempt that decided."""
    closing: Done | None = None
    """It is to end so, once nothing is being written."""
    refused: Done | None = None
    """Why it is rolled back."""
    rollback: str = ""
    """What became of that."""
    refusals: int = 0
    """How often a validator said no to it."""

    def move(self, state: RolloutState) -> None:
        """Go on to this state."""
        if state not in TRANSITIONS[self.state]:
            raise ValueError(f"a rollout that is {self.state} cannot become {state}")
        self.state = state

    def begin(self, state: RolloutState, plan: Plan, hash: str) -> None:  # noqa: A002  # the word of the field
        """Begin a plan, with nothing done yet."""
        self.move(state)
        self.plan, self.hash = plan, hash
        self.folder = ""
        self.observed.clear()
        self.failed = self.unwritten = False
        self.end = self.closing = None


@dataclass(frozen=True, slots=True)
class _InFlight:
    attempt: StepAttempt
    rollout: _Rollout
    plan: Plan
    begun_at: float


@dataclass(frozen=True, slots=True)
class _Request:
    hash: str
    number: int
    """The content that it asked for; a later one of the same hash will do."""
    until: float


class Rollouts:
    """The state machine. Times are monotonic seconds."""

    def __init__(self, policy: Policy, remembered: Remembered, now: float) -> None:
        self.applied = remembered.applied
        """The content that the app has ("": not known)."""
        self.applied_at: float | None = None
        """Since when; None when that was before the start."""
        self.refused: Refused | None = None
        self.pending_since = now
        self.started = False
        """Whether the start is over: the files of the app are there, or were tried."""
        self.wake_at = inf
        """When `TimePassed` is to come."""
        self._policy = policy
        self._rolls_back = any(step.confirm is not None and step.confirm.rollback for step in policy.steps)
        self._notifies = any(step.signal or step.webhook or step.exec for step in policy.steps)
        patient_until = now + policy.max_wait_seconds if remembered.applied or remembered.output else -inf
        patient_until = -inf if policy.once else patient_until
        self.debounce = Debounce(policy.quiet_seconds, policy.max_wait_seconds, patient_until)
        self._possible = remembered.possible
        """Content that the app may have been given since `applied` ("": it has that for certain)."""
        self._rolled_back = remembered.refused
        self._written = self.remembered
        self._output = remembered.output
        self._good = ("", "")
        """The generation to go back to, and the hash of its content."""
        self._first = True
        self._active: _Rollout | None = None
        self._pending: _Rollout | None = None
        self._newest: _Rollout | None = None
        """The newest content that has not come to its end."""
        self._answering: list[_Rollout] = []
        self._in_flight: dict[int, _InFlight] = {}
        self._hung: dict[int, Outcome] = {}
        """The steps (by index) whose last attempt had no answer."""
        self._behind_since = inf
        """Since when the app lacks the newest content."""
        self._ask_again: _Rollout | None = None
        """What a validator said no to."""
        self._ask_at = inf
        self._requests: dict[int, _Request] = {}
        self._numbers = 0
        self._actions: list[Action] = []

    # What is derived.

    @property
    def pending(self) -> Content | None:
        """Return the newest content that has not come to its end."""
        return self._newest.content if self._newest else None

    @property
    def blocked(self) -> str:
        """Return what holds up the content that is under way, for people."""
        return self._active.plan.blocked() if self._active else ""

    @property
    def trouble(self) -> str:
        """Return the same as `blocked`, once something failed."""
        return self.blocked if self._active and self._active.failed else ""

    @property
    def remembered(self) -> Remembered:
        """Return what the state file has to say."""
        return Remembered(self.applied, self._possible, "" if self._possible else self._rolled_back)

    # The machine.

    def on(self, event: Event, now: float, chance: float = 0.0) -> list[Action]:
        """Take an event; return what is to be done, in this order. `chance` in [0, 1) spreads the next attempts."""
        self._actions = []
        match event:
            case Seen():
                self._on_seen(event.snapshot, now)
            case Asked():
                self._on_asked(event, now)
            case AttemptEnded():
                self._on_attempt_ended(event, now, chance)
            case TimePassed():
                pass
        while self._advance(now):
            pass
        self._answer_late_requests(now)
        if self.remembered != self._written:
            self._written = self.remembered
            later = (n for n, action in enumerate(self._actions) if isinstance(action, StepAttempt | RolloutReport))
            self._actions.insert(min(later, default=len(self._actions)), WriteState(self._written))
        return self._actions

    def _on_seen(self, snapshot: Snapshot, now: float) -> None:
        self.debounce.see(snapshot, now)
        if self._first:
            self._first = False
            self._on_first(now)
        elif self.debounce.due_at <= now:
            at_last = self.debounce.handed_on is None  # nothing was there at the start
            content = self.debounce.hand_on()
            self._actions.append(ContentChanged(content))
            changed_at = self.debounce.changed_at
            since = self._newest.content.since if self._newest else changed_at
            notifies = not at_last or content != self.applied or bool(self._possible)
            self._put(Content(self._next_number(), content, changed_at, since, notifies=notifies), now)

    def _on_first(self, now: float) -> None:
        """Decide about the content that is there at the start."""
        if self.debounce.present is None:
            self.started = self.started or not self.debounce.has_content  # there is nothing to prepare yet
            return
        content, initial = self.debounce.hand_on(), self._policy.initial
        if self.applied and content == self._rolled_back and not self._possible and self._output:
            refused = Content(self._next_number(), content, now, now)
            self._refuse(refused, Done(RolloutResult.UNCONFIRMED, _STILL_REFUSED), now, ended=False)
            self.started = True
            return
        missed = self.applied not in {"", content} or bool(self._possible)
        wanted = initial is Initial.ALWAYS or (initial is Initial.WHEN_READY and not self.applied)
        self._put(
            Content(
                self._next_number(),
                content,
                now,
                now,
                notifies=(missed or wanted) and not self._policy.once,
                when_ready=wanted and initial is Initial.WHEN_READY,
                forced=initial is Initial.ALWAYS,
            ),
            now,
        )

    def _on_asked(self, asked: Asked, now: float) -> None:
        self._first = False
        self.debounce.see(asked.snapshot, now)
        content = self.debounce.hand_on()
        newest = self._newest.content if self._newest else None
        if newest is None or not newest.forced or newest.hash != content or self.blocked:
            since = newest.since if newest else now
            newest = Content(self._next_number(), content, now, since, forced=True)
            self._put(newest, now)
        self._requests[asked.request] = _Request(content, newest.number, now + BY_HAND_SECONDS)

    def _on_attempt_ended(self, event: AttemptEnded, now: float, chance: float) -> None:
        flight = self._in_flight.pop(event.number, None)
        if flight is None:
            return  # cut short: nobody waits for it
        step, rollout = flight.attempt.step, flight.rollout
        outcome = event.outcome or _given_up(step, now - flight.begun_at)
        if event.outcome is None or outcome.result is Result.TIMEOUT:
            self._hung[step.index] = outcome
        else:
            self._hung.pop(step.index, None)
        end = flight.plan.ended(step, outcome, now, chance)
        repeated = self.refused is not None and self.refused.content.number == rollout.content.number
        attempts = flight.plan.attempts(step)
        self._actions.append(StepReport(step, outcome, attempts, repeated, given_up=event.outcome is None))
        if self._active is not None and flight.plan is self._active.plan:
            rollout.end = end or rollout.end
            self._take_over(rollout, step, outcome, event)
            if step.kind is StepKind.PUT_BACK:
                self._take_over_rollback(rollout, outcome, event, now)
            if not outcome.ok and outcome.result is not Result.SUPERSEDED and step.kind is not StepKind.HOLD:
                rollout.failed = True
                self._end_start(rollout)  # tried once: the app's start must not depend on more
            return
        if rollout.state is RolloutState.ANSWERING:
            self._on_answer(rollout, outcome, now)
        if self._active:
            self._active.plan.freed(step.index)

    def _take_over(self, rollout: _Rollout, step: PlanStep, outcome: Outcome, event: AttemptEnded) -> None:
        """Take over what an attempt brought."""
        if step.kind in {StepKind.RENDER, StepKind.PUBLISH}:
            rollout.unwritten = not outcome.ok and outcome.result is not Result.REJECTED
        if step.kind is StepKind.CONFIRM and not outcome.ok:
            rollout.observed.pop(step.index, None)  # the app is notified again, and observed again before that
        if step.kind is StepKind.OBSERVE:
            rollout.observed.update(event.observed)
        if step.kind is StepKind.RENDER and outcome.ok:
            rollout.folder = event.folder
            rollout.staged = event.folder if event.folder != self._output else ""
        if step.kind is StepKind.PUBLISH and outcome.ok and rollout.staged:
            # What is published before the app has ever read anything is not behind its back.
            if rollout.content.notifies or self._output:
                self._possible = self._possible or rollout.content.hash
            self._output, rollout.staged = rollout.staged, ""

    def _take_over_rollback(self, rollout: _Rollout, outcome: Outcome, event: AttemptEnded, now: float) -> None:
        done = rollout.refused or _SUPERSEDED
        if not outcome.ok:
            rollout.rollback = outcome.detail
            return
        rollout.rollback = "the last good generation is back"
        rollout.folder = self._output = event.folder
        good = self._good[1] if self._good[0] == event.folder else event.hash
        rollout.hash = good or self.applied
        self._refuse(rollout.content, done, now, ended=False)
        self._actions.append(RolledBack(rollout.content, done))

    def _on_answer(self, rollout: _Rollout, outcome: Outcome, now: float) -> None:
        """Take an answer about content that is not the newest, and that lacked nothing but answers."""
        under_way = any(flight.rollout is rollout for flight in self._in_flight.values())
        if outcome.ok and rollout.plan.lacks_answers_only and under_way:
            return
        self._answering.remove(rollout)
        if rollout.plan.next(now) == Done(RolloutResult.APPLIED):
            self._apply(rollout, now)
            self._end(rollout, Done(RolloutResult.APPLIED), now, notified=True)
        else:
            self._end(rollout, _SUPERSEDED, now)

    def _advance(self, now: float) -> bool:
        """Do what is next; whether there may be more."""
        rollout = self._active
        if rollout is None:
            return self._begin_next(now)
        if rollout.closing is not None:
            return self._close(rollout, rollout.closing, now)
        if rollout.end is not None:
            rollout.closing = rollout.end
            return True
        step = rollout.plan.next(now)
        if not (isinstance(step, Do) and step.step.kind in PREPARING) and not self._busy_with(PREPARING):
            self._end_start(rollout)  # the app's files are there; the rest needs the app
        if isinstance(step, Done):
            rollout.closing = step  # also when newer content waits: what is done is done
        elif self._gives_way(rollout, step, now):
            rollout.closing = _SUPERSEDED
        elif isinstance(step, Wait):
            self.wake_at = min(step.until, now + PATIENCE_SECONDS if self._pending else inf)
            return False
        elif isinstance(step, GiveUp):
            rollout.plan.gives_way(step.step)
            self._actions.extend(Cancel(number) for number in self._at(step.step.index))
        else:
            self._begin(rollout, step.step, now)
        return True

    def _begin_next(self, now: float) -> bool:
        if self._pending is None and self._ask_again is not None and now >= self._ask_at:
            # The app may run by now, without it: it must hear of what is published behind its back.
            again = self._ask_again
            again.content = replace(again.content, notifies=True)
            again.move(RolloutState.PENDING)
            self._wait_in_line(again, now)
            self._behind_since = now
        rollout = self._pending
        if rollout is None:
            self.wake_at = self._ask_at
            return False
        self._pending = None
        content = rollout.content
        known = content.hash == self.applied and not self._possible
        if known and content.notifies and not content.forced:  # a change was taken back before anybody heard of it
            self.started = True
            self._apply(rollout, now)
            self._end(rollout, Done(RolloutResult.APPLIED), now)
            return True
        steps = steps_of(self._policy.steps, renders=self._policy.renders, notifies=content.notifies)
        rollout.begin(RolloutState.ACTIVE, Plan(steps, patient=not self._policy.once, hung=self._hung), content.hash)
        self._activate(rollout)
        return True

    def _activate(self, rollout: _Rollout) -> None:
        self._active = rollout
        for flight in self._in_flight.values():
            rollout.plan.occupied(flight.attempt.step.index, flight.begun_at)

    def _gives_way(self, rollout: _Rollout, step: Do | GiveUp | Wait, now: float) -> bool:
        """Return whether newer content takes over now. Content that comes faster than it can be prepared must not keep
        the app from ever hearing of any: after `max_wait_seconds` what is at work goes on, unless it failed. To hang,
        and to wait for a confirmation, is not work.
        """
        if self._pending is None:
            return False
        if rollout.failed or now - self._behind_since <= self._policy.max_wait_seconds:
            return True
        recent = now - PATIENCE_SECONDS
        works = any(
            flight.attempt.step.kind in {*NOTIFYING, StepKind.OBSERVE} and flight.begun_at > recent
            for flight in self._in_flight.values()
            if flight.plan is rollout.plan
        )
        return not (works or isinstance(step, Do) or self._busy_with(PREPARING))

    def _begin(self, rollout: _Rollout, step: PlanStep, now: float) -> None:
        """Begin an attempt."""
        content = rollout.content
        if step.kind is StepKind.HOLD and not content.forced and content.since + self._policy.splay_seconds > now:
            rollout.plan.defer(step, content.since + self._policy.splay_seconds)
            return
        if step.kind is StepKind.HOLD and not content.when_ready:
            rollout.plan.ended(step, OK, now, 0.0)
            return
        if step.kind in NOTIFYING or (step.kind is StepKind.PUBLISH and rollout.staged):
            self._supersede_answering(now)
        if step.kind in NOTIFYING:
            self._possible = self._possible or rollout.hash
        attempt = self._attempt(rollout, step)
        self._in_flight[attempt.number] = _InFlight(attempt, rollout, rollout.plan, now)
        rollout.plan.begun(step, now)
        self._actions.append(attempt)

    def _attempt(self, rollout: _Rollout, step: PlanStep) -> StepAttempt:
        attempt = StepAttempt(self._next_number(), step, rollout.hash, rollout.folder)
        match step.kind:
            case StepKind.PUBLISH:
                return replace(attempt, folder=rollout.staged)
            case StepKind.HOLD:
                return replace(attempt, others=tuple(s for s in rollout.plan.steps if s.kind in NOTIFYING))
            case StepKind.OBSERVE:
                confirms = (s for s in rollout.plan.steps if s.kind is StepKind.CONFIRM)
                return replace(attempt, others=tuple(s for s in confirms if s.index not in rollout.observed))
            case StepKind.CONFIRM:
                return replace(attempt, observed=rollout.observed.get(step.index))
            case _:
                return attempt

    def _close(self, rollout: _Rollout, closing: Done, now: float) -> bool:
        """End the active rollout. What only looks or waits is cut short; what is being written is written; who is being
        notified goes on.
        """
        for flight in [*self._own(rollout)]:
            if flight.attempt.step.kind in _CUT_SHORT:
                del self._in_flight[flight.attempt.number]
                self._actions.append(Cancel(flight.attempt.number))
        if self._busy_with(PREPARING):
            self.wake_at = inf
            return False
        last = rollout.plan.next(now)
        done = rollout.end or (last if isinstance(last, Done) else closing)
        self._active = None
        if rollout.staged:
            self._actions.append(Discard(rollout.staged))
            rollout.staged = ""
        if rollout.state is RolloutState.ROLLING_BACK:
            self._close_rollback(rollout, done, now)
        elif done.result is RolloutResult.SUPERSEDED and rollout.plan.lacks_answers_only:
            rollout.move(RolloutState.ANSWERING)
            self._answering.append(rollout)
        elif done.result is RolloutResult.UNCONFIRMED and self._rolls_back:
            rollout.begin(RolloutState.ROLLING_BACK, Plan(rollback_steps(self._policy.steps), hung=self._hung), "")
            rollout.refused = done
            self._activate(rollout)
        elif done.result is RolloutResult.APPLIED:
            self._close_applied(rollout, done, now)
        else:
            self._end(rollout, done, now)
        return True

    def _close_applied(self, rollout: _Rollout, done: Done, now: float) -> None:
        content = rollout.content
        if content.notifies or not self._possible or self._policy.once:
            self._apply(rollout, now)
            self._end(rollout, done, now, notified=content.notifies and self._notifies)
        elif self._pending is not None:
            self._end(rollout, _SUPERSEDED, now)
        else:
            # It changed while we were down: the app reads another generation than the one that it knows.
            rollout.content = replace(content, notifies=True)
            rollout.move(RolloutState.PENDING)
            self._wait_in_line(rollout, now)

    def _close_rollback(self, rollout: _Rollout, done: Done, now: float) -> None:
        refused = rollout.refused or done
        if done.result is RolloutResult.APPLIED:
            self._possible = ""
            if rollout.hash != self.applied and rollout.hash:
                self.applied, self.applied_at = rollout.hash, now
            if rollout.hash:
                self._rolled_back = rollout.content.hash
        self._end(rollout, replace(refused, reason=f"{refused.reason}; {rollout.rollback}"), now)

    def _put(self, content: Content, now: float) -> None:
        """Take this content as the newest."""
        self._wait_in_line(_Rollout(content), now)

    def _wait_in_line(self, rollout: _Rollout, now: float) -> None:
        if self._newest is None:
            self.pending_since = now
        replaced, self._pending, self._newest = self._pending, rollout, rollout
        self._behind_since = min(self._behind_since, rollout.content.seen_at)
        self._ask_again, self._ask_at = None, inf
        if replaced is not None:
            self._end(replaced, _SUPERSEDED, now)

    def _supersede_answering(self, now: float) -> None:
        """End what waits for answers: the app is given other content, so it can no longer be applied."""
        answering, self._answering = self._answering, []
        for rollout in answering:
            self._end(rollout, _SUPERSEDED, now)

    def _apply(self, rollout: _Rollout, now: float) -> None:
        """Note that the app has this content."""
        content = rollout.content
        self.applied, self.applied_at = content.hash, now
        self._possible = self._rolled_back = ""
        if self.refused is None or self.refused.content.seen_at <= content.seen_at:  # else newer content is refused
            self.refused = None
        if rollout.folder and rollout.folder == self._output:
            self._good = (rollout.folder, content.hash)
            self._actions.append(Keep(rollout.folder))

    def _refuse(self, content: Content, done: Done, now: float, *, ended: bool = True) -> None:
        """Note that this content is not in force; report that once."""
        repeated = self.refused is not None and self.refused.content.number == content.number
        self.refused = Refused(content, done, now)
        self._actions.append(RolloutReport(content, done, now - content.seen_at, repeated=repeated, ended=ended))

    def _end(self, rollout: _Rollout, done: Done, now: float, *, notified: bool = False) -> None:
        """End this content, and answer those who asked for it."""
        rollout.move(RolloutState.ENDED)
        content = rollout.content
        if done.result in {RolloutResult.APPLIED, RolloutResult.SUPERSEDED}:
            self._actions.append(RolloutReport(content, done, now - content.seen_at, notified))
        else:
            self._refuse(content, done, now)
        if self._newest is rollout:
            self._newest = None
        if done.result is not RolloutResult.SUPERSEDED:
            self._behind_since = self._newest.content.seen_at if self._newest else inf
        if done.may_pass:
            rollout.refusals += 1
            self._ask_again, self._ask_at = rollout, now + ask_again_seconds(rollout.refusals)
        self._answer(content, done)

    def _answer(self, content: Content, done: Done) -> None:
        """Answer those who asked for this content."""
        for number, request in [*self._requests.items()]:
            if request.hash != content.hash or request.number > content.number:
                continue
            if done.result is RolloutResult.SUPERSEDED:
                if self._newest is not None and self._newest.content.hash == request.hash:
                    continue  # the same content again
                applied = self.applied == request.hash
                self._reply(number, Done(RolloutResult.APPLIED) if applied else done)
            else:
                self._reply(number, done)

    def _reply(self, number: int, done: Done | None) -> None:
        request = self._requests.pop(number)
        self._actions.append(RequestAnswer(number, request.hash, done, self.blocked))

    def _answer_late_requests(self, now: float) -> None:
        for number, request in [*self._requests.items()]:
            if request.until <= now:
                self._reply(number, None)
            else:
                self.wake_at = min(self.wake_at, request.until)

    def _end_start(self, rollout: _Rollout) -> None:
        """Let the start be over, unless the app would begin without any files, since they could not be written."""
        self.started = self.started or not rollout.unwritten or bool(self._output)

    def _own(self, rollout: _Rollout) -> Sequence[_InFlight]:
        return [flight for flight in self._in_flight.values() if flight.plan is rollout.plan]

    def _at(self, index: int) -> Sequence[int]:
        return [number for number, flight in self._in_flight.items() if flight.attempt.step.index == index]

    def _busy_with(self, kinds: frozenset[StepKind]) -> bool:
        own = self._own(self._active) if self._active else ()
        return any(flight.attempt.step.kind in kinds for flight in own)

    def _next_number(self) -> int:
        self._numbers += 1
        return self._numbers


def _given_up(step: PlanStep, seconds: float) -> Outcome:
    who = shown(step.options.url) if isinstance(step.options, Http) else step.kind.value
    return Outcome(Result.SUPERSEDED, f"{who} did not answer for {round(seconds, 1):g} s, and newer content came")
