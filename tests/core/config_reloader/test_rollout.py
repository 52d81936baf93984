"""What is rolled out, when, and what is known afterwards: the newest content wins, for each target by itself. Time and
the world outside are simulated: no loop, no clock.
"""

import heapq
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecars.config_reloader.core.messages import (
    Action,
    Asked,
    AttemptEnded,
    Cancel,
    Discard,
    Event,
    Initial,
    Keep,
    Policy,
    Remembered,
    RequestAnswer,
    RolloutReport,
    Seen,
    StepAttempt,
    StepReport,
    TimePassed,
    WriteState,
)
from sidecars.config_reloader.core.plan import HANGS_SECONDS, NOTIFYING, Done, RolloutResult, StepKind
from sidecars.config_reloader.core.rollout import Rollouts
from sidecars.config_reloader.core.snapshot import Snapshot
from sidecars.config_reloader.core.steps import Step, Validate
from sidecars.kit.notify.core.options import StepOptions
from sidecars.kit.notify.core.outcome import OK, Outcome, Result
from tests.support.snapshots import made_up

DOWN = Outcome(Result.UNREACHABLE, "nobody listens")
NO = Outcome(Result.REJECTED, "no")
FAILED = Outcome(Result.FAILED, "answered 500")
A, B = "http://a", "http://b"
HOOK, OTHER = {"webhook": {"url": A}}, {"webhook": {"url": B}}
VALIDATE = {"validate": {"command": ["check"]}}
CONFIRM = {"confirm": {"url": "http://c", "metric": "m"}}
CAREFUL = {"confirm": {"url": "http://c", "metric": "m", "rollback": True}}


def snapshot(name: str) -> Snapshot:
    """A snapshot of one folder with this content; "" for none."""
    return made_up({"/config": name})


def hash_of(name: str) -> str:
    return snapshot(name).hash


class World:
    """The machine among scripted targets: `answer(step, content)` after `takes(step)` seconds. `did`: every attempt
    that the outside sees, with its time.
    """

    def __init__(self, *steps: dict[str, Any], before: Remembered | None = None, **policy: Any) -> None:
        self.now, self.chance = 0.0, 0.5
        self.names: dict[str, str] = {}
        self.policy = Policy(tuple(msgspec.convert(step, Step) for step in steps), **policy)
        self.rollouts = Rollouts(self.policy, before or Remembered(), 0.0)
        self.answer: Callable[[StepOptions, str], Outcome] = lambda _options, _content: OK
        self.takes: Callable[[StepOptions], float] = lambda _options: 0.0
        self.ready = True
        self.rendered: list[Outcome] = []
        """What the first attempts to render end with, before OK."""
        self.did: list[tuple[float, str]] = []
        self.facts: list[Action] = []
        self.written: list[Remembered] = []
        self.answers: dict[int, RequestAnswer] = {}
        self.published, self.good, self.gone = self.rollouts.remembered.output, "", list[str]()
        self._due: list[tuple[float, int, AttemptEnded]] = []
        self._count = itertools.count()
        self._flying: dict[int, StepAttempt] = {}

    # What happens.

    def sees(self, name: str) -> None:
        self.names[hash_of(name)] = name
        self.on(Seen(snapshot(name)))

    def asks(self, name: str) -> int:
        self.names[hash_of(name)] = name
        number = next(self._count)
        self.on(Asked(number, snapshot(name)))
        return number

    def passes(self, seconds: float) -> None:
        until = self.now + seconds
        for _ in range(100_000):
            at = min(self._due[0][0] if self._due else math.inf, self.rollouts.wake_at)
            if at > until:
                self.now = until
                return
            self.now = max(at, self.now)
            event: Event = TimePassed()
            if self._due and self._due[0][0] <= self.now:
                event = heapq.heappop(self._due)[2]
                self._flying.pop(event.number, None)
            self.on(event)
        raise AssertionError("it turns on the spot")

    def on(self, event: Event) -> None:
        for action in self.rollouts.on(event, self.now, self.chance):
            self.facts.append(action)
            self.do(action)

    def do(self, action: Action) -> None:
        match action:
            case StepAttempt():
                self.attempted(action)
            case Cancel():
                self._due = [due for due in self._due if due[2].number != action.number]
                heapq.heapify(self._due)
                self.over(AttemptEnded(action.number, None), 0.0)
            case WriteState():
                self.written.append(action.remembered)
            case Keep():
                self.good = action.folder
            case Discard():
                self.gone.append(action.folder)
            case RequestAnswer():
                self.answers[action.request] = action

    def attempted(self, attempt: StepAttempt) -> None:
        step, name = attempt.step, self.names.get(attempt.hash, attempt.hash)
        ended = AttemptEnded(attempt.number, OK)
        if step.index >= 0:
            if step.kind in NOTIFYING:
                assert all(other.step.index != step.index for other in self._flying.values()), "two at once"
                self._flying[attempt.number] = attempt
            self.did.append((self.now, f"{getattr(step.options, 'url', '') or step.kind} {name}"))
            ended = AttemptEnded(attempt.number, self.answer(step.options, name))
        match step.kind:
            case StepKind.RENDER:
                ended = AttemptEnded(
                    attempt.number, self.rendered.pop(0) if self.rendered else OK, f"gen {attempt.hash}"
                )
            case StepKind.PUBLISH if attempt.folder:
                self.published = attempt.folder
            case StepKind.PUT_BACK:
                self.published = self.good
                found = OK if self.good else Outcome(Result.FAILED, "there is no last good generation to put back")
                ended = AttemptEnded(attempt.number, found, self.good, self.good.removeprefix("gen "))
            case StepKind.HOLD:
                ended = AttemptEnded(attempt.number, OK if self.ready else Outcome(Result.UNREACHABLE))
            case StepKind.OBSERVE:
                ended = AttemptEnded(attempt.number, OK, observed={other.index: 1 for other in attempt.others})
        self.over(ended, self.takes(step.options))

    def over(self, ended: AttemptEnded, seconds: float) -> None:
        """The attempt ends after so long; what takes no time ends as soon as time is asked to pass."""
        heapq.heappush(self._due, (self.now + seconds, next(self._count), ended))

    # What is known of it.

    @property
    def told(self) -> list[str]:
        self.passes(0)
        return [text for _, text in self.did]

    @property
    def applied(self) -> str:
        return self.names.get(self.rollouts.applied, self.rollouts.applied)

    @property
    def refused(self) -> str:
        refused = self.rollouts.refused
        return self.names[refused.content.hash] if refused else ""

    def results(self, name: str) -> list[RolloutResult]:
        self.passes(0)
        ends = [fact for fact in self.facts if isinstance(fact, RolloutReport) and fact.ended]
        return [end.done.result for end in ends if self.names[end.content.hash] == name]


def world(*steps: dict[str, Any], **policy: Any) -> World:
    """At the start nothing is there, so that what comes is new."""
    one = World(*steps, **policy)
    one.sees("")
    return one


def by_url(url: str) -> Callable[[StepOptions], bool]:
    return lambda options: getattr(options, "url", "") == url


def test_while_a_target_is_down_the_change_stays_pending_and_is_told_when_it_comes() -> None:
    it = world(HOOK)
    it.answer = lambda _step, _content: DOWN if it.now < 60 else OK
    it.sees("a")
    it.passes(59)
    assert it.rollouts.pending is not None
    assert it.rollouts.blocked == it.rollouts.trouble == "webhook: nobody listens"
    it.passes(20)
    assert 60 <= it.did[-1][0] <= 64
    assert it.results("a") == [RolloutResult.APPLIED]
    assert (it.applied, it.rollouts.trouble) == ("a", "")


def test_the_state_file_is_written_before_somebody_is_told_and_again_before_it_counts_as_applied() -> None:
    it = world(HOOK)
    it.sees("a")
    it.passes(0)
    it.sees("b")
    it.passes(0)
    a, b = hash_of("a"), hash_of("b")
    assert it.written == [Remembered("", a), Remembered(a), Remembered(a, b), Remembered(b)]
    order = [type(action) for action in it.facts if isinstance(action, WriteState | StepAttempt | RolloutReport)]
    assert order == [WriteState, StepAttempt, WriteState, RolloutReport] * 2


def hanging(it: World, url: str = A, seconds: float = 10.0) -> None:
    """This target does not answer within its time-out."""
    it.takes = lambda step: seconds if by_url(url)(step) else 0.0
    it.answer = lambda step, _content: Outcome(Result.TIMEOUT) if by_url(url)(step) else OK


def test_a_target_that_hangs_holds_up_no_change_of_another() -> None:
    """The first is told a second later, since the steps have an order; by then it is known who hangs."""
    it = world(HOOK, OTHER)
    hanging(it)
    for number in range(20):
        it.sees(str(number))
        it.passes(4.9)
    heard = [(at, text) for at, text in it.did if text.startswith(B)]
    assert [text for _, text in heard] == [f"{B} {number}" for number in range(20)]
    assert [round(at - 4.9 * number, 6) for number, (at, _) in enumerate(heard)] == [1.0] + [0.0] * 19


def test_a_request_that_gave_way_is_reported() -> None:
    it = world(HOOK)
    it.takes = lambda _step: 10.0 if len(it.did) == 1 else 0.0
    for name in ("bad", "fix"):
        it.sees(name)
        it.passes(5)
    assert it.results("bad") == [RolloutResult.SUPERSEDED]
    (report, _) = [fact for fact in it.facts if isinstance(fact, StepReport) and fact.step.index >= 0]
    assert (report.given_up, report.outcome.detail) == (True, f"{A} did not answer for 5 s, and newer content came")


EXEC = {"exec": {"command": ["reload"]}}
HANGS = {A: [10.0]}
TIMELINES: dict[str, tuple[Sequence[dict[str, Any]], dict[str, list[float]], dict[str, float], str, str]] = {
    # the steps; how long their first attempts take (then none); policy; what comes, when; who is told of what, when
    "content that comes at last is told": ([HOOK], {}, {}, "1@0", f"0 {A} 1"),
    "a request that hangs gives way after 2 s": ([HOOK], HANGS, {}, "1@0 2@0.5", f"0 {A} 1, {HANGS_SECONDS:g} {A} 2"),
    "one that hung for longer gives way at once": ([HOOK], HANGS, {}, "1@0 2@7", f"0 {A} 1, 7 {A} 2"),
    "what comes meanwhile is one more request with the newest": (
        [HOOK], HANGS, {}, "1@0 2@0.3 3@0.6 4@0.9", f"0 {A} 1, {HANGS_SECONDS:g} {A} 4",
    ),
    # Cutting a request that the app may have taken, to send another, would reload it twice.
    "a slow request is not cut": ([HOOK], {A: [1.8]}, {}, "1@0 2@0.5 3@1", f"0 {A} 1, 1.8 {A} 3"),
    # Half a command could leave half a reload; who stands before it hears at once.
    "a command is run to its end": (
        [HOOK, EXEC], {"exec": [6.0]}, {}, "1@0 2@3", f"0 {A} 1, 0 exec 1, 3 {A} 2, 6 exec 2",
    ),
    "a confirmation that does not come is not waited for": (
        [HOOK, CONFIRM], {"http://c": [600.0]}, {"max_wait_seconds": 5.0}, "1@0 2@100",
        f"0 {A} 1, 0 http://c 1, 100 {A} 2, 100 http://c 2",
    ),
    "the splay delays and is not begun anew": ([HOOK], {}, {"splay_seconds": 20.0}, "1@0 2@15", f"20 {A} 2"),
}  # fmt: skip


@pytest.mark.parametrize(("steps", "takes", "policy", "comes", "told"), TIMELINES.values(), ids=TIMELINES.keys())
def test_the_newest_content_is_told_when(
    steps: Sequence[dict[str, Any]], takes: dict[str, list[float]], policy: dict[str, float], comes: str, told: str
) -> None:
    it, left = world(*steps, **policy), {name: [*seconds] for name, seconds in takes.items()}

    def takes_seconds(options: StepOptions) -> float:
        script = left.get(getattr(options, "url", "") or type(options).__name__.lower(), [])
        return script.pop(0) if script else 0.0

    it.takes = takes_seconds
    for name, at in (content.split("@") for content in comes.split()):
        it.passes(float(at) - it.now)
        it.sees(name)
    it.passes(60)
    assert ", ".join(f"{at:g} {text}" for at, text in it.did) == told
    assert it.applied == name


def test_newer_content_that_is_rejected_takes_nothing_from_who_is_being_told() -> None:
    """What was told last is in force, and is not forgotten."""
    it = world(VALIDATE, HOOK)
    it.takes = lambda step: 5.0 if by_url(A)(step) else 0.0
    it.answer = lambda step, content: NO if content == "bad" and not by_url(A)(step) else OK
    it.sees("good")
    it.passes(1)
    it.sees("bad")
    it.passes(5)
    assert (it.results("bad"), it.results("good")) == ([RolloutResult.REJECTED], [RolloutResult.APPLIED])
    assert it.written[-1] == Remembered(hash_of("good"))
    assert (it.applied, it.refused) == ("good", "bad"), "and the newest content is still refused"


def test_a_change_that_is_taken_back_before_anybody_was_told_is_not_told() -> None:
    it = world(VALIDATE, HOOK)
    it.answer = lambda step, content: NO if content == "b" and not by_url(A)(step) else OK
    for name, result in (("a", RolloutResult.APPLIED), ("b", RolloutResult.REJECTED), ("a", RolloutResult.APPLIED)):
        it.sees(name)
        assert it.results(name)[-1] is result
    assert [text for text in it.told if text.startswith("http")] == [f"{A} a"]
    assert it.refused == ""


def test_a_change_that_is_taken_back_after_somebody_was_told_is_told_again() -> None:
    it = world(HOOK)
    it.sees("a")
    it.passes(0)
    it.answer = lambda _step, content: DOWN if content == "b" else OK
    it.sees("b")
    it.passes(3)
    it.sees("a")
    assert it.told[0] == it.told[-1] == f"{A} a"
    assert it.results("a") == [RolloutResult.APPLIED] * 2


def test_a_validator_that_said_no_is_asked_again_slowly_and_may_change_its_mind() -> None:
    """`nginx -t` says no while a name cannot be resolved: that is about the network, not about the content."""
    it = world(VALIDATE, HOOK)
    it.answer = lambda _step, _content: Outcome(Result.REJECTED, "host not found") if it.now < 1000 else OK
    it.sees("a")
    it.passes(999)
    pauses = [round(later - earlier) for (earlier, _), (later, _) in itertools.pairwise(it.did)]
    assert pauses == [30, 60, 120, 240, 300]
    assert set(it.told) == {"validate a"}
    assert (it.refused, it.rollouts.pending) == ("a", None)
    rejections = [fact for fact in it.facts if isinstance(fact, RolloutReport)]
    assert [fact.repeated for fact in rejections] == [False] + [True] * 5, "said once"
    it.passes(400)
    assert it.told[-1] == f"{A} a"
    assert (it.applied, it.refused) == ("a", "")


def test_other_content_is_rejected_afresh_and_asked_about_as_soon() -> None:
    it = world(VALIDATE, HOOK)
    it.answer = lambda _step, _content: NO
    it.sees("a")
    it.passes(100)
    it.sees("b")
    it.passes(31)
    assert it.told == ["validate a"] * 3 + ["validate b"] * 2


def test_by_hand_there_is_no_splay_and_known_content_is_told_again() -> None:
    it = world(HOOK, splay_seconds=20.0)
    requests = []
    for _ in range(2):
        requests.append(it.asks("a"))
        it.passes(1)
    assert it.did == [(0.0, f"{A} a"), (1.0, f"{A} a")]
    assert [it.answers[request].done for request in requests] == [Done(RolloutResult.APPLIED)] * 2


def test_all_who_ask_at_once_are_answered_about_one_rollout() -> None:
    it = world(HOOK)
    it.takes = lambda _step: 1.0
    requests = [it.asks("a") for _ in range(5)]
    it.passes(1)
    assert it.told == [f"{A} a"]
    assert {it.answers[request].hash for request in requests} == {hash_of("a")}


def test_who_asks_is_told_when_it_takes_too_long_when_newer_content_came_and_when_it_is_refused() -> None:
    it = world(VALIDATE, HOOK)
    it.answer = lambda _step, content: {"down": DOWN, "bad": NO}.get(content, OK)
    late = it.asks("down")
    it.passes(10)
    assert it.answers[late].done is None
    assert it.answers[late].blocked == "validate: nobody listens"
    attempts = len(it.did)
    superseded = it.asks("down")
    assert len(it.told) == attempts + 1, "at once, and not after the pause"
    it.sees("newer")
    refused = it.asks("bad")
    it.passes(1)
    results = [done.result if (done := it.answers[number].done) else None for number in (superseded, refused)]
    assert results == [RolloutResult.SUPERSEDED, RolloutResult.REJECTED]


def test_when_ready_waits_without_attempts() -> None:
    it = World(HOOK, OTHER, initial=Initial.WHEN_READY)
    it.ready = False
    it.answer = lambda step, _content: DOWN if by_url(A)(step) else OK
    it.sees("a")
    it.passes(100)
    assert it.told == []
    assert it.rollouts.started, "the app's start must not wait for the app"
    assert it.rollouts.trouble == ""
    it.ready = True  # one of two
    it.passes(2)
    assert f"{B} a" in it.told


INITIAL = {
    # applied, possible, present, initial -> what is told
    "nothing is known": ("", "", "a", Initial.NONE, []),
    "nothing is known, and it is to be told": ("", "", "a", Initial.ALWAYS, ["a"]),
    "it is the same": ("a", "", "a", Initial.NONE, []),
    "it is the same, and is to be told": ("a", "", "a", Initial.ALWAYS, ["a"]),
    "it is the same, when ready": ("a", "", "a", Initial.WHEN_READY, []),
    "it changed while we were down": ("a", "", "b", Initial.NONE, ["b"]),
    "it was taken back while we were down": ("a", "b", "a", Initial.NONE, ["a"]),
    "the first rollout ever was not ended": ("", "a", "a", Initial.NONE, ["a"]),
}


@pytest.mark.parametrize(("applied", "possible", "present", "initial", "told"), INITIAL.values(), ids=INITIAL.keys())
def test_what_is_told_at_the_start(
    applied: str, possible: str, present: str, initial: Initial, told: list[str]
) -> None:
    hashes = [hash_of(name) if name else "" for name in (applied, possible)]
    it = World(HOOK, before=Remembered(*hashes), initial=initial)
    it.sees(present)
    assert it.told == [f"{A} {name}" for name in told]
    assert it.applied == present
    assert it.rollouts.started


@pytest.mark.parametrize("first", [{"/config": ""}, {"/config": "a", "/other": ""}], ids=["nothing", "a part"])
def test_what_is_missing_at_a_restart_is_waited_for_and_not_told_when_the_app_has_it(first: dict[str, str]) -> None:
    whole = made_up(dict.fromkeys(first, "a"))
    it = World(HOOK, before=Remembered(whole.hash), max_wait_seconds=10.0, renders=True)
    it.on(Seen(made_up(first)))
    it.passes(9)
    it.on(Seen(whole))
    assert it.told == []
    assert it.published, "it is rendered all the same"
    assert it.rollouts.applied == whole.hash


def test_while_nothing_has_been_tried_the_start_is_not_over() -> None:
    it = World(VALIDATE, HOOK)
    it.takes = lambda _step: 5.0
    it.sees("a")
    it.passes(4.9)
    assert not it.rollouts.started
    it.passes(0.2)
    assert it.rollouts.started


@pytest.mark.parametrize("result", [Result.FAILED, Result.DENIED, Result.UNREACHABLE, Result.REJECTED])
@pytest.mark.parametrize("output", ["", "gen a"], ids=["no files", "files of a former run"])
def test_the_start_is_over_when_the_app_has_files_or_the_content_is_rejected(result: Result, output: str) -> None:
    """Content that changes while it is rendered is UNREACHABLE: the app would begin without its files."""
    it = World(HOOK, renders=True, before=Remembered(output=output))
    it.rendered = [Outcome(result)] * 3
    it.sees("a")
    it.passes(0)
    assert it.rollouts.started is (bool(output) or result is Result.REJECTED)
    it.passes(60)
    assert it.rollouts.started


def test_an_unconfirmed_content_is_told_three_times_and_refused_once() -> None:
    it = world(HOOK, CONFIRM)
    it.answer = lambda step, _content: OK if by_url(A)(step) else Outcome(Result.UNCONFIRMED, "m did not advance")
    it.sees("a")
    it.passes(100)
    assert it.results("a") == [RolloutResult.UNCONFIRMED]
    assert it.told.count(f"{A} a") == 3
    observed = [action for action in it.facts if isinstance(action, StepAttempt) and action.step.kind == "observe"]
    assert [len(attempt.others) for attempt in observed] == [1, 1, 1], "the value from before is taken anew each time"


def test_content_that_comes_faster_than_it_is_validated_does_not_starve_the_app() -> None:
    it = world(VALIDATE, HOOK, max_wait_seconds=5.0)
    it.takes = lambda step: 0.0 if by_url(A)(step) else 0.5
    for number in range(40):
        it.sees(str(number))
        it.passes(0.45)
    told = [at for at, text in it.did if text.startswith(A)]
    assert told, "nothing was told in 18 s"
    assert told[0] <= 6.0


def test_a_validator_that_cannot_say_does_not_hold_up_the_fix() -> None:
    """It failed before, so it is no work that must come to its end, however long the app lacks the newest content."""
    it = world(VALIDATE, HOOK, max_wait_seconds=3.0)
    it.takes = lambda step: 8.0 if isinstance(step, Validate) and it.now < 20 else 0.0
    it.answer = lambda step, content: Outcome(Result.TIMEOUT) if isinstance(step, Validate) and content == "bad" else OK
    it.sees("bad")
    it.passes(20)
    it.sees("fix")
    it.passes(0)
    assert it.did[-2:] == [(20.0, "validate fix"), (20.0, f"{A} fix")]


def test_a_success_that_newer_content_takes_over_from_counts() -> None:
    it = world(HOOK)
    it.takes = lambda _step: 1.0
    it.answer = lambda _step, content: DOWN if content == "c" else OK
    it.sees("b")
    it.passes(0.5)
    it.sees("c")
    it.passes(0.6)
    assert it.results("b") == [RolloutResult.APPLIED]
    assert it.applied == "b"


def test_a_success_counts_no_more_once_another_target_has_newer_content() -> None:
    it = world(HOOK, OTHER)
    it.takes = lambda step: 1.5 if by_url(A)(step) else 0.0
    it.sees("1")
    it.passes(1.2)
    it.sees("2")
    it.passes(5)
    assert it.did == [(0.0, f"{A} 1"), (1.0, f"{B} 1"), (1.2, f"{B} 2"), (1.5, f"{A} 2")]
    assert (it.results("1"), it.applied) == ([RolloutResult.SUPERSEDED], "2")
    assert hash_of("1") not in {record.applied for record in it.written}


def rolling_back(*steps: dict[str, Any]) -> World:
    """`good` is applied, and then `bad` does not take effect."""
    it = world(*steps, HOOK, CAREFUL, renders=True)
    it.answer = lambda step, content: (
        Outcome(Result.UNCONFIRMED, "m did not advance") if content == "bad" and by_url("http://c")(step) else OK
    )
    it.sees("good")
    it.passes(0)
    it.sees("bad")
    it.passes(0)
    return it


def test_content_that_does_not_take_effect_is_rolled_back_and_the_app_is_told_the_hash_of_what_is_good() -> None:
    it = rolling_back()
    assert it.told == [f"{A} good", "http://c good", f"{A} bad", "http://c bad", f"{A} good"]
    assert it.published == f"gen {hash_of('good')}"
    assert (it.applied, it.refused) == ("good", "bad")
    assert it.written[-1] == Remembered(hash_of("good"), "", hash_of("bad"))
    assert it.rollouts.refused is not None
    reason = "confirm: m did not advance; the last good generation is back"
    assert it.rollouts.refused.done.reason == reason
    said = [fact for fact in it.facts if isinstance(fact, RolloutReport) and fact.content.hash == hash_of("bad")]
    assert [(fact.ended, fact.repeated) for fact in said] == [(False, False), (True, True)]


def test_what_was_rolled_back_is_not_tried_again_by_the_next_start() -> None:
    before = Remembered(hash_of("good"), "", hash_of("bad"), "gen good")
    it = World(HOOK, CAREFUL, renders=True, before=before)
    it.sees("bad")
    assert it.told == []
    assert (it.applied, it.refused) == (hash_of("good"), "bad")
    it.sees("better")
    assert it.told[0] == f"{A} better"


def test_without_a_last_good_generation_there_is_nothing_to_go_back_to() -> None:
    it = world(HOOK, CAREFUL, renders=True)
    it.answer = lambda step, _content: OK if by_url(A)(step) else Outcome(Result.UNCONFIRMED, "no")
    it.sees("bad")
    assert it.told == [f"{A} bad", "http://c bad"]
    assert it.rollouts.refused is not None
    assert it.rollouts.refused.done.reason == "confirm: no; there is no last good generation to put back"


def test_newer_content_ends_a_rollback_that_does_not_come_to_its_end() -> None:
    it = rolling_back()
    it.answer = lambda step, content: (
        OK if content == "fix" else Outcome(Result.UNCONFIRMED if by_url("http://c")(step) else Result.FAILED, "no")
    )
    it.sees("bad2")
    it.passes(100)
    assert it.told[-1] == f"{A} good", "it is tried until the app takes it"
    it.sees("fix")
    assert it.told[-2:] == [f"{A} fix", "http://c fix"]
    assert (it.applied, it.refused) == ("fix", "")


def test_a_generation_that_is_not_wanted_is_discarded_and_what_is_good_is_kept() -> None:
    it = world(VALIDATE, HOOK, renders=True)
    it.answer = lambda _step, content: NO if content == "bad" else OK
    it.sees("good")
    it.passes(0)
    it.sees("bad")
    it.passes(0)
    assert (it.good, it.published) == (f"gen {hash_of('good')}", f"gen {hash_of('good')}")
    assert it.gone == [f"gen {hash_of('bad')}"]


def test_one_preparation_tells_nobody_tries_nothing_twice_and_is_remembered() -> None:
    it = World(VALIDATE, HOOK, renders=True, once=True)
    it.sees("a")
    assert it.told == ["validate a"]
    assert it.results("a") == [RolloutResult.APPLIED]
    assert it.written == [Remembered(hash_of("a"))]
    it = World(VALIDATE, HOOK, once=True)
    it.answer = lambda _step, _content: DOWN
    it.sees("a")
    assert it.results("a") == [RolloutResult.FAILED]


# Whatever happens.

RESULTS = st.sampled_from([Result.OK, Result.OK, Result.FAILED, Result.UNREACHABLE, Result.TIMEOUT])
ANSWERS = st.lists(st.tuples(RESULTS, st.sampled_from([0.0, 0.1, 1.5, 7.0])), min_size=1, max_size=12)
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("sees"), st.floats(0.0, 5.0)),
        st.tuples(st.just("sees bad"), st.floats(0.0, 5.0)),
        st.tuples(st.just("asks"), st.floats(0.0, 5.0)),
    ),
    min_size=1,
    max_size=12,
)
STEPS = st.sampled_from(
    [(HOOK, OTHER), (VALIDATE, HOOK, OTHER), (VALIDATE, {"exec": {"command": ["x"]}}, HOOK, OTHER), (VALIDATE, HOOK)]
)


class Weather:
    """Targets that answer by a script until it is `quiet`, then at once and well; a validator that rejects `bad...`."""

    def __init__(self, it: World, answers: list[tuple[Result, float]]) -> None:
        self.script, self.quiet = itertools.cycle(answers), False
        self.accepted: dict[str, set[int]] = {}
        it.answer, it.takes = self.answer, lambda _options: 0.0 if self.quiet else next(self.script)[1]

    def answer(self, options: StepOptions, content: str) -> Outcome:
        if isinstance(options, Validate):
            return NO if content.startswith("bad") else OK
        result = Result.OK if self.quiet else next(self.script)[0]
        if result is Result.OK:
            self.accepted.setdefault(content, set()).add(id(options))
        return Outcome(result)


def play(it: World, acts: list[tuple[str, float]]) -> str:
    """Let it happen; return the last content. Each content has a number of its own."""
    name = ""
    for number, (act, pause) in enumerate(acts):
        if act != "asks" or not name:
            name = f"{'bad' if act == 'sees bad' else ''}{number}"
        it.asks(name) if act == "asks" else it.sees(name)
        it.passes(pause)
    return name


def heard(it: World) -> list[list[str]]:
    """The contents that each target was notified of, in order."""
    by_target: dict[int, list[str]] = {}
    for action in it.facts:
        if isinstance(action, StepAttempt) and action.step.kind in NOTIFYING:
            by_target.setdefault(action.step.index, []).append(it.names[action.hash])
    return list(by_target.values())


@settings(max_examples=300, deadline=None)
@given(STEPS, ACTS, ANSWERS, st.booleans())
def test_whatever_happens(
    steps: tuple[dict[str, Any], ...], acts: list[tuple[str, float]], answers: list[tuple[Result, float]], renders: bool
) -> None:
    """That at most one attempt per target is in flight is held by the world itself."""
    it = world(*steps, renders=renders, max_wait_seconds=3.0)
    weather = Weather(it, answers)
    last = play(it, acts)
    weather.quiet = True
    it.passes(1000)

    rejects = VALIDATE in steps
    refused = rejects and last.startswith("bad")
    for contents in heard(it):
        assert not (rejects and any(content.startswith("bad") for content in contents)), "rejected and yet told"
        numbers = [int(content.removeprefix("bad")) for content in contents]
        assert numbers == sorted(numbers), "older content after newer"
        assert refused or contents[-1] == last, "each target ends with the newest content"
    assert it.refused == last if refused else it.applied == last
    for record in it.written:
        content, hooks = it.names.get(record.applied, ""), sum(1 for step in steps if "validate" not in step)
        assert not content or len(weather.accepted[content]) == hooks, "only what all were told is called applied"
    assert it.rollouts.pending is None or refused
    assert len(it.answers) == sum(1 for act, _ in acts if act == "asks"), "everybody who asked is answered"
