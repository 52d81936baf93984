"""Listeners with a script, in threads, so that processes and loops under test can both talk to them.

with Listener() as late:                # bound: refuses, and nobody else gets the port
    ...
    late.listen(answering(200, b"ok"))  # from now on it accepts
"""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Self

Script = Callable[[socket.socket], None]


def silent(connection: socket.socket) -> None:
    """Take what comes, and say nothing, until the other side closes."""
    with contextlib.suppress(OSError):
        while connection.recv(4096):
            pass


def echoing(connection: socket.socket) -> None:
    """Send back what comes."""
    with contextlib.suppress(OSError):
        while received := connection.recv(65536):
            connection.sendall(received)


def closing(connection: socket.socket) -> None:
    """Close at once."""


def saying(*texts: bytes) -> Script:
    """Send a text after each thing received; then wait for the end of the other side."""

    def script(connection: socket.socket) -> None:
        for text in texts:
            if not connection.recv(4096):
                return
            connection.sendall(text)
        silent(connection)

    return script


def greeting(text: bytes) -> Script:
    """Send a text before anything was received, as SSH and MySQL do."""

    def script(connection: socket.socket) -> None:
        connection.sendall(text)
        silent(connection)

    return script


def response(status: int, body: bytes = b"", *headers: str) -> bytes:
    """One HTTP answer."""
    head = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


def answering(status: int, body: bytes = b"", *headers: str) -> Script:
    """Answer every connection with the same."""
    return saying(response(status, body, *headers))


class Listener:
    """Bound to a free port of 127.0.0.1, to the place `at`, or to `path`; accepts once `listen` was called.
    `accepted` is how many connections there were.
    """

    def __init__(self, path: str = "", at: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self._listener = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self._listener.bind(path or at)
        self._path = path
        self._open: list[socket.socket] = []
        self.accepted = 0

    @property
    def port(self) -> int:
        """The port, also before anybody listens there."""
        return int(self._listener.getsockname()[1])

    @property
    def place(self) -> str:
        """`127.0.0.1:port`."""
        return f"127.0.0.1:{self.port}"

    def listen(self, script: Script, context: ssl.SSLContext | None = None) -> Self:
        """Accept from now on, with TLS when there is a context."""
        self._listener.listen(256)
        threading.Thread(target=self._accept, args=(script, context), daemon=True).start()
        return self

    def swallow(self) -> Self:
        """Be a black hole: the queue is full, so the kernel drops every SYN (tcp(7), tcp_abort_on_overflow)."""
        self._listener.listen(0)
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(self._listener.getsockname())
            self._open.append(filler)
        return self

    def _accept(self, script: Script, context: ssl.SSLContext | None) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection = self._listener.accept()[0]
                self.accepted += 1
                threading.Thread(target=_serve, args=(connection, script, context), daemon=True).start()

    def close(self) -> None:
        """Refuse from now on."""
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            each.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _serve(connection: socket.socket, script: Script, context: ssl.SSLContext | None) -> None:
    with contextlib.suppress(OSError), connection:
        connection.settimeout(60)
        if context is None:
            script(connection)
        else:
            with context.wrap_socket(connection, server_side=True) as secured:
                script(secured)


@contextlib.contextmanager
def listening(script: Script, context: ssl.SSLContext | None = None) -> Iterator[Listener]:
    """A listener that accepts."""
    with Listener() as listener:
        yield listener.listen(script, context)
