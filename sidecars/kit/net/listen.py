"""Accept connections: on TCP or a Unix socket, through descriptor exhaustion, pausable."""

import asyncio
import errno
import os
import socket
import stat
from collections.abc import Callable
from contextlib import suppress

from .core.proxy_header import NotProxied, Origin, read
from .leg import Leg
from .poller import READABLE, Poller

_BACKLOG = 1024
_ACCEPTS = 64
"""So many at once; then others have their turn."""
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.005, 1.0

Accepted = Callable[[Leg], None]


class Listener:
    """Accepts connections on one socket, and calls `accepted` with each. `exhausted` is called with the error when
    there is no descriptor or memory: it goes on by itself, and what waits, waits in the kernel's queue.
    """

    def __init__(self, poller: Poller, listening: socket.socket, accepted: Accepted) -> None:
        self._poller = poller
        self._socket = listening
        self._accepted = accepted
        self._pause_seconds = _FIRST_PAUSE_SECONDS
        self._timer: asyncio.TimerHandle | None = None
        self._is_paused = True
        self.exhausted: Callable[[OSError], None] = _ignore
        self.resume()

    @property
    def address(self) -> tuple[str, int] | str:
        """Return host and port, or the path."""
        name = self._socket.getsockname()
        return name if isinstance(name, str) else (str(name[0]), int(name[1]))

    def pause(self) -> None:
        """Accept nothing for now: what comes waits in the kernel's queue (of at most 1,024, or net.core.somaxconn)."""
        self._is_paused = True
        self._poller.forget(self._socket.fileno())

    def resume(self) -> None:
        """Accept again."""
        if self._is_paused and self._timer is None:
            self._poller.register(self._socket.fileno(), READABLE, self._accept)
        self._is_paused = False

    def close(self) -> None:
        """Accept no more; what waits in the queue is reset. A Unix socket's file is removed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._poller.forget(self._socket.fileno())
        name = self._socket.getsockname() if self._socket.fileno() >= 0 else ""
        self._socket.close()
        if isinstance(name, str) and name:
            with suppress(OSError):
                os.unlink(name)

    def _accept(self, _: int) -> None:
        for _ in range(_ACCEPTS):
            try:
                connection, _peer = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._rest(error)
                    return
                continue  # it was gone before we took it (accept(2), error handling)
            self._pause_seconds = _FIRST_PAUSE_SECONDS
            self._accepted(Leg(self._poller, connection))
            if self._is_paused:
                return

    def _rest(self, error: OSError) -> None:
        """Let others close something first: the event would be repeated at once."""
        self._poller.forget(self._socket.fileno())
        self._timer = self._poller.loop.call_later(self._pause_seconds, self._go_on)
        self._pause_seconds = min(2 * self._pause_seconds, _LONGEST_PAUSE_SECONDS)
        self.exhausted(error)

    def _go_on(self) -> None:
        self._timer = None
        if not self._is_paused:
            self._poller.register(self._socket.fileno(), READABLE, self._accept)


def listen_tcp(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return _listening(socket.create_server((host, port), family=family, backlog=_BACKLOG))


def listen_unix(path: str, mode: int = 0o666) -> socket.socket:
    """Return a socket that listens at a path; the socket of a former run, on which nobody listens, is replaced. Raises
    OSError, EADDRINUSE when somebody listens there, or something else is there.
    """
    _clear(path)
    listening = socket.socket(socket.AF_UNIX)
    try:
        listening.bind(path)
        os.chmod(path, mode)
        listening.listen(_BACKLOG)
    except BaseException:
        listening.close()
        raise
    return _listening(listening)


async def take_origin(leg: Leg, timeout_seconds: float = 3.0) -> Origin:
    """Read the PROXY header at the beginning of a connection, from a peer that is trusted to send one. Raises
    NotProxied, TimeoutError, and LegBroken.
    """
    data = b""
    async with asyncio.timeout(timeout_seconds):
        while (found := read(data)) is None:
            piece = await leg.receive()
            if not piece:
                raise NotProxied("it ended within the header" if data else "it ended before a header came")
            data += piece
    origin, count = found
    leg.unread(data[count:])
    return origin


def _listening(listening: socket.socket) -> socket.socket:
    listening.setblocking(False)
    return listening


def _clear(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.stat(path, follow_symlinks=False).st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            return


def _ignore(error: OSError) -> None:
    del error
