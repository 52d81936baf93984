"""What is done next with a content: order, retries, refusals, confirmation. No loop and no clock."""

import math

import pytest

from sidecars.config_reloader.core.plan import (
    HANGS_SECONDS,
    PATIENCE_SECONDS,
    Do,
    Done,
    GiveUp,
    Plan,
    PlanStep,
    RolloutResult,
    StepKind,
    Wait,
    steps_of,
)
from sidecars.config_reloader.core.steps import Confirm, Step, Validate
from sidecars.kit.notify.core.options import Exec, OnFailure, Signal, StepOptions, Webhook
from sidecars.kit.notify.core.outcome import OK, Outcome, Result

FAILED = Outcome(Result.FAILED, "answered 500")
GONE = Outcome(Result.UNREACHABLE, "nobody listens")
VALIDATE = Step(validate=Validate(command=("true",)))
SIGNAL = Step(signal=Signal(process="app"))
HOOK = Step(webhook=Webhook(url="http://a"))
RUN = Step(exec=Exec(command=("true",)))
CONFIRM = Step(confirm=Confirm(url="http://a", metric="m"))


def made(*steps: Step, renders: bool = False) -> Plan:
    return Plan(steps_of(steps, renders=renders))


class Run:
    """A plan carried out with scripted outcomes: `by_kind[kind]` lists what its attempts end with, then OK."""

    def __init__(self, plan: Plan, **by_kind: list[Outcome]) -> None:
        self.plan, self.by_kind, self.now, self.did = plan, by_kind, 0.0, list[str]()

    def to_the_end(self, steps: int = 200) -> Done:
        for _ in range(steps):
            step = self.plan.next(self.now)
            if isinstance(step, Done):
                return step
            if isinstance(step, Wait):
                assert step.until > self.now, "a wait for the past would spin"
                self.now = step.until
                continue
            if end := self._attempt(step.step):
                return end
        raise AssertionError("it never ends")

    def _attempt(self, item: PlanStep) -> Done | None:
        if item.kind not in {StepKind.HOLD, StepKind.OBSERVE}:
            self.did.append(item.kind.value if item.index < 0 else f"{item.kind.value}{item.index}")
        script = self.by_kind.get(item.kind.value) or self.by_kind.get(f"{item.kind.value}{item.index}") or []
        return self.plan.ended(item, script.pop(0) if script else OK, self.now, 0.5)


def test_steps_are_done_in_order_and_rendering_surrounds_the_validation() -> None:
    run = Run(made(VALIDATE, RUN, HOOK, SIGNAL, HOOK, CONFIRM, renders=True))
    assert run.to_the_end() == Done(RolloutResult.APPLIED)
    assert run.did == ["render", "validate0", "publish", "exec1", "webhook2", "signal3", "webhook4", "confirm5"]


def test_what_only_prepares_tells_nobody() -> None:
    items = steps_of((VALIDATE, HOOK, VALIDATE), renders=True, notifies=False)
    assert [item.kind for item in items] == [StepKind.RENDER, StepKind.VALIDATE, StepKind.PUBLISH]


def test_attempts_can_be_a_steady_pause_apart() -> None:
    """As with configmap-reload: an app that is down for 8 s is told by the second of two."""
    hook = Step(webhook=Webhook(url="http://a", retries=1, retry_seconds=10))
    run = Run(made(hook), webhook=[GONE])
    assert run.to_the_end() == Done(RolloutResult.APPLIED)
    assert run.now == 10


def test_only_a_validator_that_says_no_before_anybody_was_told_is_asked_again() -> None:
    no = Outcome(Result.REJECTED, "no")
    assert Run(made(VALIDATE, HOOK), validate=[no]).to_the_end().may_pass
    assert not Run(made(HOOK, VALIDATE), validate=[no]).to_the_end().may_pass
    assert not Run(made(VALIDATE, HOOK, renders=True), render=[no]).to_the_end().may_pass


def test_refused_content_is_not_published_and_nobody_is_told() -> None:
    run = Run(made(VALIDATE, HOOK, renders=True), validate=[Outcome(Result.REJECTED, "line 3")])
    assert run.to_the_end() == Done(RolloutResult.REJECTED, "validate: line 3", StepKind.VALIDATE, may_pass=True)
    assert run.did == ["render", "validate0"]


@pytest.mark.parametrize("result", [Result.TIMEOUT, Result.UNREACHABLE, Result.DENIED, Result.FAILED])
def test_a_validator_that_cannot_say_is_asked_again(result: Result) -> None:
    run = Run(made(VALIDATE, HOOK), validate=[Outcome(result)] * 3)
    assert run.to_the_end().result is RolloutResult.APPLIED
    assert run.did == ["validate0"] * 4 + ["webhook1"]


def test_a_webhook_that_hangs_does_not_keep_the_next_from_being_told() -> None:
    run = Run(made(HOOK, HOOK), webhook0=[Outcome(Result.TIMEOUT)] * 3)
    assert run.to_the_end().result is RolloutResult.APPLIED
    assert run.did == ["webhook0", "webhook1", "webhook0", "webhook0", "webhook0"]


def test_a_failed_exec_holds_what_comes_after_it() -> None:
    run = Run(made(RUN, HOOK), exec=[FAILED, FAILED])
    assert run.to_the_end().result is RolloutResult.APPLIED
    assert run.did == ["exec0", "exec0", "exec0", "webhook1"]


def test_stop_and_continue_can_be_chosen() -> None:
    stopping = Step(webhook=Webhook(url="http://a", on_failure=OnFailure.STOP))
    run = Run(made(stopping, SIGNAL), webhook=[FAILED])
    run.to_the_end()
    assert run.did == ["webhook0", "webhook0", "signal1"]
    going_on = Step(exec=Exec(command=("x",), on_failure=OnFailure.CONTINUE))
    run = Run(made(going_on, SIGNAL), exec=[FAILED])
    run.to_the_end()
    assert run.did == ["exec0", "signal1", "exec0"]


def test_a_step_without_retries_left_fails_the_reload() -> None:
    run = Run(made(Step(webhook=Webhook(url="http://a", retries=2)), HOOK), webhook0=[FAILED] * 9)
    end = run.to_the_end()
    assert (end.result, end.reason) == (RolloutResult.FAILED, "webhook: answered 500")
    assert run.did == ["webhook0", "webhook1", "webhook0", "webhook0"]


def test_after_a_stopping_step_without_retries_nothing_follows() -> None:
    run = Run(made(Step(exec=Exec(command=("x",), retries=0)), HOOK), exec=[FAILED])
    assert run.to_the_end().result is RolloutResult.FAILED
    assert run.did == ["exec0"]


def test_a_confirm_waits_until_everybody_before_it_was_told() -> None:
    run = Run(made(HOOK, CONFIRM), webhook=[GONE, GONE])
    assert run.to_the_end().result is RolloutResult.APPLIED
    assert run.did == ["webhook0", "webhook0", "webhook0", "confirm1"]


def test_an_unconfirmed_content_is_told_again_and_then_given_up() -> None:
    run = Run(made(VALIDATE, HOOK, CONFIRM), confirm=[Outcome(Result.UNCONFIRMED, "did not advance")] * 3)
    end = run.to_the_end()
    assert (end.result, end.kind) == (RolloutResult.UNCONFIRMED, StepKind.CONFIRM)
    assert run.did == ["validate0"] + ["webhook1", "confirm2"] * 3


def test_with_rollback_it_is_given_up_at_once() -> None:
    careful = Step(confirm=Confirm(url="http://a", metric="m", rollback=True))
    run = Run(made(HOOK, careful, renders=True), confirm=[Outcome(Result.UNCONFIRMED)])
    assert run.to_the_end().result is RolloutResult.UNCONFIRMED
    assert run.did == ["render", "publish", "webhook0", "confirm1"]


def test_with_rollback_a_no_of_the_app_is_final_after_the_last_retry() -> None:
    careful = Step(confirm=Confirm(url="http://a", metric="m", rollback=True))
    hook = Step(webhook=Webhook(url="http://a", retries=1))
    run = Run(made(hook, careful, renders=True), webhook=[FAILED] * 2)
    assert run.to_the_end() == Done(RolloutResult.UNCONFIRMED, "webhook: answered 500", StepKind.CONFIRM)
    assert run.did == ["render", "publish", "webhook0", "webhook0"]


def test_with_rollback_an_app_that_is_not_there_has_not_said_no() -> None:
    careful = Step(confirm=Confirm(url="http://a", metric="m", rollback=True))
    run = Run(made(Step(webhook=Webhook(url="http://a", retries=0)), careful, renders=True), webhook=[GONE])
    assert run.to_the_end().result is RolloutResult.FAILED


def test_without_patience_nothing_is_tried_twice() -> None:
    run = Run(Plan(steps_of((VALIDATE,), renders=False), patient=False), validate=[Outcome(Result.TIMEOUT, "hung")])
    assert run.to_the_end() == Done(RolloutResult.FAILED, "validate: hung")


@pytest.mark.parametrize(
    ("kind", "result", "cap"),
    [
        (StepKind.WEBHOOK, Result.UNREACHABLE, 4.0),
        (StepKind.WEBHOOK, Result.FAILED, 10.0),
        (StepKind.EXEC, Result.TIMEOUT, 10.0),
        (StepKind.SIGNAL, Result.DENIED, 30.0),
    ],
)
def test_the_pause_between_attempts_grows_up_to_a_cap(kind: StepKind, result: Result, cap: float) -> None:
    item = PlanStep(kind, StepOptions())
    pauses = [item.pause_seconds(result, attempts, 0.999) for attempts in range(1, 60)]
    assert pauses[0] < 0.25
    assert pauses == sorted(pauses)
    assert cap * 0.99 < pauses[-1] < cap


def test_a_process_without_a_handler_is_looked_at_twice_a_second() -> None:
    item = PlanStep(StepKind.SIGNAL, StepOptions())
    assert {item.pause_seconds(Result.UNREACHABLE, n, 0.1) for n in (1, 10, 100)} == {0.5}


def test_what_blocks_is_said() -> None:
    plan = made(HOOK, SIGNAL)
    for step in ("hold", "webhook", "signal"):
        due = plan.next(0.0)
        assert isinstance(due, Do)
        assert due.step.kind.value == step
        plan.ended(due.step, OK if step == "hold" else GONE, 0.0, 0.5)
    assert plan.blocked() == "webhook: nobody listens; signal: nobody listens"


def test_with_rollback_an_app_that_says_no_is_asked_three_times() -> None:
    careful = Step(confirm=Confirm(url="http://a", metric="m", rollback=True))
    run = Run(made(HOOK, careful, renders=True), webhook=[FAILED] * 9)
    end = run.to_the_end()
    assert (end.result, end.kind) == (RolloutResult.UNCONFIRMED, StepKind.CONFIRM)
    assert run.did == ["render", "publish"] + ["webhook0"] * 3


def test_with_rollback_an_app_that_is_not_there_is_waited_for() -> None:
    careful = Step(confirm=Confirm(url="http://a", metric="m", rollback=True))
    run = Run(made(HOOK, careful, renders=True), webhook=[GONE] * 20)
    assert run.to_the_end().result is RolloutResult.APPLIED
    assert run.did.count("webhook0") == 21


def test_a_target_that_is_still_asked_with_former_content_is_left_alone_until_it_hangs() -> None:
    plan = made(HOOK)
    plan.ended(plan.steps[0], OK, 10.0, 0.5)  # the hold
    hook = plan.steps[1]
    plan.occupied(0, since=10.0)
    assert plan.next(11.5) == Wait(10.0 + HANGS_SECONDS)
    assert plan.next(10.0 + HANGS_SECONDS) == GiveUp(hook)
    plan.gives_way(hook)
    assert plan.next(100.0) == Wait(math.inf), "until it has ended"
    plan.freed(0)
    assert plan.next(100.0) == Do(hook)


@pytest.mark.parametrize("step", [RUN, SIGNAL])
def test_what_is_no_request_is_not_cut(step: Step) -> None:
    plan = made(step)
    plan.ended(plan.steps[0], OK, 0.0, 0.5)
    plan.occupied(0, since=0.0)
    assert plan.next(3600.0) == Wait(math.inf)


def test_the_steps_behind_one_that_may_fail_wait_a_second_for_it_unless_it_is_known_to_hang() -> None:
    for hung, waits in (({}, True), ({0: Outcome(Result.TIMEOUT)}, False)):
        plan = Plan(steps_of((HOOK, HOOK), renders=False), hung=hung)
        hold, first, second = plan.steps
        plan.ended(hold, OK, 0.0, 0.5)
        plan.begun(first, 0.0)
        assert plan.next(0.5) == (Wait(PATIENCE_SECONDS) if waits else Do(second))
        assert plan.next(PATIENCE_SECONDS) == Do(second)


def test_what_hung_with_former_content_blocks_until_it_answers() -> None:
    plan = Plan(steps_of((HOOK,), renders=False), hung={0: Outcome(Result.TIMEOUT, "no answer")})
    assert plan.blocked() == "webhook: no answer"
