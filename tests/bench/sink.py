"""The backend of the benchmarks: takes bulk requests as cheaply as possible and keeps the books of what arrived.

Run as a process of its own, so that its work is in nobody's figures: threads on blocking sockets, bodies read by their
Content-Length, gunzipped by ISA-L, a reply cut from a prepared text: word for word that of Elasticsearch 9, which is
the shorter one for who asks with `filter_path`. Every line of the benchmarks carries `line=NUMBER`; the numbers are
collected after the reply is sent, so `distinct` lines and `repeated` ones are known and not guessed. (It knows no
ids: what Elasticsearch would answer with 409 after a cut connection is `repeated` here.)

Commands come in as lines on stdin and are answered with a line of JSON on stdout; it ends with its stdin:
`reset` forgets what arrived; `books` tells it; `mark` arms a stop watch: the next bulk request's arrival is in `books`
as `marked_at` (CLOCK_MONOTONIC, which all processes of a machine share); `down` closes the address and all
connections, and `up` opens it again.
"""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from isal import isal_zlib

_NUMBER = re.compile(rb"line=(\d{9})")
_GZIP = 31
"""The `wbits` of a gzip header."""
_MOST_ITEMS = 1 << 16
_REPLY = (b'{"errors":false,"took":1,"items":[', b'{"create":{"_index":"logs","status":201}},')
_FILTERED_REPLY = (b'{"errors":false,"items":[', b'{"create":{"status":201}},')
_ITEMS = {item: item * _MOST_ITEMS for _, item in (_REPLY, _FILTERED_REPLY)}
_MOST_LINES = 1 << 24
_INFO = b'{"name":"sink","version":{"number":"9.1.0","build_flavor":"default"},"tagline":"You Know, for Search"}'
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


class Books:
    """What arrived: how often each number, requests, bytes on the wire, and the moment of the marked request."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._times = bytearray(_MOST_LINES)
        self._distinct = self._repeated = self._requests = self._bytes = 0
        self._armed = False
        self._marked_at: float | None = None

    def mark(self) -> None:
        """The next request is the one that is waited for."""
        self._armed, self._marked_at = True, None

    def arrived(self) -> None:
        """A bulk request begins."""
        if self._armed:
            self._armed, self._marked_at = False, time.monotonic()

    def take(self, body: bytes, wire_bytes: int) -> None:
        """Enter one request's lines."""
        with self.lock:
            self._requests += 1
            self._bytes += wire_bytes
            times = self._times
            for number in map(int, _NUMBER.findall(body)):
                if times[number]:
                    self._repeated += 1
                else:
                    times[number] = 1
                    self._distinct += 1

    def as_json(self) -> dict[str, Any]:
        """The answer to `books`."""
        with self.lock:
            return {
                "distinct": self._distinct,
                "repeated": self._repeated,
                "requests": self._requests,
                "bytes": self._bytes,
                "marked_at": self._marked_at,
            }


class Sink:
    """The address and its connections; one thread each."""

    def __init__(self) -> None:
        self.books = Books()
        self.port = 0
        self._listener: socket.socket | None = None
        self._connections: set[socket.socket] = set()

    def up(self) -> None:
        """Listen; the second time on the same port."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def down(self) -> None:
        """Refuse connections from now on, and cut those there are."""
        listener, self._listener = self._listener, None
        for connection in [*([listener] if listener else []), *self._connections]:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        if listener:
            listener.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while request := _read(connection):
                self._answer(connection, *request)
        self._connections.discard(connection)

    def _answer(self, connection: socket.socket, head: bytes, packed: bytes) -> None:
        method, path, _ = head.split(b" ", 2)
        if b"_bulk" not in path:
            connection.sendall(_HEAD % len(_INFO) + (b"" if method == b"HEAD" else _INFO))
            return
        self.books.arrived()
        body = isal_zlib.decompress(packed, _GZIP) if b"content-encoding: gzip" in head.lower() else packed
        count = body.count(b"\n") // 2
        begin, item = _FILTERED_REPLY if b"filter_path=" in path else _REPLY
        reply = begin + _ITEMS[item][: len(item) * count - 1] + b"]}"
        connection.sendall(_HEAD % len(reply) + reply)
        self.books.take(body, len(packed))


def _read(connection: socket.socket) -> tuple[bytes, bytes] | None:
    """Head and body of the next request; None when the peer has closed."""
    received = bytearray()
    while (end := received.find(b"\r\n\r\n")) < 0:
        chunk = connection.recv(1 << 16)
        if not chunk:
            return None
        received += chunk
    head, body = bytes(received[: end + 2]), received[end + 4 :]
    fields = head.lower()
    at = fields.find(b"content-length:")
    wanted = int(fields[at + 15 : fields.index(b"\r\n", at)]) if at >= 0 else 0
    if b"100-continue" in fields:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    whole = bytearray(wanted)
    whole[: len(body)] = body
    view, have = memoryview(whole), len(body)
    while have < wanted:
        count = connection.recv_into(view[have:])
        if count == 0:
            return None
        have += count
    return head, bytes(whole)


class Handle:
    """The sink process as the benchmarks hold it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.port = int(self.tell("port")["port"])
        self.url = f"http://127.0.0.1:{self.port}"

    def tell(self, command: str) -> dict[str, Any]:
        """Send a command, return its answer. Raises RuntimeError when the sink is gone."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"cannot go on: the sink ended at {command!r}; its words are above")
        found: dict[str, Any] = json.loads(answer)
        return found

    def books(self) -> dict[str, Any]:
        """What arrived since `reset`."""
        return self.tell("books")

    def as_text(self) -> str:
        """The books, for a message."""
        books = self.books()
        return "arrived: {distinct:,} lines in {requests:,} requests, {repeated:,} repeated".format(**books)


@contextlib.contextmanager
def sink() -> Iterator[Handle]:
    """A running sink."""
    command = [sys.executable, "-m", "tests.bench.sink"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Handle(process)


def main() -> None:
    """Serve until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is the benchmark's to answer
    served = Sink()
    served.up()
    actions = {"up": served.up, "down": served.down, "reset": served.books.reset, "mark": served.books.mark}
    for line in sys.stdin:
        command = line.strip()
        if command in actions:
            actions[command]()
        print(json.dumps({"port": served.port, **served.books.as_json()}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
