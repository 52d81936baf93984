"""The kubelet's rules as tables: given how containers stand, what starts, what is stopped, what the pod amounts to."""

from dataclasses import replace

import pytest

from tests.pods.lifecycle import rules
from tests.pods.lifecycle.rules import Container, Kind, Life, Phase, Pod, Stop
from tests.pods.lifecycle.stopping import Action, Verb, kill_at, stops

NOW = 1000.0


def waiting(kind: Kind, name: str) -> Container:
    return Container(name, kind)


def running(kind: Kind, name: str, *, started: bool = True) -> Container:
    return Container(name, kind, Life.RUNNING, hooked=True, probed=started, begun=started, runs=1)


def exited(kind: Kind, name: str, code: int = 0, runs: int = 1) -> Container:
    return Container(name, kind, Life.EXITED, begun=True, runs=runs, exit_code=code, ended_at=NOW)


INIT, SIDECAR, MAIN = Kind.INIT, Kind.SIDECAR, Kind.MAIN
FIRST, APP = waiting(SIDECAR, "first"), waiting(MAIN, "app")
UP = running(SIDECAR, "first")

# name: (containers in order, restartPolicy, what starts)
STARTS: dict[str, tuple[tuple[Container, ...], str, str | None]] = {
    "the first of the list comes first": ((FIRST, waiting(SIDECAR, "second"), APP), "Always", "first"),
    "a sidecar whose probe has not passed holds up the next": (
        (running(SIDECAR, "first", started=False), APP),
        "Always",
        None,
    ),
    "a sidecar whose postStart is not over holds up the next": (
        (replace(UP, hooked=False, begun=False), APP),
        "Always",
        None,
    ),
    "a started sidecar lets the next one start": ((UP, waiting(SIDECAR, "second"), APP), "Always", "second"),
    "a plain init container that runs holds up all": ((UP, running(INIT, "migrate"), APP), "Always", None),
    "a plain init container that ended well lets through": ((UP, exited(INIT, "migrate"), APP), "Always", "app"),
    "a plain init container that failed runs again": ((UP, exited(INIT, "migrate", 1), APP), "Always", "migrate"),
    "one that failed and waits for its back-off holds up all": (
        (UP, exited(INIT, "migrate", 1, runs=3), APP),
        "Always",
        None,
    ),
    "main containers follow each other": ((UP, running(MAIN, "app"), waiting(MAIN, "other")), "Always", "other"),
    "the postStart of a main container holds up the next": (
        (UP, replace(running(MAIN, "app"), hooked=False), waiting(MAIN, "other")),
        "Always",
        None,
    ),
    "a sidecar is restarted in a pod that restarts nothing": (
        (exited(SIDECAR, "first", 137), running(MAIN, "app")),
        "Never",
        "first",
    ),
    "a sidecar that ended well is restarted too": (
        (exited(SIDECAR, "first"), running(MAIN, "app")),
        "OnFailure",
        "first",
    ),
    "a sidecar that died, once started, does not close the gate": (
        (exited(SIDECAR, "first", 1, runs=3), exited(INIT, "migrate"), APP),
        "Always",
        "app",
    ),
    "a sidecar that died before it started closes the gate": (
        (replace(exited(SIDECAR, "first", 1, runs=3), begun=False), APP),
        "Always",
        None,
    ),
    "a main container that failed is restarted": ((UP, exited(MAIN, "app", 1)), "OnFailure", "app"),
    "one that ended well is not, on failure only": ((UP, exited(MAIN, "app"), APP), "OnFailure", "app"),
    "nothing is to be done": ((UP, running(MAIN, "app")), "Always", None),
}


@pytest.mark.parametrize(("containers", "policy", "expected"), STARTS.values(), ids=STARTS.keys())
def test_who_starts(containers: tuple[Container, ...], policy: str, expected: str | None) -> None:
    assert rules.next_start(Pod(containers, policy), NOW) == expected
    assert rules.next_start(Pod(containers, policy, ending=True), NOW) is None, "something starts in a pod that ends"


def test_started_is_running_with_its_post_start_over_and_its_probe_passed() -> None:
    assert UP.started
    assert not any(
        replace(UP, **missing).started for missing in ({"hooked": False}, {"probed": False}, {"life": Life.EXITED})
    )


def test_restarts_come_at_once_and_then_ever_later() -> None:
    assert [rules.back_off(runs) for runs in range(1, 9)] == [0, 10, 20, 40, 80, 160, 300, 300]
    dead = Pod((exited(SIDECAR, "first", 1, runs=2), running(MAIN, "app")))
    assert rules.next_start(dead, NOW + 9.9) is None
    assert rules.next_start(dead, NOW + 10) == "first"


# name: (containers, restartPolicy, whether the work is done, the phase when the pod goes on, the phase when it ends)
PHASES: dict[str, tuple[tuple[Container, ...], str, bool, Phase, Phase]] = {
    "before the app": ((UP, APP), "Always", False, Phase.PENDING, Phase.PENDING),
    "at work": ((UP, running(MAIN, "app")), "Never", False, Phase.RUNNING, Phase.RUNNING),
    "done, a sidecar runs": ((UP, exited(MAIN, "app")), "Never", True, Phase.RUNNING, Phase.RUNNING),
    "done, nothing runs": (
        (exited(SIDECAR, "first"), exited(MAIN, "app")),
        "Never",
        True,
        Phase.SUCCEEDED,
        Phase.SUCCEEDED,
    ),
    "a sidecar's status is not asked": (
        (exited(SIDECAR, "first", 143), exited(MAIN, "app")),
        "Never",
        True,
        Phase.SUCCEEDED,
        Phase.SUCCEEDED,
    ),
    "the app failed": ((exited(SIDECAR, "first"), exited(MAIN, "app", 1)), "Never", True, Phase.FAILED, Phase.FAILED),
    "the app will be restarted": ((UP, exited(MAIN, "app", 1)), "OnFailure", False, Phase.RUNNING, Phase.RUNNING),
    "one of two is not done": (
        (UP, exited(MAIN, "app"), running(MAIN, "b")),
        "Never",
        False,
        Phase.RUNNING,
        Phase.RUNNING,
    ),
    "an init container failed": ((exited(INIT, "migrate", 1), APP), "Never", True, Phase.FAILED, Phase.FAILED),
    "it failed, a sidecar runs": ((UP, exited(INIT, "migrate", 1), APP), "Never", True, Phase.PENDING, Phase.PENDING),
    "it will be tried again": ((exited(INIT, "migrate", 1), APP), "Always", False, Phase.PENDING, Phase.FAILED),
    "a service's app ended well": ((UP, exited(MAIN, "app")), "Always", False, Phase.RUNNING, Phase.RUNNING),
    "a service was deleted": (
        (exited(SIDECAR, "first"), exited(MAIN, "app")),
        "Always",
        False,
        Phase.RUNNING,
        Phase.SUCCEEDED,
    ),
}


@pytest.mark.parametrize(("containers", "policy", "done", "going", "ending"), PHASES.values(), ids=PHASES.keys())
def test_what_a_pod_amounts_to(
    containers: tuple[Container, ...], policy: str, done: bool, going: Phase, ending: Phase
) -> None:
    pod = Pod(containers, policy)
    assert rules.work_is_done(pod) is done
    assert (rules.phase(pod), rules.phase(replace(pod, ending=True))) == (going, ending)


def stopping(
    container: Container, *, deadline: float = NOW + 30, done: bool = True, term_at: float | None = None
) -> Container:
    return replace(container, stop=Stop(deadline, pre_stop_done=done, term_at=term_at))


A, B, BUSY = running(SIDECAR, "a"), running(SIDECAR, "b"), running(MAIN, "app")
GONE = exited(MAIN, "app")

# name: (containers of a pod that ends, what is done now)
STOPS: dict[str, tuple[tuple[Container, ...], list[tuple[Verb, str]]]] = {
    "the stop of all begins at once": ((A, B, BUSY), [(Verb.BEGIN, "a"), (Verb.BEGIN, "b"), (Verb.BEGIN, "app")]),
    "TERM reaches the app first": ((stopping(A), stopping(B), stopping(BUSY)), [(Verb.TERM, "app")]),
    "all apps at once": (
        (stopping(A), stopping(BUSY), stopping(running(MAIN, "two"))),
        [(Verb.TERM, "app"), (Verb.TERM, "two")],
    ),
    "its preStop holds TERM up": ((stopping(A), stopping(BUSY, done=False)), []),
    "no sidecar while an app is there": ((stopping(A), stopping(BUSY, term_at=NOW)), []),
    "then the last listed": ((stopping(A), stopping(B), GONE), [(Verb.TERM, "b")]),
    "and the next when that is gone": ((stopping(A), stopping(B, term_at=NOW), GONE), []),
    "and so on": ((stopping(A), exited(SIDECAR, "b"), GONE), [(Verb.TERM, "a")]),
    "who did not run cuts the chain": (
        (stopping(A), exited(SIDECAR, "b"), stopping(running(SIDECAR, "c"), term_at=NOW), GONE),
        [(Verb.TERM, "a")],
    ),
    "who has ended since does not": (
        (stopping(A), stopping(exited(SIDECAR, "b")), stopping(running(SIDECAR, "c"), term_at=NOW), GONE),
        [],
    ),
    "who never ran holds nobody up": ((stopping(A), FIRST, APP), [(Verb.TERM, "a")]),
    "its own preStop holds a sidecar up": ((stopping(A, done=False), GONE), []),
    "an init container that runs does not wait": (
        (stopping(A), stopping(running(INIT, "migrate")), APP),
        [(Verb.TERM, "a"), (Verb.TERM, "migrate")],
    ),
    "the end of the grace ends all waiting": (
        (
            stopping(A, deadline=NOW),
            stopping(B, deadline=NOW, done=False),
            stopping(BUSY, deadline=NOW, term_at=NOW - 30),
        ),
        [(Verb.TERM, "a"), (Verb.TERM, "b"), (Verb.KILL, "app")],
    ),
    "nobody is killed within two seconds of TERM": ((stopping(A, deadline=NOW - 1, term_at=NOW - 1.9), GONE), []),
    "but then": ((stopping(A, deadline=NOW - 1, term_at=NOW - 2), GONE), [(Verb.KILL, "a")]),
    "nobody is killed twice": (
        (replace(A, stop=Stop(NOW, pre_stop_done=True, term_at=NOW - 9, killed=True)), GONE),
        [],
    ),
    "nor before the end of the grace": ((stopping(A, deadline=NOW + 1, term_at=NOW - 20), GONE), []),
}


@pytest.mark.parametrize(("containers", "expected"), STOPS.values(), ids=STOPS.keys())
def test_who_is_stopped(containers: tuple[Container, ...], expected: list[tuple[Verb, str]]) -> None:
    assert stops(Pod(containers, ending=True), NOW) == [Action(*one) for one in expected]


def test_one_container_that_is_restarted_waits_for_nobody() -> None:
    assert stops(Pod((stopping(A), B, BUSY)), NOW) == [Action(Verb.TERM, "a")]
    assert stops(Pod((A, B, BUSY)), NOW) == []


def test_a_grace_that_is_over_still_leaves_two_seconds() -> None:
    assert kill_at(stopping(A, deadline=NOW, term_at=NOW)) == NOW + 2
    assert kill_at(stopping(A, deadline=NOW + 30, term_at=NOW)) == NOW + 30
