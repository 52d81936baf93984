"""Signals to real processes, of several users and namespaces; a made-up /proc where reality cannot be had."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from sidecars.kit.notify.core.options import Signal
from sidecars.kit.notify.core.outcome import Outcome, Result
from sidecars.kit.notify.core.selection import Match
from sidecars.kit.notify.processes import read, read_pidfile, scan
from sidecars.kit.notify.signal import deliver, findings, ready, search, send
from tests.support.app_process import AppProcess, MadeUpProc, ask

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become other users")
NAMESPACE = ("unshare", "-p", "-f", "--mount-proc")
HAS_NAMESPACES = (
    shutil.which("unshare") is not None
    and subprocess.run([*NAMESPACE, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0
)
OWN_NAMESPACE = pytest.mark.skipif(not HAS_NAMESPACES, reason="unshare -p --mount-proc is not permitted here")
NO_CAPABILITIES = ("setpriv", "--inh-caps", "-all", "--bounding-set", "-all")
ONLY_KILL = ("setpriv", "--inh-caps", "-all", "--bounding-set", "-all,+kill")
OTHER, ANOTHER = 41001, 41002


def name() -> str:
    """A command name that no other test run uses."""
    return f"app{os.getpid()}"


@contextmanager
def pod(first: str) -> Iterator[tuple[str, ...]]:
    """A process namespace whose PID 1 has this name; yields what to put before a command to run it there, where its
    parent is not seen (as that of a container in a shared namespace is not).
    """
    with AppProcess(first, prefix=(*NAMESPACE, "--kill-child")) as init:
        (child,) = Path(f"/proc/{init.parent}/task/{init.parent}/children").read_text().split()
        yield ("nsenter", "-t", child, "-p", "-m", "-r", "--")  # and its root, which is another one in a chroot


def test_the_app_gets_its_signal_once_and_is_named() -> None:
    with AppProcess(name()) as app:
        assert send(Signal(process=name())) == Outcome(Result.OK, f"SIGHUP to {app.pid} ({name()})")
        assert app.received() == [f"{app.pid} 1"]


def test_only_the_master_is_signalled_not_its_workers() -> None:
    with AppProcess(name(), workers=2) as app:
        workers = [p for p in scan("/proc").processes if p.ppid == app.pid]
        assert [p.comm for p in workers] == [name()] * 2
        assert send(Signal(comm=name())).ok
        assert app.received() == [f"{app.pid} 1"]


def test_a_process_without_a_handler_stays_alive_and_is_told_once_it_has_one() -> None:
    step = Signal(process=name())
    with AppProcess(name(), "none") as app:
        assert not ready(step)
        outcome = send(step)
        assert outcome.result is Result.UNREACHABLE
        assert "has no handler for SIGHUP yet, it would be killed: waiting" in outcome.detail
        assert app.alive
        app.install_handler()
        assert ready(step)
        assert send(step).ok
        assert app.received() == [f"{app.pid} 1"]


def test_a_process_that_ignores_the_signal_is_not_told() -> None:
    with AppProcess(name(), "ignored"):
        assert "ignores SIGHUP" in send(Signal(process=name())).detail


def test_a_process_that_blocks_the_signal_to_wait_for_it_is_told() -> None:
    with AppProcess(name(), "blocked") as app:
        assert send(Signal(process=name())).ok
        assert app.received() == [f"{app.pid} 1"]


def test_a_signal_that_means_the_end_needs_no_handler() -> None:
    with AppProcess(name()) as app:
        assert send(Signal(process=name(), signal="TERM")).detail == f"SIGTERM to {app.pid} ({name()})"
        assert not app.alive


def test_who_says_so_may_signal_without_a_handler() -> None:
    with AppProcess(name(), "none") as app:
        assert send(Signal(process=name(), require_handler=False)).ok
        assert not app.alive


def test_of_two_apps_neither_is_signalled_until_the_choice_is_narrowed() -> None:
    with AppProcess(name()) as one, AppProcess(name()) as two:
        outcome = send(Signal(process=name()))
        assert outcome.result is Result.UNREACHABLE
        assert str(one.pid) in outcome.detail
        assert str(two.pid) in outcome.detail
        assert one.received() == two.received() == []


def test_nobody_of_that_name_is_unreachable() -> None:
    outcome = send(Signal(process="no-such-app-anywhere"))
    assert outcome.result is Result.UNREACHABLE
    assert "cannot find a process that fits process 'no-such-app-anywhere'" in outcome.detail


@pytest.mark.parametrize(
    ("text", "found"), [("{}\n", True), ("  {} \n1700000000\n", True), ("", False), ("-{}", False)]
)
def test_a_pidfile_names_the_process(tmp_path: Path, text: str, found: bool) -> None:
    with AppProcess(name()) as app:
        file = tmp_path / "app.pid"
        file.write_text(text.format(app.pid))
        outcome = send(Signal(pidfile=str(file)))
        assert outcome.result is (Result.OK if found else Result.UNREACHABLE)
        assert app.received() == [f"{app.pid} 1"] * found


def test_a_pidfile_older_than_its_process_is_stale(tmp_path: Path) -> None:
    file = tmp_path / "app.pid"
    with AppProcess(name()) as app:
        file.write_text(str(app.pid))
        os.utime(file, (0, os.stat(file).st_mtime - 60))
        outcome = send(Signal(pidfile=str(file)))
        assert outcome.result is Result.UNREACHABLE
        assert "started after the file was written" in outcome.detail
        assert app.received() == []


def test_a_pidfile_that_cannot_be_used_is_said_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    for which, result, word in (
        ("fifo", Result.DENIED, "not a regular file"),
        ("loop", Result.DENIED, "symbolic links"),
        ("missing", Result.UNREACHABLE, "there is no"),
        (".", Result.DENIED, "not a regular file"),
    ):
        outcome = send(Signal(pidfile=str(tmp_path / which)))
        assert (outcome.result, word in outcome.detail) == (result, True), outcome


def test_nothing_is_shown_of_a_pidfile_that_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2")
    assert "hunter2" not in send(Signal(pidfile=str(tmp_path / "secret"))).detail
    assert read_pidfile(str(tmp_path / "secret")) is None


def test_a_process_that_ended_between_the_look_and_the_signal_is_unreachable() -> None:
    step = Signal(process=name())
    with AppProcess(name()):
        seen = search(step)
    assert deliver(step, seen).result is Result.UNREACHABLE


def test_a_number_that_went_to_another_process_gets_nothing(tmp_path: Path) -> None:
    proc, step = MadeUpProc(tmp_path), Signal(process="app")
    with AppProcess(name()) as other:
        proc.add(other.pid, "app", ["app"], start_time=100)
        seen = search(step, proc.path)
        assert seen.selection.found is Match.YES
        proc.add(other.pid, "app", ["app"], start_time=200)
        assert deliver(step, seen, proc.path).result is Result.UNREACHABLE
        assert other.received() == []


def test_a_handler_that_is_gone_at_the_second_look_is_not_trusted(tmp_path: Path) -> None:
    proc, step = MadeUpProc(tmp_path), Signal(process="app")
    with AppProcess(name()) as app:
        proc.add(app.pid, "app", ["app"])
        seen = search(step, proc.path)
        proc.add(app.pid, "app", ["app"], caught=0)
        assert deliver(step, seen, proc.path).result is Result.UNREACHABLE
        assert app.received() == []


@OWN_NAMESPACE
@ROOT_ONLY
def test_a_number_that_the_kernel_gave_to_another_process_gets_nothing() -> None:
    with pod("pause") as inside:
        same_number, stale, fresh, received = ask("reused", Signal(process="app", require_handler=False), prefix=inside)
    assert same_number
    assert stale["result"] == "unreachable"
    assert fresh["result"] == "ok"
    assert len(received) == 1


def without_pidfd(monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    def refuse(*_: object) -> int:
        raise error

    monkeypatch.setattr(os, "pidfd_open", refuse)


@pytest.mark.parametrize("error", [OSError(38, "ENOSYS"), PermissionError(1, "seccomp"), OSError(24, "EMFILE")])
def test_without_pidfd_the_process_is_looked_at_again_and_signalled(
    monkeypatch: pytest.MonkeyPatch, error: OSError, tmp_path: Path
) -> None:
    without_pidfd(monkeypatch, error)
    proc, step = MadeUpProc(tmp_path), Signal(process="app")
    with AppProcess(name()) as app:
        assert send(Signal(process=name())).ok
        assert app.received() == [f"{app.pid} 1"]
        proc.add(app.pid, "app", ["app"])
        seen = search(step, proc.path)
        proc.add(app.pid, "app", ["app"], start_time=200)
        assert deliver(step, seen, proc.path).result is Result.UNREACHABLE
        assert app.received() == []


WHO: dict[str, tuple[int, int, Sequence[str], bool]] = {  # app's uid, ours, how we are started, may we
    "the same user": (OTHER, OTHER, (), True),
    "another user": (OTHER, ANOTHER, (), False),
    "root without capabilities": (OTHER, -1, NO_CAPABILITIES, False),
    "root with only KILL": (OTHER, -1, ONLY_KILL, True),
    "a user, the app is root": (-1, OTHER, (), False),
}


@ROOT_ONLY
@pytest.mark.parametrize(("app_uid", "uid", "prefix", "may"), WHO.values(), ids=WHO.keys())
def test_who_may_signal_and_what_is_said_if_not(app_uid: int, uid: int, prefix: Sequence[str], may: bool) -> None:
    step = Signal(process=name())
    with AppProcess(name(), uid=app_uid) as app:
        found = ask("findings", step, uid=uid, prefix=prefix)
        assert app.received() == []  # a check sends nothing
        outcome = ask("send", step, uid=uid, prefix=prefix)
        assert app.received() == [f"{app.pid} 1"] * may
    assert outcome["result"] == ("ok" if may else "denied")
    assert [level for level, _ in found] == ["ok" if may else "error"]
    if not may:
        shown = (f"runs as uid {max(app_uid, 0)}", f"this sidecar as uid {max(uid, 0)}", "CapEff 0000000000000000")
        fixes = (f"securityContext.runAsUser: {max(app_uid, 0)}", "capabilities add KILL")
        assert all(words in outcome["detail"] for words in (*shown, *fixes, "kubernetes#56374"))
        assert found[0][1] == outcome["detail"]


@ROOT_ONLY
@OWN_NAMESPACE
def test_hidden_processes_are_mentioned() -> None:
    script = 'mount -t proc -o hidepid=2 proc /proc; "$@"; exit $?'  # the shell, PID 1, is root's
    outcome = ask(
        "send", Signal(process="x"), uid=OTHER, prefix=("unshare", "-p", "-f", "-m", "sh", "-c", script, "sh")
    )
    assert "hidepid" in outcome["detail"]


@OWN_NAMESPACE
def test_in_a_pod_the_pause_process_is_never_signalled() -> None:
    with pod("pause") as inside, AppProcess("app", prefix=inside) as app:
        for step in (Signal(process="pause"), Signal(comm="pause"), Signal(comm="pause", require_handler=False)):
            outcome = ask("send", step, prefix=inside)
            assert outcome["result"] == "unreachable"
            assert "1 (pause) does, but is the pause process of the pod, not the app" in outcome["detail"]
            assert [level for level, _ in ask("findings", step, prefix=inside)] == ["error"]
        assert ask("send", Signal(process="app"), prefix=inside)["detail"] == f"SIGHUP to {app.pid} (app)"


@OWN_NAMESPACE
def test_any_process_of_a_pod_that_handles_the_signal_is_signalled() -> None:
    with (
        pod("pause") as inside,
        AppProcess("one", prefix=inside, workers=1) as one,
        AppProcess("two", prefix=inside) as two,
        AppProcess("three", "none", prefix=inside) as three,
    ):
        outcome = ask("send", Signal(process="any"), prefix=inside)
        assert outcome["detail"] == f"SIGHUP to {one.pid} (one), {two.pid} (two)"
        assert one.received() == [f"{one.pid} 1"]
        assert two.received() == [f"{two.pid} 1"]
        assert three.alive


@ROOT_ONLY
@OWN_NAMESPACE
def test_if_one_of_any_may_not_be_signalled_none_is() -> None:
    with (
        pod("pause") as inside,
        AppProcess("one", prefix=inside, uid=OTHER) as one,
        AppProcess("two", prefix=inside, uid=ANOTHER),
    ):
        assert ask("send", Signal(process="any"), prefix=inside, uid=OTHER)["result"] == "denied"
        assert one.received() == []


@OWN_NAMESPACE
def test_before_the_app_is_started_a_check_only_warns() -> None:
    with pod("pause") as inside:
        ((level, text),) = ask("findings", Signal(process="app"), prefix=inside)
    assert (level, "nothing runs yet but the sidecars" in text) == ("warning", True)


@ROOT_ONLY
@OWN_NAMESPACE
def test_before_the_app_is_started_a_check_knows_from_its_uid_that_we_may_not() -> None:
    with pod("pause") as inside:
        found = ask("findings", Signal(process="app", uid=OTHER), prefix=inside, uid=ANOTHER)
    assert [level for level, _ in found] == ["error", "warning"]
    assert f"securityContext.runAsUser: {OTHER}" in found[0][1]


@OWN_NAMESPACE
def test_a_check_says_that_the_process_namespace_is_not_shared() -> None:
    ((level, text),) = ask("findings", Signal(process="app"), prefix=NAMESPACE)
    assert level == "error"
    assert "shareProcessNamespace: true" in text


@OWN_NAMESPACE
def test_a_process_that_is_not_found_says_that_the_process_namespace_is_not_shared() -> None:
    told = ask("send", Signal(process="app"), prefix=NAMESPACE)
    assert told["result"] == "unreachable"
    assert "there are only our own processes: set shareProcessNamespace: true" in told["detail"]


def test_among_other_processes_than_those_of_a_pod_the_namespace_is_named_too(tmp_path: Path) -> None:
    proc = MadeUpProc(tmp_path)
    proc.add(1, "systemd")
    outcome = send(Signal(process="nobody-is-called-so"), str(tmp_path))
    assert outcome.result is Result.UNREACHABLE
    assert "only with shareProcessNamespace: true" in outcome.detail


CHECKED = {
    "it would be signalled": (("app", "app", 1), [("ok", "would send SIGHUP to 7 (app)")]),
    "it has no handler": (("app", "app", 0), [("warning", "has no handler for SIGHUP yet")]),
    "there is another only": (("other", "other", 1), [("error", "cannot find a process")]),
}


@pytest.mark.parametrize(("process", "expected"), CHECKED.values(), ids=CHECKED.keys())
def test_a_check_says_what_would_be_signalled(
    tmp_path: Path, process: tuple[str, str, int], expected: list[tuple[str, str]]
) -> None:
    proc = MadeUpProc(tmp_path)
    proc.add(1, "pause", ["/pause"], caught=0)
    proc.add(7, process[0], [process[1]], caught=process[2])  # of the same user as we are there, whoever runs this
    found = findings(Signal(process="app"), proc.path)
    assert [level for level, _ in found] == [level for level, _ in expected]
    assert all(words in text for (_, text), (_, words) in zip(found, expected, strict=True))


def test_a_proc_of_another_namespace_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "self").symlink_to("1")
    outcome = send(Signal(process="app"), str(tmp_path))
    assert outcome.result is Result.DENIED
    assert "another process namespace" in outcome.detail
    assert send(Signal(process="app"), str(tmp_path / "nowhere")).result is Result.DENIED


def test_names_and_command_lines_may_hold_anything(tmp_path: Path) -> None:
    proc = MadeUpProc(tmp_path)
    proc.add(7, "a) R 1 (b c", ["\udcff\udcfe", "", "x y"], ppid=3)
    process = read(proc.path, 7)
    assert process is not None
    assert (process.comm, process.ppid, process.state) == ("a) R 1 (b c", 3, "S")
    assert process.argv == ("\ufffd\ufffd", "", "x y")


def test_a_process_that_goes_while_it_is_read_is_left_out(tmp_path: Path) -> None:
    proc = MadeUpProc(tmp_path)
    proc.add(7, "app")
    (tmp_path / "7" / "cmdline").unlink()
    (tmp_path / "8").mkdir()
    assert [p.pid for p in scan(proc.path).processes] == [os.getpid()]


def test_zombies_and_kernel_threads_are_recognised() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has asked how
        process = read("/proc", ended.pid)
        assert process is not None
        assert (process.ended, process.argv) == (True, ())
    assert read("/proc", ended.pid) is None


def test_what_python_says_of_its_own_signals_is_what_is_read() -> None:
    own = read("/proc", os.getpid())
    assert own is not None
    interrupt_is_ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # by a shell, for what runs beside it
    assert own.ignores(signal.SIGINT) == interrupt_is_ignored != own.handles(signal.SIGINT)
    assert own.ignores(signal.SIGPIPE)


@pytest.mark.parametrize(
    ("argv", "exe", "step", "doubted"),
    [
        pytest.param(("java", "-jar", "app.jar"), "", {}, True, id="by its command"),
        pytest.param(("/usr/lib/jvm/bin/java", "App"), "", {}, True, id="by its path"),
        pytest.param(("tomcat",), "/opt/jdk-21/bin/java", {}, True, id="by its program"),
        pytest.param(("tomcat",), "/opt/jdk-21/bin/java (deleted)", {}, True, id="by its program before an update"),
        pytest.param(("java", "-jar", "app.jar"), "", {"process": "any"}, True, id="as any"),
        pytest.param(("java", "-Xrs", "-jar", "app.jar"), "", {}, False, id="told to leave signals alone"),
        pytest.param(("java", "-jar", "app.jar"), "", {"signal": "SIGUSR1"}, False, id="another signal"),
        pytest.param(("javadoc-server",), "/opt/jdk-21/bin/javadoc", {}, False, id="another program"),
    ],
)
def test_a_java_virtual_machine_that_would_exit_is_warned_of(
    tmp_path: Path, argv: tuple[str, ...], exe: str, step: dict[str, str], doubted: bool
) -> None:
    proc = MadeUpProc(tmp_path)
    proc.add(4_000_001, "app", argv, caught=0xFFFF, exe=exe)
    found = findings(Signal(**{"comm": "app", **step}), proc.path)  # type: ignore[arg-type]  # texts, all of them
    warnings = [text for level, text in found if level == "warning"]
    assert [("Java" in text, "(status 129)" in text) for text in warnings] == [(True, True)] * doubted


@pytest.mark.skipif(shutil.which("javac") is None, reason="there is no JDK here")
def test_a_real_java_virtual_machine_is_known_and_warned_of(tmp_path: Path) -> None:
    """It exits, as it always does: whoever reads the log learns why."""
    (tmp_path / "Sleeper.java").write_text(
        "public class Sleeper { public static void main(String[] a) throws Exception {"
        ' System.out.println("up"); Thread.sleep(60000); } }'
    )
    pidfile = tmp_path / "pid"
    program = f"echo $$ > {pidfile}; exec java -Xmx64m -XX:TieredStopAtLevel=1 {tmp_path}/Sleeper.java"
    # Started by a shell that has ended, since a sidecar does not signal what it started itself.
    shell = subprocess.Popen(["sh", "-c", f"sh -c '{program}' & true"], stdout=subprocess.PIPE, text=True)
    with shell:
        assert shell.stdout
        assert shell.stdout.readline() == "up\n"
        step = Signal(pidfile=str(pidfile))
        assert "Java virtual machine" in "".join(text for _, text in findings(step))
        outcome = send(step)
        assert outcome.ok, outcome
        assert "Java virtual machine" in outcome.doubt
        assert shell.stdout.read() == ""  # it has ended
