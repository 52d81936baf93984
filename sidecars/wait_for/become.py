"""Becoming the command after `--`: the process is replaced, and no signal is lost or left ignored on the way."""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from sidecars.runtime import Context, Permanent
from sidecars.runtime.settings import environment

from .probing.words import words

NOT_FOUND, NOT_RUNNABLE = 127, 126  # as a shell says
_STOPS = frozenset({signal.SIGTERM, signal.SIGINT})
_IGNORED = frozenset({signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ})
"""By the runtime, and by Python: what is ignored stays so across exec (signal(7)), and `cmd | head` would not end."""
_TURNS = 10
"""From a signal to our cancellation it takes about five turns of the loop (runtime/life/loop.py, oneshot.py)."""


class CannotBecome(Permanent):
    """The command cannot be run; `status` is what a shell would exit with."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def look_for(name: str) -> None:
    """Raise CannotBecome when there is no such program, or it is not executable: what execvp would say later."""
    if not name:
        raise CannotBecome("cannot run the command: its name is empty; is a variable unset?", NOT_FOUND)
    paths = [name] if "/" in name else [f"{folder}/{name}" for folder in os.get_exec_path()]
    there = [path for path in paths if os.path.isfile(path)]
    if not there and not (os.path.exists(name) and "/" in name):
        raise CannotBecome(f"cannot run {name}: it is not there; is it in this image?", NOT_FOUND)
    if not any(os.access(path, os.X_OK) for path in there):
        raise CannotBecome(f"cannot run {name}: it is not an executable file", NOT_RUNNABLE)


async def become(command: tuple[str, ...], ctx: Context) -> int:
    """Replace this process, and so never return; else return the exit status that a signal asks for. Raise
    CannotBecome, or be cancelled by a signal that came before.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)  # what comes from here on stays pending
    for number in _STOPS | _IGNORED:
        signal.signal(number, signal.SIG_IGN if number in _ignored_at_start() else signal.SIG_DFL)
    for _ in range(_TURNS):
        await ctx.stop.pause(0)
    if pending := signal.sigpending() & _STOPS:  # as process 1 the default action would be to drop it
        return 128 + int(min(pending))
    sys.stdout.flush()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        _exec(command)
    finally:  # it failed: a log that nobody reads must not kill us before we have said why
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)


def _exec(command: tuple[str, ...]) -> NoReturn:
    if not command[0]:  # Python refuses to try it
        raise CannotBecome("cannot run the command: its name is empty; is a variable unset?", NOT_FOUND)
    if not _was_given(b"LC_CTYPE"):
        os.unsetenv("LC_CTYPE")
    environment.restore()  # it gets all that we were given
    try:
        os.execvp(command[0], command)  # noqa: S606 (no shell is what we want)
    except (FileNotFoundError, NotADirectoryError):
        raise CannotBecome(f"cannot run {command[0]}: it is not there; is it in this image?", NOT_FOUND) from None
    except OSError as error:
        raise CannotBecome(f"cannot run {command[0]}: {words(error)}", NOT_RUNNABLE) from None


def _was_given(name: bytes) -> bool:
    """Whether we were started with this variable: Python adds LC_CTYPE=C.UTF-8 where there is no locale (PEP 538)."""
    with suppress(OSError):
        return any(each.startswith(name + b"=") for each in Path("/proc/self/environ").read_bytes().split(b"\0"))
    return True


def _ignored_at_start() -> frozenset[int]:
    """Such as SIGHUP by nohup: __main__.py has seen it; that is called otherwise when run by `python -m`."""
    entry = sys.modules.get("sidecars.__main__") or sys.modules["__main__"]
    return frozenset(getattr(entry, "IGNORED", ()))
