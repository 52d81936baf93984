"""What one run leaves to the next, so that nothing is issued twice: the token, the values and their leases.

From `--once` to the sidecar, and over a kill -9. Times are those of the wall clock here, since a monotonic one begins
anew in another container. What was left for other settings is worth nothing: a fingerprint tells.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from .sync import NEVER

VERSION = 1


@dataclass(frozen=True)
class LeftSecret:
    """One secret that was left: its value, its lease if it has one, and when it is due. Times in wall seconds."""

    fingerprint: str
    value: Mapping[str, Any]
    read_at: float
    read_due: float | None = None
    ends: float | None = None
    lease: str = ""
    granted: float = 0.0
    duration: float = 0.0
    full: float = 0.0
    renewable: bool = False


@dataclass(frozen=True)
class Handover:
    """All that was left. `token_ends` None: it never ends."""

    fingerprint: str
    token: str
    token_granted: float
    token_duration: float | None
    token_renewable: bool
    secrets: Mapping[str, LeftSecret]
    version: int = 0


def fingerprint(*parts: object) -> str:
    """Return a digest of the settings that decide whether what was left is ours."""
    return hashlib.sha256(json.dumps([repr(part) for part in parts]).encode()).hexdigest()


def dumped(handover: Handover) -> bytes:
    """Return the bytes of the file."""
    secrets = {name: vars(secret) | {"value": dict(secret.value)} for name, secret in handover.secrets.items()}
    return json.dumps(vars(handover) | {"secrets": secrets, "version": VERSION}).encode()


def loaded(data: bytes) -> Handover | None:
    """Return what the bytes hold; None when that is nothing usable."""
    try:
        found = msgspec.json.decode(data, type=Handover)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return found if found.version == VERSION else None


def wall(moment: float, monotonic: float, now: float) -> float | None:
    """Return a moment of the monotonic clock as wall seconds; None for never."""
    return None if moment == NEVER else now + (moment - monotonic)
