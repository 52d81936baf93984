"""An Elasticsearch small enough to start in a test, that can be told to misbehave.

It speaks the part of the REST interface that a log shipper and its witness use, with the real server's shapes (the
contract tests hold both to the same answers), and plays `Faults`, set from code or with `PUT /_faults`.

    async with Elasticsearch.start(ServerOptions(faults=Faults(item_429_odds=0.3))) as server: ...  # on this loop
    with serving(ServerOptions()) as server: ...                                                # in a thread of its own
    python -m sidecars.devstack elasticsearch --port 9200                                       # a process
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self

import msgspec
from aiohttp import web

from .bulk import BulkRequest, BulkResult, BulkRun
from .errors import Access, JsonObject, RestError
from .faults import Dice, Faults, whole_request
from .rest import Rest
from .store import Store


class Listener:
    """Listens for an aiohttp server; remembers the port it was given first."""

    def __init__(self, runner: web.AppRunner, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self.port = port
        self._runner = runner
        self._host = host
        self._tls = tls
        self._socket: asyncio.Server | None = None
        self._return: asyncio.TimerHandle | None = None
        self._opening: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Listens, if it does not yet. Raises: OSError when the port is taken."""
        if self._return is not None:
            self._return.cancel()
            self._return = None
        if self._socket is not None:
            return
        server = self._runner.server
        if server is None:
            raise RuntimeError("cannot listen: set the runner up first")
        loop = asyncio.get_running_loop()
        self._socket = await loop.create_server(
            server, self._host, self.port, ssl=self._tls, reuse_address=True, backlog=1024
        )
        self.port = self._socket.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Refuses new connections and breaks the open ones."""
        if self._return is not None:
            self._return.cancel()
            self._return = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        for connection in self._runner.server.connections if self._runner.server else ():
            if connection.transport is not None:
                connection.transport.abort()

    def down(self, seconds: float) -> None:
        """Closes now and listens again after `seconds`."""
        self.close()
        loop = asyncio.get_running_loop()
        self._return = loop.call_later(seconds, self._reopen)

    def _reopen(self) -> None:
        self._return = None
        self._opening = asyncio.get_running_loop().create_task(self.open())


_encode = msgspec.json.Encoder().encode


def bulk_reply(request: web.Request, result: BulkResult, dice: Dice) -> web.StreamResponse:
    """The reply to a bulk request that was carried out, spoilt by whichever fault strikes."""
    if dice.strikes("cut_after_store_odds"):
        return cut(request)
    if dice.strikes("cut_reply_odds"):
        return cut(request, result.reply)
    reply = result.reply
    if dice.strikes("garbage_reply_odds"):
        reply = b"<html>not the reply you are looking for</html>"
    elif dice.strikes("empty_reply_odds"):
        reply = b""
    elif dice.strikes("wrong_item_count_odds"):
        items = msgspec.json.decode(reply)
        reply = _encode(items | {"items": items.get("items", [])[:-1]})
    return web.Response(body=reply, content_type="application/json")


def cut(request: web.Request, reply: bytes = b"") -> web.Response:
    """Breaks the connection; with a reply given, after the first half of it."""
    transport = request.transport
    if transport is not None and reply:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(reply)}\r\n\r\n"
        transport.write(head.encode() + reply[: len(reply) // 2])
        transport.close()
    elif transport is not None:
        transport.abort()
    return web.Response()


def refusal(problem: RestError) -> web.Response:
    if problem.status == 413:
        response = web.Response(status=413)
        response.force_close()
        return response
    response = json_reply(problem.body(), problem.status)
    if problem.status == 401:
        response.headers.extend({"WWW-Authenticate": 'Basic realm="security", charset="UTF-8"'})
        response.headers.add("WWW-Authenticate", "ApiKey")
    return response


def json_reply(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=_encode(value), status=status, content_type="application/json")


_HEADERS = {"X-Elastic-Product": "Elasticsearch"}
_OUTCOMES = {200: "indexed", 201: "indexed", 408: "retry", 409: "duplicate", 429: "retry"}
_OWN_PATHS = ("/_faults", "/_stats_devstack")
_CONTENT_TYPES = frozenset(
    {
        "application/json",
        "application/x-ndjson",
        "application/vnd.elasticsearch+json",
        "application/vnd.elasticsearch+x-ndjson",
    }
)
_UNLIMITED_BYTES = 1 << 31


@dataclass(frozen=True)
class ServerOptions:
    """How a stand-in is set up. Port 0: any free one. With `access` empty everybody may do everything."""

    host: str = "127.0.0.1"
    port: int = 0
    max_content_length_bytes: int = 100 * 1024 * 1024
    access: Access = field(default_factory=Access)
    tls: ssl.SSLContext | None = None
    faults: Faults = field(default_factory=Faults)


class Elasticsearch:
    """The running stand-in. Use it on its own loop only, except for `url`; from elsewhere through `serving`."""

    def __init__(self, options: ServerOptions) -> None:
        self.store = Store()
        self.requests: Counter[str] = Counter()
        self.items: Counter[str] = Counter()
        self.targets: Counter[str] = Counter()
        self.received_bytes = 0
        self._options = options
        self._dice = Dice(options.faults)
        self._released = asyncio.Event()
        self._rest = Rest(self.store)
        self._runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=1.0)
        self._listener: Listener | None = None

    @classmethod
    @asynccontextmanager
    async def start(cls, options: ServerOptions | None = None) -> AsyncIterator[Self]:
        """Listens until the block ends. Raises: OSError when the port is taken."""
        server = cls(options or ServerOptions())
        await server.open()
        try:
            yield server
        finally:
            await server.close()

    async def open(self) -> None:
        """Starts to listen."""
        await self._runner.setup()
        options = self._options
        self._listener = Listener(self._runner, options.host, options.port, options.tls)
        await self._listener.open()

    async def close(self) -> None:
        """Stops listening, drops every connection, forgets everything."""
        self._released.set()
        if self._listener is not None:
            self._listener.close()
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where it listens, such as `http://127.0.0.1:41235`; stays the same while the socket is down."""
        scheme = "https" if self._options.tls else "http"
        return f"{scheme}://{self._options.host}:{self._listening.port}"

    @property
    def _listening(self) -> Listener:
        if self._listener is None:
            raise RuntimeError("cannot use the stand-in before it is open: call open() first")
        return self._listener

    @property
    def faults(self) -> Faults:
        """The script being played; setting it starts the new one from its first draw."""
        return self._dice.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._dice = Dice(faults)
        self._released.set()
        self._released = asyncio.Event()
        if faults.down_seconds > 0 and self._listener is not None:
            self._listener.down(faults.down_seconds)

    def down(self) -> None:
        """Closes the listening socket and every connection, until `up`; the documents stay."""
        self._listening.close()

    async def up(self) -> None:
        """Listens again on the same port."""
        await self._listening.open()

    def counters(self) -> JsonObject:
        """What happened so far: requests by status, bulk items by outcome, documents sent per target, faults struck."""
        return {
            "requests": dict(self.requests),
            "items": dict(self.items),
            "targets": dict(self.targets),
            "received_bytes": self.received_bytes,
            "faults_struck": dict(self._dice.struck),
            "documents": {name: len(index.documents) for name, index in self.store.indices.items()},
        }

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[self._guard], client_max_size=_UNLIMITED_BYTES)
        router = application.router
        for method in ("POST", "PUT"):
            router.add_route(method, "/_bulk", self._bulk)
            router.add_route(method, "/{target}/_bulk", self._bulk)
        router.add_get("/_stats_devstack", self._show_counters)
        router.add_route("GET", "/_faults", self._show_faults)
        router.add_route("PUT", "/_faults", self._put_faults)
        router.add_route("DELETE", "/_faults", self._delete_faults)
        self._rest.add_routes(router)
        return application

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Faults, access and the size limit come before every handler; every error leaves in Elasticsearch's shape."""
        try:
            if request.path not in _OWN_PATHS:
                await self._admit(request)
            response = await handler(request)
        except RestError as problem:
            response = refusal(problem)
        except web.RequestPayloadError:  # a gzip body that is none, or `never_answer` at its end: hang up
            response = cut(request)
        except web.HTTPException as error:
            reason = f"no handler found for uri [{request.path_qs}] and method [{request.method}]"
            response = json_reply({"error": reason}, 400 if error.status == 404 else error.status)
        if not response.prepared and response.status != 413:  # a 413 comes from the real server's network layer, bare
            response.headers.update(_HEADERS)
        if request.path not in _OWN_PATHS:
            self.requests[str(response.status)] += 1
        return response

    async def _admit(self, request: web.Request) -> None:
        faults = self._dice.faults
        if faults.blocked:
            self._dice.struck["blocked"] += 1
            raise whole_request(503)
        self._options.access.check(request.headers.get("Authorization"), request.path)
        in_scope = faults.scope == "all" or request.path.endswith("/_bulk")
        if in_scope and faults.never_answer:
            self._dice.struck["never_answer"] += 1
            await self._released.wait()
            raise web.RequestPayloadError("released without an answer")
        if in_scope and faults.delay_seconds > 0:
            self._dice.struck["delay"] += 1
            with suppress(TimeoutError):
                await asyncio.wait_for(self._released.wait(), faults.delay_seconds)
        if in_scope and (status := self._dice.request_status()) is not None:
            raise whole_request(status)
        limit = self._options.max_content_length_bytes
        if in_scope and faults.max_content_length_bytes is not None:
            limit = min(limit, faults.max_content_length_bytes)
        size = request.content_length or 0
        size = max(size, len(await request.read())) if size <= limit else size  # unpacked, as the real server counts
        if size > limit:
            raise RestError(413, "too_large", f"the body is larger than {limit} bytes")
        if size and request.content_type not in _CONTENT_TYPES:
            kind = f"Content-Type header [{request.content_type}] is not supported"
            raise RestError(406, "media_type_header_exception", kind)

    async def _bulk(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.received_bytes += request.content_length or len(body)
        dice = self._dice
        if dice.strikes("cut_before_store_odds"):
            return cut(request)
        query = request.query
        bulk = BulkRequest(
            body,
            request.match_info.get("target"),
            query.get("filter_path"),
            query.get("require_data_stream") in ("", "true"),
        )
        result = BulkRun(self.store, dice).execute(bulk)
        self._account(result)
        return bulk_reply(request, result, dice)

    def _account(self, result: BulkResult) -> None:
        self.targets.update(result.targets)
        for status, count in result.statuses.items():
            self.items[_OUTCOMES.get(status, "retry" if status >= 500 else "rejected")] += count

    async def _show_counters(self, _request: web.Request) -> web.Response:
        return json_reply(self.counters())

    async def _show_faults(self, _request: web.Request) -> web.Response:
        return json_reply(msgspec.to_builtins(self.faults))

    async def _put_faults(self, request: web.Request) -> web.StreamResponse:
        try:
            faults = msgspec.json.decode(await request.read(), type=Faults)
        except msgspec.DecodeError as error:
            raise RestError(400, "illegal_argument_exception", f"cannot set the faults: {error}") from None
        reply = json_reply({"acknowledged": True})
        reply.headers.update(_HEADERS)
        reply.force_close()
        await reply.prepare(request)
        await reply.write_eof()
        self.faults = faults
        return reply

    async def _delete_faults(self, _request: web.Request) -> web.Response:
        self.faults = Faults()
        return json_reply({"acknowledged": True})
