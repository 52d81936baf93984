"""Running programs: what they get, what is said of their end, and that nothing of them is left."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecars.kit.notify.core.change import Change
from sidecars.kit.notify.core.outcome import Outcome, Result
from sidecars.kit.notify.exec import findings, run
from tests.support.limits import open_descriptors
from tests.support.waiting import until_async

CHANGE = Change("0a1b", "/content/..data")
ENVIRON = {"PATH": "/usr/bin:/bin", "ANIMAL": "owl"}
ENOUGH_SECONDS, LONG_SECONDS = 2.0, 60.0  # enough for a shell to have installed its traps
PR_SET_CHILD_SUBREAPER = 36


async def ran(*command: str, timeout_seconds: float = LONG_SECONDS) -> Outcome:
    return await run(command, CHANGE, timeout_seconds, ENVIRON)


async def shell(script: str, *arguments: str, timeout_seconds: float = LONG_SECONDS) -> Outcome:
    return await ran("/bin/sh", "-c", script, "sh", *arguments, timeout_seconds=timeout_seconds)


def state(pid: int) -> str:
    """The process's state letter; "" when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def gone(pid: int) -> bool:
    """Gone, or a zombie that waits for a parent which is none of ours."""
    return state(pid) in {"", "Z"}


def children() -> set[int]:
    """The children of this process, running or not taken away yet. Servers of other tests may be among them."""
    found = set()
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            stat = Path(f"/proc/{name}/stat").read_text(encoding="utf-8", errors="replace")
            if int(stat.rpartition(")")[2].split()[1]) == os.getpid():
                found.add(int(name))
    return found


@pytest.fixture
def pids(tmp_path: Path) -> Path:
    """A file that scripts write process ids to."""
    return tmp_path / "pids"


def written(pids: Path, count: int) -> list[int]:
    lines = pids.read_text(encoding="ascii").split() if pids.exists() else []
    return [int(line) for line in lines] if len(lines) >= count else []


@pytest.mark.parametrize(
    ("script", "result", "detail"),
    [
        ("exit 0", Result.OK, "exit status 0"),
        ("echo fine", Result.OK, "exit status 0: fine"),
        ("exit 3", Result.FAILED, "exit status 3"),
        ("echo out; echo err >&2; exit 1", Result.FAILED, "exit status 1: err"),
        ("echo out; exit 1", Result.FAILED, "exit status 1: out"),
        ("printf 'two\\n  lines\\033[0m\\n' >&2; exit 1", Result.FAILED, "exit status 1: two lines [0m"),
        ("printf '\\377' >&2; exit 1", Result.FAILED, "exit status 1: \ufffd"),
        ("kill -SEGV $$", Result.FAILED, "ended by SIGSEGV"),
        ("kill -KILL $$", Result.UNREACHABLE, "ended by SIGKILL"),
        ("echo no DNS >&2; exit 75", Result.UNREACHABLE, "exit status 75 (it cannot say now): no DNS"),
        ("kill -40 $$", Result.FAILED, "ended by signal 40"),
        ("exec >&- 2>&-; exit 4", Result.FAILED, "exit status 4"),
    ],
)
async def test_the_end_of_a_program_is_told_in_one_line(script: str, result: Result, detail: str) -> None:
    assert await shell(script) == Outcome(result, f"/bin/sh: {detail}")


async def test_a_program_gets_its_arguments_and_environment_as_they_are_and_no_input_and_no_shell() -> None:
    outcome = await ran("printf", "%s|", "{hash}", "{candidate}/x", "$HOME; {other} *", "")
    assert outcome.detail == "printf: exit status 0: 0a1b|/content/..data/x|$HOME; {other} *||"
    outcome = await ran("env")
    assert set(outcome.detail.removeprefix("env: exit status 0: ").split()) == {"PATH=/usr/bin:/bin", "ANIMAL=owl"}
    assert (await shell("cat; [ $(ps -o sid= -p $$) -eq $$ ]" if os.path.exists("/bin/ps") else "cat")).ok


async def test_much_output_never_blocks_and_its_end_is_kept() -> None:
    tracemalloc.start()
    try:
        outcome = await shell(
            "head -c 64000000 /dev/zero | tr '\\0' x; head -c 64000000 /dev/zero | tr '\\0' y >&2; echo end >&2; exit 1"
        )
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert outcome.detail.startswith("/bin/sh: exit status 1: yyyy")
    assert outcome.detail.endswith("yyend")
    assert len(outcome.detail) < 450
    assert most_bytes < 4 << 20


async def test_a_program_that_closes_its_outputs_keeps_nobody_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    reads, read = [], os.read

    def counted(descriptor: int, length: int) -> bytes:
        reads.append(descriptor)
        return read(descriptor, length)

    monkeypatch.setattr(os, "read", counted)
    assert (await shell("exec >&- 2>&-; sleep 0.3; exit 4")).detail == "/bin/sh: exit status 4"
    assert len(reads) < 50


@pytest.fixture
def hangup_ignored() -> Iterator[None]:
    """As in a sidecar's process."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, "the process's own choice must be put back"
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangup_ignored")
async def test_no_signal_is_ignored_in_the_program() -> None:
    outcome = await shell("grep SigIgn /proc/self/status")
    ignored = int(outcome.detail.rpartition(" ")[2], 16)  # of the others some may be: who started the tests decides
    assert not [n for n in (signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ) if ignored >> (n - 1) & 1]
    assert (await shell("kill -HUP $$")).detail == "/bin/sh: ended by SIGHUP"


@pytest.mark.usefixtures("hangup_ignored")
async def test_a_program_that_is_missing_leaves_the_signals_as_they_were() -> None:
    assert (await ran("/nowhere/program")).result is Result.DENIED


async def test_at_the_time_out_the_program_may_end_by_itself(pids: Path) -> None:
    script = 'trap "echo term > $1; exit 0" TERM; echo looking >&2; while :; do sleep 0.01; done'
    outcome = await shell(script, str(pids), timeout_seconds=ENOUGH_SECONDS)
    assert outcome.result is Result.TIMEOUT
    assert outcome.detail.startswith("/bin/sh did not end within 2 s and was killed: looking")
    assert pids.read_text(encoding="ascii") == "term\n"


DEEP = 'trap "" TERM HUP; (trap "" TERM; sleep 1000 & echo $! >> "$1"; wait) & echo $! $$ >> "$1"; wait'


async def test_at_the_time_out_nothing_is_left_though_all_ignore_the_first_signal(pids: Path) -> None:
    before = children()
    outcome = await shell(DEEP, str(pids), timeout_seconds=ENOUGH_SECONDS)
    assert outcome.result is Result.TIMEOUT
    assert len(written(pids, 3)) == 3
    assert children() == before, "it was waited for"
    await until_async(lambda: all(gone(pid) for pid in written(pids, 3)), "their end")


async def test_cancelling_leaves_nothing_behind(pids: Path) -> None:
    descriptors = open_descriptors()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(shell(DEEP, str(pids)))
        await until_async(lambda: bool(written(pids, 3)), "their pids")
        running.cancel()
    assert running.cancelled()
    children = written(pids, 3)
    await until_async(lambda: all(gone(pid) for pid in children), "their end")
    leader = children[-1]
    await until_async(lambda: not state(leader), "their end")
    assert open_descriptors() == descriptors


async def test_cancelling_during_the_pause_before_the_kill_leaves_nothing_behind(pids: Path) -> None:
    script = 'trap "echo $$ >> $1" TERM; echo $$ >> "$1"; while :; do sleep 0.01; done'
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(shell(script, str(pids), timeout_seconds=ENOUGH_SECONDS))
        await until_async(lambda: bool(written(pids, 2)), "their pids")
        running.cancel()
    await until_async(lambda: not state(written(pids, 2)[0]), "their end")


async def test_a_grandchild_that_holds_the_output_does_not_hold_us_and_ends_too(pids: Path) -> None:
    outcome = await shell('sleep 1000 & echo $! >> "$1"; echo done', str(pids))
    assert outcome == Outcome(Result.OK, "/bin/sh: exit status 0: done")
    await until_async(lambda: gone(written(pids, 1)[0]), "their end")


async def test_who_left_the_group_does_not_hold_us_though_it_writes_for_ever(pids: Path) -> None:
    outcome = await shell('setsid sh -c "echo \\$\\$ >> $1; exec yes" & while ! [ -s "$1" ]; do :; done', str(pids))
    assert outcome.ok
    await until_async(lambda: gone(written(pids, 1)[0]), "their end")  # nobody reads: SIGPIPE


async def test_as_the_first_process_of_a_container_we_bury_what_the_program_left(pids: Path) -> None:
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    assert prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        assert (await shell('sleep 1000 & echo $! >> "$1"', str(pids))).ok
        await until_async(lambda: not state(written(pids, 1)[0]), "their end")
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


async def test_many_at_once_do_not_disturb_each_other() -> None:
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(shell(f"echo {n}; exit {n}")) for n in range(20)]
    assert [task.result().detail for task in running] == [f"/bin/sh: exit status {n}: {n}" for n in range(20)]


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (
            None,
            0,
            "No such file or directory; is it (and for a script the interpreter of its first line) in this image?",
        ),
        ("#!/nowhere/sh\n", 0o755, "No such file or directory; is it (and for a script"),
        ("#!/bin/sh\n", 0o644, "Permission denied; is it executable"),
        ("nonsense\n", 0o755, "Exec format error; is it for this architecture"),
    ],
)
async def test_what_cannot_be_started_is_denied_by_name(
    tmp_path: Path, content: str | None, mode: int, words: str
) -> None:
    program = tmp_path / "program"
    if content is not None:
        program.write_text(content, encoding="ascii")
        program.chmod(mode)
    outcome = await ran(str(program), "secret-argument")
    assert outcome.result is Result.DENIED
    assert outcome.detail.startswith(f"cannot start {program}: {words}")
    assert "secret-argument" not in outcome.detail
    for command in (("printf", "a\0b"), (str(tmp_path),), ("printf", "x" * (1 << 22)), ("no-such-program",)):
        outcome = await ran(*command)
        assert (outcome.result, outcome.detail.startswith(f"cannot start {command[0]}: ")) == (Result.DENIED, True)


async def test_a_shortage_is_a_failure_that_may_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    descriptors, before = open_descriptors(), children()

    def no_more(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_more)
    outcome = await ran("sleep", "1000")
    assert outcome == Outcome(Result.UNREACHABLE, "cannot start sleep: Resource temporarily unavailable")
    assert children() == before
    assert open_descriptors() == descriptors


@pytest.mark.parametrize(
    ("command", "level", "text"),
    [
        (("sh", "-c"), "ok", "would run /"),
        ((sys.executable,), "ok", f"would run {sys.executable}"),
        (("no-such-program",), "error", "cannot run 'no-such-program': there is no such executable program; is it in"),
        (("/etc/passwd",), "error", "cannot run '/etc/passwd'"),
        ((), "error", "cannot run ''"),
        (("{candidate}/check",), "ok", "would run {candidate}/check, a part of the content"),
    ],
)
def test_check_says_whether_a_program_is_there(command: tuple[str, ...], level: str, text: str) -> None:
    [(found, words)] = findings(command)
    assert found == level
    assert words.startswith(text)
