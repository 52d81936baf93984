"""Signals to real processes, of several users and namespaces; a made-up /proc where reality cannot be had."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sidecars.kit.notify.core.options import Signal
from sidecars.kit.notify.core.outcome import Result
from sidecars.kit.notify.core.selection import Match
from sidecars.kit.notify.processes import read, scan
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


HANDLING: dict[str, tuple[str, int, dict[str, Any], str, bool, bool]] = {
    # how the app takes SIGHUP, its workers, options; what is said; whether it got it; whether it lives
    "it catches it": ("caught", 0, {}, "SIGHUP to PID", True, True),
    "a master of workers with its name": ("caught", 2, {}, "SIGHUP to PID", True, True),
    "it blocks it to wait for it": ("blocked", 0, {}, "SIGHUP to PID", True, True),
    "it has no handler yet": ("none", 0, {}, "has no handler for SIGHUP yet, it would be killed: waiting", False, True),
    "none is required": ("none", 0, {"require_handler": False}, "SIGHUP to PID", False, False),
    "it ignores it": ("ignored", 0, {}, "ignores SIGHUP", False, True),
    "a signal that means the end": ("caught", 0, {"signal": "TERM"}, "SIGTERM to PID", False, False),
}


@pytest.mark.parametrize(("how", "workers", "options", "words", "got", "lives"), HANDLING.values(), ids=HANDLING.keys())
def test_an_app_is_signalled_once_if_it_is_ready_for_it(
    how: str, workers: int, options: dict[str, Any], words: str, got: bool, lives: bool
) -> None:
    step = Signal(process=name(), **options)
    with AppProcess(name(), how, workers=workers) as app:
        assert len([p for p in scan("/proc").processes if p.ppid == app.pid and p.comm == name()]) == workers
        is_ready = ready(step)
        outcome = send(step)
        assert words.replace("PID", f"{app.pid} ({name()})") in outcome.detail
        assert is_ready is outcome.ok is (words.endswith("PID"))
        assert outcome.ok or outcome.result is Result.UNREACHABLE
        assert app.received() == [f"{app.pid} 1"] * got if lives else not app.alive
        if how == "none" and lives:
            app.install_handler()
            assert send(step).ok
            assert app.received() == [f"{app.pid} 1"]


def test_of_two_apps_neither_is_signalled_until_the_choice_is_narrowed() -> None:
    with AppProcess(name()) as one, AppProcess(name()) as two:
        outcome = send(Signal(process=name()))
        assert outcome.result is Result.UNREACHABLE
        assert str(one.pid) in outcome.detail
        assert str(two.pid) in outcome.detail
        assert one.received() == two.received() == []


PIDFILES: dict[str, tuple[str, Result, str]] = {
    "a number": ("{}\n", Result.OK, "SIGHUP to"),
    "a number and more": ("  {} \n1700000000\n", Result.OK, "SIGHUP to"),
    "nothing": ("", Result.UNREACHABLE, "holds no process id"),
    "a group": ("-{}", Result.UNREACHABLE, "holds no process id"),
    "something else": ("hunter2", Result.UNREACHABLE, "holds no process id"),
    "older than its process": ("{}", Result.UNREACHABLE, "started after the file was written"),
    "missing": ("", Result.UNREACHABLE, "there is no"),
    "a pipe": ("", Result.DENIED, "not a regular file"),
    "a folder": ("", Result.DENIED, "not a regular file"),
    "a loop of links": ("", Result.DENIED, "symbolic links"),
}


@pytest.mark.parametrize("which", PIDFILES)
def test_a_pidfile_names_the_process_and_nothing_else_of_it_is_shown(tmp_path: Path, which: str) -> None:
    text, result, words = PIDFILES[which]
    file = tmp_path / "app.pid"
    make: dict[str, Callable[[], object]] = {
        "missing": lambda: None,
        "a pipe": lambda: os.mkfifo(file),
        "a folder": file.mkdir,
        "a loop of links": lambda: file.symlink_to(file.name),
    }
    with AppProcess(name()) as app:
        make.get(which, lambda: file.write_text(text.format(app.pid)))()
        if which == "older than its process":
            os.utime(file, (0, file.stat().st_mtime - 60))
        outcome = send(Signal(pidfile=str(file)))
        assert (outcome.result, words in outcome.detail, "hunter2" in outcome.detail) == (result, True, False)
        assert app.received() == [f"{app.pid} 1"] * outcome.ok


def test_a_process_that_ended_between_the_look_and_the_signal_is_unreachable() -> None:
    step = Signal(process=name())
    with AppProcess(name()):
        seen = search(step)
    assert deliver(step, seen).result is Result.UNREACHABLE


def without_pidfd(monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    def refuse(*_: object) -> int:
        raise error

    monkeypatch.setattr(os, "pidfd_open", refuse)


@pytest.mark.parametrize(
    "error", [None, OSError(38, "ENOSYS"), PermissionError(1, "seccomp"), OSError(24, "EMFILE")], ids=str
)
@pytest.mark.parametrize("now", [{"start_time": 200}, {"caught": 0}], ids=["another process", "without its handler"])
def test_who_is_another_at_the_second_look_gets_nothing_also_without_pidfd(
    monkeypatch: pytest.MonkeyPatch, error: OSError | None, tmp_path: Path, now: dict[str, int]
) -> None:
    if error:
        without_pidfd(monkeypatch, error)
    proc, step = MadeUpProc(tmp_path), Signal(process="app")
    with AppProcess(name()) as app:
        assert send(Signal(process=name())).ok
        assert app.received() == [f"{app.pid} 1"]
        proc.add(app.pid, "app", ["app"])
        seen = search(step, proc.path)
        assert seen.selection.found is Match.YES
        proc.add(app.pid, "app", ["app"], **now)
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
        step = Signal(comm="pause", require_handler=False)
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


@ROOT_ONLY
@OWN_NAMESPACE
def test_before_the_app_is_started_a_check_only_warns_unless_we_may_not_signal_its_user() -> None:
    with pod("pause") as inside:
        ((level, text),) = ask("findings", Signal(process="app"), prefix=inside)
        assert (level, "nothing runs yet but the sidecars" in text) == ("warning", True)
        found = ask("findings", Signal(process="app", uid=OTHER), prefix=inside, uid=ANOTHER)
    assert [level for level, _ in found] == ["error", "warning"]
    assert f"securityContext.runAsUser: {OTHER}" in found[0][1]


@OWN_NAMESPACE
def test_where_only_our_own_processes_are_seen_the_remedy_is_named() -> None:
    words = "there are only our own processes: set shareProcessNamespace: true"
    ((level, text),) = ask("findings", Signal(process="app"), prefix=NAMESPACE)
    assert (level, words in text) == ("error", True)
    told = ask("send", Signal(process="app"), prefix=NAMESPACE)
    assert (told["result"], words in told["detail"]) == ("unreachable", True)


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
