"""How a process ends, as it is seen from outside: its exit status, and the message that `kubectl describe pod` shows.

Imports nothing heavy: the command line needs it before anything else.
"""

import os
import stat
from enum import IntEnum

TERMINATION_LOG = "/dev/termination-log"
"""The file that the kubelet mounts for the message, unless the pod's spec says otherwise (terminationMessagePath)."""
MESSAGE_BYTES = 4096
"""What the kubelet takes (pkg/kubelet/container: MaxContainerTerminationMessageLength)."""


class ExitStatus(IntEnum):
    """What an exit status means, for every command of the project. A sidecar that has more documents its own."""

    DONE = 0
    """Stopped by SIGTERM, SIGINT or POST /quit (also when the grace ran out or the last steps failed: a non-zero status
    at the end of a pod can trip a Job's podFailurePolicy), or done.
    """
    FAILED = 1
    """Crashed, or could not be done."""
    BAD_SETTINGS = 2
    """The settings, or the words of the command line, cannot be used."""
    NOT_EXECUTABLE = 126
    """The program to become cannot be run; the number is the shell's."""
    NOT_FOUND = 127
    """The program to become is not there; the number is the shell's."""

    @staticmethod
    def interrupted(signal_number: int) -> int:
        """Return the status of what did not do its work because of a signal, as a shell shows it: 143, 130."""
        return 128 + signal_number


def leave(path: str, message: str) -> None:
    """Write the message for people. Only into a regular file that is there: elsewhere nobody made one, so nobody reads
    it. Raise OSError when it cannot be written.
    """
    if not os.path.isfile(path):  # first: to open a device may start something
        return
    try:
        # not blocking: a FIFO without a reader would hold up the exit
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, cut(message))
    finally:
        os.close(descriptor)


def cut(text: str) -> bytes:
    """Return a message as bytes, shortened to what the kubelet takes, whole characters only."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= MESSAGE_BYTES:
        return encoded
    return encoded[: MESSAGE_BYTES - 3].decode(errors="ignore").encode() + b"..."
