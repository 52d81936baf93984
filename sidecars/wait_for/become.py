"""Becoming the command after `--`: the process is replaced, and no signal is lost or left ignored on the way."""

import os
import signal
import sys

from sidecars.runtime import Context, Permanent

from .words import words

NOT_FOUND, NOT_RUNNABLE = 127, 126  # as a shell says
_STOPS = {signal.SIGTERM, signal.SIGINT}
_IGNORED = {signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ}
"""By the runtime, and by Python: what is ignored stays so across exec (signal(7)), and `cmd | head` would not end."""
_TURNS = 10
"""From a signal to our cancellation it takes about five turns of the loop (runtime/loop.py, oneshot.py)."""


class CannotBecome(Permanent):
    """The command cannot be run; `status` is what a shell would exit with."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


async def become(command: tuple[str, ...], ctx: Context) -> int:
    """Replace this process, and so never return; else return the exit status that a signal asks for. Raise
    CannotBecome, or be cancelled by a signal that came before.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)  # what comes from here on stays pending
    for number in _STOPS | _IGNORED:
        signal.signal(number, signal.SIG_DFL)
    for _ in range(_TURNS):
        await ctx.stop.pause(0)
    if pending := signal.sigpending() & _STOPS:  # as process 1 the default action would be to drop it
        return 128 + int(min(pending))
    sys.stdout.flush()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        os.execvp(command[0], command)  # noqa: S606 (no shell is what we want)
    except (FileNotFoundError, NotADirectoryError):
        raise CannotBecome(f"cannot run {command[0]}: it is not there; is it in this image?", NOT_FOUND) from None
    except OSError as error:
        raise CannotBecome(f"cannot run {command[0]}: {words(error)}", NOT_RUNNABLE) from None
