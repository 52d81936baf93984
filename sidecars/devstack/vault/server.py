"""A Vault small enough to start in a test, that can be told to misbehave, and whose clock can be put forward.

It answers like a real server of this interface (OpenBao 2.6), to the letter of its errors; the contract tests hold both
to the same answers.

    async with Vault.start(Options(faults=(Fault("status", match="sys/leases/renew", status=500),))) as server: ...
    python -m sidecars.devstack vault --port 8200

Beside `/v1`: `GET /_requests` (what was asked, in order), `PUT /_faults [...]`, `POST /_clock {"advance_seconds": 60}`,
`GET /_state` (live tokens, leases and database users), `POST /_tokens/revoke {"token": ...}`.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self

import msgspec
from aiohttp import web

from sidecars.devstack.playing import HUNG_UP, early, spoilt

from .answers import JsonObject, VaultError, refusal, reply, seconds
from .backend import Backend, Call
from .faults import Fault, Script, texts_of

_SWEEP_SECONDS = 0.2


@dataclass(frozen=True)
class Options:
    """How a stand-in is set up. Port 0: any free one."""

    host: str = "127.0.0.1"
    port: int = 0
    root_token: str = "root"
    tls: ssl.SSLContext | None = None
    faults: tuple[Fault, ...] = ()


@dataclass
class Seen:
    """One request of the log. `status` 0: it was never answered."""

    moment: float
    method: str
    path: str
    namespace: str
    token: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)


class Vault:
    """The running stand-in."""

    def __init__(self, options: Options) -> None:
        self.backend = Backend(options.root_token)
        self.requests: list[Seen] = []
        self._options = options
        self._script = Script(options.faults)
        self._released = asyncio.Event()
        application = web.Application(client_max_size=32 << 20)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
        self._sweeper: asyncio.Task[None] | None = None
        self.port = options.port

    @classmethod
    @asynccontextmanager
    async def start(cls, options: Options | None = None) -> AsyncIterator[Self]:
        """Listen until the block ends. Raises OSError when the port is taken."""
        server = cls(options or Options())
        await server.open()
        try:
            yield server
        finally:
            await server.close()

    async def open(self) -> None:
        """Start to listen, or listen again on the same port after `down`."""
        if self._runner.server is None:
            await self._runner.setup()
            self._sweeper = asyncio.get_running_loop().create_task(self._sweep())
        site = web.TCPSite(self._runner, self._options.host, self.port, ssl_context=self._options.tls)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def down(self) -> None:
        """Refuse new connections and break the open ones; everything is remembered."""
        for site in list(self._runner.sites):
            await site.stop()
        for connection in self._runner.server.connections if self._runner.server else ():
            if connection.transport is not None:
                connection.transport.abort()

    async def close(self) -> None:
        """Stop listening for good."""
        self._released.set()
        if self._sweeper is not None:
            self._sweeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._sweeper
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Return the address, such as `http://127.0.0.1:41235`."""
        return f"{'https' if self._options.tls else 'http'}://{self._options.host}:{self.port}"

    def set_faults(self, *faults: Fault, seed: int = 0) -> None:
        """Play these faults from now on; none: everything is well. What hangs is let go."""
        self._script = Script(faults, seed)
        self._released.set()
        self._released = asyncio.Event()

    def advance(self, by_seconds: float) -> None:
        """Put the server's clock forward."""
        self.backend.clock.ahead_seconds += by_seconds
        self.backend.sweep()

    def state(self) -> JsonObject:
        """Return what lives: tokens and leases with the seconds they have left, and the database users."""
        now = self.backend.clock.now()
        registry = self.backend.registry
        return {
            "tokens": [
                {"token": token.id, "path": token.path, "policies": token.policies, "left_seconds": token.left(now)}
                for token in registry.tokens.values()
                if token.expires is not None and token.wraps is None
            ],
            "leases": [
                {"id": lease.id, "left_seconds": lease.expires - now, "token": lease.token}
                for lease in registry.leases.values()
            ],
            "users": self.backend.users(),
            "issued_tokens": registry.issued_tokens,
            "issued_leases": registry.issued_leases,
            "faults_struck": dict(self._script.struck),
        }

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            if not self.backend.sealed:
                with suppress(VaultError):
                    self.backend.sweep()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if not request.path.startswith("/v1/"):
            return await self._control(request)
        token = request.headers.get("X-Vault-Token") or _bearer(request.headers.get("Authorization", ""))
        seen = Seen(
            self.backend.clock.now(),
            request.method,
            request.path,
            request.headers.get("X-Vault-Namespace", ""),
            token,
            headers=dict(request.headers),
        )
        self.requests.append(seen)
        fault = self._script.strike(f"{request.method} {request.path}")
        if fault is not None and (made := await early(request, fault, self._released, _refused)) is not None:
            seen.status = 0 if made is HUNG_UP else made.status
            return made
        response = await self._answered(request, token)
        seen.status = response.status
        if fault is not None:
            return spoilt(request, response, fault)
        return response

    async def _answered(self, request: web.Request, token: str) -> web.Response:
        namespace = request.headers.get("X-Vault-Namespace", "").strip("/")
        echoed = {"X-Vault-Namespace": namespace + "/"} if namespace else {}
        try:
            body = await _body(request)
            call = Call(
                method=request.method,
                path=request.path.removeprefix("/v1/"),
                body={**dict(request.query), **body},
                token=token,
                namespace=namespace,
                certificate=_certificate(request),
                wrap_seconds=seconds(request.headers.get("X-Vault-Wrap-TTL")),
            )
            answer = await self.backend.answer(call)
        except VaultError as error:
            error.headers.update(echoed)
            return refusal(error)
        except ValueError as error:
            return refusal(VaultError(400, str(error), headers=echoed))
        return reply(answer.with_headers(echoed))

    async def _control(self, request: web.Request) -> web.Response:
        """Answer what is not Vault's: what a test sets and looks at."""
        body = json.loads(await request.text() or "null")
        match (request.method, request.path):
            case ("GET", "/_requests"):
                return web.json_response([vars(seen) for seen in self.requests])
            case ("PUT", "/_faults"):
                self.set_faults(*msgspec.convert(body, tuple[Fault, ...]))
            case ("DELETE", "/_faults"):
                self.set_faults()
            case ("POST", "/_clock"):
                self.advance(float(body["advance_seconds"]))
            case ("POST", "/_tokens/revoke"):
                self.backend.registry.revoke_token(self.backend.registry.tokens[body["token"]])
            case ("GET", "/_state"):
                return web.json_response(self.state())
            case _:
                return web.json_response({"errors": []}, status=404)
        return web.json_response({})


def _bearer(authorization: str) -> str:
    return authorization.removeprefix("Bearer ") if authorization.startswith("Bearer ") else ""


async def _body(request: web.Request) -> JsonObject:
    text = await request.text()
    if not text:
        return {}
    try:
        body = json.loads(text)
    except ValueError as error:
        raise VaultError(400, f"failed to decode JSON input: {error}") from None
    if not isinstance(body, dict):
        kind = {list: "array", str: "string", bool: "bool"}.get(type(body), "number")
        text = f"json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
        raise VaultError(400, f"failed to decode JSON input: {text}")
    return body


def _certificate(request: web.Request) -> dict[str, Any] | None:
    transport = request.transport
    secured = transport.get_extra_info("ssl_object") if transport is not None else None
    der = secured.getpeercert(binary_form=True) if secured is not None else None
    return {"der": der} if der else None


def _refused(fault: Fault) -> web.Response:
    headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
    return refusal(VaultError(fault.status, *texts_of(fault), headers=headers))
