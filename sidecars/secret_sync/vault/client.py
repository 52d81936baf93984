"""One HTTP request to Vault, by hvac's adapter, on threads of our own. The only module that knows hvac.

hvac's own client raises errors without status and headers, follows redirects with the token, and reads VAULT_TOKEN and
~/.vault-token; requests reads ~/.netrc and proxy variables. So only its lowest layer is used, and told everything: no
ambient credentials, no redirects, no retries (a GET of database/creds mints), its status and headers as they came.
"""

import asyncio
import json
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.parse import quote

from sidecars.kit.tls import trusting
from sidecars.runtime import Permanent
from sidecars.runtime.clock import monotonic
from sidecars.secret_sync.core.outcome import Endpoint, Failure, FailureReason, Success, judged
from sidecars.secret_sync.provider import Seen, seen
from sidecars.secret_sync.settings import VaultServer

CONNECT_SECONDS = 2.0
THREADS = 6
"""For as many secrets as are in flight, the token and the probe."""
MOST_BYTES = 8 << 20


@dataclass(frozen=True)
class VaultRequest:
    """One request: what kind it is, and what is sent."""

    endpoint: Endpoint
    method: str
    path: str
    body: Mapping[str, Any] | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    token: str = ""
    namespace: str = ""


class VaultClient:
    """Requests to one server. The files of TLS are read again whenever one of them was replaced."""

    def __init__(self, server: VaultServer) -> None:
        self._server = server
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="vault")
        self._session: Any = None
        self._seen: Seen = ()

    def close(self) -> None:
        """Let go of threads and connections; what hangs is left behind."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._session is not None:
            self._session.close()

    async def ask(self, asked: VaultRequest) -> Success | Failure:
        """Make a request, and return what its answer means. Never raises for what the server or the network does."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._server.timeout_seconds + CONNECT_SECONDS + 1.0):
                return await loop.run_in_executor(self._pool, self._request, asked)
        except TimeoutError:  # a name server that hangs has no limit of its own
            return Failure(
                FailureReason.TIMEOUT, f"{self._server.address}: no answer in {self._server.timeout_seconds:g} s"
            )

    def _request(self, asked: VaultRequest) -> Success | Failure:
        import hvac.adapters  # type: ignore[import-untyped]  # it has no types
        import requests

        try:
            session = self._current_session()
        except Permanent as error:
            return Failure(FailureReason.UNUSABLE, str(error))
        adapter = hvac.adapters.RawAdapter(
            base_uri=self._server.address.rstrip("/"),
            token=asked.token,
            session=session,
            namespace=asked.namespace or None,
            timeout=(CONNECT_SECONDS, self._server.timeout_seconds),
            allow_redirects=False,
            ignore_exceptions=True,
        )
        more: dict[str, Any] = {"params": dict(asked.query)} if asked.query else {}
        if asked.body is not None:
            more["json"] = dict(asked.body)
        try:
            reply = adapter.request(
                asked.method, f"/v1/{quote(asked.path)}", raise_exception=False, stream=True, **more
            )
            with reply:
                body = _json(reply, monotonic() + self._server.timeout_seconds)
            return judged(asked.endpoint, reply.status_code, body, reply.headers.get("Retry-After", ""))
        except requests.exceptions.InvalidHeader:  # its text shows the header
            return Failure(FailureReason.UNUSABLE, "the token or the namespace holds characters that cannot be sent")
        except requests.exceptions.SSLError as error:
            return Failure(FailureReason.UNREACHABLE, f"{self._server.address}: {_explained(_short(error))}")
        except requests.exceptions.Timeout:
            return Failure(
                FailureReason.TIMEOUT, f"{self._server.address}: no answer in {self._server.timeout_seconds:g} s"
            )
        except (requests.exceptions.RequestException, HTTPException, OSError, ValueError) as error:
            return Failure(FailureReason.UNREACHABLE, f"{self._server.address}: {_explained(_short(error))}")

    def _current_session(self) -> Any:
        """Return a session with the files of TLS as they are now. Raises Permanent, naming the file."""
        here = seen(self._server.tls_files)
        if self._session is None or here != self._seen:
            self._session, self._seen = _session(self._server), here
        return self._session


def _json(reply: Any, deadline: float) -> Any:
    """Return the JSON of an answer; None when there is none, or when it is too long or too slow."""
    body = bytearray()
    for piece in reply.iter_content(64 << 10):
        body += piece
        if len(body) > MOST_BYTES or monotonic() > deadline:
            return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


_REMEDIES = {
    "unable to get": "TLS: we know no authority of its certificate; set vault.ca_file to the one that issued it",
    "self-signed": "TLS: we know no authority of its certificate; set vault.ca_file to the one that issued it",
    "mismatch": "TLS: its certificate is for another name; set vault.server_name to one that is in it",
    "doesn't match": "TLS: its certificate is for another name; set vault.server_name to one that is in it",
    "has expired": "TLS: its certificate has expired",
    "WRONG_VERSION_NUMBER": "it does not speak TLS; is its address http://?",
    "CERTIFICATE_REQUIRED": "TLS: it wants a client certificate; set vault.client_certificate_file",
    "Remote end closed": "it closed the connection without an answer; is its address https://?",
    "Name or service not known": "no name server knows its name; check vault.address",
    "Connection refused": "connection refused: nobody listens there; is Vault up, and vault.address right?",
}


def _explained(reason: str) -> str:
    """Return what a reason of the network means, with what to do."""
    return next((text for words, text in _REMEDIES.items() if words in reason), reason)


def _short(error: BaseException) -> str:
    """Return the innermost reason, without the addresses of objects that requests and urllib3 show."""
    inner: BaseException = error
    while True:
        following = getattr(inner, "reason", None) or inner.__cause__ or inner.__context__
        if not isinstance(following, BaseException):
            break
        inner = following
    return (getattr(inner, "strerror", None) or str(inner).rpartition(">: ")[2] or type(inner).__name__)[:200]


def _session(server: VaultServer) -> Any:
    import requests
    from requests.adapters import HTTPAdapter

    context = _context(server) if server.address.startswith("https:") else None
    pool: dict[str, Any] = {} if context is None else {"ssl_context": context}
    if server.server_name and context is not None:
        pool |= {"server_hostname": server.server_name, "assert_hostname": server.server_name}

    class Pinned(HTTPAdapter):
        """Connections with our own TLS context, and no retries."""

        def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **more: Any) -> None:  # noqa: FBT001, FBT002
            super().init_poolmanager(connections, maxsize, block, **more, **pool)

        def cert_verify(self, *_: Any) -> None:
            """Leave TLS to the context: requests would load certifi's authorities on top."""

    session = requests.Session()
    session.trust_env = False
    session.headers.update({"User-Agent": "sidecars-secret-sync"})
    for scheme in ("https://", "http://"):
        session.mount(scheme, Pinned(max_retries=0))
    return session


def _context(server: VaultServer) -> ssl.SSLContext:
    try:
        context = trusting(_read("vault.ca_file", server.ca_file) if server.ca_file else None)
    except ssl.SSLError:
        raise Permanent(f"cannot use vault.ca_file: {server.ca_file} holds no certificate in PEM") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if server.client_certificate_file:
        try:
            context.load_cert_chain(server.client_certificate_file, server.client_key_file or None)
        except (OSError, ssl.SSLError) as error:
            reason = getattr(error, "reason", None) or error.strerror or "it cannot be read"
            raise Permanent(
                f"cannot use vault.client_certificate_file {server.client_certificate_file}: {reason}"
            ) from None
    return context


def _read(setting: str, path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(1 << 20)
    except (OSError, UnicodeDecodeError) as error:
        raise Permanent(
            f"cannot read {setting} {path}: {getattr(error, 'strerror', None) or 'it is no text'}"
        ) from None
