"""An Azure Key Vault small enough to start in a test, with what gives tokens for it on the same port. It can be told to
misbehave, and its clock can be put forward.

It answers as the REST reference and the official clients have it; the contract tests read it with those clients.

    async with KeyVault.start(Options(tls=context)) as vault: ...
    python -m sidecars.devstack key-vault --port 8300

The vault is at `/secrets`, `/certificates` and `/deletedsecrets`; Entra at `/TENANT/oauth2/v2.0/token`; the node's
endpoint at `/metadata/identity/oauth2/token`; that of an app service at `/msi/token`. Beside that: `GET /_requests`
(what was asked, in order), `PUT /_faults [...]`, `POST /_clock {"advance_seconds": 60}`, `GET /_token` (a projected
token), `PUT /_roles {CLIENT: ["secrets/get"]}`, `POST /_tokens/revoke`, `GET /_state`.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from sidecars.devstack.playing import HUNG_UP, early, spoilt
from sidecars.devstack.vault.faults import Fault, Script
from sidecars.devstack.vault.tokens import Clock

from .answers import JsonObject, NoToken, Refusal, answer, bad_parameter
from .issuing import PFX, Authority, imported
from .objects import Objects, StoredObject, Version
from .tokens import TENANT, Tokens, projected_token

RESOURCE = "https://vault.azure.net"
_PAGE = 25
_NODE, _SERVICE = "/metadata/identity/oauth2/token", "/msi/token"
_SERVICE_HEADER = "devstack"
_TEXTS = {
    429: (
        "Throttled",
        "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached",
    ),
    503: ("ServiceUnavailable", "The service is temporarily unavailable."),
}


@dataclass(frozen=True)
class Options:
    """How a stand-in is set up. Port 0: any free one. `resource`: what it takes tokens for."""

    host: str = "127.0.0.1"
    port: int = 0
    tls: ssl.SSLContext | None = None
    resource: str = RESOURCE
    faults: tuple[Fault, ...] = ()


@dataclass
class Seen:
    """One request of the log. `status` 0: it was never answered."""

    moment: float
    method: str
    path: str
    query: dict[str, str]
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)


class KeyVault:
    """The running stand-in."""

    def __init__(self, options: Options) -> None:
        self.clock = Clock()
        self.objects = Objects(self.clock)
        self.tokens = Tokens(self.clock, options.resource)
        self.authority = Authority()
        self.requests: list[Seen] = []
        self._options = options
        self._script = Script(options.faults)
        self._released = asyncio.Event()
        application = web.Application(client_max_size=1 << 20)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
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
        await web.TCPSite(self._runner, self._options.host, self.port, ssl_context=self._options.tls).start()
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
        await self.down()
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Return the address, such as `https://127.0.0.1:41235`."""
        return f"{'https' if self._options.tls else 'http'}://{self._options.host}:{self.port}"

    def set_faults(self, *faults: Fault, seed: int = 0) -> None:
        """Play these faults from now on; none: everything is well. What hangs is let go."""
        self._script = Script(faults, seed)
        self._released.set()
        self._released = asyncio.Event()

    def state(self) -> JsonObject:
        """Return what there is: names and numbers of versions, and how many tokens were given."""
        return {
            "objects": {one.name: len(one.versions) for one in self.objects.live.values()},
            "deleted": [one.name for one in self.objects.deleted.values()],
            "issued_tokens": len(self.tokens.issued),
            "faults_struck": dict(self._script.struck),
        }

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.path.startswith("/_"):
            return await self._control(request)
        seen = Seen(self.clock.now(), request.method, request.path, dict(request.query), headers=dict(request.headers))
        self.requests.append(seen)
        fault = self._script.strike(f"{request.method} {request.path}")
        if fault is not None and (made := await early(request, fault, self._released, _refused)) is not None:
            seen.status = 0 if made is HUNG_UP else made.status
            return made
        response = await self._answered(request)
        seen.status = response.status
        return response if fault is None else spoilt(request, response, fault)

    async def _answered(self, request: web.Request) -> web.Response:
        try:
            if (given := await self._token_answer(request)) is not None:
                return given
            body = json.loads(await request.text() or "{}")
            return await self._vault_answer(request, body if isinstance(body, dict) else {})
        except (Refusal, NoToken) as error:
            return error.response()
        except ValueError as error:
            return bad_parameter(str(error)).response()

    # --- tokens ---

    async def _token_answer(self, request: web.Request) -> web.Response | None:
        """Answer a request for a token; None when it is one to the vault."""
        parts = request.path.strip("/").split("/")
        if request.path == _NODE:
            if request.headers.get("Metadata") != "true":
                raise NoToken(400, "invalid_request", "Required metadata header not specified")
            return answer(self.tokens.managed_token(dict(request.query), texts=True))
        if request.path == _SERVICE:
            if request.headers.get("X-IDENTITY-HEADER") != _SERVICE_HEADER:
                raise NoToken(401, "unauthorized", "The header X-IDENTITY-HEADER is wrong")
            return answer(self.tokens.managed_token(dict(request.query), texts=False))
        if request.path.endswith("/.well-known/openid-configuration"):
            return answer(self._discovery(parts[0]))
        if parts[1:] == ["oauth2", "v2.0", "token"] and request.method == "POST":
            return answer(self.tokens.exchange(parts[0], dict(await request.post())))
        return None

    def _discovery(self, tenant: str) -> JsonObject:
        if tenant.lower() != TENANT:
            raise NoToken(400, "invalid_tenant", f"Tenant '{tenant}' not found.", 90002)
        base = f"{self.url}/{tenant}"
        return {
            "issuer": f"{base}/v2.0",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "token_endpoint": f"{base}/oauth2/v2.0/token",
        }

    # --- the vault ---

    async def _vault_answer(self, request: web.Request, body: JsonObject) -> web.Response:
        section, name, *rest = (*request.path.strip("/").split("/"), "", "")
        right = _right(section, request.method, name)
        challenge = f'Bearer authorization="{self.url}/{TENANT}", resource="{self.tokens.resource}"'
        self.tokens.holder(request.headers.get("Authorization", ""), right, challenge)
        if not request.query.get("api-version"):
            raise bad_parameter("api-version must be specified")
        match section:
            case "secrets":
                return self._secret_answer(request, name, rest[0], body)
            case "certificates":
                return self._certificate_answer(request, name, rest[0], body)
            case "deletedsecrets":
                return self._deleted_answer(request.method, name, rest[0])
        raise Refusal(404, "NotFound", "The resource was not found.")

    def _secret_answer(self, request: web.Request, name: str, version: str, body: JsonObject) -> web.Response:
        query = request.query
        match request.method:
            case "GET" if not name or version == "versions":
                return answer(self._page(request, name))
            case "GET":
                found, one = self.objects.read(name, version, query.get("outContentType", ""))
                return answer(self._bundle(found, one, with_value=True))
            case "PUT":
                made = self.objects.put(
                    name, str(body["value"]), body.get("contentType") or "", **body.get("attributes") or {}
                )
                made.tags = body.get("tags") or {}
                return answer(self._bundle(self.objects.find(name)[0], made, with_value=True))
            case "PATCH":
                return answer(self._bundle(*self.objects.change(name, version, body)))
            case "DELETE":
                return answer(self._deleted(self.objects.delete(name)))
        raise Refusal(405, "MethodNotAllowed", "The method is not allowed.")

    def _page(self, request: web.Request, name: str) -> JsonObject:
        """Return a page of all current versions, or of all of one name."""
        if name:
            found, _ = self.objects.find(name)
            rows = [(found, one) for one in found.versions]
        else:
            rows = [(one, one.versions[-1]) for one in self.objects.live.values()]
        first, size = int(request.query.get("$skiptoken", 0)), int(request.query.get("maxresults", _PAGE))
        page = [self._bundle(found, one, with_version=bool(name)) for found, one in rows[first : first + size]]
        more = {"api-version": request.query["api-version"], "$skiptoken": first + size, "maxresults": size}
        following = f"{self.url}{request.path}?{urlencode(more)}" if first + size < len(rows) else None
        return {"value": page, "nextLink": following}

    def _bundle(
        self, found: StoredObject, one: Version, *, with_value: bool = False, with_version: bool = True
    ) -> JsonObject:
        identifier = f"{self.url}/secrets/{found.name}" + (f"/{one.id}" if with_version else "")
        bundle: JsonObject = {"id": identifier, "attributes": one.attributes, "tags": one.tags}
        if with_value:
            bundle["value"] = one.value
        if one.content_type:
            bundle["contentType"] = one.content_type
        if one.certificate is not None:
            bundle |= {"kid": f"{self.url}/keys/{found.name}/{one.id}", "managed": True}
        return bundle

    def _certificate_answer(self, request: web.Request, name: str, version: str, body: JsonObject) -> web.Response:
        match request.method, version:
            case "GET", "pending":
                return answer(self._operation(name))
            case "GET", _:
                found, one = self.objects.find(name, version, "Certificate")
                return answer(self._certificate(found, one))
            case "POST", "create":
                self._created(name, body.get("policy") or {})
                return answer(self._operation(name), 202)
            case "POST", "import":
                issued = imported(str(body["value"]), str(body.get("pwd") or ""))
                content_type = _content_type(body.get("policy") or {}, str(body["value"]))
                made = self.objects.put_certificate(name, issued, content_type, **body.get("attributes") or {})
                return answer(self._certificate(self.objects.find(name)[0], made))
        raise Refusal(405, "MethodNotAllowed", "The method is not allowed.")

    def _created(self, name: str, policy: JsonObject) -> None:
        subject = str((policy.get("x509_props") or {}).get("subject") or f"CN={name}").removeprefix("CN=")
        months = int((policy.get("x509_props") or {}).get("validity_months") or 12)
        own = ((policy.get("issuer") or {}).get("name") or "Self") == "Self"
        kind = str((policy.get("key_props") or {}).get("kty") or "RSA")
        issued = self.authority.issue(subject, self.clock.now(), months * 30 * 86400.0, kind=kind, own=own)
        self.objects.put_certificate(name, issued, _content_type(policy))

    def _operation(self, name: str) -> JsonObject:
        found, _ = self.objects.find(name, kind="Certificate")
        target = f"{self.url}/certificates/{found.name}"
        return {"id": f"{target}/pending", "issuer": {"name": "Self"}, "status": "completed", "target": target}

    def _certificate(self, found: StoredObject, one: Version) -> JsonObject:
        if one.certificate is None:
            raise Refusal(404, "CertificateNotFound", "It is a secret.")
        shown = one.certificate.shown()
        paths = {"id": "certificates", "kid": "keys", "sid": "secrets"}
        identifiers = {key: f"{self.url}/{section}/{found.name}/{one.id}" for key, section in paths.items()}
        policy = {"secret_props": {"contentType": one.content_type}, "key_props": {"exportable": True}}
        return {**identifiers, **shown, "attributes": one.attributes, "policy": policy, "tags": one.tags}

    def _deleted_answer(self, method: str, name: str, action: str) -> web.Response:
        match method, action:
            case "GET", "":
                return answer(self._deleted(self.objects.deleted_one(name)))
            case "POST", "recover":
                found = self.objects.recover(name)
                return answer(self._bundle(found, found.versions[-1]))
            case "DELETE", "":
                self.objects.purge(name)
                return web.Response(status=204)
        raise Refusal(405, "MethodNotAllowed", "The method is not allowed.")

    def _deleted(self, found: StoredObject) -> JsonObject:
        days = int(found.versions[-1].attributes["recoverableDays"])
        return self._bundle(found, found.versions[-1]) | {
            "recoveryId": f"{self.url}/deletedsecrets/{found.name}",
            "deletedDate": found.deleted_at,
            "scheduledPurgeDate": found.deleted_at + days * 86400,
        }

    async def _control(self, request: web.Request) -> web.Response:
        """Answer what is not Azure's: what a test sets and looks at."""
        body: Any = json.loads(await request.text() or "null")
        match (request.method, request.path):
            case ("GET", "/_requests"):
                return web.json_response([vars(seen) for seen in self.requests])
            case ("PUT", "/_faults"):
                self.set_faults(*msgspec.convert(body, tuple[Fault, ...]))
            case ("DELETE", "/_faults"):
                self.set_faults()
            case ("POST", "/_clock"):
                self.clock.ahead_seconds += float(body["advance_seconds"])
            case ("PUT", "/_roles"):
                self.tokens.roles = {client: set(rights) for client, rights in body.items()}
            case ("POST", "/_tokens/revoke"):
                self.tokens.revoke()
            case ("GET", "/_token"):
                return web.Response(text=projected_token(self.clock))
            case ("GET", "/_state"):
                return web.json_response(self.state())
            case _:
                return web.json_response({}, status=404)
        return web.json_response({})


def _refused(fault: Fault) -> web.Response:
    code, message = _TEXTS.get(fault.status, ("InternalError", "An internal error occurred."))
    headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
    return Refusal(fault.status, code, "; ".join(fault.errors) or message, headers=headers).response()


def _right(section: str, method: str, name: str) -> str:
    actions = {"PUT": "set", "POST": "set", "PATCH": "set", "DELETE": "delete"}
    action = actions.get(method, "get" if name else "list")
    return f"{'secrets' if section == 'deletedsecrets' else section}/{action}"


def _content_type(policy: JsonObject, value: str = "") -> str:
    given = (policy.get("secret_props") or {}).get("contentType")
    return str(given or ("application/x-pem-file" if "-----BEGIN" in value else PFX))
