"""What a reply of the provider means: by endpoint and not by its number alone, since a 429 from sys/health is a standby
and from a read it is a quota.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class FailureReason(StrEnum):
    """Why a request did not give what was asked for: the closed list of metrics, status and log."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    SEALED = "sealed"
    THROTTLED = "throttled"
    NOT_CURRENT = "not_current"
    SERVER_ERROR = "server_error"
    GARBLED = "garbled"
    REDIRECTED = "redirected"
    DENIED = "denied"
    REFUSED = "refused"
    MISSING = "missing"
    DELETED = "deleted"
    DISABLED = "disabled"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"
    GONE = "gone"
    UNUSABLE = "unusable"


OUTAGE = frozenset({FailureReason.UNREACHABLE, FailureReason.TIMEOUT, FailureReason.SEALED})
"""What may be the server's state as a whole, so that its health is asked before anything else."""
TRANSIENT = OUTAGE | {
    FailureReason.THROTTLED,
    FailureReason.NOT_CURRENT,
    FailureReason.SERVER_ERROR,
    FailureReason.GARBLED,
}
"""What passes without anybody doing something."""


class Endpoint(StrEnum):
    """What kind of request it was."""

    LOGIN = "login"
    TOKEN = "token"
    READ = "read"
    RENEW = "renew"
    LOOKUP = "lookup"
    REVOKE = "revoke"
    HEALTH = "health"


@dataclass(frozen=True)
class Failure:
    """A request that failed. `text` is for people: it holds nothing that came in a secret."""

    reason: FailureReason
    text: str = ""
    retry_after: float | None = None
    status: int = 0
    of_all: bool = False
    """Whether `retry_after` is meant for the reads of all secrets: the provider counts them together."""


@dataclass(frozen=True)
class Success:
    """A request that succeeded: the JSON body, empty for a 204."""

    body: dict[str, Any]


def judged(endpoint: Endpoint, status: int, body: Any, retry_after: str = "") -> Success | Failure:
    """Return what a reply means. `body` is the decoded JSON, None when there is none or it is no JSON.

    Sources: Vault's HTTP API (status codes) and sys/health.
    """
    if endpoint is Endpoint.HEALTH:
        return _health(status, body)
    if status in (200, 204) and (status == 204 or isinstance(body, dict)):
        return Success(body if isinstance(body, dict) else {})
    texts = tuple(str(text) for text in _errors(body))
    wait = _seconds(retry_after)
    if 300 <= status < 400:
        return Failure(FailureReason.REDIRECTED, "it redirects elsewhere, and that is not followed", status=status)
    if status == 404 and endpoint is Endpoint.READ and isinstance(body, dict) and body.get("data"):
        return Success(body)  # a KV version that is deleted or destroyed tells so in its metadata
    if status in _TROUBLES:
        reason = _TROUBLES[status]
        return Failure(reason, _explained(endpoint, reason, said(texts), status), wait, status)
    if status == 400 and body is None:  # what Go says in plain text to who speaks no TLS to it
        return Failure(FailureReason.GARBLED, "HTTP 400 without JSON; does the server want https?", wait, status)
    if status == 400:
        gone = endpoint in (Endpoint.RENEW, Endpoint.LOOKUP) and any(text in _GONE for text in texts)
        reason = FailureReason.GONE if gone else FailureReason.REFUSED
        return Failure(reason, _explained(endpoint, reason, said(texts), status), wait, status)
    if status < 300:
        return Failure(FailureReason.GARBLED, "the answer is no JSON object", wait, status)
    kind = FailureReason.SERVER_ERROR if status >= 500 else FailureReason.REFUSED
    return Failure(kind, said(texts) or f"HTTP {status}", wait, status)


def _explained(endpoint: Endpoint, reason: FailureReason, words: str, status: int) -> str:
    """Return the server's words with what to do: they are short, or none at all."""
    remedy = _REMEDIES.get((endpoint, reason), "")
    return "; ".join(filter(None, (words or f"HTTP {status}", remedy)))


_REMEDIES = {
    (Endpoint.READ, FailureReason.MISSING): "nothing is there: check mount, path and version",
    (
        Endpoint.READ,
        FailureReason.DENIED,
    ): "its policy does not allow it (`sidecar check secret-sync` prints what is needed), or the token has ended",
    (
        Endpoint.LOGIN,
        FailureReason.REFUSED,
    ): "check auth: it is tried again when one of its files changes, or in five minutes",
    (Endpoint.LOGIN, FailureReason.DENIED): "check auth.mount and role; an AppRole may be locked out for 15 minutes",
}
_RECOVERY_SECONDARY = 472
_GONE = ("lease not found", "invalid lease")
_TROUBLES = {
    403: FailureReason.DENIED,
    404: FailureReason.MISSING,
    408: FailureReason.TIMEOUT,
    412: FailureReason.NOT_CURRENT,
    429: FailureReason.THROTTLED,
    472: FailureReason.NOT_CURRENT,
    473: FailureReason.NOT_CURRENT,
    501: FailureReason.SEALED,
    502: FailureReason.UNREACHABLE,
    503: FailureReason.SEALED,
    504: FailureReason.TIMEOUT,
}


def _health(status: int, body: Any) -> Success | Failure:
    """A node that is sealed, not initialised or a disaster-recovery secondary cannot serve; a standby forwards. What is
    in front of Vault may hide its health (403, 404): then all that is known is that somebody answers.
    """
    if status < 500 and status != _RECOVERY_SECONDARY:
        return Success(body if isinstance(body, dict) else {})
    return Failure(FailureReason.SEALED, f"its health is {status}", status=status)


def _errors(body: Any) -> list[Any]:
    found = body.get("errors") if isinstance(body, dict) else None
    return found if isinstance(found, list) else []


def said(texts: tuple[str, ...]) -> str:
    """Return the server's own words, on one line."""
    return "; ".join(" ".join(text.replace("\t* ", " ").split()) for text in texts)[:10_000]


def shortened(text: str) -> str:
    """Return a text that is not too long for people. What must not be seen is hidden before: a half would be left."""
    return text if len(text) <= 300 else text[:299] + "…"


def _seconds(text: str) -> float | None:
    try:
        return min(max(0.0, float(text)), 3600.0)
    except ValueError:
        return None
