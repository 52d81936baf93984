"""From the requests of the state machine to those of Vault, and from its answers to results. Knows the tokens."""

import os
import random
from collections.abc import Iterable, Mapping
from dataclasses import replace

from sidecars.runtime import Finding
from sidecars.runtime.clock import now as wall_clock
from sidecars.runtime.errors import Problem
from sidecars.secret_sync.core.engines import Engine, Source, call, mount_of, policy, reading, version_of_mount
from sidecars.secret_sync.core.outcome import Endpoint, Failure, FailureReason, Success
from sidecars.secret_sync.core.sync import Kind, ProviderRequest
from sidecars.secret_sync.provider import Result, seen
from sidecars.secret_sync.settings import Method, SecretSyncSettings

from .client import VaultClient, VaultRequest
from .login import Login, files, granted

_TOKENS = 4
"""So many are known at most: the current one, the old one, and those that requests may still be in flight with."""
_BY_POLICY = "1 error occurred"
"""So begins the text of a 403 by a policy; that of a token that is not known is bare (seen on a real server)."""


class VaultProvider:
    """The provider for Vault and OpenBao; see `Provider` for what each method has to do."""

    def __init__(self, settings: SecretSyncSettings) -> None:
        self._auth = settings.login
        self._client = VaultClient(settings.server)
        self._namespace = settings.server.namespace
        own = settings.login.namespace
        self._auth_namespace = self._namespace if own is None else own
        self._login = Login(settings.login, self._auth_namespace, self._client.ask)
        self._sources: dict[str, Source] = {secret.name: secret.source for secret in settings.all_secrets}
        self._tokens: dict[int, str] = {}
        self._fresh = ""
        self._server = settings.server

    @property
    def revokes(self) -> bool:
        """Return whether tokens are ours to take back: not one that was given by a file."""
        return self._auth.method is not Method.TOKEN

    def problems(self) -> Iterable[Problem]:
        """Return what forbids a start: nothing of Vault."""
        return ()

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()

    def adopt(self, generation: int, token: str = "") -> None:
        """Take the token of the last login, or the one that is given, as that of a generation."""
        self._tokens[generation] = token or self._fresh
        for former in sorted(self._tokens)[:-_TOKENS]:
            del self._tokens[former]

    def token(self, generation: int) -> str:
        """Return the token of a generation; "" when there is none."""
        return self._tokens.get(generation, "")

    def credentials(self) -> tuple[tuple[str, int, int], ...]:
        """Return what changes when a file that logins use is replaced."""
        return seen((*files(self._auth), *self._server.tls_files))

    def secrets_to_hide(self) -> Iterable[str]:
        """Return what is ours and must not be seen: tokens, and what logins are made with."""
        return [*self._tokens.values(), self._fresh, *self._login.secrets]

    async def perform(self, request: ProviderRequest) -> Result:
        """Make the request and return its result."""
        try:
            return await self._performed(request)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            # JSON, but of another shape than any server's: a proxy's page, or a bug there
            return Failure(FailureReason.GARBLED, f"the answer has an unknown shape ({type(error).__name__})")

    async def _performed(self, request: ProviderRequest) -> Result:
        match request.kind:
            case Kind.LOGIN:
                return await self._log_in()
            case Kind.HEALTH:
                outcome = await self._client.ask(VaultRequest(Endpoint.HEALTH, "GET", "sys/health"))
                return outcome if isinstance(outcome, Failure) else None
            case Kind.READ:
                return await self._read(request)
            case Kind.RENEW:
                return await self._renewed(request)
            case Kind.RENEW_TOKEN:
                outcome = await self._token_call(request, "POST", "auth/token/renew-self", Endpoint.TOKEN)
                if isinstance(outcome, Failure):
                    return outcome
                made = granted(outcome.body)
                return made if isinstance(made, Failure) else made[0]
            case Kind.LOOKUP_TOKEN:
                outcome = await self._token_call(request, "GET", "auth/token/lookup-self", Endpoint.TOKEN)
                if isinstance(outcome, Failure) and outcome.text.startswith(_BY_POLICY):
                    return None  # a policy said no, and a dead token has none
            case Kind.REVOKE_TOKEN if not self.revokes:
                return None  # it was given to us, and the next login reads the same one
            case Kind.REVOKE_TOKEN:
                outcome = await self._token_call(request, "POST", "auth/token/revoke-self", Endpoint.REVOKE)
                self._tokens.pop(request.token, None)
            case Kind.REVOKE:
                body = {"lease_id": request.lease}
                outcome = await self._call(request, Endpoint.REVOKE, "PUT", "sys/leases/revoke", body)
            case Kind.LOOKUP:
                body = {"lease_id": request.lease}
                outcome = await self._call(request, Endpoint.LOOKUP, "POST", "sys/leases/lookup", body)
        return outcome if isinstance(outcome, Failure) else None

    async def _log_in(self) -> Result:
        made = await self._login.log_in()
        if isinstance(made, Failure):
            return made
        self._fresh = made[1]
        return made[0]

    async def _token_call(
        self, request: ProviderRequest, method: str, path: str, endpoint: Endpoint
    ) -> Success | Failure:
        body: dict[str, object] | None = {} if method == "POST" else None
        token, namespace = self.token(request.token), self._auth_namespace
        return await self._client.ask(VaultRequest(endpoint, method, path, body, token=token, namespace=namespace))

    async def _call(
        self,
        request: ProviderRequest,
        endpoint: Endpoint,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
    ) -> Success | Failure:
        asked = VaultRequest(endpoint, method, path, body, token=self.token(request.token), namespace=self._namespace)
        return await self._client.ask(asked)

    async def _renewed(self, request: ProviderRequest) -> Result:
        body = {"lease_id": request.lease}
        outcome = await self._call(request, Endpoint.RENEW, "PUT", "sys/leases/renew", body)
        if isinstance(outcome, Failure):
            return outcome
        return float(outcome.body.get("lease_duration") or 0)

    async def _read(self, request: ProviderRequest) -> Result:
        source = self._sources[request.secret]
        if source.engine is Engine.KV:
            looked = await self._version(request, source)
            if isinstance(looked, Failure):
                return looked
            source = self._sources[request.secret] = looked
        made = call(source)
        asked = VaultRequest(
            Endpoint.READ, made.method, made.path, made.body, made.query, self.token(request.token), self._namespace
        )
        outcome = await self._client.ask(asked)
        if isinstance(outcome, Failure):
            return replace(outcome, text=f"{outcome.text} ({made.method} {made.path})")
        return reading(source, outcome, wall_clock(), random.random)

    async def _version(self, request: ProviderRequest, source: Source) -> Source | Failure:
        """Return the source with the version of its mount. Asked once: any right below the mount is enough."""
        path = f"sys/internal/ui/mounts/{source.mount}/{source.path}"
        outcome = await self._call(request, Endpoint.LOOKUP, "GET", path)
        if isinstance(outcome, Failure):
            text = f"cannot look up the version of the mount {source.mount} (set engine to kv1 or kv2): {outcome.text}"
            return Failure(outcome.reason, text, outcome.retry_after, outcome.status)
        mount = mount_of(outcome) or source.mount
        whole = f"{source.mount}/{source.path}"
        rest = whole.removeprefix(mount).strip("/") if whole.startswith(mount) else source.path
        return Source(version_of_mount(outcome), mount, rest, version=source.version, poll_seconds=source.poll_seconds)

    # --- what `check` says ---

    def findings(self) -> Iterable[Finding]:
        """Return what would be asked, and the policy that Vault needs for it, to paste."""
        yield Finding("ok", f"asks {self._server.address}, logged in by {self._auth.method}")
        for path in files(self._auth):
            if not os.path.exists(path):
                yield Finding("error", f"there is no file {path}: mount what the login needs")
        lines = {path: words for source in self._sources.values() for path, words in policy(source)}
        if not self.revokes and any(source.engine is Engine.DYNAMIC for source in self._sources.values()):
            lines["sys/leases/revoke"] = ("update",)  # at the end, one by one: the token is not ours to end
        text = "\n".join(
            f'path "{path}" {{ capabilities = [{", ".join(f"{word!r}" for word in words)}] }}'.replace("'", '"')
            for path, words in lines.items()
        )
        yield Finding("ok", f"needs this policy:\n{text}")

    async def findings_outside(self) -> Iterable[Finding]:
        """Return whether Vault answers. Logs in nowhere: five wrong logins would lock a role out."""
        outcome = await self._client.ask(VaultRequest(Endpoint.HEALTH, "GET", "sys/health"))
        address = self._server.address
        if isinstance(outcome, Failure):
            return [Finding("error", f"{address}: {outcome.text} (check vault.address and vault.ca_file)")]
        return [Finding("ok", f"{address} answers: version {outcome.body.get('version', 'unknown')}")]
