"""Send one bulk request to one of the Elasticsearch nodes.

The official client's transport layer does the HTTP: its nodes and its pool, which takes a failed node out of turn
and tries it again later. Its serializers are left out, because a reply that is no JSON has a status too. Retrying
is not done here: `delivery` decides, with the data in hand.
"""

import base64
import os
import ssl
from urllib.parse import unquote, urlsplit

from elastic_transport import (
    AiohttpHttpNode,
    BaseAsyncNode,
    ConnectionTimeout,
    HttpHeaders,
    NodeConfig,
    NodePool,
    TlsError,
    TransportError,
)
from elastic_transport import ConnectionError as CannotConnect
from elastic_transport.client_utils import url_to_node_config

from sidecars import __version__

from .core.batch import Payload
from .core.bulk import FILTER_PATH, Answer
from .settings import LogShipperSettings

_DEAD_NODE_CAP_SECONDS = 10.0


class Elastic:
    """The nodes, and credentials and certificates that may change while running."""

    def __init__(self, settings: LogShipperSettings) -> None:
        self._settings = settings
        self._target = f"/{settings.target}/_bulk?filter_path={FILTER_PATH}"
        self._secrets = _Watched(settings.api_key_file, settings.password_file)
        self._certificates = _Watched(settings.ca_file, settings.client_certificate_file, settings.client_key_file)
        self._pool: NodePool | None = None
        self._authorization = ""

    async def send(self, payload: Payload) -> Answer:
        """POST the payload to the next live node; never raises for what the network or the server does."""
        try:
            headers = self._headers(payload)
            pool = await self._nodes()
        except (OSError, ssl.SSLError) as error:
            return Answer(
                0, reason="credentials", detail=f"cannot read {error.filename or 'the certificates'}: {error.strerror}"
            )
        node = pool.get()
        assert isinstance(node, BaseAsyncNode)
        try:
            answer = await node.perform_request("POST", self._target, payload.body, headers)
        except TransportError as error:
            pool.mark_dead(node)
            return Answer(0, reason=_reason(error), detail=f"{node.base_url}: {error.message}")
        if answer.meta.status in (502, 503, 504):
            pool.mark_dead(node)
        else:
            pool.mark_live(node)
        return Answer(answer.meta.status, answer.body)

    async def close(self) -> None:
        """Close all connections."""
        if self._pool is not None:
            for node in self._pool.all():
                await node.close()
            self._pool = None

    def _headers(self, payload: Payload) -> HttpHeaders:
        headers = HttpHeaders({"content-type": "application/x-ndjson", "accept": "application/json"})
        headers["user-agent"] = f"sidecars-log-shipper/{__version__}"
        if payload.packed:
            headers["content-encoding"] = "gzip"
        if self._secrets.changed():
            self._authorization = _authorization(self._settings)
        if self._authorization:
            headers["authorization"] = self._authorization
        return headers

    async def _nodes(self) -> NodePool:
        """The pool; made anew when a certificate file changed, so new connections use the new certificate."""
        if self._certificates.changed() or self._pool is None:
            configs = [self._node_config(url) for url in self._settings.elasticsearch_url]
            former, self._pool = (
                self._pool,
                NodePool(configs, node_class=AiohttpHttpNode, max_dead_node_backoff=_DEAD_NODE_CAP_SECONDS),
            )
            if former is not None:
                for node in former.all():
                    await node.close()
        return self._pool

    def _node_config(self, url: str) -> NodeConfig:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        plain = url_to_node_config(parts._replace(netloc=host).geturl(), use_default_ports_for_scheme=True)
        options: dict[str, object] = {
            "request_timeout": self._settings.request_timeout_seconds,
            "connections_per_node": self._settings.requests,
        }
        if plain.scheme == "https":
            options["ssl_context"] = self._tls()
        return plain.replace(**options)

    def _tls(self) -> ssl.SSLContext:
        """Trust and identity from the files of the settings; the system's CAs where none are named."""
        settings = self._settings
        context = ssl.create_default_context(cafile=settings.ca_file or None)
        if settings.client_certificate_file:
            context.load_cert_chain(settings.client_certificate_file, settings.client_key_file or None)
        return context


class _Watched:
    """Files that may be replaced while we run; a Secret volume swaps them behind a symlink."""

    def __init__(self, *paths: str) -> None:
        self._paths = [path for path in paths if path]
        self._seen: list[tuple[int, int, int]] | None = None

    def changed(self) -> bool:
        """Whether this is the first call or a file is not what it was at the last call. Raises OSError."""
        now = [(status.st_ino, status.st_mtime_ns, status.st_size) for status in map(os.stat, self._paths)]
        changed, self._seen = now != self._seen, now
        return changed


def _authorization(settings: LogShipperSettings) -> str:
    """The header for the credentials of the settings, or of the address. Raises OSError when a file cannot be read."""
    if settings.api_key_file:
        return f"ApiKey {_content(settings.api_key_file)}"
    if settings.api_key is not None:
        return f"ApiKey {settings.api_key.reveal()}"
    user, password = settings.username, settings.password.reveal() if settings.password else ""
    if settings.password_file:
        password = _content(settings.password_file)
    if not user and settings.elasticsearch_url:
        parts = urlsplit(settings.elasticsearch_url[0])
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""


def _content(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read().strip()


def _reason(error: TransportError) -> str:
    """A value of the closed list of retry reasons."""
    if isinstance(error, ConnectionTimeout):
        return "timeout"
    if isinstance(error, TlsError):
        return "tls"
    return "connection" if isinstance(error, CannotConnect) else "unknown"
