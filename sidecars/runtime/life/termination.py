"""The termination log: a file the kubelet mounts, and shows as the container's message when it has ended (`kubectl
describe pod`).
"""

import os
import stat

PATH = "/dev/termination-log"
"""Unless the pod's spec says otherwise (terminationMessagePath)."""
MESSAGE_BYTES = 4096
"""What the kubelet takes (pkg/kubelet/container: MaxContainerTerminationMessageLength)."""


def leave(path: str, message: str) -> None:
    """Write the message for people. Only into a regular file that is there: elsewhere nobody made one, so nobody reads
    it. Raises OSError when it cannot be written.
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
