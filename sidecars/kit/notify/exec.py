"""Run a program, bounded in time and output, and leave nothing of it behind.

Not asyncio's subprocesses: until Python 3.13 their wait() does not end while a grandchild holds a pipe open
(python/cpython#119710), and their way to kill reaches the child alone.
"""

import asyncio
import errno
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Literal, Self

from .core.change import Change
from .core.outcome import Outcome, Result, one_line

_KEPT_BYTES = 4096
_READ_BYTES = 1 << 16  # what a pipe holds: pipe(7)
_SHOWN_CHARACTERS = 400
_TERM_SECONDS = 1.0
_KILL_SECONDS = 1.0
"""A process that SIGKILL does not end within this hangs in the kernel, or belongs to somebody else."""
_SHORTAGES = frozenset({errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ETXTBSY})
"""Why a program may start the next time."""
_CUT_SHORT = frozenset({-signal.SIGKILL, -signal.SIGTERM})
"""Ends that it did not choose (the OOM killer): a validator has given no verdict then."""
_NO_VERDICT = _CUT_SHORT | {os.EX_TEMPFAIL}


async def run(command: tuple[str, ...], change: Change, timeout_seconds: float, environ: Mapping[str, str]) -> Outcome:
    """Run the command to its end, without a shell and without input; `environ` is its whole environment.

    What it started and left in its process group ends with it: at the latest 2 s after the time-out, and at once when
    we are cancelled. FAILED for an exit status other than 0, DENIED when it cannot be started, UNREACHABLE when it
    cannot be started just now, somebody ended it, or it says that it cannot say now (75).
    """
    arguments = [change.fill(argument) for argument in command]
    try:
        with _Tail() as stdout, _Tail() as stderr:
            child = _Child(_start(arguments, environ, (stdout.entry, stderr.entry)))
            stdout.close_entry()
            stderr.close_entry()
            in_time = await _supervise(child, timeout_seconds)
            said = stderr.text() or stdout.text()
    except (OSError, ValueError) as error:  # of the start: nothing after it raises them
        return _not_started(arguments[0], error)
    end = f": {said}" if said else ""
    if not in_time:
        return Outcome(Result.TIMEOUT, f"{arguments[0]} did not end within {timeout_seconds:g} s and was killed{end}")
    status = child.process.returncode
    result = Result.UNREACHABLE if status in _NO_VERDICT else Result.FAILED if status else Result.OK
    return Outcome(result, f"{arguments[0]}: {_ending(status)}{end}")


def findings(command: tuple[str, ...]) -> Iterator[tuple[Literal["ok", "warning", "error"], str]]:
    """Say for `sidecar check` whether the program is there. Start nothing."""
    program = command[0] if command else ""
    if "{candidate}" in program:
        yield "ok", f"would run {program}, a part of the content"
    elif found := shutil.which(program):
        yield "ok", f"would run {found}"
    else:
        yield "error", f"cannot run {program!r}: there is no such executable program; is it in this image?"


class _Tail:
    """A pipe that is always read on, so that who writes never waits; the last 4 KiB are kept."""

    def __enter__(self) -> Self:
        self._exit, self.entry = os.pipe()
        os.set_blocking(self._exit, False)
        self._kept = b""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._exit, self._read)
        return self

    def __exit__(self, *_: object) -> None:
        self.close_entry()
        self._loop.remove_reader(self._exit)
        os.close(self._exit)

    def close_entry(self) -> None:
        """Leave writing to the child."""
        if self.entry >= 0:
            os.close(self.entry)
            self.entry = -1

    def text(self) -> str:
        """Return the end of what was written, on one line."""
        self._read()  # the loop may not have come to it before the end
        text = self._kept.decode(errors="replace")
        return one_line(text)[-_SHOWN_CHARACTERS:]

    def _read(self) -> None:
        """Take what is there, at most what a pipe holds."""
        try:
            data = os.read(self._exit, _READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(self._exit)
        self._kept = (self._kept + data)[-_KEPT_BYTES:]


class _Child:
    """A process that leads its own group, and a thread that waits for it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._reaping = threading.Lock()
        try:
            threading.Thread(target=self._reap, name=f"wait-{process.pid}", daemon=True).start()
        except RuntimeError:  # no thread to be had: a limit on processes counts threads too
            self.kill(signal.SIGKILL)
            process.wait()
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None

    async def wait(self, seconds: float) -> bool:
        """Return whether it ended within so long."""
        await asyncio.wait({self._ended}, timeout=seconds)
        return self._ended.done()

    def kill(self, number: signal.Signals) -> None:
        """Send a signal to the group, unless its leader is gone: then its id may be somebody else's."""
        with self._reaping:
            if self.process.returncode is None:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.process.pid, number)

    def _reap(self) -> None:
        """Wait (in the thread) for the leader, kill what it left while its zombie still holds the id, take it away."""
        if hasattr(os, "waitid"):
            os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
            self.kill(signal.SIGKILL)
            with self._reaping:
                self.process.wait()
        else:  # Python for macOS has none before 3.13: what was left is looked for by a number that is free by now
            self.process.wait()
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._ended.set_result, None)
        with suppress(ChildProcessError):  # as PID 1 of the container we inherit what it left
            while True:
                os.waitpid(-self.process.pid, 0)


async def _supervise(child: _Child, timeout_seconds: float) -> bool:
    """Return whether it ended in time. Afterwards it is gone, however this ends."""
    try:
        if await child.wait(timeout_seconds):
            return True
        child.kill(signal.SIGTERM)
        await child.wait(_TERM_SECONDS)
        child.kill(signal.SIGKILL)
        await child.wait(_KILL_SECONDS)
        return False
    finally:
        child.kill(signal.SIGKILL)


def _start(arguments: list[str], environ: Mapping[str, str], outputs: tuple[int, int]) -> subprocess.Popen[bytes]:
    # This process ignores SIGHUP, and what is ignored stays so across exec; what is handled becomes the default:
    # execve(2). Popen itself puts back SIGPIPE and SIGXFSZ only.
    before = signal.signal(signal.SIGHUP, lambda *_: None)
    try:
        return subprocess.Popen(  # noqa: S603  # the operator's own command, and no shell
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=outputs[0],
            stderr=outputs[1],
            env=environ,
            start_new_session=True,
        )
    finally:
        signal.signal(signal.SIGHUP, before)


def _not_started(program: str, error: OSError | ValueError) -> Outcome:
    if not isinstance(error, OSError):
        return Outcome(Result.DENIED, f"cannot start {program}: an argument or a variable holds a NUL")
    if error.errno in _SHORTAGES:
        return Outcome(Result.UNREACHABLE, f"cannot start {program}: {error.strerror}")
    hint = {
        errno.ENOENT: "is it (and for a script the interpreter of its first line) in this image?",
        errno.EACCES: "is it executable for this user, and its volume not mounted noexec?",
        errno.ENOEXEC: "is it for this architecture, and has a script its first line?",
    }.get(error.errno or 0, "is it in this image?")
    return Outcome(Result.DENIED, f"cannot start {program}: {error.strerror}; {hint}")


def _ending(status: int) -> str:
    if status == os.EX_TEMPFAIL:
        return f"exit status {status} (it cannot say now)"
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"ended by {signal.Signals(-status).name}"
    except ValueError:  # real-time signals but the first and the last have no name
        return f"ended by signal {-status}"
