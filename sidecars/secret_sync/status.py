"""What /status shows of secrets: how old, how long still, what is next, what went wrong. Never a value."""

from typing import Any

from .core.lease import due
from .core.outcome import FailureReason
from .core.sync import NEVER, SecretState, Sync
from .metrics import SecretSyncMetrics


def described(sync: Sync, now: float, faults: dict[str, str]) -> dict[str, Any]:
    """Return the token and each secret by name; durations in seconds."""
    token, fault = sync.token, sync.token_fault()
    return {
        "token": {
            "held": token is not None,
            "ends_in_seconds": _rest(NEVER if token is None else token.ends, now),
            "fault": None if fault is None else {"reason": fault.reason, "message": fault.text},
        },
        "secrets": {name: _secret(sync, secret, now, faults) for name, secret in sync.secrets.items()},
    }


def _secret(sync: Sync, secret: SecretState, now: float, faults: dict[str, str]) -> dict[str, Any]:
    return {
        "required": secret.spec.required,
        "held": secret.value is not None,
        "keys": None if secret.value is None else len(secret.value),
        "age_seconds": None if secret.value is None else round(now - secret.read_at, 1),
        "ends_in_seconds": _rest(sync.ends(secret), now),
        "next_in_seconds": _rest(next_moment(secret), now),
        "written": secret.value is not None and not secret.unpublished and secret.spec.name not in faults,
        "fault": None
        if secret.fault is None
        else {"reason": secret.fault.reason, "message": secret.fault.text, "failures": secret.fault.failures},
    }


def next_moment(secret: SecretState) -> float:
    """Return when something is done for a secret next."""
    if secret.fault is not None:
        return secret.fault.retry_at
    return secret.read_due if secret.lease is None else due(secret.lease, NEVER)[0]


def measure(metrics: SecretSyncMetrics, sync: Sync, now: float, wall_now: float) -> None:
    """Set the gauges of each secret. `now` is of the monotonic clock."""

    def moment(at: float) -> float:
        return 0.0 if at == NEVER else wall_now + (at - now)

    for name, secret in sync.secrets.items():
        metrics.read_at.labels(name).set(0.0 if secret.value is None else moment(secret.read_at))
        metrics.ends_at.labels(name).set(moment(sync.ends(secret)))
        metrics.next_at.labels(name).set(moment(next_moment(secret)))
        for reason in FailureReason:
            is_it = secret.fault is not None and secret.fault.reason is reason
            metrics.failing.labels(name, reason).set(float(is_it))


def _rest(moment: float, now: float) -> float | None:
    return None if moment == NEVER else round(max(0.0, moment - now), 1)
