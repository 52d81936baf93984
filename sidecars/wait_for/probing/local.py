"""What stands in the file system: files, and unix sockets."""

import os
import socket
import stat
from collections.abc import Iterator

from sidecars.runtime import Transient
from sidecars.wait_for.core.target import File, Socket

from .reasons import reason

_CHUNK_BYTES = 64 << 10
_UNSIZED_BYTES = 1 << 20
"""So much is looked at of a file whose size is 0: those of /proc say so, whatever they hold (proc(5))."""


def look(target: File) -> None:
    """Return when the file is there as wanted. Raise Transient with the reason when not. May block (NFS)."""
    try:
        status = os.stat(target.path)
        if target.min_bytes is None and target.contains is None:
            return
        if not stat.S_ISREG(status.st_mode):
            raise Transient("it is not a regular file")
        if status.st_size < (target.min_bytes or 0):
            raise Transient(f"it has {status.st_size} of {target.min_bytes} bytes")
        if target.contains and not _contains(target.path, target.contains.encode(errors="surrogateescape")):
            raise Transient("it does not contain the text yet")
    except OSError as error:
        raise Transient(reason(error)) from None


def _contains(path: str, wanted: bytes) -> bool:
    """Search in pieces that overlap: the file may be a log of any size."""
    kept = b""
    for chunk in _chunks(path):
        kept += chunk
        if wanted in kept:
            return True
        kept = kept[-len(wanted) :]
    return False


def _chunks(path: str) -> Iterator[bytes]:
    """Read what the file has now. Not blocking: a FIFO may have taken its place since we looked."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        left_bytes = (
            os.fstat(descriptor).st_size or _UNSIZED_BYTES
        )  # one that grows faster than we read must not hold us
        while left_bytes > 0 and (chunk := os.read(descriptor, min(_CHUNK_BYTES, left_bytes))):
            left_bytes -= len(chunk)
            yield chunk
    finally:
        os.close(descriptor)


def knock(target: Socket) -> None:
    """Return when the socket takes a connection. Raise Transient with the reason when not.

    Connecting to a unix socket never waits here; and asyncio's sock_connect would take a full queue (EAGAIN, unix(7))
    for a connection.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        try:
            connection.connect(target.path)
        except BlockingIOError:
            raise Transient("its queue of connections is full") from None
        except OSError as error:
            raise Transient(reason(error)) from None
