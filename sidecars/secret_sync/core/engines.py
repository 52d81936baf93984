"""The engines of Vault: which request gives a secret, what its answer holds, and when it is to be read again.

Sources: Vault's HTTP API, and what a real server was seen to answer: a KV version that is deleted is a 404 with its
metadata; a deletion in the future is a live secret; the `lease_duration` of KV 1 is a hint or a default, and no lease;
`ttl: 0` of a static role means that its rotation is due or late; a certificate says when it ends, and no lease does.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from .outcome import Failure, FailureReason, Success
from .sync import Reading

STATIC_LATE_SECONDS = 1.0
CERTIFICATE_JITTER = 0.1
UNKNOWN_LEASE_SECONDS = 300.0
"""A lease that is said to last for 0 s is taken for one of so long: its first renewal says how long it is."""


class Engine(StrEnum):
    """What kind of secret it is."""

    KV = "kv"
    KV1 = "kv1"
    KV2 = "kv2"
    DYNAMIC = "dynamic"
    STATIC = "static"
    PKI = "pki"
    SECRET = "secret"
    """Of Key Vault (`key_vault.py`), as is the next one."""
    CERTIFICATE = "certificate"


@dataclass(frozen=True)
class Source:
    """Where a secret comes from. `mount` and `path` are without slashes at their ends."""

    engine: Engine
    mount: str = ""
    path: str = ""
    role: str = ""
    version: int = 0
    write: bool = False
    """Whether a dynamic path is written to (POST) and not read."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    poll_seconds: float = 30.0
    life_fraction: float = 2 / 3
    """After which share of its life a certificate is issued anew."""
    margin_seconds: float | None = None
    """How long before its end, in place of that."""
    object_version: str = ""
    """Of an object of Key Vault; "" is the newest."""


@dataclass(frozen=True)
class VaultCall:
    """An HTTP request below `/v1/`. `mints`: it makes something new each time."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    mints: bool = False


def call(source: Source) -> VaultCall:
    """Return the request that reads a secret. Raises ValueError for `kv`, whose version has to be found out before."""
    match source.engine:
        case Engine.KV1:
            return VaultCall("GET", _joined(source.mount, source.path))
        case Engine.KV2:
            query = {"version": str(source.version)} if source.version else {}
            return VaultCall("GET", _joined(source.mount, "data", source.path), query=query)
        case Engine.PKI:
            return VaultCall("POST", _joined(source.mount, "issue", source.role), dict(source.parameters), mints=True)
        case Engine.STATIC:
            return VaultCall("GET", _joined(source.mount, "static-creds", source.role) if source.role else source.path)
        case Engine.DYNAMIC:
            if source.write:
                return VaultCall("POST", source.path, dict(source.parameters), mints=True)
            return VaultCall(
                "GET", source.path, query={key: str(text) for key, text in source.parameters.items()}, mints=True
            )
    raise ValueError("the version of this KV mount is not known yet")


def _joined(*parts: str) -> str:
    return "/".join(part.strip("/") for part in parts if part.strip("/"))


def policy(source: Source) -> list[tuple[str, tuple[str, ...]]]:
    """Return the paths that the policy has to allow, and the capabilities on each."""
    if source.engine is Engine.KV:
        either = (Engine.KV1, Engine.KV2)
        return [line for engine in either for line in policy(Source(engine, source.mount, source.path))]
    made = call(source)
    return [(made.path, ("update",) if made.method == "POST" else ("read",))]


def reading(source: Source, reply: Success, now: float, chance: Callable[[], float]) -> Reading | Failure:
    """Return what an answer holds. `now` is the wall clock in seconds; `chance` gives numbers from 0 to 1."""
    data = reply.body.get("data")
    if source.engine is Engine.KV2:
        return _kv2(source, reply.body, data)
    if not isinstance(data, dict) or not data:
        warning = "; ".join(str(text) for text in reply.body.get("warnings") or ())
        return Failure(
            FailureReason.MISSING if warning else FailureReason.UNUSABLE, _hint(warning) or "the answer holds no data"
        )
    if source.engine is Engine.KV1:
        return Reading(data, again=_spread(source.poll_seconds, chance))
    if source.engine is Engine.STATIC:
        return Reading(data, again=_static(data))
    if source.engine is Engine.PKI or ("certificate" in data and "expiration" in data):
        return _certificate(source, data, now, chance)
    lease, duration = str(reply.body.get("lease_id") or ""), float(reply.body.get("lease_duration") or 0)
    if lease:
        lasts = duration if duration > 0 else UNKNOWN_LEASE_SECONDS
        return Reading(data, lease, lasts, renewable=bool(reply.body.get("renewable")))
    if duration > 0 and call(source).method == "GET":  # KV 1 under the engine `dynamic`: a hint, often of 32 days
        return Reading(data, again=_spread(source.poll_seconds, chance))
    if duration > 0:
        return Reading(data, again=duration * (0.85 + 0.1 * chance()), ends=duration)
    return Reading(data, again=source.poll_seconds if not call(source).mints else None)


def _spread(seconds: float, chance: Callable[[], float]) -> float:
    """Return a pause of about this length, so that replicas do not ask in step."""
    return seconds * (0.9 + 0.1 * chance())


def _kv2(source: Source, body: Mapping[str, Any], data: Any) -> Reading | Failure:
    if not isinstance(data, dict) or "metadata" not in data:
        warning = "; ".join(str(text) for text in body.get("warnings") or ())
        return Failure(FailureReason.MISSING, _hint(warning) or "there is no such version")
    metadata = data["metadata"] if isinstance(data["metadata"], dict) else {}
    if data.get("data") is None:
        state = "destroyed" if metadata.get("destroyed") else "deleted"
        return Failure(FailureReason.DELETED, f"version {metadata.get('version')} is {state}")
    if not isinstance(data["data"], dict):
        return Failure(FailureReason.UNUSABLE, "its data is no map of keys and values")
    return Reading(data["data"], again=source.poll_seconds)


def _hint(warning: str) -> str:
    if "versioned K/V" in warning:
        return "the mount is of KV version 2; set engine: kv2, and leave data/ out of path"
    return warning


def _static(data: Mapping[str, Any]) -> float:
    """Sleep until the rotation and a second more; `ttl: 0` is a rotation that is due, so look once a second."""
    try:
        left = float(data.get("ttl") or 0)
    except (TypeError, ValueError):
        left = 0.0
    return left + STATIC_LATE_SECONDS


def _certificate(source: Source, data: Mapping[str, Any], now: float, chance: Callable[[], float]) -> Reading | Failure:
    """Issue anew after a share of the life that is left on our own clock: `not_before` lies back by design."""
    try:
        left = float(data["expiration"]) - now
    except (KeyError, TypeError, ValueError):
        return Failure(FailureReason.UNUSABLE, "the certificate's answer has no expiration")
    if left <= 0:
        return Failure(FailureReason.UNUSABLE, "the certificate has ended already; do the clocks agree?")
    share = 1 - CERTIFICATE_JITTER * chance()
    if source.margin_seconds is not None and source.margin_seconds < left:
        return Reading(data, again=(left - source.margin_seconds) * share, ends=left)
    return Reading(data, again=left * source.life_fraction * share, ends=left)


def version_of_mount(reply: Success) -> Engine:
    """Return KV1 or KV2 from the answer of sys/internal/ui/mounts/PATH."""
    data = reply.body.get("data") or {}
    options = data.get("options") or {}
    return Engine.KV2 if str(options.get("version")) == "2" else Engine.KV1


def mount_of(reply: Success) -> str:
    """Return the path of the mount from the answer of sys/internal/ui/mounts/PATH."""
    return str((reply.body.get("data") or {}).get("path") or "").strip("/")
