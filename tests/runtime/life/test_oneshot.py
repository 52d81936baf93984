"""Sidecars without admin endpoint, as real processes: run once, cheap, and alone."""

import signal

import pytest

from sidecars.runtime.life.status import MESSAGE_BYTES, cut
from tests.runtime.conftest import Start
from tests.support.toy_runs import ToyRun
from tests.support.waiting import until


def test_it_gets_its_words_gives_its_own_status_and_imports_nothing_that_it_does_not_need(start: Start) -> None:
    run = start("once", "a,b", "--quiet", "c", "--status=7", "--", "echo", "idle")
    assert run.wait() == 7
    assert run.stdout.splitlines()[0] == '[["a,b","c"],["echo","idle"],true]'
    assert run.stderr == ""
    assert run.stdout.splitlines()[1] in {"imported: []", "imported: ['ast']"}  # by inspect, until Python 3.13


@pytest.mark.parametrize(
    ("words", "name", "number", "status"),
    [
        (("once", "--wait-seconds", "1h"), "once", signal.SIGTERM, 143),
        (("idle", "--setup", "--loud"), "--setup", signal.SIGINT, 130),
    ],
)
def test_a_signal_cuts_it_short(start: Start, words: tuple[str, ...], name: str, number: int, status: int) -> None:
    run = start(*words)
    until(lambda: run.stdout.endswith("\n"), "the first words")
    assert run.stop(number) == status
    assert f"cannot finish {name}: interrupted by {signal.Signals(number).name}\n" in run.stderr


@pytest.mark.parametrize(
    ("fault", "status", "last"),
    [
        ("transient", 1, "cannot reach it: refused"),
        ("settings", 2, "cannot use targets: nobody answers there; name another one"),
    ],
)
def test_an_error_is_told_to_people(start: Start, fault: str, status: int, last: str) -> None:
    run = start("once", "--fault", fault)
    assert run.wait() == status
    assert run.stderr.splitlines() == [last]


def test_a_crash_is_logged_and_exits_1(start: Start) -> None:
    run = start("once", "--fault", "crash")
    assert run.wait() == 1
    assert run.first("sidecar.crashed")["error"] == "RuntimeError: cannot go on"


def test_what_it_does_not_have_says_so(start: Start) -> None:
    run = start("greedy")
    assert run.wait() == 0
    assert run.stdout.splitlines() == [
        f"cannot use ctx.{part}: the sidecar greedy declares admin=False" for part in ("metrics", "tracer", "admin")
    ]


def test_the_verbs_know_it(start: Start) -> None:
    helped, reference = start("once", "--help"), start("reference", "once")
    assert helped.wait() == reference.wait() == 0
    assert helped.stdout.startswith(
        "usage: sidecar once [TARGETS ...] [--config FILE] [--SETTING VALUE ...] [-- COMMAND"
    )
    assert "interrupted by SIGTERM" in helped.stdout
    assert "admin" not in helped.stdout + reference.stdout
    assert "| `log_level` |" in reference.stdout
    assert start("check", "once", "a", "--", "b").wait() == 0
    assert '"log_level"' in _output(start("schema", "once"))


def _output(run: ToyRun) -> str:
    assert run.wait() == 0
    return run.stdout


@pytest.mark.parametrize("text", ["short", "ü" * 4000, "x" * MESSAGE_BYTES])
def test_a_message_is_cut_to_what_the_kubelet_takes_between_two_characters(text: str) -> None:
    message = cut(text)
    assert len(message) <= MESSAGE_BYTES
    assert message.decode().removesuffix("...") == text[: len(message.decode().removesuffix("..."))]
    assert (message.decode() == text) is (len(text.encode()) <= MESSAGE_BYTES)
