"""The rule of kill(2) as a table, and what people are told when it says no."""

import pytest

from sidecars.kit.notify.core.permissions import Credentials, explain, explain_uid, may_signal, may_signal_uid
from sidecars.kit.notify.core.process import Process

KILL = 1 << 5
ALL_BUT_KILL = (1 << 41) - 1 - KILL


def target(real: int, effective: int, saved: int) -> Process:
    return Process(
        pid=42,
        ppid=0,
        comm="nginx",
        argv=("nginx",),
        uid=effective,
        real_uid=real,
        saved_uid=saved,
        state="S",
        start_time=1,
    )


RULE = {
    "the same user": (Credentials(101, 101, 0), (101, 101, 101), True),
    "another user": (Credentials(65534, 65534, 0), (101, 101, 101), False),
    "another user, with CAP_KILL": (Credentials(65534, 65534, KILL), (101, 101, 101), True),
    "root with all but CAP_KILL": (Credentials(0, 0, ALL_BUT_KILL), (101, 101, 101), False),
    "root with nothing, the app is root": (Credentials(0, 0, 0), (0, 0, 0), True),
    "our real user is theirs": (Credentials(5, 101, 0), (101, 101, 101), True),
    "only their saved user is ours": (Credentials(101, 101, 0), (0, 0, 101), True),
    "only their effective user is ours": (Credentials(101, 101, 0), (0, 101, 0), False),
}


@pytest.mark.parametrize(("ours", "theirs", "may"), RULE.values(), ids=RULE.keys())
def test_who_may_signal(ours: Credentials, theirs: tuple[int, int, int], may: bool) -> None:
    assert may_signal(ours, target(*theirs)) is may


@pytest.mark.parametrize(
    ("ours", "may"), [((7, 7, 0), False), ((101, 7, 0), True), ((7, 101, 0), True), ((7, 7, KILL), True)]
)
def test_who_may_signal_a_user_whose_process_does_not_run_yet(ours: tuple[int, int, int], may: bool) -> None:
    assert may_signal_uid(Credentials(*ours), 101) is may


def test_the_refusal_names_both_users_our_capabilities_and_the_two_ways_out() -> None:
    text = explain(Credentials(65534, 65534, 0x400), target(101, 101, 101))
    assert text.startswith(
        "cannot signal 42 (nginx): it runs as uid 101, this sidecar as uid 65534 (CapEff 0000000000000400, "
    )
    assert "without CAP_KILL" in text
    assert "securityContext.runAsUser: 101" in text
    assert "as uid 0 with capabilities add KILL" in text
    assert "kubernetes#56374" in text


def test_a_refusal_that_the_users_do_not_explain_is_not_blamed_on_them() -> None:
    text = explain(Credentials(101, 101, 0), target(101, 101, 101))
    assert "runAsUser" not in text
    assert "seccomp or a security module" in text


def test_the_refusal_says_when_the_capability_is_there() -> None:
    assert "with CAP_KILL" in explain_uid(Credentials(0, 0, KILL), "the app", 101)
