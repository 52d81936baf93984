"""An app to be signalled, as a real process, and a made-up /proc.

As a program: `app|orphan UID NAME HOW WORKERS` is the app; `tell|findings|reused UID STEP` run the signalling code as
another user or in another process namespace, and print what it says as JSON. They become the user by themselves, once
all is imported: another user need not be able to read this checkout.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import msgspec

from tests.support.processes import ROOT, environment, run
from tests.support.waiting import until

_PROGRAM = (sys.executable, "-m", "tests.support.app_process")
_PR_SET_NAME, _PR_SET_PDEATHSIG = 15, 1


class AppProcess:
    """A process with this command name, no child of ours (a sidecar does not signal what it started itself). `how` it
    takes SIGHUP: caught, blocked, ignored or none. It says what it got when asked, so nothing has to be waited for.
    """

    def __init__(
        self, name: str, how: str = "caught", *, uid: int = -1, workers: int = 0, prefix: Sequence[str] = ()
    ) -> None:
        command = [*prefix, *_PROGRAM, "app" if prefix else "orphan", str(uid), name, how, str(workers)]
        pipe = subprocess.PIPE
        self._popen = subprocess.Popen(command, cwd=ROOT, env=environment(), stdin=pipe, stdout=pipe, text=True)
        self._prefix = prefix
        self.parent = self._popen.pid  # of what was started: the app, or its prefix
        try:
            self.pid = int(self._line())  # as the app sees it
        except EOFError:  # the prefix could not be run: leave nothing to the tests that count children
            self._popen.communicate()
            raise
        if not prefix:
            self._popen.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def alive(self) -> bool:
        """Whether it answers: a signal that kills has done so before the answer could be written."""
        try:
            self.received()
        except (BrokenPipeError, EOFError):
            return False
        return True

    def received(self) -> list[str]:
        """What it and its workers got since it was asked last: `PID NUMBER` each. Raises EOFError when it has ended."""
        assert self._popen.stdin
        self._popen.stdin.write("\n")
        self._popen.stdin.flush()
        lines = []
        while (line := self._line()) != "that is all":
            lines.append(line)
        return lines

    def install_handler(self) -> None:
        """From now on the signal is caught."""
        assert self._popen.stdin
        self._popen.stdin.write("catch\n")
        self._popen.stdin.flush()
        while self._line() != "that is all":
            pass

    def kill(self) -> None:
        """End it, and leave nothing behind: it ends when there is nobody who could ask it."""
        assert self._popen.stdin
        assert self._popen.stdout
        with suppress(BrokenPipeError):  # what was written for an app that had ended
            self._popen.stdin.close()
        self._popen.stdout.read()  # ends when the app and its workers have
        self._popen.stdout.close()
        self._popen.wait()
        if not self._prefix:  # its files are closed some time before it has ended
            until(lambda: not _runs(self.pid), "its end")

    def _line(self) -> str:
        assert self._popen.stdout
        line = self._popen.stdout.readline()
        if not line:
            raise EOFError("the app has ended")
        return line.strip()


def _runs(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False


class MadeUpProc:
    """A /proc of our own making: ourselves, and what is added. Root, unless said otherwise."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder)
        self._folder = folder
        (folder / "self").symlink_to(str(os.getpid()))
        self.add(os.getpid(), "python", ("python", "-m", "sidecars", "config-reloader"))

    def add(self, pid: int, comm: str, argv: Sequence[str] = (), **more: Any) -> None:
        """Add or replace a process; `more`: ppid, uid, state, start_time, caught (a mask), flags, exe."""
        at = self._folder / str(pid)
        at.mkdir(exist_ok=True)
        numbers = [more.get("state", "S"), more.get("ppid", 0), pid, pid, 0, -1, more.get("flags", 0), *[0] * 12]
        stat = " ".join(map(str, [*numbers, more.get("start_time", 100), 0, 0]))
        (at / "stat").write_text(f"{pid} ({comm}) {stat}\n")
        uid, caught = more.get("uid", 0), more.get("caught", 1)
        masks = f"SigBlk:\t{0:016x}\nSigIgn:\t{0:016x}\nSigCgt:\t{caught:016x}\nCapEff:\t{more.get('caps', 0):016x}\n"
        (at / "status").write_text(f"Name:\t{comm}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n{masks}")
        if more.get("exe"):
            (at / "exe").symlink_to(more["exe"])
        (at / "cmdline").write_bytes(b"".join(os.fsencode(word) + b"\0" for word in argv))


def ask(what: str, step: Any, *, uid: int = -1, prefix: Sequence[str] = ()) -> Any:
    """Run `send` or `findings` for a step in a process of its own, started through `prefix`; returns its JSON."""
    command = [*prefix, *_PROGRAM, what, str(uid), msgspec.json.encode(step).decode()]
    done = run(*command, variables=dict(os.environ))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _app(name: str, how: str, workers: int) -> None:
    number = signal.SIGHUP
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # as PID 1: whoever ends is gone

    def got(which: int, _frame: object = None) -> None:
        os.write(1, f"{os.getpid()} {which}\n".encode())

    if how == "caught":
        signal.signal(number, got)
    elif how == "blocked":
        signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    else:
        signal.signal(number, signal.SIG_IGN if how == "ignored" else signal.SIG_DFL)
    for _ in range(workers):
        if os.fork() == 0:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            while True:
                signal.pause()
    os.write(1, f"{os.getpid()}\n".encode())
    for line in sys.stdin:
        signal.pthread_sigmask(signal.SIG_BLOCK, ())  # runs the handlers of what came before the question
        if how == "blocked" and signal.sigtimedwait({number}, 0):
            got(number)
        if line == "catch\n":
            signal.signal(number, got)
        os.write(1, b"that is all\n")


def _reused(step: Any) -> object:
    """In a process namespace of our own: the chosen process ends and its number goes to another, before the signal."""
    from sidecars.kit.notify.signal import deliver, search

    with AppProcess("app") as chosen:
        seen = search(step)
        pid = chosen.pid
    until(lambda: not Path(f"/proc/{pid}").exists(), "PID 1 to take note of its end")
    Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 2))  # one for the parent that leaves it
    with AppProcess("app") as other:
        outcome = deliver(step, seen)
        fresh = deliver(step, search(step))
        return [other.pid == pid, outcome, fresh, other.received()]


def main(words: list[str]) -> None:
    uid = int(words[1])
    from sidecars.kit.notify import signal as signalling
    from sidecars.kit.notify.core.options import Signal

    if uid >= 0:
        os.setgroups([])
        os.setresgid(uid, uid, uid)  # group 0 sees through hidepid
        os.setresuid(uid, uid, uid)
    if words[0] == "orphan" and os.fork():
        os._exit(0)
    if words[0] in {"app", "orphan"}:
        _app(words[2], words[3], int(words[4]))
        return
    step = msgspec.json.decode(words[2], type=Signal)
    what = {"send": signalling.send, "findings": signalling.findings, "reused": _reused}[words[0]]
    print(msgspec.json.encode(what(step)).decode())


if __name__ == "__main__":
    main(sys.argv[1:])
