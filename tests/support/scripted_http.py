"""An HTTP server on the test's own loop that plays a script: answers, silence, cuts and nonsense, by TCP, TLS or unix
socket. Raw, because half of what it plays is no HTTP.
"""

import asyncio
import json
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import trustme

from tests.support.waiting import until_async


@dataclass(frozen=True)
class Play:
    """What happens on one connection: the request is read (or not), `sends` goes out (for ever, if `endless`), and then
    the connection is closed, cut (`reset`) or held open without a word.
    """

    sends: bytes = b""
    reads: bool = True
    endless: bool = False
    holds: bool = False
    reset: bool = False


@dataclass(frozen=True)
class Received:
    """One request; header names are in lower case."""

    method: str
    target: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


HANGS = Play(holds=True)
DEAF = Play(reads=False, holds=True)
CUTS = Play()
RESETS = Play(reset=True)


def answer(status: int, body: bytes = b"", **headers: str) -> Play:
    """A whole answer; `Set_Cookie="a=b"` style keywords become headers."""
    given = {"Content-Length": str(len(body)), **{name.replace("_", "-"): text for name, text in headers.items()}}
    head = "".join(f"{name}: {text}\r\n" for name, text in given.items())
    return Play(f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + body)


def answer_json(value: object) -> Play:
    return answer(200, json.dumps(value).encode())


class ScriptedHttp:
    """Plays its script connection by connection; the last play repeats. An async context manager."""

    def __init__(self, *script: Play, tls: ssl.SSLContext | None = None, socket: str = "") -> None:
        self.script = list(script or [answer(200)])
        self.requests: list[Received] = []
        self.connections = 0
        self.open = 0
        """Connections that the other side has not ended yet."""
        self.streamed_bytes = 0
        """Of endless plays."""
        self._tls, self._socket = tls, socket
        self._over = asyncio.Event()
        self.port = 0

    @property
    def url(self) -> str:
        scheme = "https" if self._tls else "http"
        return f"{scheme}://localhost" if self._socket else f"{scheme}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        if self._socket:
            self._server = await asyncio.start_unix_server(self._serve, self._socket, ssl=self._tls)
        else:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._tls)
            self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._server.close()
        await until_async(lambda: not self.open, "the end of the connections")

    async def alone(self, after: int = 1) -> None:
        """Return when there were so many connections, and none is left."""
        await until_async(lambda: not self.open and self.connections >= after, "the end of the connections")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        play = self.script[min(self.connections, len(self.script) - 1)]
        self.connections += 1
        self.open += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._play(play, reader, writer)
        finally:
            self.open -= 1
            writer.transport.abort()

    async def _play(self, play: Play, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if play.reads:
            self.requests.append(await _request(reader))
        writer.write(play.sends)
        await writer.drain()
        while play.endless and not self._over.is_set():
            writer.write(b"x" * 4096)
            self.streamed_bytes += 4096
            await writer.drain()
        if play.holds:
            await self._until_gone(reader if play.reads else None, writer)
        if play.reset:
            writer.transport.abort()
        else:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _until_gone(self, reader: asyncio.StreamReader | None, writer: asyncio.StreamWriter) -> None:
        """Without a reader nothing is read, so that the other side's data piles up."""
        if reader is None:
            writer.transport.pause_reading()  # type: ignore[attr-defined]  # a reading transport, in fact
            await self._over.wait()
            return
        while not self._over.is_set() and not reader.at_eof():
            with suppress(TimeoutError):
                async with asyncio.timeout(0.01):
                    await reader.read(65536)


class Tls:
    """An authority, what it issues, and the files of ours."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.ca_file = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(self.ca_file)
        self.client_file, self.key_file = folder / "client.pem", folder / "client.key"
        self.pair_file = folder / "pair.pem"
        client = self.authority.issue_cert("client")
        client.private_key_pem.write_to_path(self.key_file)
        client.cert_chain_pems[0].write_to_path(self.client_file)
        client.private_key_and_cert_chain_pem.write_to_path(self.pair_file)

    def server(
        self,
        name: str = "127.0.0.1",
        clients: bool = False,
        valid: tuple[datetime, datetime] | tuple[None, None] = (None, None),
    ) -> ssl.SSLContext:
        """Return what a server of this name needs; with `clients` it wants a certificate of theirs."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.authority.issue_cert(name, not_before=valid[0], not_after=valid[1]).configure_cert(context)
        if clients:
            self.authority.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


async def _request(reader: asyncio.StreamReader) -> Received:
    line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    method, target, _ = line.split(" ")
    headers = {name.lower(): text.strip() for name, _, text in (each.partition(":") for each in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(method, target, headers, body)
