"""Send one bulk request to one of the Elasticsearch nodes.

The official client's transport layer knows the nodes: its pool takes a failed one out of turn and tries it again
later. Its serializers are left out, because a reply that is no JSON has a status too. A request that has no answer for
a while may be sent once more beside the first (`core.schedule` says when). Whether it is sent again when all of that
failed is not decided here: `delivery` does, with the data in hand.
"""

import asyncio
import logging
import ssl
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, cast
from urllib.parse import urljoin, urlsplit

import aiohttp

from sidecars import __version__
from sidecars.runtime import Stop

from .attempt import NODE_FAILURES, Attempt
from .connection import CONNECT_SECONDS, LINE, Addresses, Connector, Line
from .core.batch import Payload
from .core.bulk import FILTER_PATH, Answer
from .core.preflight import Question
from .core.schedule import Hedge, Latency
from .credentials import WatchedFiles, authorization, tls_context
from .settings import LogShipperSettings

# elastic_transport imports every HTTP stack that it finds. Only aiohttp is used here, so the others are hidden from it
# for the moment of the import: `requests` alone would cost 3.3 MiB where something else has installed it.
_HIDDEN = [name for name in ("requests", "httpx") if name not in sys.modules]
sys.modules.update(dict.fromkeys(_HIDDEN))  # type: ignore[arg-type]  # None makes an import fail, by the language reference

# isort: split
from elastic_transport import (  # noqa: E402
    AiohttpHttpNode,
    ApiResponseMeta,
    BinaryApiResponse,
    ConnectionTimeout,
    HttpHeaders,
    NodeConfig,
    NodePool,
    TlsError,
    TransportError,
)
from elastic_transport import ConnectionError as CannotConnect  # noqa: E402
from elastic_transport.client_utils import url_to_node_config  # noqa: E402

for _name in _HIDDEN:
    del sys.modules[_name]

logging.getLogger("elastic_transport").setLevel(logging.ERROR)  # it warns at every attempt; `delivery` says it once

_NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
"""What OpenSSL calls a reply to its greeting that is no TLS."""
_NOT_HTTP = ("ServerDisconnectedError", "BadStatusLine", "BadHttpMessage", "ClientOSError", "Invalid")
"""What a TLS port does with a plain request: it hangs up, or answers with an alert."""
_HANDSHAKE_SECONDS = 2.0
_DEAD_NODE_CAP_SECONDS = 30.0
_QUESTION_SECONDS = 5.0


class Node(AiohttpHttpNode):
    """One node over connections of ours: made within a time limit, to each address of its name, and cut when a request
    is given up. A redirect is an answer: following it would make a GET of a POST.
    """

    def __init__(self, config: NodeConfig, addresses: Addresses) -> None:
        super().__init__(config)
        self._addresses = addresses

    def twin(self) -> "Node":
        """The same node with connections of its own, none as yet."""
        return type(self)(self.config, self._addresses)

    @property
    def routes(self) -> int:
        """How many addresses its name has."""
        return self._addresses.count(self.host)

    async def perform_request(  # type: ignore[override]  # every async node does that
        self, method: str, target: str, body: bytes | None = None, headers: Any = None, request_timeout: Any = None
    ) -> Any:
        """The answer, whatever its status. Raises TransportError."""
        session = self.session or self._open()
        timeout = aiohttp.ClientTimeout(total=request_timeout, sock_connect=CONNECT_SECONDS)
        line = LINE.get(Line())
        LINE.set(line)
        done = False
        try:
            async with session.request(
                method, self.base_url + target, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                data = await response.read()
                done = True
        except TimeoutError as error:
            raise ConnectionTimeout("Connection timed out during request", errors=(error,)) from None
        except (ssl.SSLError, aiohttp.ClientSSLError) as error:
            raise TlsError(str(error), errors=(error,)) from None
        except (OSError, aiohttp.ClientError) as error:
            raise CannotConnect(str(error), errors=(error,)) from None
        finally:
            if not done:
                line.cut()
        meta = ApiResponseMeta(response.status, "1.1", HttpHeaders(response.headers), 0.0, self.config)
        return BinaryApiResponse(body=data, meta=meta)

    def _open(self) -> aiohttp.ClientSession:
        self.session = aiohttp.ClientSession(
            headers=self.headers,
            skip_auto_headers=("accept", "accept-encoding", "user-agent"),
            cookie_jar=aiohttp.DummyCookieJar(),
            connector=Connector(
                limit_per_host=self.config.connections_per_node,
                ssl=self.config.ssl_context or False,
                resolver=self._addresses,
                use_dns_cache=False,  # `Addresses` has it
            ),
        )
        return self.session


class Elastic:
    """The nodes, and credentials and certificates that may change while running. `hedged` counts copies of requests
    that went out beside one without an answer.
    """

    def __init__(
        self, settings: LogShipperSettings, stop: Stop | None = None, hedged: Callable[[Hedge], None] | None = None
    ) -> None:
        self.settings = settings
        self.stop = stop or Stop()
        self.hedged = hedged or (lambda _: None)
        self.latency = Latency()
        self.addresses = Addresses()
        self.failed: set[Node] = set()
        self._target = f"/{settings.target}/_bulk?filter_path={FILTER_PATH}"
        self._secrets = WatchedFiles(settings.api_key_file, settings.password_file)
        self._certificates = WatchedFiles(settings.ca_file, settings.client_certificate_file, settings.client_key_file)
        self._pool: NodePool | None = None
        self._spoke_tls: dict[NodeConfig, bool] = {}
        """What came of it when a node that was asked by http had hung up, until it answers."""
        self._authorization = ""

    async def send(self, payload: Payload) -> Answer:
        """POST the payload until one node answers; never raises for what the network or the server does."""
        try:
            headers = self._headers(payload)
            pool = await self._nodes()
        except OSError as error:  # ssl.SSLError is one
            what = error.filename or "the TLS files (ca_file, client_certificate_file, client_key_file)"
            return Answer(0, reason="credentials", detail=f"cannot read {what}: {error.strerror}")

        question = Question("POST", self._target, payload.body)

        async def ask(node: Node, limit_seconds: float) -> Answer:
            return await self._ask(node, question, headers, limit_seconds)

        return await Attempt(self, pool, ask).run()

    async def ask_all(self, question: Question) -> list[Answer]:
        """What each node answers to a question of `check`; asked once, at the same time. Raises OSError."""
        headers = self._headers(None)
        nodes = cast("list[Node]", (await self._nodes()).all())
        limit_seconds = min(_QUESTION_SECONDS, self.settings.request_timeout_seconds)
        return await asyncio.gather(*(self._ask(node, question, headers, limit_seconds) for node in nodes))

    async def ask_any(self, question: Question) -> Answer:
        """What the first node that answers says to a question of `--setup`. Raises OSError."""
        headers = self._headers(None)
        nodes = cast("list[Node]", (await self._nodes()).all())
        answer = Answer(0)
        for node in nodes:
            answer = await self._ask(node, question, headers, self.settings.request_timeout_seconds)
            if answer.status not in NODE_FAILURES:
                break
        return answer

    async def _ask(self, node: Node, question: Question, headers: HttpHeaders, limit_seconds: float) -> Answer:
        """One request to one node."""
        try:
            answer = await node.perform_request(
                question.method, question.path, question.body, headers, request_timeout=limit_seconds
            )
        except TransportError as error:
            return await self._failure(node, error)
        self._spoke_tls.pop(node.config, None)
        url = f"{node.base_url}{question.path.partition('?')[0]}"
        location = _shown(urljoin(url, answer.meta.headers.get("location", "")))
        return Answer(answer.meta.status, self._without_credentials(answer.body), url=url, location=location)

    async def _failure(self, node: Node, error: TransportError) -> Answer:
        """Why there is no answer. A port that speaks the other of http and https is called that."""
        text = f"{error.message} {error.errors}"
        if node.scheme == "https" and any(sign in text for sign in _NOT_TLS):
            what = "this port speaks http and not https"
            return Answer(0, reason="tls", detail=f"{node.base_url}: {what}")
        if node.scheme == "http" and isinstance(error, CannotConnect) and any(sign in text for sign in _NOT_HTTP):
            if node.config not in self._spoke_tls:
                self._spoke_tls[node.config] = await _speaks_tls(node.host, node.port)
            if self._spoke_tls[node.config]:
                what = "this port speaks https and not http"
                return Answer(0, reason="tls", detail=f"{node.base_url}: {what}")
        return Answer(0, reason=_reason(error), detail=f"{node.base_url}: {error.message}")

    def _without_credentials(self, body: bytes) -> bytes:
        """A reply as it may be quoted: some gateways answer with the headers that they got."""
        credential = self._authorization.partition(" ")[2].encode()
        return body.replace(credential, b"...") if credential and credential in body else body

    async def close(self) -> None:
        """Close all connections."""
        pool, self._pool = self._pool, None
        await _close(pool)

    def _headers(self, payload: Payload | None) -> HttpHeaders:
        """For a bulk request, or for a question. Raises OSError."""
        kind = "application/json" if payload is None else "application/x-ndjson"
        headers = HttpHeaders({"content-type": kind, "accept": "application/json"})
        headers["user-agent"] = f"sidecars-log-shipper/{__version__}"
        if payload is not None and payload.packed:
            headers["content-encoding"] = "gzip"
        if self._secrets.changed():
            self._authorization = authorization(self.settings)
            self._secrets.taken()
        if self._authorization:
            headers["authorization"] = self._authorization
        return headers

    async def _nodes(self) -> NodePool:
        """The pool; made anew when a certificate file changed. While new files do not fit together yet (they are
        replaced one after the other), the former ones stay in use.
        """
        try:
            if self._certificates.changed() or self._pool is None:
                configs = node_configs(self.settings)
                self._certificates.taken()
                node_class = partial(Node, addresses=self.addresses)
                pool = NodePool(configs, node_class=node_class, max_dead_node_backoff=_DEAD_NODE_CAP_SECONDS)  # type: ignore[arg-type]  # it is only called
                former, self._pool = self._pool, pool  # before any await: another request may come here meanwhile
                await _close(former)
        except OSError:
            if self._pool is None:
                raise
        return self._pool


async def _close(pool: NodePool | None) -> None:
    for node in cast("list[AiohttpHttpNode]", pool.all() if pool else []):
        await node.close()


def node_configs(settings: LogShipperSettings) -> list[NodeConfig]:
    """The nodes of the settings, each once, without credentials in their addresses. Raises OSError for TLS files."""
    plain = dict.fromkeys(map(_address, settings.elasticsearch_url))  # NodePool raises for one that comes twice
    return [_node_config(each, settings) for each in plain]


def _address(url: str) -> NodeConfig:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2].lower()
    return url_to_node_config(parts._replace(netloc=host).geturl(), use_default_ports_for_scheme=True)


def _node_config(plain: NodeConfig, settings: LogShipperSettings) -> NodeConfig:
    options: dict[str, object] = {
        "request_timeout": settings.request_timeout_seconds,
        "connections_per_node": settings.requests,
    }
    if plain.scheme == "https":
        options["ssl_context"] = tls_context(settings)
    return plain.replace(**options)


async def _speaks_tls(host: str, port: int) -> bool:
    """Whether a TLS handshake is answered there; nothing is sent, nobody is trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(_HANDSHAKE_SECONDS):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
            writer.close()
    except ssl.SSLError as error:
        return "ALERT" in str(error)  # it wants another version, or a certificate of ours
    except (OSError, TimeoutError):
        return False
    return True


def _shown(url: str) -> str:
    """An address without what may be secret in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _reason(error: TransportError) -> str:
    """A value of the closed list of retry reasons."""
    if isinstance(error, ConnectionTimeout):
        return "timeout"
    if isinstance(error, TlsError):
        return "tls"
    return "connection" if isinstance(error, CannotConnect) else "unknown"
