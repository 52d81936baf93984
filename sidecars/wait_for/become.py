"""Becoming the command after `--`: the process is replaced, and no signal is lost or left ignored on the way."""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from sidecars.runtime import ExitStatus, Permanent
from sidecars.runtime.life.signals import SIGNALS
from sidecars.runtime.settings import environment

from .probing.reasons import reason


class CannotBecome(Permanent):
    """The command cannot be run; `status` is what a shell would exit with."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def look_for(name: str) -> None:
    """Raise CannotBecome when there is no such program, or it is not executable: what execvp would say later."""
    paths = [name] if "/" in name else [f"{folder}/{name}" for folder in os.get_exec_path() if name]
    there = [path for path in paths if os.path.isfile(path)]
    if not there and not (os.path.exists(name) and "/" in name):
        raise _not_there(name)
    if not any(os.access(path, os.X_OK) for path in there):
        raise CannotBecome(f"cannot run {name}: it is not an executable file", ExitStatus.NOT_EXECUTABLE)


def become(command: tuple[str, ...]) -> NoReturn:
    """Replace this process. Raise CannotBecome when that cannot be, or when a signal has asked for the stop."""
    with SIGNALS.given_back() as came:
        if came is not None:
            name = signal.Signals(came).name
            raise CannotBecome(f"cannot run {command[0]}: interrupted by {name}", ExitStatus.interrupted(came))
        sys.stdout.flush()
        _exec(command)


def _exec(command: tuple[str, ...]) -> NoReturn:
    if not command[0]:  # Python refuses to try it
        raise _not_there(command[0])
    if not _was_given(b"LC_CTYPE"):
        os.unsetenv("LC_CTYPE")
    environment.restore()  # it gets all that we were given
    try:
        os.execvp(command[0], command)  # noqa: S606 (no shell is what we want)
    except (FileNotFoundError, NotADirectoryError):
        raise _not_there(command[0]) from None
    except OSError as error:
        raise CannotBecome(f"cannot run {command[0]}: {reason(error)}", ExitStatus.NOT_EXECUTABLE) from None


def _not_there(name: str) -> CannotBecome:
    what = f"{name}: it is not there; is it in this image?" if name else ""
    what = what or "the command: its name is empty; is a variable unset?"
    return CannotBecome(f"cannot run {what}", ExitStatus.NOT_FOUND)


def _was_given(name: bytes) -> bool:
    """Return whether we were given this variable: Python adds LC_CTYPE=C.UTF-8 where there is no locale (PEP 538)."""
    with suppress(OSError):
        return any(each.startswith(name + b"=") for each in Path("/proc/self/environ").read_bytes().split(b"\0"))
    return True
