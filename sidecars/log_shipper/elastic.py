"""Send one bulk request to one of the Elasticsearch nodes.

The official client's transport layer does the HTTP: its nodes and its pool, which takes a failed node out of turn
and tries it again later. Its serializers are left out, because a reply that is no JSON has a status too. Retrying
is not done here: `delivery` decides, with the data in hand.
"""

import asyncio
import logging
import ssl
import sys
from typing import Any, cast
from urllib.parse import urljoin, urlsplit

import msgspec

from sidecars import __version__

from .core.batch import Payload
from .core.bulk import FILTER_PATH, Answer, reason_of, whole_refusal
from .credentials import WatchedFiles, authorization, tls_context
from .settings import LogShipperSettings

# elastic_transport imports every HTTP stack that it finds. Only aiohttp is used here, so the others are hidden from it
# for the moment of the import: `requests` alone would cost 3.3 MiB where something else has installed it.
_HIDDEN = [name for name in ("requests", "httpx") if name not in sys.modules]
sys.modules.update(dict.fromkeys(_HIDDEN))  # type: ignore[arg-type]  # None makes an import fail, by the language reference

# isort: split
from elastic_transport import (  # noqa: E402
    AiohttpHttpNode,
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

_NODE_FAILURES = (502, 503, 504)
"""Another node may do better."""
_NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
"""What OpenSSL calls a reply to its greeting that is no TLS."""
_NOT_HTTP = ("ServerDisconnectedError", "BadStatusLine", "BadHttpMessage", "ClientOSError", "Invalid")
"""What a TLS port does with a plain request: it hangs up, or answers with an alert."""
_HANDSHAKE_SECONDS = 2.0
_DEAD_NODE_CAP_SECONDS = 30.0
_CHANCE_SECONDS = 10.0
_SECOND_CHANCE_SECONDS = 3.0


class Elastic:
    """The nodes, and credentials and certificates that may change while running."""

    def __init__(self, settings: LogShipperSettings) -> None:
        self._settings = settings
        self._target = f"/{settings.target}/_bulk?filter_path={FILTER_PATH}"
        self._secrets = WatchedFiles(settings.api_key_file, settings.password_file)
        self._certificates = WatchedFiles(settings.ca_file, settings.client_certificate_file, settings.client_key_file)
        self._pool: NodePool | None = None
        self._failed: set[AiohttpHttpNode] = set()
        self._spoke_tls: dict[AiohttpHttpNode, bool] = {}
        """What came of it when a node that was asked by http had hung up, until it answers."""
        self._authorization = ""

    async def send(self, payload: Payload) -> Answer:
        """POST the payload to one node after the other, to each once, until one answers; never raises for what the
        network or the server does.
        """
        try:
            headers = self._headers(payload)
            pool = await self._nodes()
        except OSError as error:  # ssl.SSLError is one
            what = error.filename or "the TLS files (ca_file, client_certificate_file, client_key_file)"
            return Answer(0, reason="credentials", detail=f"cannot read {what}: {error.strerror}")
        failed: list[str] = []
        asked: set[AiohttpHttpNode] = set()
        while True:
            node = self._next(pool, asked)
            asked.add(node)
            answer = await self._ask(pool, node, payload, headers)
            if answer.status not in (0, *_NODE_FAILURES) or len(asked) == len(pool):
                return msgspec.structs.replace(answer, failovers=tuple(failed))
            failed.append(answer.reason or reason_of(whole_refusal(answer)))

    def _next(self, pool: NodePool, asked: set[AiohttpHttpNode]) -> AiohttpHttpNode:
        """The node whose turn it is. One that was asked in this attempt already can be back in turn (a second after it
        failed, while the next one is waited for): then one that was not, and rather one that answered the last time.
        """
        node = cast("AiohttpHttpNode", pool.get())
        if node not in asked:
            return node
        others = [other for other in cast("list[AiohttpHttpNode]", pool.all()) if other not in asked]
        return min(others, key=self._failed.__contains__)

    async def _ask(self, pool: NodePool, node: AiohttpHttpNode, payload: Payload, headers: HttpHeaders) -> Answer:
        """One node. Where there are others it has less time to answer, and little when it failed the last time: a node
        that accepts and never answers must not hold up what the others could take.
        """
        timeout_seconds = self._settings.request_timeout_seconds
        if len(pool) > 1:
            timeout_seconds = min(timeout_seconds, _SECOND_CHANCE_SECONDS if node in self._failed else _CHANCE_SECONDS)
        try:
            answer = await node.perform_request(
                "POST", self._target, payload.body, headers, request_timeout=timeout_seconds
            )
        except TransportError as error:
            pool.mark_dead(node)
            self._failed.add(node)
            return await self._failure(node, error)
        self._failed.discard(node)
        self._spoke_tls.pop(node, None)
        if answer.meta.status in _NODE_FAILURES:
            pool.mark_dead(node)
        else:
            pool.mark_live(node)
        url = f"{node.base_url}{self._target.partition('?')[0]}"
        location = _shown(urljoin(url, answer.meta.headers.get("location", "")))
        return Answer(answer.meta.status, self._without_credentials(answer.body), url=url, location=location)

    async def _failure(self, node: AiohttpHttpNode, error: TransportError) -> Answer:
        """Why there is no answer. A port that speaks the other of http and https is called that."""
        text = f"{error.message} {error.errors}"
        if node.scheme == "https" and any(sign in text for sign in _NOT_TLS):
            what = "this port speaks http and not https"
            return Answer(0, reason="tls", detail=f"{node.base_url}: {what}")
        if node.scheme == "http" and isinstance(error, CannotConnect) and any(sign in text for sign in _NOT_HTTP):
            if node not in self._spoke_tls:
                self._spoke_tls[node] = await _speaks_tls(node.host, node.port)
            if self._spoke_tls[node]:
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

    def _headers(self, payload: Payload) -> HttpHeaders:
        headers = HttpHeaders({"content-type": "application/x-ndjson", "accept": "application/json"})
        headers["user-agent"] = f"sidecars-log-shipper/{__version__}"
        if payload.packed:
            headers["content-encoding"] = "gzip"
        if self._secrets.changed():
            self._authorization = authorization(self._settings)
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
                configs = node_configs(self._settings)
                self._certificates.taken()
                pool = NodePool(configs, node_class=_Node, max_dead_node_backoff=_DEAD_NODE_CAP_SECONDS)
                former, self._pool = self._pool, pool  # before any await: another request may come here meanwhile
                await _close(former)
        except OSError:
            if self._pool is None:
                raise
        return self._pool


class _Node(AiohttpHttpNode):
    """A node whose redirects are answers. The one of the library follows them, and on 301 and 302 makes the POST a GET
    without a body: what comes back then says nothing of the records.
    """

    def _create_aiohttp_session(self) -> None:
        super()._create_aiohttp_session()
        self.session = cast("Any", _WithoutRedirects(self.session))


class _WithoutRedirects:
    """What a node uses of a session."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.close = session.close

    def request(self, *args: Any, **options: Any) -> Any:
        """As the session's; a redirect is an answer."""
        return self._session.request(*args, allow_redirects=False, **options)


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
