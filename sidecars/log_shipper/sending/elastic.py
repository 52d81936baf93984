"""Send one bulk request to one of the Elasticsearch nodes.

A node that failed is ejected for a while (`core.pool`). A request that has no answer for a while may be sent once
more beside the first (`core.hedging` says when). Whether it is sent again when all of that failed is not decided here:
`delivery` does, with the data in hand.

Not the official client: its transport alone would cost 3 MiB, for a second HTTP library that it asks for one address.
"""

import asyncio
import random
import ssl
from collections.abc import Callable, Iterable
from dataclasses import replace
from urllib.parse import urljoin, urlsplit

from isal import isal_zlib  # at the start: one who has not installed it must not learn it at the first request

from sidecars import __version__
from sidecars.kit.files import UnusableFile
from sidecars.log_shipper.core.batch import Payload
from sidecars.log_shipper.core.bulk import FILTER_PATH, Answer
from sidecars.log_shipper.core.choices import Compression, IdMode
from sidecars.log_shipper.core.hedging import Hedge
from sidecars.log_shipper.core.pool import Pool
from sidecars.log_shipper.core.preflight import Question
from sidecars.log_shipper.settings import LogShipperSettings
from sidecars.runtime import Stop

from .attempt import NODE_FAILURES, Cluster, RequestAttempt
from .credentials import WatchedFiles, authorization, tls_context
from .node import Addresses, Node, NodeAddress, NoReply

_NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
"""What OpenSSL calls a reply to its greeting that is no TLS."""
_NOT_HTTP = ("ServerDisconnectedError", "BadStatusLine", "BadHttpMessage", "ClientOSError", "Invalid")
"""What a TLS port does with a plain request: it hangs up, or answers with an alert."""
_GZIP_LEVEL = 1
_GZIP_BITS = 31
_HANDSHAKE_SECONDS = 2.0
_QUESTION_SECONDS = 5.0


class Elastic:
    """The nodes, and credentials and certificates that may change while running. `hedged` is called for each copy of a
    request that goes out beside one without an answer.
    """

    def __init__(
        self,
        settings: LogShipperSettings,
        stop: Stop | None = None,
        hedged: Callable[[Hedge], None] = lambda _: None,
        addresses: Addresses | None = None,
    ) -> None:
        self._settings = settings
        self._cluster = Cluster(
            settings.id_mode is IdMode.DERIVED,
            settings.request_timeout_seconds,
            stop or Stop(),
            hedged,
            addresses or Addresses(),
        )
        self._packs = settings.compression is Compression.GZIP
        self._target = f"/{settings.target}/_bulk?filter_path={FILTER_PATH}"
        self._secrets = WatchedFiles(settings.api_key_file, settings.password_file)
        self._certificates = WatchedFiles(settings.ca_file, settings.client_certificate_file, settings.client_key_file)
        self._pool: Pool[Node] | None = None
        self._spoke_tls: dict[NodeAddress, bool] = {}
        """What came of it when a node that was asked by http had hung up, until it answers."""
        self._authorization = ""

    def pack(self, pieces: Iterable[bytes]) -> bytes:
        """Return the pieces as one body, gzip if so configured: before it waits, so what waits for a dead backend is
        small.
        """
        return _gzipped(pieces) if self._packs else b"".join(pieces)

    def unpack(self, body: bytes) -> bytes:
        """Return what `pack` was given, in one piece."""
        return isal_zlib.decompress(body, _GZIP_BITS) if self._packs else body

    async def send(self, payload: Payload) -> Answer:
        """Send the payload until one node answers; never raises for what the network or the server does."""
        try:
            headers = self._headers(payload)
            pool = await self._nodes()
        except UnusableFile as error:
            return Answer(0, reason="credentials", detail=str(error))

        question = Question("POST", self._target, payload.body)

        async def ask(node: Node, limit_seconds: float) -> Answer:
            return await self._ask(node, question, headers, limit_seconds)

        return await RequestAttempt(self._cluster, pool, ask).run()

    async def ask_all(self, question: Question) -> list[Answer]:
        """Return what each node answers to a question of `check`; asked once, at the same time. Raises UnusableFile."""
        headers = self._headers(None)
        nodes = (await self._nodes()).all()
        limit_seconds = min(_QUESTION_SECONDS, self._settings.request_timeout_seconds)
        return await asyncio.gather(*(self._ask(node, question, headers, limit_seconds) for node in nodes))

    async def ask_any(self, question: Question) -> Answer:
        """Return what the first node that answers says to a question of `--setup`. Raises UnusableFile."""
        headers = self._headers(None)
        nodes = (await self._nodes()).all()
        answer = Answer(0)
        for node in nodes:
            answer = await self._ask(node, question, headers, self._settings.request_timeout_seconds)
            if answer.status not in NODE_FAILURES:
                break
        return answer

    async def _ask(self, node: Node, question: Question, headers: dict[str, str], limit_seconds: float) -> Answer:
        """Send one request to one node."""
        try:
            reply = await node.ask(question.method, question.path, question.body, headers, limit_seconds)
        except NoReply as error:
            return await self._failure(node.address, error)
        self._spoke_tls.pop(node.address, None)
        url = f"{node.address.url}{question.path.partition('?')[0]}"
        location = _shown(urljoin(url, reply.location))
        return Answer(reply.status, self._without_credentials(reply.body), url=url, location=location)

    async def _failure(self, address: NodeAddress, error: NoReply) -> Answer:
        """Return why there is no answer. A port that speaks the other of http and https is called that."""
        if address.scheme == "https" and any(sign in error.sign for sign in _NOT_TLS):
            return Answer(0, reason="tls", detail=f"{address.url}: this port speaks http and not https")
        if address.scheme == "http" and error.reason == "connection" and any(sign in error.sign for sign in _NOT_HTTP):
            if address not in self._spoke_tls:
                self._spoke_tls[address] = await _speaks_tls(address.host, address.port)
            if self._spoke_tls[address]:
                return Answer(0, reason="tls", detail=f"{address.url}: this port speaks https and not http")
        return Answer(0, reason=error.reason, detail=f"{address.url}: {error}")

    def _without_credentials(self, body: bytes) -> bytes:
        """Return a reply as it may be quoted: some gateways answer with the headers that they got."""
        credential = self._authorization.partition(" ")[2].encode()
        return body.replace(credential, b"...") if credential and credential in body else body

    async def close(self) -> None:
        """Close all connections."""
        pool, self._pool = self._pool, None
        await _close(pool)

    def _headers(self, payload: Payload | None) -> dict[str, str]:
        """Return the headers of a bulk request, or of a question. Raises UnusableFile."""
        kind = "application/json" if payload is None else "application/x-ndjson"
        headers = {"content-type": kind, "accept": "application/json"}
        headers["user-agent"] = f"sidecars-log-shipper/{__version__}"
        if payload is not None and self._packs:
            headers["content-encoding"] = "gzip"
        if self._secrets.changed():
            self._authorization = authorization(self._settings)
            self._secrets.used()
        if self._authorization:
            headers["authorization"] = self._authorization
        return headers

    async def _nodes(self) -> Pool[Node]:
        """Return the pool; made anew when a certificate file changed. While new files do not fit together yet (they are
        replaced one after the other), the former ones stay in use.
        """
        try:
            if self._certificates.changed() or self._pool is None:
                found = addresses_of(self._settings)
                self._certificates.used()
                random.shuffle(found)  # sidecars that start together do not all begin with the same node
                nodes = [Node(address, self._cluster.addresses, self._settings.requests) for address in found]
                former, self._pool = self._pool, Pool(nodes)  # before any await: another request may come here
                await _close(former)
        except UnusableFile:
            if self._pool is None:
                raise
        return self._pool


async def _close(pool: Pool[Node] | None) -> None:
    for node in pool.all() if pool else []:
        await node.close()


def addresses_of(settings: LogShipperSettings) -> list[NodeAddress]:
    """Return where the nodes of the settings are, each once. Raises UnusableFile."""
    found = dict.fromkeys(map(NodeAddress.parse, settings.elasticsearch_url))
    return [replace(address, tls=tls_context(settings)) if address.scheme == "https" else address for address in found]


def _gzipped(pieces: Iterable[bytes]) -> bytes:
    """Compress by ISA-L, which costs a tenth of zlib's CPU at about the same ratio. Measured on 1 MiB bodies of log
    documents: 0.26 microseconds a line against 2.4 for zlib level 1.
    """
    packer = isal_zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_BITS)
    packed = [packer.compress(piece) for piece in pieces]
    return b"".join((*packed, packer.flush()))


async def _speaks_tls(host: str, port: int) -> bool:
    """Return whether a TLS handshake is answered there; nothing is sent, nobody is trusted."""
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
    """Return an address without what may be secret in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
