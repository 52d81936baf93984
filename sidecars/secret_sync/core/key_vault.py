"""Azure Key Vault: which requests give an object, what the answers hold, and what a refusal means.

Sources: the REST reference of Key Vault (secrets, certificates, throttling), and the models of the official SDK. A
certificate's key and chain are in the secret of the same name, so the right to read secrets is all that is needed.
`nbf` and `exp` are only information to the service: it hands a secret out before and after, so they are obeyed here.
"""

import base64
import binascii
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from .certificates import NotReadable, parts_of
from .engines import Engine, Source
from .outcome import Failure, FailureReason, Success, said
from .sync import Reading

PFX, PEM = "application/x-pkcs12", "application/x-pem-file"
PFX_KEY = "pfx"
"""The key of a certificate under which its PFX is, as base64."""
SECRETS_USER = "Key Vault Secrets User"


def secret_path(source: Source, version: str = "") -> str:
    """Return the path of the secret of an object, of this version, or of the one that the settings say."""
    return "/".join(filter(None, ("/secrets", quote(source.path), quote(version or source.object_version))))


def deleted_path(source: Source) -> str:
    """Return the path at which an object is that was deleted and can still be recovered."""
    return f"/deletedsecrets/{quote(source.path)}"


def reading(source: Source, reply: Success, now: float, chance: Callable[[], float]) -> Reading | Failure:
    """Return what an answer holds: the key `value` of a secret, the parts of a certificate (which is in PEM by now).
    `now` is the wall clock in seconds.
    """
    value, attributes = reply.body.get("value"), reply.body.get("attributes") or {}
    if not isinstance(value, str):
        return Failure(FailureReason.GARBLED, "the answer holds no value")
    if attributes.get("enabled") is False:
        return Failure(FailureReason.DISABLED, f"{version_of(reply)} is disabled")
    begins, ends = _moment(attributes.get("nbf")), _moment(attributes.get("exp"))
    if begins is not None and begins > now:
        wait = min(begins - now, source.poll_seconds)
        text = f"{version_of(reply)} is not valid for {_span(begins - now)} (its nbf)"
        return Failure(FailureReason.NOT_YET_VALID, text, wait)
    if ends is not None and ends <= now:
        return Failure(FailureReason.EXPIRED, f"{version_of(reply)} has ended {_span(now - ends)} ago (its exp)")
    again = source.poll_seconds * (0.9 + 0.1 * chance())
    rest = None if ends is None else ends - now
    if source.engine is not Engine.CERTIFICATE:
        return Reading({"value": value}, again=again, ends=rest)
    try:
        return Reading(parts_of(value), again=again, ends=rest)
    except NotReadable as error:
        return Failure(FailureReason.UNUSABLE, f"{version_of(reply)} is no certificate in PEM: {error}")


def pfx_of(reply: Success) -> bytes | None:
    """Return the PFX that an answer holds; None when it is something else. Raises ValueError for broken base64."""
    if str(reply.body.get("contentType") or "").lower() != PFX:
        return None
    try:
        return base64.b64decode(str(reply.body.get("value")), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the PFX is no base64") from None


def version_of(reply: Success) -> str:
    """Return the version that an answer is of, for people."""
    return f"version {bare_version_of(reply) or 'unknown'}"


def bare_version_of(reply: Success) -> str:
    """Return the version that an answer is of; "" when its identifier has none."""
    parts = str(reply.body.get("id") or "").rstrip("/").split("/")
    return parts[-1] if len(parts) > 5 else ""


def judged(status: int, body: Any, headers: Mapping[str, str]) -> Success | Failure:
    """Return what an answer of the vault means. `body` is the decoded JSON; header names are in lower case."""
    if status == 200 and isinstance(body, dict):
        return Success(body)
    code, words = _error(body)
    wait = retry_after(headers)
    if 300 <= status < 400:
        return Failure(FailureReason.REDIRECTED, "it redirects elsewhere, and that is not followed", status=status)
    if status < 300:
        return Failure(FailureReason.GARBLED, "the answer is no JSON object", wait, status)
    reason = _BY_CODE.get(code) or _BY_STATUS.get(status)
    if reason is None:
        reason = FailureReason.SERVER_ERROR if status >= 500 else FailureReason.REFUSED
    request = headers.get("x-ms-request-id", "")
    traced = f"request {request}" if request and status not in (401, 404) else ""
    text = "; ".join(filter(None, (words.rstrip(".") or f"HTTP {status}", _REMEDIES.get(code, ""), traced)))
    return Failure(reason, text, wait, status, of_all=reason is FailureReason.THROTTLED)


def soft_deleted(reply: Success) -> Failure:
    """Return what it means that an object is among the deleted ones."""
    purged = _moment(reply.body.get("scheduledPurgeDate"))
    until = "" if purged is None else f" until {_day(purged)}"
    return Failure(FailureReason.DELETED, f"it is deleted, and can be recovered{until}: az keyvault secret recover")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the pause that an answer asks for, in seconds. Milliseconds are a dialect of Azure."""
    for name, unit in (("retry-after", 1.0), ("retry-after-ms", 1000.0), ("x-ms-retry-after-ms", 1000.0)):
        try:
            return min(max(0.0, float(headers[name]) / unit), 3600.0)
        except (KeyError, ValueError):
            continue
    return None


def _error(body: Any) -> tuple[str, str]:
    """Return the innermost code of an error, and the words for people."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return "", ""
    inner = error.get("innererror") or error.get("innerError") or {}
    code = str(inner.get("code") or "") if isinstance(inner, dict) else ""
    return code or str(error.get("code") or ""), said((str(error.get("message") or error.get("code") or ""),))


def _moment(given: object) -> float | None:
    try:
        found = float(given) if isinstance(given, int | float) and not isinstance(given, bool) else math.nan
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def _span(seconds: float) -> str:
    """Return a length of time for people."""
    for unit, name in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"


def _day(moment: float) -> str:
    try:
        return datetime.fromtimestamp(moment, UTC).date().isoformat()
    except (OverflowError, ValueError, OSError):
        return "some day"


_BY_CODE = {
    "SecretDisabled": FailureReason.DISABLED,
    "SecretNotFound": FailureReason.MISSING,
    "Throttled": FailureReason.THROTTLED,
}
_BY_STATUS = {
    401: FailureReason.DENIED,
    403: FailureReason.DENIED,
    404: FailureReason.MISSING,
    408: FailureReason.TIMEOUT,
    429: FailureReason.THROTTLED,
    502: FailureReason.UNREACHABLE,
    503: FailureReason.UNREACHABLE,
    504: FailureReason.TIMEOUT,
}
_ROLE = f"it needs the role {SECRETS_USER} (`sidecar check secret-sync` prints the command)"
_NETWORK = "it is the vault's network rule, not the role: let the cluster in, or use its private endpoint"
_REMEDIES = {
    "ForbiddenByRbac": f"{_ROLE}; a new one counts after some minutes",
    "ForbiddenByPolicy": "the vault has access policies: allow this identity to get secrets",
    "ForbiddenByConnection": _NETWORK,
    "ForbiddenByFirewall": _NETWORK,
    "SecretNotFound": "check path and object_version",
    "SecretDisabled": "enable it, or make a new version",
}
