"""What /status shows of secrets: how old, how long still, what is next, what went wrong. Never a value."""

from typing import Any

from .core.lease import due
from .core.sync import NEVER, Secret, Sync


def described(sync: Sync, now: float, faults: dict[str, str]) -> dict[str, Any]:
    """Return the token and each secret by name; durations in seconds."""
    token, fault = sync.token, sync.token_fault()
    return {
        "token": {
            "held": token is not None,
            "ends_in_seconds": _rest(NEVER if token is None else token.ends, now),
            "trouble": None if fault is None else {"class": fault.trouble, "reason": fault.text},
        },
        "secrets": {name: _secret(sync, secret, now, faults) for name, secret in sync.secrets.items()},
    }


def _secret(sync: Sync, secret: Secret, now: float, faults: dict[str, str]) -> dict[str, Any]:
    lease = secret.lease
    next_at = secret.read_due if lease is None else due(lease, NEVER)[0]
    if secret.fault is not None:
        next_at = max(secret.fault.retry_at, 0.0)
    return {
        "required": secret.spec.required,
        "held": secret.value is not None,
        "keys": None if secret.value is None else len(secret.value),
        "age_seconds": None if secret.value is None else round(now - secret.read_at, 1),
        "ends_in_seconds": _rest(sync.ends(secret), now),
        "next_in_seconds": _rest(next_at, now),
        "written": secret.value is not None and not secret.unpublished and secret.spec.name not in faults,
        "trouble": None
        if secret.fault is None
        else {"class": secret.fault.trouble, "reason": secret.fault.text, "failures": secret.fault.failures},
    }


def _rest(moment: float, now: float) -> float | None:
    return None if moment == NEVER else round(max(0.0, moment - now), 1)
