"""From exec to exit status, with real processes and real signals."""

import contextlib
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sidecars.runtime import Sidecar
from sidecars.runtime.command.flags import CommandLine
from sidecars.runtime.life.run import read_arguments, termination_log
from sidecars.runtime.life.status import TERMINATION_LOG
from tests.runtime.conftest import Start
from tests.support.processes import ROOT, environment
from tests.support.scale import scaled
from tests.support.toy_oneshots import ONESHOTS
from tests.support.toy_runs import TOY
from tests.support.toys import TOYS
from tests.support.waiting import until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_main_finish_and_exits_0(start: Start, number: int) -> None:
    run = start("idle").started()
    assert run.stop(number) == 0
    assert run.actions()[-3:] == ["stop.requested", "toy.drained", "sidecar.ended"]
    assert run.first("stop.requested")["reason"] == signal.Signals(number).name


def test_a_sigterm_at_any_moment_after_exec_exits_0(start: Start, rng: random.Random) -> None:
    """From the moment Python can catch it: `caught` in /proc says when the first handler is in place."""
    for _ in range(scaled(6, 50)):
        run = start("idle")
        until(run.catches, "the first handler")
        with contextlib.suppress(subprocess.TimeoutExpired):  # a random moment is what is tested
            run.wait(rng.uniform(0, 0.6))
        assert run.stop() == 0, run.stderr


def test_many_signals_at_the_end_do_not_change_the_status(start: Start) -> None:
    """Closing an asyncio loop puts SIGTERM back to "kill"; a second one must not hit that moment."""
    for _ in range(3):
        run = start("idle").started()
        while run.running:
            run.signal(signal.SIGTERM)
            time.sleep(0.002)
        assert run.wait() == 0


def test_a_main_that_overruns_the_grace_is_cancelled_and_the_exit_is_0(start: Start) -> None:
    run = start("slow", "--grace-seconds", "200ms").started()
    assert run.stop() == 0
    assert run.first("stop.overrun")["grace_seconds"] == 0.2
    assert run.actions()[-3:] == ["stop.overrun", "toy.cancelled", "sidecar.ended"]


@pytest.mark.parametrize(("name", "busy"), [("stubborn", "task stubborn"), ("stuck", "thread sidecar_0")])
def test_what_refuses_to_end_cannot_hold_up_the_exit(start: Start, name: str, busy: str) -> None:
    run = start(name, "--grace-seconds", "200ms").started()
    assert run.stop() == 0
    assert run.first("sidecar.abandoned")["busy"] == busy


def test_a_second_sigint_ends_the_waiting(start: Start) -> None:
    run = start("slow", "--grace-seconds", "1h").started()
    run.signal(signal.SIGINT)
    run.first("stop.requested")
    assert run.stop(signal.SIGINT) == 0
    assert "stop.overrun" not in run.actions()


def test_a_crash_exits_1_with_the_traceback_in_one_line(start: Start) -> None:
    run = start("crash")
    assert run.wait() == 1
    line = run.first("sidecar.crashed")
    assert line["error"] == "RuntimeError: cannot go on in mode safe"
    assert "toys.py" in line["traceback"]
    assert len(run.stderr.splitlines()) == len(run.logs)


def test_a_crash_while_stopping_is_logged_and_exits_0(start: Start) -> None:
    run = start("crash-late").started()
    assert run.stop() == 0
    assert run.first("sidecar.crashed")["error"] == "RuntimeError: cannot finish"


@pytest.mark.parametrize(
    ("words", "status", "last"),
    [
        (("done", "--queue", "9"), 9, '"action":"sidecar.ended"'),
        (("idle", "--queue", "eleven", "--ratio", "2"), 2, "cannot use ratio="),
        (("picky",), 2, "cannot use url: nobody answers there; set another one"),
        (("idle", "--admin-host", "192.0.2.1"), 2, "cannot use admin_host=192.0.2.1: cannot listen there"),
        (("idle", "--admin-host", "a" * 70), 2, f"cannot use admin_host={'a' * 70}: cannot listen there"),
        (("idle", "--admin-host", "nowhere:80"), 2, "cannot use admin_host=nowhere:80: cannot listen there"),
    ],
    ids=["its own status", "every problem", "found out late", "not ours", "no host name", "with a port"],
)
def test_an_end_has_its_status_and_says_why(start: Start, words: tuple[str, ...], status: int, last: str) -> None:
    run = start(*words)
    assert run.wait() == status
    assert last in run.stderr.splitlines()[-1]


def test_an_admin_port_in_use_exits_2_and_names_the_setting(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = start("idle", "--admin-port", str(port), environ={"PYTHONWARNINGS": "always::ResourceWarning"})
        assert run.wait() == 2
    (line,) = run.stderr.splitlines()  # and no complaint about a loop that was left open
    assert line.startswith(f"cannot use admin_port={port}: cannot listen there")


LATE = """
import asyncio, sys, threading
from sidecars.runtime import Basics, Problem, SettingsError, Sidecar, run

async def main(settings: Basics, ctx: object) -> None:
    asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)
    raise SettingsError([Problem("url", "nobody answers there", "set another one")])

sys.exit(run(Sidecar(name="late", settings=Basics, main=main, admin=False), sys.argv[1:]))
"""


def test_bad_settings_found_late_exit_2_although_a_thread_hangs() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LATE], capture_output=True, text=True, check=False, timeout=60, cwd=ROOT
    )
    assert done.returncode == 2
    assert done.stderr.startswith("cannot use url: nobody answers there; set another one\n")


IDLE, SLOW, ONCE, GREEDY = TOYS["idle"], TOYS["slow"], ONESHOTS["once"], ONESHOTS["greedy"]


@pytest.mark.parametrize(
    ("chosen", "words", "expected"),
    [
        ([IDLE, SLOW], [], []),
        ([IDLE, SLOW], ["--queue", "3"], ["flags are not possible with several sidecars (idle, slow)"]),
        ([ONCE, IDLE], [], ["once runs once and ends, so it cannot share a process (once, idle)"]),
        ([IDLE, ONCE], [], ["once runs once and ends, so it cannot share a process (idle, once)"]),
        ([ONCE, GREEDY], [], ["once runs once and ends, so it cannot share a process (once, greedy)"]),
    ],
)
def test_several_in_one_process_take_no_flags_and_none_that_ends(
    chosen: list[Sidecar], words: list[str], expected: list[str]
) -> None:
    assert [problem.message for problem in read_arguments(chosen, words).problems] == expected


@pytest.mark.parametrize(
    ("flags", "content", "expected"),
    [
        ({}, "termination_log: /file\nqueue: x\n", "/file"),
        ({"termination_log": "/flag"}, "termination_log: /file\n", "/flag"),
        ({}, "termination_log: ''\n", ""),
        ({}, "termination_log: [/file]\n", TERMINATION_LOG),
        ({}, "termination_log: [\n", TERMINATION_LOG),
        ({}, "queue: x\n", TERMINATION_LOG),
    ],
)
def test_the_termination_log_of_the_file_is_used_for_what_is_wrong_in_the_file(
    tmp_path: Path, flags: dict[str, object], content: str, expected: str
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(content, encoding="utf-8")
    line = CommandLine(flags={**flags, "config": str(file)})
    assert termination_log([TOYS["idle"]], line) == expected


def test_a_one_shot_prints_for_people_and_gives_the_status(start: Start) -> None:
    run = start("idle", "--setup", "--mode", "fast")
    assert run.wait() == 7
    assert run.stdout == "set up in mode fast\n"
    assert run.stderr == ""


def test_an_idle_or_half_sent_connection_cannot_pin_the_stop(start: Start) -> None:
    run = start("idle").started()
    address = ("127.0.0.1", run.first("admin.listening")["port"])
    with socket.create_connection(address), socket.create_connection(address) as half:
        half.sendall(b"GET /livez HT")
        assert run.ask("/livez")[0] == 200
        began = time.monotonic()
        assert run.stop() == 0
        assert time.monotonic() - began < 10  # an unbounded wait would be as long as the connections stay


def test_broken_outputs_neither_stop_the_work_nor_change_the_status() -> None:
    """The readers of stdout and stderr go away while the toy is writing to both."""
    command = [*TOY, "talk", "--wait-seconds", "10ms"]
    process = subprocess.Popen(command, env=environment(), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        assert process.stdout.readline() == b"a document\n"
        process.stderr.close()
        for _ in range(20):  # it goes on while nobody reads its log
            assert process.stdout.readline() == b"a document\n"
        process.send_signal(signal.SIGTERM)
        process.stdout.close()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
