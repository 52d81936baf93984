"""The backend of the demo, and the relay through which the shipper talks to it.

The relay can be taken away: a backend that is gone, without touching it. It carries bytes and knows nothing of HTTP.
Towards a server with TLS it is the TLS client, so that the server's name is still checked while the shipper talks to a
port of this machine. The witness does not pass through it: it counts and reads what arrived, with raw HTTP, and with
requests only that the stand-in and every Elasticsearch since 8 know, so that both are judged alike.
"""

import asyncio
import base64
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import aiohttp

from sidecars.devstack.elasticsearch.errors import JsonObject

from .stage import DemoError

_CHUNK_BYTES = 1 << 16
_HOST = "127.0.0.1"


class Relay:
    """Listens on a free port of the loopback. While it is down, open connections break and new ones are refused."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._far = (host, port, tls)
        self._place = _bound(0)  # never listens: it keeps the port ours while the relay is down
        self.port: int = self._place.getsockname()[1]
        self._server: asyncio.Server | None = None
        self._lines: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def open(cls, host: str, port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[Self]:
        """Carries for `host:port` until the block ends."""
        relay = cls(host, port, tls)
        await relay.up()
        try:
            yield relay
        finally:
            relay.down()
            await asyncio.gather(*relay._lines, return_exceptions=True)
            relay._place.close()

    async def up(self) -> None:
        """Listens, if it does not yet."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, sock=_bound(self.port))

    def down(self) -> None:
        """Refuses new connections and breaks the open ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for line in self._lines:
            line.cancel()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.get_running_loop().create_task(self._carry(reader, writer), name="relay")
        self._lines.add(line)
        line.add_done_callback(self._lines.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port, tls = self._far
        ends = [writer]
        try:
            far_reader, far_writer = await asyncio.open_connection(host, port, ssl=tls)
            ends.append(far_writer)
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        except OSError:
            writer.transport.abort()  # the backend is really away: break off, as it would
        except asyncio.CancelledError:
            for end in ends:
                end.transport.abort()
            raise


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction, until its source ends."""
    try:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK_BYTES):
                writer.write(chunk)
                await writer.drain()
    finally:
        writer.close()


def _bound(port: int) -> socket.socket:
    """A socket on the loopback, several of which may share one port."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((_HOST, port))
    return bound


_PAGE = 10_000
_LATE_REQUEST_SECONDS = 0.5
_TIMEOUT = aiohttp.ClientTimeout(total=60, connect=10)
# One shard, so that a document's sequence number is its own, and the whole index can be read in its order.
_INDEX: JsonObject = {
    "settings": {"number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "500ms"},
    "mappings": {
        "properties": {
            "@timestamp": {"type": "date"},
            "message": {"type": "text"},
            "log": {"properties": {"offset": {"type": "long"}, "file": {"properties": {"path": {"type": "keyword"}}}}},
        }
    },
}


@dataclass(frozen=True)
class Address:
    """Where an Elasticsearch is, and as whom to talk to it."""

    scheme: str
    host: str
    port: int
    prefix: str
    username: str = ""
    password: str = ""
    api_key: str = ""

    @classmethod
    def parse(cls, url: str, environ: Mapping[str, str]) -> Self:
        """From a URL, and from ELASTICSEARCH_USERNAME, _PASSWORD and _API_KEY. Raises: DemoError."""
        try:
            parts = urlsplit(url)
            port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        except (ValueError, KeyError):
            raise DemoError("cannot use ELASTICSEARCH_URL: write it as http://host:9200 or https://host:9200") from None
        if not parts.hostname:
            raise DemoError("cannot use ELASTICSEARCH_URL: it names no host; write it as http://host:9200")
        user = environ.get("ELASTICSEARCH_USERNAME") or unquote(parts.username or "")
        password = environ.get("ELASTICSEARCH_PASSWORD") or unquote(parts.password or "")
        api_key = environ.get("ELASTICSEARCH_API_KEY", "")
        return cls(parts.scheme, parts.hostname, port, parts.path.rstrip("/"), user, password, api_key)

    @property
    def url(self) -> str:
        """Without credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.prefix}"

    @property
    def tls(self) -> ssl.SSLContext | None:
        """Trusts what the system trusts; SSL_CERT_FILE names other certificates."""
        return ssl.create_default_context() if self.scheme == "https" else None

    @property
    def authorization(self) -> dict[str, str]:
        """The header, or none."""
        if self.api_key:
            return {"Authorization": f"ApiKey {self.api_key}"}
        if self.username:
            credentials = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
            return {"Authorization": f"Basic {credentials}"}
        return {}


class Backend:
    """One index of the demo's own in a running Elasticsearch."""

    def __init__(self, address: Address, index: str, session: aiohttp.ClientSession) -> None:
        self.index = index
        self._address = address
        self._session = session

    @classmethod
    @asynccontextmanager
    async def open(cls, address: Address, index: str) -> AsyncIterator[Self]:
        """Makes the index, and deletes it when the block ends. Raises: DemoError."""
        connector = aiohttp.TCPConnector(ssl=address.tls or True)
        async with aiohttp.ClientSession(
            connector=connector, headers=address.authorization, timeout=_TIMEOUT
        ) as session:
            backend = cls(address, index, session)
            await backend._ask("PUT", f"/{index}", _INDEX)
            try:
                yield backend
            except BaseException:  # the shipper was cut off: a request still under way could make the index anew
                await backend._delete()
                await asyncio.sleep(_LATE_REQUEST_SECONDS)
                await backend._delete()
                raise
            await backend._delete()

    async def count(self) -> int:
        """How many documents can be found at this moment."""
        reply = await self._ask("GET", f"/{self.index}/_count")
        return int(reply["count"])

    async def refresh(self) -> None:
        """Makes everything stored findable."""
        await self._ask("POST", f"/{self.index}/_refresh")

    async def messages(self) -> AsyncIterator[str]:
        """The `message` of every document, doubled ones as often as they are there."""
        question: JsonObject = {"size": _PAGE, "sort": [{"_seq_no": "asc"}], "_source": ["message"]}
        while hits := (await self._ask("POST", f"/{self.index}/_search", question))["hits"]["hits"]:
            for hit in hits:
                yield str(hit["_source"].get("message", ""))
            question["search_after"] = hits[-1]["sort"]

    async def search(self, words: str) -> JsonObject | None:
        """The first document whose message has these words in this order, as a person would look for it."""
        question = {"size": 1, "query": {"match_phrase": {"message": words}}}
        reply = await self._ask("POST", f"/{self.index}/_search", question)
        hits = reply["hits"]["hits"]
        return dict(hits[0]["_source"]) if hits else None

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> JsonObject:
        url = self._address.url
        try:
            async with self._session.request(method, url + path, json=body) as reply:
                text = await reply.text()
                if reply.status >= 300:
                    raise DemoError(
                        f"cannot use Elasticsearch at {url}: {method} {path} gave {reply.status}: {text[:300]}"
                    )
                answer: JsonObject = await reply.json(content_type=None)
                return answer
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            reason = str(error) or type(error).__name__
            remedy = "check ELASTICSEARCH_URL, or unset it to use the stand-in"
            raise DemoError(f"cannot reach Elasticsearch at {url}: {reason}; {remedy}") from None

    async def _delete(self) -> None:
        try:
            async with self._session.delete(f"{self._address.url}/{self.index}") as reply:
                done, reason = reply.status in (200, 404), await reply.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            done, reason = False, str(error) or type(error).__name__
        if not done:
            print(f"cannot delete the index {self.index} at {self._address.url}, delete it by hand: {reason[:300]}")
