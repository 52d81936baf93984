"""Printing for people: `say` on stderr, `show` on stdout.

Exists because a reader that is gone or stuck must change neither what a process does nor its exit status: with
`wait-for db && app` the app must not start because the log's reader has died.
"""

import os
import select
import stat
import sys
from contextlib import suppress

from sidecars.runtime.life.status import ExitStatus

PATIENCE_SECONDS = 0.1  # how long a text may wait for a reader; once in vain, the next ones do not wait


class Stderr:
    """Writes with write(2): nothing is buffered, so a broken stderr can fail neither an action nor the exit."""

    def __init__(self) -> None:
        self._cut = False
        """Whether the last text could not be written to its end."""

    def write(self, text: str) -> None:
        """Write a text of whole lines. What cannot be written is let go, since there is nowhere left to say so; and
        nothing waits for a reader that is stuck: the loop would stand still, and SIGTERM with it.
        """
        rest = (b"\n" if self._cut else b"") + text.encode(errors="backslashreplace")
        with suppress(OSError):
            blocks = not stat.S_ISREG(os.fstat(2).st_mode)
            while rest:
                if blocks and not select.select([], [2], [], 0 if self._cut else PATIENCE_SECONDS)[1]:
                    self._cut = True
                    return
                # pipe(7): a pipe that select calls writable takes PIPE_BUF bytes without blocking
                rest = rest[os.write(2, rest[: select.PIPE_BUF] if blocks else rest) :]
            self._cut = False


STDERR = Stderr()
"""The only one, so that a log line and a text for people know of each other when one was cut."""


def say(text: object) -> None:
    """Print a text, or an error's, on stderr. Never raises, and never waits long."""
    STDERR.write(f"{text}\n")


def show(text: str) -> ExitStatus:
    """Print a text on stdout and return the exit status that this deserves: DONE, also when the reader has seen enough
    (`| head`), or FAILED when the text could not be written (a disk is full).
    """
    encoding = sys.stdout.encoding or "utf-8"
    try:
        # a file name that is not UTF-8 has no form of its own in most encodings
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:
        drop_stdout()
    except OSError as error:
        drop_stdout()
        say(f"cannot print to stdout: {error.strerror}; send it elsewhere")
        return ExitStatus.FAILED
    return ExitStatus.DONE


def settle_stdout() -> None:
    """Flush what was printed otherwise, and let go what cannot be written."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        drop_stdout()


def drop_stdout() -> None:
    """Point stdout at nothing: the interpreter flushes it at its end, and would exit with status 120."""
    with suppress(OSError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.close(nothing)
