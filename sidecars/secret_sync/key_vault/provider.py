"""From the requests of the state machine to those of Key Vault, and from its answers to results. Knows the tokens.

A login is a token of Entra, or of a managed identity. None of them can be renewed or revoked, and whether one lives is
seen from the vault's answers: such requests are answered without asking anybody.
"""

import base64
import random
from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import urlencode, urlsplit

from sidecars.kit.files import UnusableFile, read_secret
from sidecars.runtime import Finding
from sidecars.runtime.clock import now as wall_clock
from sidecars.runtime.errors import Problem
from sidecars.runtime.settings.environment import settled_environment
from sidecars.secret_sync.core.engines import Engine, Source
from sidecars.secret_sync.core.entra import (
    AUDIENCE,
    AzureIdentity,
    Challenge,
    IdentityKind,
    belongs,
    challenge_of,
    claims_of,
    cloud_of,
    other_tenant,
    probe_request,
    token_of,
    token_request,
)
from sidecars.secret_sync.core.key_vault import (
    PEM,
    PFX_KEY,
    SECRETS_USER,
    bare_version_of,
    deleted_path,
    judged,
    pfx_of,
    reading,
    secret_path,
    soft_deleted,
)
from sidecars.secret_sync.core.outcome import OUTAGE, TRANSIENT, Failure, FailureReason, Success
from sidecars.secret_sync.core.sync import Kind, ProviderRequest, Reading
from sidecars.secret_sync.provider import Result, seen
from sidecars.secret_sync.settings import KeyVaultServer, SecretSyncSettings

from .client import HttpAnswer, HttpClient
from .identity import identity_of
from .pfx import NoPfx, pem_of

_TOKENS = 4
"""So many are known at most: the current one, the old one, and those that requests may still be in flight with."""
_TRIES = 10
"""So often in a row something is missing before it is asked again whether it was deleted: it may be purged by then."""
_KIND = {Engine.SECRET: "secret", Engine.CERTIFICATE: "certificate"}


class KeyVaultProvider:
    """The provider for Azure Key Vault; see `Provider` for what each method has to do."""

    revokes = False

    def __init__(self, settings: SecretSyncSettings, client: HttpClient | None = None) -> None:
        self._server = settings.key_vault_server or KeyVaultServer()
        self._address = self._server.address.rstrip("/")
        found = identity_of(self._server, settled_environment())
        self._problems = found if isinstance(found, list) else []
        self._identity = found if isinstance(found, AzureIdentity) else AzureIdentity(IdentityKind.WORKLOAD)
        self._client = client or HttpClient(self._server.ca_file, self._server.timeout_seconds)
        self._sources: dict[str, Source] = {secret.name: secret.source for secret in settings.all_secrets}
        self._with_pfx = {
            secret.name for secret in settings.all_secrets if any(file.key == PFX_KEY for file in secret.files)
        }
        cloud = cloud_of(self._address)
        self._resource = self._server.resource.rstrip("/") or (cloud.resource if cloud else "")
        """What tokens are asked for; "" until the vault was asked."""
        self._tokens: dict[int, str] = {}
        self._fresh = self._assertion = ""
        self._refused: dict[int, str] = {}
        """The tokens that the vault did not take, by generation, and what it said."""
        self._absent: dict[str, list[Failure]] = {}
        """Whether what is missing was deleted, once for each try since that was asked: most tries are one request."""
        self._claims = ""
        self._login_is_away = False

    def close(self) -> None:
        """Nothing is kept open."""

    def problems(self) -> Iterable[Problem]:
        """Return what is missing for an identity."""
        return self._problems

    def adopt(self, generation: int, token: str = "") -> None:
        """Take the token of the last login, or the one that is given, as that of a generation."""
        self._tokens[generation] = token or self._fresh
        for former in sorted(self._tokens)[:-_TOKENS]:
            del self._tokens[former]
        self._refused = {made: text for made, text in self._refused.items() if made in self._tokens}

    def token(self, generation: int) -> str:
        """Return the token of a generation; "" when there is none."""
        return self._tokens.get(generation, "")

    def credentials(self) -> object:
        """Return what changes when a file that logins use is replaced."""
        return seen(filter(None, (self._identity.token_file, self._server.ca_file)))

    def secrets_to_hide(self) -> Iterable[str]:
        """Return what is ours and must not be seen: tokens, and what logins are made with."""
        return [*self._tokens.values(), self._fresh, self._assertion, self._identity.header]

    async def perform(self, request: ProviderRequest) -> Result:
        """Make the request and return its result."""
        try:
            return await self._performed(request)
        except UnusableFile as error:
            return Failure(FailureReason.UNUSABLE, str(error))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            # JSON, but of another shape than any vault's: a proxy's page, or a bug there
            return Failure(FailureReason.GARBLED, f"the answer has an unknown shape ({type(error).__name__})")

    async def _performed(self, request: ProviderRequest) -> Result:
        match request.kind:
            case Kind.LOGIN:
                made = await self._log_in()
                self._login_is_away = isinstance(made, Failure) and made.reason in OUTAGE
                return made
            case Kind.READ:
                made = await self._read(request)
                if isinstance(made, Failure) and made.reason in OUTAGE:
                    self._login_is_away = False
                return made
            case Kind.HEALTH:
                return await self._health()
            case Kind.LOOKUP_TOKEN if request.token in self._refused:
                return Failure(FailureReason.DENIED, self._refused[request.token], status=401)
        return None  # nothing can be renewed or revoked

    # --- logging in ---

    async def _log_in(self) -> Result:
        resource = await self._asked_for()
        if isinstance(resource, Failure):
            return resource
        if self._identity.kind is IdentityKind.WORKLOAD:
            self._assertion = read_secret("key_vault.token_file", self._identity.token_file)
        asked = token_request(self._identity, resource, self._assertion, self._claims)
        answer = await self._client.ask(asked.url, asked.headers, asked.form)
        if isinstance(answer, Failure):
            return replace(answer, text=f"{answer.text} (from {urlsplit(self._identity.server).netloc})")
        made = token_of(self._identity, answer.status, answer.body, answer.headers, wall_clock())
        if isinstance(made, Failure) and made.reason is FailureReason.DENIED and self._assertion:
            issuer, subject, audience = claims_of(self._assertion)
            return replace(made, text=f"{made.text} (issuer {issuer}, subject {subject}, audience {audience})")
        if isinstance(made, Failure):
            return made
        self._claims, self._fresh = "", made[1]
        return made[0]

    async def _asked_for(self) -> str | Failure:
        """Return what a token is to be asked for. A vault outside the known clouds is asked, without a token; it is
        believed only as far as its own domain goes, as the official client does it.
        """
        if self._resource:
            return self._resource
        answer = await self._client.ask(self._url("/secrets"), {})
        if isinstance(answer, Failure):
            return answer
        if answer.status >= 500:
            return _away(answer)
        resource = _challenge(answer).resource
        if not belongs(self._address, resource):
            text = f"the vault asks for a token for {resource or 'nothing'}, which its own domain does not belong to"
            return Failure(FailureReason.UNUSABLE, f"{text}: check key_vault.address, or set key_vault.resource")
        self._resource = resource
        return resource

    # --- reading ---

    async def _read(self, request: ProviderRequest) -> Result:
        source = self._sources[request.secret]
        path = secret_path(source)
        outcome = await self._get(request.token, path, as_pem=source.engine is Engine.CERTIFICATE)
        if isinstance(outcome, Success):
            self._absent.pop(request.secret, None)
            return await self._reading(request, source, outcome)
        if outcome.reason is not FailureReason.MISSING:
            self._absent.pop(request.secret, None)
        elif 0 < len(tries := self._absent.get(request.secret, [])) < _TRIES:
            outcome = tries[0]
            tries.append(outcome)
        else:
            deleted = await self._get(request.token, deleted_path(source))
            if isinstance(deleted, Failure) and deleted.reason in TRANSIENT:
                return deleted
            outcome = soft_deleted(deleted) if isinstance(deleted, Success) else outcome
            self._absent[request.secret] = [outcome]
        return replace(outcome, text=f"{outcome.text} (GET {path})")

    async def _reading(self, request: ProviderRequest, source: Source, reply: Success) -> Result:
        if source.engine is not Engine.CERTIFICATE:
            return reading(source, reply, wall_clock(), random.random)
        pfx = pfx_of(reply)
        if pfx is not None and "-----BEGIN" not in str(reply.body["value"]):  # the vault did not turn it into PEM
            try:
                reply = Success(reply.body | {"value": pem_of(pfx)})
            except NoPfx as error:
                return Failure(FailureReason.UNUSABLE, str(error))
        made = reading(source, reply, wall_clock(), random.random)
        if isinstance(made, Failure) or request.secret not in self._with_pfx:
            return made
        if pfx is None:  # of the same version, so that all parts are of one certificate
            original = await self._get(request.token, secret_path(source, bare_version_of(reply)))
            if isinstance(original, Failure):
                return original
            pfx = pfx_of(original)
        more = {} if pfx is None else {PFX_KEY: base64.b64encode(pfx).decode()}
        return Reading({**made.value, **more}, again=made.again, ends=made.ends)

    async def _get(self, token: int, path: str, *, as_pem: bool = False) -> Success | Failure:
        headers = {"Authorization": f"Bearer {self.token(token)}"}
        answer = await self._client.ask(self._url(path, **({"outContentType": PEM} if as_pem else {})), headers)
        if isinstance(answer, Failure):
            return answer
        outcome = judged(answer.status, answer.body, answer.headers)
        if isinstance(outcome, Failure) and answer.status == 401:
            outcome = self._not_taken(token, outcome, _challenge(answer))
        return outcome

    def _not_taken(self, token: int, failure: Failure, challenge: Challenge) -> Failure:
        """Remember that the vault does not take a token; the state machine asks for it by LOOKUP_TOKEN."""
        self._claims = challenge.claims
        hint = ""
        if other_tenant(self._identity.tenant, challenge.tenant):
            hint = f"; the vault is of the tenant {challenge.tenant}, and the token is not: set tenant_id"
        elif challenge.resource and self._resource and challenge.resource.lower() != self._resource.lower():
            hint = f"; it takes tokens for {challenge.resource}, and this one is for {self._resource}: check resource"
        text = f"the vault does not take the token: {failure.text}{hint}"
        self._refused[token] = text
        return replace(failure, text=text)

    async def _health(self) -> Result:
        asked = probe_request(self._identity)
        url = asked.url if self._login_is_away else self._url("/secrets")
        answer = await self._client.ask(url, {})
        if isinstance(answer, Failure):
            return answer
        return None if answer.status < 500 else _away(answer)

    def _url(self, path: str, **more: str) -> str:
        return f"{self._address}{path}?{urlencode({'api-version': self._server.api_version, **more})}"

    # --- what `check` says ---

    def findings(self) -> Iterable[Finding]:
        """Return which calls would be made, and the role that is needed for them, to paste."""
        one = self._identity
        yield Finding("ok", f"asks {self._address}, as {_described(one)}")
        asked = token_request(one, self._resource or "what the vault asks for", "TOKEN")
        method = "GET" if asked.form is None else "POST"
        yield Finding("ok", f"logs in: {method} {asked.url.partition('?')[0]} for {self._resource or 'its resource'}")
        more = ""
        if one.kind is IdentityKind.WORKLOAD:
            try:
                assertion = read_secret("key_vault.token_file", one.token_file)
            except UnusableFile as error:
                assertion = ""
                yield Finding("error", str(error))
            more = _federation(assertion)
        for name, source in self._sources.items():
            yield Finding("ok", f"reads {name}: GET {secret_path(source)} ({_KIND.get(source.engine, 'secret')})")
        yield Finding("ok", f"needs this role:\n{_assignment(self._address, one)}{more}")

    async def findings_outside(self) -> Iterable[Finding]:
        """Return whether the vault and who gives tokens for it answer. Logs in nowhere."""
        found = []
        try:
            vault = await self._client.ask(self._url("/secrets"), {})
            login = await self._client.ask(probe_request(self._identity).url, {})
        except UnusableFile as error:
            return [Finding("error", str(error))]
        if isinstance(vault, Failure) or vault.status >= 500:
            text = vault.text if isinstance(vault, Failure) else f"HTTP {vault.status}"
            found.append(Finding("error", f"{self._address}: {text} (check key_vault.address and key_vault.ca_file)"))
        else:
            found.append(self._answers(_challenge(vault)))
        server = urlsplit(self._identity.server).netloc
        if isinstance(login, Failure) or login.status >= 500:
            text = login.text if isinstance(login, Failure) else f"HTTP {login.status}"
            found.append(Finding("error", f"{server}: {text} (check key_vault.authority_host and identity)"))
        elif self._identity.kind is IdentityKind.WORKLOAD and login.status >= 400:
            found.append(
                Finding("error", f"{server} does not know the tenant {self._identity.tenant}: check tenant_id")
            )
        else:
            found.append(Finding("ok", f"{server} answers"))
        return found

    def _answers(self, challenge: Challenge) -> Finding:
        if other_tenant(self._identity.tenant, challenge.tenant):
            text = f"{self._address} is of the tenant {challenge.tenant}, not of {self._identity.tenant}"
            return Finding("error", f"{text}: set key_vault.tenant_id")
        if not self._server.resource and challenge.resource and not belongs(self._address, challenge.resource):
            text = f"{self._address} asks for tokens for {challenge.resource}, which its domain does not belong to"
            return Finding("error", f"{text}: check key_vault.address, or set key_vault.resource")
        return Finding("ok", f"{self._address} answers")


def _challenge(answer: HttpAnswer) -> Challenge:
    return challenge_of(answer.headers.get("www-authenticate", ""))


def _away(answer: HttpAnswer) -> Failure:
    outcome = judged(answer.status, answer.body, answer.headers)
    return outcome if isinstance(outcome, Failure) else Failure(FailureReason.GARBLED, "the answer is no challenge")


def _described(identity: AzureIdentity) -> str:
    if identity.kind is IdentityKind.WORKLOAD:
        return f"client {identity.client} of tenant {identity.tenant}, by the projected token {identity.token_file}"
    return f"the managed identity {identity.client or 'of this machine'}, from {urlsplit(identity.endpoint).netloc}"


def _assignment(address: str, identity: AzureIdentity) -> str:
    host = urlsplit(address).hostname or ""
    vault = host.partition(".")[0] if cloud_of(address) else "VAULT"
    scope = f'"$(az keyvault show --name {vault} --query id --output tsv)"'
    who = identity.client or "CLIENT_ID"
    return f'az role assignment create --role "{SECRETS_USER}" --assignee {who} --scope {scope}'


def _federation(assertion: str) -> str:
    """Return the command that lets a projected token stand for the identity."""
    issuer, subject, _ = claims_of(assertion)
    return (
        "\nand, once for each service account:\n"
        "az identity federated-credential create --name NAME --identity-name IDENTITY --resource-group GROUP "
        f"--issuer {issuer or 'ISSUER'} --subject {subject or 'system:serviceaccount:NAMESPACE:ACCOUNT'} "
        f"--audiences {AUDIENCE}"
    )
