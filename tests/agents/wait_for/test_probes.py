"""Each kind of target against real listeners, files and sockets: ready, not yet and why, never."""

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecars.runtime import Transient
from sidecars.wait_for.probing.dial import Endpoint, Lookup, dial
from sidecars.wait_for.probing.side_thread import SideThread
from tests.agents.wait_for.attempt import outcome
from tests.support.limits import open_descriptors
from tests.support.listeners import Listener, Script, closing, greeting, listening, response, saying, silent
from tests.support.names import LOCALHOST
from tests.support.waiting import PATIENCE_SECONDS, until_async


async def test_a_port_that_accepts_is_ready_and_one_that_does_not_is_refused() -> None:
    with Listener() as listener:
        assert await outcome(listener.place) == "connection refused"
        listener.listen(closing)
        assert await outcome(listener.place) == "ready"


@LOCALHOST
async def test_a_host_is_reached_at_any_of_its_addresses() -> None:
    with listening(closing) as listener:
        assert await outcome(f"tcp://localhost:{listener.port}") == "ready"  # ::1 refuses


class Given(Lookup):
    """Addresses from a list."""

    def __init__(self, *listeners: Listener) -> None:
        super().__init__("given", 0)
        self._given: list[Endpoint] = [(socket.AF_INET, ("127.0.0.1", listener.port)) for listener in listeners]

    async def addresses(self) -> list[Endpoint]:
        return self._given


async def test_an_address_that_swallows_packets_does_not_hide_the_next_one() -> None:
    with Listener() as hole, Listener() as nobody, listening(closing) as there:
        before = open_descriptors()
        connection = await dial(Given(hole.swallow(), nobody, there))
        assert connection.getpeername()[1] == there.port
        connection.close()
        assert open_descriptors() - before <= 4  # three fillers of the hole, and what the threads hold


class Looked(Lookup):
    """What the system found, with the turn left to Lookup."""

    def __init__(self, *found: Endpoint) -> None:
        self._found = list(found)
        super().__init__("127.0.0.1", 0)

    def _look_up(self) -> list[Endpoint]:
        return self._found


async def test_every_attempt_begins_with_another_address() -> None:
    """Of a hundred black holes an attempt tries about twenty."""
    rows: list[Endpoint] = [(socket.AF_INET, (f"127.0.0.{number}", 1)) for number in range(3)]
    lookup = Looked(*rows)
    assert [(await lookup.addresses())[0] for _ in range(4)] == [*rows, rows[0]]
    assert sorted(await lookup.addresses()) == sorted(rows)


async def test_the_reasons_of_all_addresses_are_given_once_each() -> None:
    with Listener() as nobody, Listener() as neither, pytest.raises(Transient, match=r"^connection refused$"):
        await dial(Given(nobody, neither))


@LOCALHOST
async def test_a_name_that_resolves_is_ready_and_one_that_does_not_may_come() -> None:
    assert await outcome("dns://localhost") == "ready"
    assert await outcome("dns://127.0.0.1") == "ready"
    assert "name" in await outcome("dns://nosuch.invalid")
    assert "name" in await outcome("tcp://nosuch.invalid:1")


async def test_a_call_that_hangs_is_joined_and_holds_up_neither_the_attempt_nor_the_end() -> None:
    hung, calls = threading.Event(), 0

    def call() -> str:
        nonlocal calls
        calls += 1
        hung.wait(PATIENCE_SECONDS)
        return "at last"

    aside = SideThread(call)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await aside.result()
    hung.set()
    assert (await aside.result(), calls) == ("at last", 1)
    assert (await aside.result(), calls) == ("at last", 2)
    aside.close()


async def test_a_thread_that_cannot_be_made_may_come_and_none_is_waited_for_at_the_exit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(thread: threading.Thread) -> None:
        del thread
        raise RuntimeError("can't start new thread")

    aside = SideThread(threading.current_thread)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(Transient, match="cannot start a thread"):
            await aside.result()
    thread = await aside.result()
    assert thread.daemon
    aside.close()
    await asyncio.to_thread(thread.join, PATIENCE_SECONDS)
    assert not thread.is_alive()


async def test_an_error_that_nobody_waits_for_any_more_is_no_complaint(recwarn: pytest.WarningsRecorder) -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    hung = threading.Event()

    def call() -> None:
        hung.wait(PATIENCE_SECONDS)
        raise OSError("too late")

    aside = SideThread(call)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await aside.result()
    hung.set()
    assert aside._pending is not None
    await until_async(aside._pending.done, "the end of the thread")
    aside.close()
    del aside
    await asyncio.sleep(0)
    assert complaints == []
    assert not recwarn.list


MakeFile = Callable[[Path], object]
FILES: list[tuple[str, MakeFile, str, str]] = [
    ("nothing", lambda _: None, "", "no such file or directory"),
    ("a file", lambda path: path.write_text("x"), "", "ready"),
    ("a folder", lambda path: path.mkdir(), "", "ready"),
    ("a link into nothing", lambda path: path.symlink_to("nothing"), "", "no such file or directory"),
    ("a loop of links", lambda path: path.symlink_to(path), "", "too many levels of symbolic links"),
    ("a FIFO", os.mkfifo, "", "ready"),
    ("a FIFO to read", os.mkfifo, "?contains=x", "it is not a regular file"),
    ("a folder to measure", lambda path: path.mkdir(), "?min_bytes=1", "it is not a regular file"),
    ("too small", lambda path: path.write_text("xx"), "?min_bytes=3", "it has 2 of 3 bytes"),
    ("large enough", lambda path: path.write_text("xxx"), "?min_bytes=3", "ready"),
    ("an empty one", lambda path: path.touch(), "?min_bytes=0", "ready"),
    ("without the text", lambda path: path.write_text("not yet"), "?contains=done", "it does not contain the text yet"),
    ("with it", lambda path: path.write_text("all done"), "?contains=l%20d", "ready"),
    ("with it between two pieces", lambda path: path.write_bytes(b"x" * 65535 + b"done"), "?contains=done", "ready"),
    ("with half of it at the end", lambda path: path.write_bytes(b"x" * 65535 + b"do"), "?contains=done", "not"),
]


@pytest.mark.parametrize(("make", "options", "words"), [row[1:] for row in FILES], ids=[row[0] for row in FILES])
async def test_files(tmp_path: Path, make: MakeFile, options: str, words: str) -> None:
    make(tmp_path / "it")
    found = await outcome(f"file://{tmp_path}/it{options}")
    assert (words == found) if words == "ready" else words in found


async def test_a_file_without_a_size_is_read_all_the_same() -> None:
    assert os.stat("/proc/self/status").st_size == 0
    assert await outcome("file:///proc/self/status?contains=Name:") == "ready"


def datagram(path: Path) -> socket.socket:
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    bound.bind(str(path))
    return bound


async def test_unix_sockets(tmp_path: Path) -> None:
    path = tmp_path / "s"
    assert await outcome(f"socket://{path}") == "no such file or directory"
    with Listener(str(path)) as listener:
        assert await outcome(f"socket://{path}") == "connection refused"
        listener.listen(closing)
        assert await outcome(f"socket://{path}") == "ready"
    assert await outcome(f"socket://{path}") == "connection refused"  # what a crashed server leaves behind
    (tmp_path / "file").touch()
    assert await outcome(f"socket://{tmp_path}/file") == "connection refused"
    with datagram(tmp_path / "d"):
        assert "wrong type" in await outcome(f"socket://{tmp_path}/d")


async def test_a_unix_socket_whose_queue_is_full_is_not_ready(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as first:
        server.bind(path)
        server.listen(0)
        first.connect(path)
        assert await outcome(f"socket://{path}") == "its queue of connections is full"


def error(sqlstate: str, message: str = "no") -> bytes:
    body = f"SFATAL\0C{sqlstate}\0M{message}\0\0".encode()
    return b"E" + (len(body) + 4).to_bytes(4, "big") + body


def answer_and_close(answer: bytes) -> Script:
    def script(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(answer)

    return script


ASKS_PASSWORD = b"R\0\0\0\x08\0\0\0\x03"
LETS_IN = b"R\0\0\0\x08\0\0\0\0"
VERSION = b"v\0\0\0\x0c\0\3\0\0\0\0\0\0"

SERVERS: list[tuple[str, Script, str]] = [
    ("asks for a password", saying(b"N", ASKS_PASSWORD), "ready"),
    ("lets everybody in", saying(b"N", LETS_IN), "ready"),
    ("knows only an older protocol", saying(b"N", VERSION + ASKS_PASSWORD), "ready"),
    ("does not know the user", saying(b"N", error("28000")), "ready"),
    ("has too many connections", saying(b"N", error("53300")), "ready"),
    ("is starting up", saying(b"N", error("57P03", "starting up")), "it takes no connections yet: starting up"),
    ("says nothing after the answer", saying(b"N"), "ready"),
    ("closes after the answer", answer_and_close(b"N"), "ready"),
    ("closes instead of TLS", answer_and_close(b"S"), "ready"),
    ("says nothing instead of TLS", saying(b"S"), "ready"),
    ("breaks off within an error", answer_and_close(b"E\0\0"), "it answered something that is not PostgreSQL"),
    ("refuses at once", saying(error("57P03", "starting up")), "it refuses connections: 57P03 starting up"),
    ("refuses us at once", saying(error("28P01")), "ready"),
    ("closes at once", closing, "it closed the connection before an answer"),
    ("SSH", greeting(b"SSH-2.0-OpenSSH_9.6\r\n"), "it answered something that is not PostgreSQL"),
    ("MySQL", greeting(b"J\0\0\0\x0a8.4.0\0"), "it answered something that is not PostgreSQL"),
    ("MySQL with a long greeting", greeting(b"E\0\0\0\x0a8.4.0\0"), "it answered something that is not PostgreSQL"),
    ("HTTP", saying(response(400)), "it answered something that is not PostgreSQL"),
    ("garbage afterwards", saying(b"N", b"HTTP/1.1 400"), "it answered something that is not PostgreSQL"),
    ("says nothing", silent, "no answer within 0.3 s"),
]


@pytest.mark.parametrize(("script", "words"), [row[1:] for row in SERVERS], ids=[row[0] for row in SERVERS])
async def test_postgres(script: Script, words: str) -> None:
    limit_seconds = (
        0.3 if words in {"ready", "no answer within 0.3 s"} else PATIENCE_SECONDS
    )  # one of them says nothing more, for so long
    with listening(script) as server:
        assert await outcome(f"postgres://{server.place}", limit_seconds) == words


async def test_a_postgres_that_lets_us_in_is_told_goodbye_and_one_that_asks_is_not() -> None:
    """In the middle of the login a Terminate is against the protocol, and each one would be a line in its log."""
    for answer, farewell in ((LETS_IN, b"X\0\0\0\4"), (ASKS_PASSWORD, b"")):
        heard: list[bytes] = []
        done = threading.Event()

        def server(
            connection: socket.socket, answer: bytes = answer, heard: list[bytes] = heard, done: threading.Event = done
        ) -> None:
            saying(b"N")
            for text in (b"N", answer):
                heard.append(connection.recv(4096))
                connection.sendall(text)
            try:
                heard.append(connection.recv(4096))
            except ConnectionResetError:
                heard.append(b"")
            done.set()

        with listening(server) as there:
            assert await outcome(f"postgres://me@{there.place}/shop") == "ready"
            assert done.wait(PATIENCE_SECONDS)
        assert b"user\0me\0" in heard[1]
        assert b"database\0shop\0" in heard[1]
        assert heard[2] == farewell
