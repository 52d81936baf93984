"""A TCP relay before a server, which can hang: what comes over a connection while it does is swallowed, for ever.

So it is when a node or a load balancer dies without a word: the kernel accepts, takes bytes, and nobody will answer.

with Relay(backend.port) as relay:
    with relay.hanging():
        ...                 # every connection of this time, also one made before, stays silent from now on
    ...                     # new connections are served
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Self

_CHUNK_BYTES = 1 << 16


class _Pair:
    """One connection, and the one to the server behind it."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.near, self.far = near, far
        self.lost = False

    def pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK_BYTES):
                if not self.lost:
                    sink.sendall(data)
            if not self.lost:
                sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        for each in (self.near, self.far):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


class Relay:
    """Listens on a free port of 127.0.0.1."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._pairs: list[_Pair] = []
        self._hangs = False
        self._lock = threading.Lock()

    def hang(self) -> None:
        """Swallow from now on."""
        with self._lock:
            self._hangs = True
            for pair in self._pairs:
                pair.lost = True

    def recover(self) -> None:
        """Serve new connections."""
        with self._lock:
            self._hangs = False

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """Hang as long as the block lasts."""
        self.hang()
        try:
            yield
        finally:
            self.recover()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near = self._listener.accept()[0]
                far = socket.create_connection(("127.0.0.1", self._to))
                pair = _Pair(near, far)
                with self._lock:
                    pair.lost = self._hangs
                    self._pairs.append(pair)
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=pair.pump, args=ends, daemon=True).start()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for pair in self._pairs:
            pair.close()
