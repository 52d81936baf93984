"""Tokens for Azure: as whom they are asked for, which request gives one, what its answer means, and what the vault's
401 says about it.

Sources: the protocol of client credentials with a federated assertion (Entra), the endpoints of managed identities, and
the challenge as the official SDK checks it: a token is only asked for what the vault's own domain belongs to.
"""

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from .key_vault import retry_after
from .outcome import Failure, FailureReason, said
from .sync import Granted

AUDIENCE = "api://AzureADTokenExchange"
"""What a projected token has to be for."""
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class IdentityKind(StrEnum):
    """As whom Key Vault is asked."""

    WORKLOAD = "workload"
    MANAGED = "managed"


@dataclass(frozen=True)
class Cloud:
    """What belongs to the vaults of one cloud."""

    domain: str
    authority: str

    @property
    def resource(self) -> str:
        """Return what tokens are asked for."""
        return f"https://{self.domain}"


CLOUDS = (
    Cloud("vault.azure.net", "https://login.microsoftonline.com"),
    Cloud("vault.azure.cn", "https://login.chinacloudapi.cn"),
    Cloud("vault.usgovcloudapi.net", "https://login.microsoftonline.us"),
)


def cloud_of(address: str) -> Cloud | None:
    """Return the cloud that the vault at an address belongs to; None for another domain."""
    return next((cloud for cloud in CLOUDS if belongs(address, cloud.resource)), None)


def belongs(address: str, resource: str) -> bool:
    """Return whether a vault may ask for tokens for a resource: its host is below that of the resource."""
    host, domain = urlsplit(address).hostname or "", urlsplit(resource).hostname or ""
    return bool(domain) and host.endswith(f".{domain}")


@dataclass(frozen=True)
class AzureIdentity:
    """As whom tokens are asked for. `endpoint` and `header` are those of a managed identity; `header` is secret."""

    kind: IdentityKind
    tenant: str = ""
    client: str = ""
    token_file: str = ""
    authority: str = ""
    endpoint: str = ""
    header: str = ""

    @property
    def server(self) -> str:
        """Return who is asked for a token."""
        return self.authority if self.kind is IdentityKind.WORKLOAD else self.endpoint


@dataclass(frozen=True)
class TokenRequest:
    """One HTTP request; `form` None: a GET."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    form: str | None = None


def token_request(identity: AzureIdentity, resource: str, assertion: str = "", claims: str = "") -> TokenRequest:
    """Return the request for a token. `assertion` is the projected token; `claims` those of a challenge."""
    if identity.kind is IdentityKind.WORKLOAD:
        form = {
            "grant_type": "client_credentials",
            "client_id": identity.client,
            "scope": f"{resource}/.default",
            "client_assertion_type": ASSERTION,
            "client_assertion": assertion,
        }
        form |= {"claims": claims} if claims else {}
        url = f"{identity.authority}/{quote(identity.tenant)}/oauth2/v2.0/token"
        return TokenRequest(url, {"Content-Type": "application/x-www-form-urlencoded"}, urlencode(form))
    version = "2019-08-01" if identity.header else "2018-02-01"
    query = {"api-version": version, "resource": resource} | ({"client_id": identity.client} if identity.client else {})
    headers = {"X-IDENTITY-HEADER": identity.header} if identity.header else {"Metadata": "true"}
    return TokenRequest(f"{identity.endpoint}?{urlencode(query)}", headers)


def probe_request(identity: AzureIdentity) -> TokenRequest:
    """Return a request that shows whether tokens are given at all, and holds no credential."""
    if identity.kind is IdentityKind.WORKLOAD:
        return TokenRequest(f"{identity.authority}/{quote(identity.tenant)}/v2.0/.well-known/openid-configuration")
    return TokenRequest(identity.endpoint)


def token_of(
    identity: AzureIdentity, status: int, body: Any, headers: Mapping[str, str], now: float
) -> tuple[Granted, str] | Failure:
    """Return what an answer grants, and the token. `now` is the wall clock: some endpoints say when a token ends, and
    not in how many seconds; numbers may be texts.
    """
    if status == 200 and isinstance(body, dict):
        token = body.get("access_token")
        lasts = _number(body.get("expires_in"))
        if lasts is None and (ends := _number(body.get("expires_on"))) is not None:
            lasts = ends - now
        if not isinstance(token, str) or not token or lasts is None or lasts <= 0:
            return Failure(FailureReason.GARBLED, "the answer holds no token that lasts", status=status)
        return Granted(lasts, renewable=False), token
    if 300 <= status < 400:
        return Failure(FailureReason.REDIRECTED, "it redirects elsewhere, and that is not followed", status=status)
    wait = retry_after(headers)
    if status < 300:
        return Failure(FailureReason.GARBLED, "the answer is no JSON object", wait, status)
    error, words = _error(body)
    if identity.kind is IdentityKind.MANAGED:
        return Failure(_managed_reason(status), _managed_text(status, words), wait, status)
    if error in _PASSING and status < 500:
        return Failure(FailureReason.SERVER_ERROR, words, wait, status)
    reason = _REASONS.get(status, FailureReason.SERVER_ERROR if status >= 500 else FailureReason.DENIED)
    return Failure(reason, "; ".join(filter(None, (words or f"HTTP {status}", _remedy(words, identity)))), wait, status)


_PASSING = ("temporarily_unavailable", "server_error", "service_unavailable")
_REASONS = {
    408: FailureReason.TIMEOUT,
    429: FailureReason.THROTTLED,
    502: FailureReason.UNREACHABLE,
    503: FailureReason.UNREACHABLE,
    504: FailureReason.TIMEOUT,
}


def _managed_reason(status: int) -> FailureReason:
    """404 and 410 pass: the endpoint is being updated, or does not know the identity yet."""
    if status in (404, 410) or status >= 500:
        return _REASONS.get(status, FailureReason.SERVER_ERROR)
    return _REASONS.get(status, FailureReason.DENIED)


def _managed_text(status: int, words: str) -> str:
    remedy = "assign the identity to the node, and set key_vault.client_id if it has several" if status == 400 else ""
    return "; ".join(filter(None, (words or f"HTTP {status}", remedy)))


_CODES = {
    "AADSTS700016": "check client_id and tenant_id",
    "AADSTS70021": "federate the identity with this service account",
    "AADSTS700211": "federate the identity with this issuer",
    "AADSTS700212": "the projected token needs the audience api://AzureADTokenExchange",
    "AADSTS700213": "federate the identity with this service account",
    "AADSTS7002138": "the subject of the federation differs in case",
    "AADSTS700024": "the projected token has ended: the next login reads it again",
    "AADSTS90002": "check tenant_id and authority_host",
    "AADSTS90038": "the tenant is of another cloud: check authority_host",
    "AADSTS500011": "check resource and tenant_id",
}


def _remedy(words: str, identity: AzureIdentity) -> str:
    """Return what to do about an error of Entra. What is done by itself depends on no such code."""
    found = re.match(r"AADSTS\d+", words)
    remedy = _CODES.get(found[0], "") if found else ""
    return f"{remedy} (client {identity.client}, tenant {identity.tenant})" if remedy else ""


def _error(body: Any) -> tuple[str, str]:
    """Return the error and its words. The lines with trace and time say nothing to people, and fill the log."""
    if not isinstance(body, dict):
        return "", ""
    error = body.get("error")
    code = str(error.get("code") if isinstance(error, dict) else error or "")
    text = str(body.get("error_description") or (error.get("message") if isinstance(error, dict) else "") or code)
    trace = re.search(r"Trace ID: \S+", text)
    words = re.split(r"\s*Trace ID:", text)[0].rstrip(".")
    return code, said((f"{words} ({trace[0]})" if trace else words,))


def _number(given: object) -> float | None:
    try:
        found = float(given) if isinstance(given, int | float | str) else math.nan
    except (OverflowError, ValueError):
        return None
    return found if math.isfinite(found) else None


def claims_of(assertion: str) -> tuple[str, str, str]:
    """Return issuer, subject and audience of a projected token, for people; empty ones when it is no JWT."""
    try:
        payload = assertion.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        audience = claims.get("aud") or ""
        audiences = ", ".join(map(str, audience)) if isinstance(audience, list) else str(audience)
        return str(claims.get("iss") or ""), str(claims.get("sub") or ""), audiences
    except (AttributeError, IndexError, TypeError, ValueError, RecursionError):
        return "", "", ""


def other_tenant(ours: str, theirs: str) -> bool:
    """Return whether these are two tenants. A tenant that is given by its domain may be any."""
    return bool(_GUID.fullmatch(ours) and _GUID.fullmatch(theirs)) and ours.lower() != theirs.lower()


_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass(frozen=True)
class Challenge:
    """What a 401 of the vault says: whose tokens it takes, for what, and which claims it wants in them."""

    tenant: str = ""
    resource: str = ""
    claims: str = ""


def challenge_of(header: str) -> Challenge:
    """Return the challenge of a WWW-Authenticate; an empty one when it is none of Key Vault's."""
    if not header.strip().lower().startswith("bearer"):
        return Challenge()
    found = {name.lower(): text for name, text in re.findall(r'(\w+)\s*=\s*"([^"]*)"', header)}
    authority = found.get("authorization_uri") or found.get("authorization") or ""
    tenant = urlsplit(authority).path.strip("/").partition("/")[0]
    resource = found.get("resource") or found.get("scope", "").removesuffix("/.default")
    return Challenge(tenant, resource.rstrip("/"), _claims(found.get("claims", "")))


def _claims(encoded: str) -> str:
    try:
        return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    except (binascii.Error, ValueError):
        return ""
