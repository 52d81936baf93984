"""The termination log: a file the kubelet mounts, and shows as the container's message when it has ended."""

import os
import stat

from sidecars.runtime import Log

from .core.verdict import cut
from .words import words


def leave(path: str, message: str, log: Log) -> None:
    """Write the message for people. Only into a file that is there: elsewhere nobody made one, so nobody reads it."""
    if not path:
        return
    try:
        # not blocking: a FIFO without a reader would hold up the exit
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning(f"cannot write {path}: {words(error)}", action="termination.failed")
        return
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, cut(message))
    except OSError as error:
        log.warning(f"cannot write {path}: {words(error)}", action="termination.failed")
    finally:
        os.close(descriptor)
