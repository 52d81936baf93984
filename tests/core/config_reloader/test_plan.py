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

APPLIED, FAILED, REJECTED, UNCONFIRMED = (
    RolloutResult.APPLIED,
    RolloutResult.FAILED,
    RolloutResult.REJECTED,
    RolloutResult.UNCONFIRMED,
)
ERROR = Outcome(Result.FAILED, "answered 500")
GONE = Outcome(Result.UNREACHABLE, "nobody listens")
NO = Outcome(Result.REJECTED, "line 3")
HUNG = Outcome(Result.TIMEOUT)
AS_BEFORE = Outcome(Result.UNCONFIRMED, "did not advance")
VALIDATE = Step(validate=Validate(command=("true",)))
SIGNAL = Step(signal=Signal(process="app"))
HOOK = Step(webhook=Webhook(url="http://a"))
RUN = Step(exec=Exec(command=("true",)))
CONFIRM = Step(confirm=Confirm(url="http://a", metric="m"))
CAREFUL = Step(confirm=Confirm(url="http://a", metric="m", rollback=True))


def hook(**options: object) -> Step:
    return Step(webhook=Webhook(url="http://a", **options))  # type: ignore[arg-type]


class Run:
    """A plan carried out: `script[kind]`, or with the place behind it, lists what the attempts end with before OK."""

    def __init__(self, plan: Plan, **script: list[Outcome]) -> None:
        self.plan, self.script, self.now, self.did = plan, script, 0.0, list[str]()

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
        script = self.script.get(item.kind.value) or self.script.get(f"{item.kind.value}{item.index}") or []
        return self.plan.ended(item, script.pop(0) if script else OK, self.now, 0.5)


RUNS: dict[str, tuple[tuple[Step, ...], dict[str, list[Outcome]], str, Done]] = {
    # the steps, what their attempts end with, what is done beside rendering, how it ends
    "all in their order": (
        (VALIDATE, RUN, HOOK, SIGNAL, HOOK, CONFIRM), {},
        "validate0 exec1 webhook2 signal3 webhook4 confirm5", Done(APPLIED),
    ),
    "who says no ends it": (
        (VALIDATE, HOOK), {"validate": [NO]},
        "validate0", Done(REJECTED, "validate: line 3", StepKind.VALIDATE, may_pass=True),
    ),
    "a no after somebody was told is not asked again": (
        (HOOK, VALIDATE), {"validate": [NO]},
        "webhook0 validate1", Done(REJECTED, "validate: line 3", StepKind.VALIDATE),
    ),
    "what cannot be rendered is not asked again": (
        (HOOK,), {"render": [NO]}, "", Done(REJECTED, "render: line 3", StepKind.RENDER),
    ),
    **{
        f"a validator that cannot say is asked again: {result}": (
            (VALIDATE, HOOK), {"validate": [Outcome(result)] * 3}, "validate0 " * 4 + "webhook1", Done(APPLIED),
        )
        for result in (Result.TIMEOUT, Result.UNREACHABLE, Result.DENIED, Result.FAILED)
    },
    "a webhook that hangs keeps nobody from being told": (
        (HOOK, HOOK), {"webhook0": [HUNG] * 3}, "webhook0 webhook1 webhook0 webhook0 webhook0", Done(APPLIED),
    ),
    "a failed exec holds what comes after it": (
        (RUN, HOOK), {"exec": [ERROR, ERROR]}, "exec0 exec0 exec0 webhook1", Done(APPLIED),
    ),
    "a webhook may hold it too": (
        (hook(on_failure=OnFailure.STOP), SIGNAL), {"webhook": [ERROR]}, "webhook0 webhook0 signal1", Done(APPLIED),
    ),
    "and an exec need not": (
        (Step(exec=Exec(command=("x",), on_failure=OnFailure.CONTINUE)), SIGNAL), {"exec": [ERROR]},
        "exec0 signal1 exec0", Done(APPLIED),
    ),
    "without retries left it has failed": (
        (hook(retries=2), HOOK), {"webhook0": [ERROR] * 9},
        "webhook0 webhook1 webhook0 webhook0", Done(FAILED, "webhook: answered 500"),
    ),
    "after one that holds nothing follows": (
        (Step(exec=Exec(command=("x",), retries=0)), HOOK), {"exec": [ERROR]},
        "exec0", Done(FAILED, "exec: answered 500"),
    ),
    "a confirm waits until everybody was told": (
        (HOOK, CONFIRM), {"webhook": [GONE, GONE]}, "webhook0 webhook0 webhook0 confirm1", Done(APPLIED),
    ),
    "unconfirmed content is told again and then given up": (
        (VALIDATE, HOOK, CONFIRM), {"confirm": [AS_BEFORE] * 3},
        "validate0" + " webhook1 confirm2" * 3, Done(UNCONFIRMED, "confirm: did not advance", StepKind.CONFIRM),
    ),
    "with rollback at once": (
        (HOOK, CAREFUL), {"confirm": [AS_BEFORE]},
        "webhook0 confirm1", Done(UNCONFIRMED, "confirm: did not advance", StepKind.CONFIRM),
    ),
    "with rollback an app that says no is asked three times": (
        (HOOK, CAREFUL), {"webhook": [ERROR] * 9},
        "webhook0 webhook0 webhook0", Done(UNCONFIRMED, "webhook: answered 500", StepKind.CONFIRM),
    ),
    "with rollback a no is final after the last retry": (
        (hook(retries=1), CAREFUL), {"webhook": [ERROR] * 2},
        "webhook0 webhook0", Done(UNCONFIRMED, "webhook: answered 500", StepKind.CONFIRM),
    ),
    "with rollback an app that is not there is waited for": (
        (HOOK, CAREFUL), {"webhook": [GONE] * 20}, "webhook0 " * 21 + "confirm1", Done(APPLIED),
    ),
    "with rollback an app that is not there has not said no": (
        (hook(retries=0), CAREFUL), {"webhook": [GONE]}, "webhook0", Done(FAILED, "webhook: nobody listens"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("steps", "script", "did", "end"), RUNS.values(), ids=RUNS.keys())
def test_a_plan_is_carried_out(steps: tuple[Step, ...], script: dict[str, list[Outcome]], did: str, end: Done) -> None:
    run = Run(Plan(steps_of(steps, renders=True)), **{name: [*outcomes] for name, outcomes in script.items()})
    assert run.to_the_end() == end
    assert [text for text in run.did if text not in {"render", "publish"}] == did.split()


def test_rendering_surrounds_the_validation_also_where_nobody_is_told() -> None:
    steps = steps_of((VALIDATE, HOOK, VALIDATE), renders=True, notifies=False)
    assert [step.kind for step in steps] == [StepKind.RENDER, StepKind.VALIDATE, StepKind.PUBLISH]


def test_without_patience_nothing_is_tried_twice() -> None:
    run = Run(Plan(steps_of((VALIDATE,), renders=False), patient=False), validate=[Outcome(Result.TIMEOUT, "hung")])
    assert run.to_the_end() == Done(FAILED, "validate: hung")


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


def test_the_pause_is_steady_for_a_process_without_a_handler_and_where_it_is_set() -> None:
    """As with configmap-reload: an app that is down for 8 s is told by the second of two."""
    for step, seconds in (
        (PlanStep(StepKind.SIGNAL, StepOptions()), 0.5),
        (steps_of((hook(retry_seconds=10),), renders=False)[1], 10),
    ):
        assert {step.pause_seconds(Result.UNREACHABLE, attempts, 0.1) for attempts in (1, 10, 100)} == {seconds}


def test_what_blocks_is_said_also_what_hung_with_former_content() -> None:
    plan = Plan(steps_of((HOOK, SIGNAL), renders=False), hung={0: Outcome(Result.TIMEOUT, "no answer")})
    assert plan.blocked() == "webhook: no answer"
    hold, *steps = plan.steps
    plan.ended(hold, OK, 0.0, 0.5)
    for step in steps:
        assert plan.next(0.0) == Do(step)
        plan.ended(step, GONE, 0.0, 0.5)
    assert plan.blocked() == "webhook: nobody listens; signal: nobody listens"


def held(*steps: Step, hung: dict[int, Outcome] | None = None) -> tuple[Plan, PlanStep]:
    """A plan after its hold, and the first step behind it."""
    plan = Plan(steps_of(steps, renders=False), hung=hung or {})
    plan.ended(plan.steps[0], OK, 0.0, 0.5)
    return plan, plan.steps[1]


def test_a_target_that_is_still_asked_with_former_content_is_left_alone_until_it_hangs() -> None:
    plan, first = held(HOOK)
    plan.occupied(0, since=10.0)
    assert plan.next(11.5) == Wait(10.0 + HANGS_SECONDS)
    assert plan.next(10.0 + HANGS_SECONDS) == GiveUp(first)
    plan.gives_way(first)
    assert plan.next(100.0) == Wait(math.inf), "until it has ended"
    plan.freed(0)
    assert plan.next(100.0) == Do(first)
    for step in (RUN, SIGNAL):
        plan, _ = held(step)
        plan.occupied(0, since=0.0)
        assert plan.next(3600.0) == Wait(math.inf), "what is no request is not cut"


def test_the_steps_behind_one_that_may_fail_wait_a_second_for_it_unless_it_is_known_to_hang() -> None:
    for hung, waits in (({}, True), ({0: HUNG}, False)):
        plan, first = held(HOOK, HOOK, hung=hung)
        plan.begun(first, 0.0)
        assert plan.next(0.5) == (Wait(PATIENCE_SECONDS) if waits else Do(plan.steps[2]))
        assert plan.next(PATIENCE_SECONDS) == Do(plan.steps[2])
