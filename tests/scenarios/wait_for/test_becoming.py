"""The command after `--`: it takes the place of the process, and inherits what a command should."""

import contextlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import GiveUp
from tests.scenarios.wait_for.conftest import Start
from tests.support.listeners import Listener, closing, listening
from tests.support.processes import Done, can_run, catches, environment, run, sidecar
from tests.support.scale import scaled
from tests.support.waiting import until

NO_LAST_WORDS = {"WAIT_FOR_TERMINATION_LOG": ""}


STANDARD_SIGNALS = (1 << 31) - 1
"""1 to 31 (signal(7)); what the C library does with those of its own is not ours."""


def become(*command: str, feed: str = "", prefix: tuple[str, ...] = (), **variables: str) -> Done:
    """Wait for something that is there, then become the command."""
    return sidecar(
        "wait-for", "file:///", "--", *command, input=feed, prefix=prefix, variables=NO_LAST_WORDS | variables
    )


def test_stdin_stdout_and_the_arguments_are_the_commands_own() -> None:
    done = become("sh", "-c", 'cat; printf "[%s]" "$@"', "sh", "a b", "--", "--help", "log-shipper", feed="fed\n")
    assert (done.returncode, done.stdout) == (0, "fed\n[a b][--][--help][log-shipper]")


@pytest.mark.parametrize(
    ("script", "status"), [("exit 7", 7), ("kill -9 $$", -9), ("kill -PIPE $$", -13), ("kill $$", -15)]
)
def test_the_process_and_the_status_are_the_commands(wait_for: Start, tmp_path: Path, script: str, status: int) -> None:
    run = wait_for("file:///", "--", "sh", "-c", f"echo $$ > {tmp_path}/pid; {script}")
    assert run.wait() == status
    assert int((tmp_path / "pid").read_text(encoding="ascii")) == run.pid


def test_no_signal_is_ignored_or_blocked_and_no_file_left_open() -> None:
    """Asked without a shell, which would clear the mask."""
    clear = ("env", "--default-signal")
    status = become("grep", "-E", "^Sig(Ign|Blk)", "/proc/self/status", prefix=clear).stdout
    masks = dict(line.split(":\t") for line in status.splitlines())
    assert masks.keys() == {"SigIgn", "SigBlk"}
    assert not any(int(mask, 16) & STANDARD_SIGNALS for mask in masks.values())
    assert become("ls", "/proc/self/fd").stdout.split() == ["0", "1", "2", "3"]  # the last is the folder itself


@pytest.mark.parametrize(
    ("number", "installed"), [(signal.SIGHUP, False), (signal.SIGINT, True), (signal.SIGTERM, True)]
)
def test_what_was_ignored_when_it_was_started_stays_ignored_for_the_command(
    tmp_path: Path, number: signal.Signals, installed: bool
) -> None:
    """As by `nohup wait-for ... -- job`."""
    program = tmp_path / "wait-for"
    program.write_text("import sys\nfrom sidecars.__main__ import named\nsys.exit(named())\n", encoding="utf-8")
    entry = [str(program)] if installed else ["-m", "sidecars", "wait-for"]
    words = ["env", "--default-signal", f"--ignore-signal={number.name[3:]}", sys.executable, *entry]
    words += ["file:///", "--", "grep", "SigIgn", "/proc/self/status"]
    done = run(*words, variables=NO_LAST_WORDS)
    assert int(done.stdout.split()[1], 16) & STANDARD_SIGNALS == 1 << (number - 1)


def test_the_environment_is_the_one_that_was_given() -> None:
    """Python adds LC_CTYPE where no locale is named (PEP 538); what we leave out for ourselves is the app's."""
    assert {"LC_CTYPE", "LC_ALL", "LANG"}.isdisjoint(environment())
    assert "LC_CTYPE" not in become("env").stdout
    assert "LC_CTYPE=C.utf8\n" in become("env", LC_CTYPE="C.utf8").stdout
    assert "OTEL_PROPAGATORS=b3\n" in become("env", OTEL_PROPAGATORS="b3").stdout


def test_a_command_without_a_name_is_not_there_though_nobody_reads_the_log() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as nobody:
        done = sidecar("wait-for", "file:///", "--", "", stderr=nobody, stdout=nobody, variables=NO_LAST_WORDS)
    assert done.returncode == 127


def test_it_is_not_run_before_all_is_ready_nor_without(wait_for: Start, tmp_path: Path) -> None:
    file = tmp_path / "it-ran"
    command = ("--", "touch", str(file))
    with Listener() as late:
        run = wait_for(late.place, *command, progress_seconds=0.1)
        run.until_blocked("refused")
        assert not file.exists()
        late.listen(closing)
        assert run.wait() == 0
        assert file.exists()
        file.unlink()
    assert wait_for(late_place := "tcp://a..b:1", *command).wait() == 3, late_place
    assert wait_for("file:///nope", *command, timeout_seconds=0.2).wait() == 1
    assert not file.exists()


def test_a_command_that_cannot_be_run_is_told_as_a_shell_does(wait_for: Start, tmp_path: Path) -> None:
    plain, odd, gone = tmp_path / "plain", tmp_path / "odd", tmp_path / "gone"
    plain.touch(mode=0o644)
    odd.write_bytes(b"\x7fnot a program")
    gone.write_text("#!/nosuch/interpreter\n", encoding="utf-8")
    odd.chmod(0o755)
    gone.chmod(0o755)
    for command, status in (
        (plain, 126),
        (odd, 126),
        (gone, 127),
    ):
        run = wait_for("file:///", "--", str(command))
        assert run.wait() == status
        assert run.left.startswith(f"cannot run {command}: ")


@pytest.mark.parametrize(("name", "status"), [("nosuch", 127), ("/etc/passwd", 126)])
def test_a_command_that_cannot_be_run_is_seen_before_the_wait(wait_for: Start, name: str, status: int) -> None:
    with Listener() as nobody:
        run = wait_for(nobody.place, "--", name, timeout_seconds=600)
        assert run.wait() == status
        assert run.left.startswith(f"cannot run {name}: ")


def test_a_command_may_come_with_the_files_that_are_waited_for(wait_for: Start, tmp_path: Path) -> None:
    brought, ready = tmp_path / "program", tmp_path / "ready"
    run = wait_for(f"file://{ready}", "--", str(brought), progress_seconds=0.1)
    run.until_blocked()
    brought.write_text("#!/bin/sh\nexit 7\n", encoding="utf-8")
    brought.chmod(0o755)
    ready.touch()
    assert run.wait() == 7


def test_a_sigterm_at_any_moment_ends_it_before_or_after_it_has_become_the_command(
    wait_for: Start, rng: random.Random
) -> None:
    """143 is ours, -15 is the kernel's; a lost signal would leave it asleep."""
    with listening(closing) as there:
        for _ in range(scaled(8, 50)):
            run = wait_for(there.place, "--", "sleep", "600")
            until(run.catches, "the first handler")
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.wait(rng.uniform(0, 0.5))  # a random moment is what is tested
            assert run.terminate() in {143, -15}


def test_as_process_1_it_becomes_the_command_and_that_hears_the_signals(
    wait_for: Start, without_server: GiveUp
) -> None:
    """As process 1 a default action is to do nothing, so the command has a handler, as an app in a container has."""
    asleep = "trap 'exit 5' TERM; echo up; sleep 600 & wait"
    inside = ("unshare", "--pid", "--fork", "--kill-child")
    if not can_run(*inside, "true"):
        without_server("PID namespace", "unshare --pid is not allowed here")
    with listening(closing) as there:
        run = wait_for(there.place, "--", "sh", "-c", asleep, prefix=inside)
        run.until(lambda: run.logged("wait.done"), "the end of the waiting")
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children")
        pid = int(children.read_text(encoding="ascii"))
        until(lambda: catches(pid) and b"sh\0" in Path(f"/proc/{pid}/cmdline").read_bytes(), "the trap")
        os.kill(pid, signal.SIGTERM)
        assert run.wait() == 5
