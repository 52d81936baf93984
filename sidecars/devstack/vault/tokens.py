"""Tokens and leases: what lives for a while, what renews it, and what ends with what. The time is a clock's.

A lease ends with its token, whatever its own end says; only a batch token's leases are shown as short as they are.
"""

import secrets
import string
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from .answers import Answer, JsonObject, VaultError, capped_warning, denied

SYSTEM_TTL = 768 * 3600.0
_LETTERS = string.ascii_letters + string.digits


class Clock:
    """The server's time: the machine's, plus what a test has put it forward by."""

    def __init__(self) -> None:
        self.ahead_seconds = 0.0

    def now(self) -> float:
        """Return the seconds since 1970."""
        return time.time() + self.ahead_seconds


def letters(count: int) -> str:
    """Return random letters and digits."""
    return "".join(secrets.choice(_LETTERS) for _ in range(count))


def rfc3339(moment: float) -> str:
    """Return a time as Vault writes it, with nanoseconds."""
    whole = datetime.fromtimestamp(int(moment), UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{int(moment % 1 * 1e9):09d}Z"


@dataclass
class Token:
    """One token. `expires` None: never (root)."""

    id: str
    accessor: str
    policies: tuple[str, ...]
    path: str
    display_name: str
    created: float
    ttl: float
    expires: float | None
    max_expires: float | None = None
    explicit_max_ttl: float = 0
    period: float = 0
    renewable: bool = True
    type: str = "service"
    orphan: bool = True
    meta: dict[str, str] | None = None
    uses_left: int = 0
    parent: str = ""
    namespace: str = ""
    wraps: "Wrapped | None" = None

    def left(self, now: float) -> float:
        """Return the seconds until its end; infinite for root."""
        return float("inf") if self.expires is None else self.expires - now

    def auth(self, now: float) -> JsonObject:
        """Return the `auth` block of a login or renewal."""
        policies = sorted(self.policies)
        return {
            "client_token": self.id,
            "accessor": self.accessor,
            "policies": policies,
            "token_policies": policies,
            "metadata": self.meta,
            "lease_duration": 0 if self.expires is None else round(self.expires - now),
            "renewable": self.renewable and self.type == "service",
            "entity_id": "" if self.path.startswith("auth/token") else "5b5ae7e5-0000-4000-8000-000000000001",
            "token_type": self.type,
            "orphan": self.orphan,
            "mfa_requirement": None,
            "num_uses": self.uses_left,
        }

    def looked_up(self, now: float) -> JsonObject:
        """Return the `data` of lookup-self."""
        found: JsonObject = {
            "accessor": self.accessor,
            "creation_time": int(self.created),
            "creation_ttl": int(self.ttl),
            "display_name": self.display_name,
            "entity_id": "",
            "expire_time": None if self.expires is None else rfc3339(self.expires),
            "explicit_max_ttl": int(self.explicit_max_ttl),
            "id": self.id,
            "meta": self.meta,
            "num_uses": self.uses_left,
            "orphan": self.orphan,
            "path": self.path,
            "policies": sorted(self.policies),
            "ttl": 0 if self.expires is None else int(self.expires - now),
            "type": self.type,
        }
        if self.expires is not None:
            found |= {"renewable": self.renewable and self.type == "service", "issue_time": rfc3339(self.created)}
        if self.period:
            found["period"] = int(self.period)
        return found


@dataclass(frozen=True)
class Wrapped:
    """What a wrapping token holds."""

    body: JsonObject
    creation_path: str
    ttl: float
    created: float

    def looked_up(self) -> JsonObject:
        """Return the `data` of sys/wrapping/lookup."""
        return {
            "creation_path": self.creation_path,
            "creation_time": rfc3339(self.created),
            "creation_ttl": int(self.ttl),
        }


@dataclass
class Lease:
    """One lease. `token` is the id of the token it ends with."""

    id: str
    path: str
    issued: float
    expires: float
    max_expires: float
    default_ttl: float
    renewable: bool
    token: str
    revoke: Callable[[], None]
    last_renewal: float | None = None

    def looked_up(self, now: float) -> JsonObject:
        """Return the `data` of sys/leases/lookup."""
        return {
            "id": self.id,
            "path": self.path,
            "issue_time": rfc3339(self.issued),
            "expire_time": rfc3339(self.expires),
            "last_renewal": None if self.last_renewal is None else rfc3339(self.last_renewal),
            "renewable": self.renewable,
            "ttl": max(0, int(self.expires - now)),
        }


@dataclass
class Registry:
    """All tokens and leases of a server."""

    clock: Clock
    tokens: dict[str, Token] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    issued_tokens: int = 0
    issued_leases: int = 0

    # --- tokens ---

    def add(self, token: Token) -> Token:
        """Remember a token."""
        self.tokens[token.id] = token
        self.issued_tokens += 1
        return token

    def new(self, policies: tuple[str, ...], path: str, ttl: float, **more: object) -> Token:
        """Make a service or batch token. `more` are fields of Token; `max_ttl` is a duration from now."""
        now = self.clock.now()
        kind = str(more.get("type") or "service")
        period = float(more.get("period", 0))  # type: ignore[arg-type]
        explicit = float(more.get("explicit_max_ttl", 0))  # type: ignore[arg-type]
        longest = float(more.pop("max_ttl", 0) or 0) or SYSTEM_TTL  # type: ignore[arg-type]
        ends = [explicit] if explicit else []
        ends += [] if period else [longest]
        first = min([period or ttl or SYSTEM_TTL, *ends])
        token = Token(
            id=f"b.{letters(168)}" if kind == "batch" else f"s.{letters(24)}",
            accessor="" if kind == "batch" else letters(24),
            policies=tuple(sorted({*policies, "default"})),
            path=path,
            created=now,
            ttl=first,
            expires=now + first,
            max_expires=now + min(ends) if ends else None,
            display_name=str(more.pop("display_name", "token")),
            **more,  # type: ignore[arg-type]
        )
        return self.add(token)

    def root(self, token_id: str) -> Token:
        """Make the root token."""
        now = self.clock.now()
        return self.add(
            Token(token_id, letters(24), ("root",), "auth/token/root", "root", now, 0, None, renewable=False)
        )

    def token(self, token_id: str) -> Token:
        """Return a live token and count a use of it. Raises: the 403 of a dead one."""
        self.sweep()
        found = self.tokens.get(token_id.strip())
        if found is None:
            raise denied()
        if found.uses_left < 0:
            self.revoke_token(found)
            raise denied()
        if found.uses_left:
            found.uses_left = found.uses_left - 1 or -1
        return found

    def renew_token(self, token: Token, increment: float) -> Answer:
        """Renew a token and return the answer. Raises: the refusals of renew-self."""
        now = self.clock.now()
        if token.expires is None:
            raise VaultError(400, "invalid lease ID")
        if token.type == "batch":
            raise VaultError(400, "batch tokens cannot be renewed")
        if not token.renewable:
            raise VaultError(400, "lease is not renewable")
        asked = token.period or increment or token.ttl
        longest = float("inf") if token.max_expires is None else token.max_expires - now
        warnings = [capped_warning(asked, longest)] if asked > longest + 0.5 else None
        token.expires = now + min(asked, longest)
        return Answer(auth=token.auth(now), warnings=warnings)

    def revoke_token(self, token: Token) -> None:
        """End a token, its children and all their leases."""
        self.tokens.pop(token.id, None)
        for lease in [lease for lease in self.leases.values() if lease.token == token.id]:
            self.end_lease(lease)
        for child in [child for child in self.tokens.values() if child.parent == token.id and not child.orphan]:
            self.revoke_token(child)

    # --- leases ---

    def lease(self, path: str, token: Token, ttl: float, max_ttl: float, revoke: Callable[[], None]) -> Lease:
        """Make a lease. A batch token's leases are capped at its rest; others are shown longer than they can live."""
        now = self.clock.now()
        first = min(ttl or SYSTEM_TTL, max_ttl or SYSTEM_TTL)
        most = now + (max_ttl or SYSTEM_TTL)
        if token.type == "batch":
            first = min(first, token.left(now))
            most = min(most, now + token.left(now))
        lease = Lease(f"{path}/{letters(24)}", path, now, now + first, most, ttl or SYSTEM_TTL, True, token.id, revoke)
        self.leases[lease.id] = lease
        self.issued_leases += 1
        return lease

    def renew_lease(self, lease_id: str, increment: float) -> Answer:
        """Renew a lease; an increment may shorten it. Raises: 400 for a lease that is gone or cannot be renewed."""
        self.sweep()
        if not lease_id:
            raise VaultError(400, "lease_id must be specified")
        lease = self.leases.get(lease_id)
        if lease is None:
            raise VaultError(400, "lease not found")
        if not lease.renewable:
            raise VaultError(400, "lease is not renewable")
        now = self.clock.now()
        asked = increment or lease.default_ttl
        longest = lease.max_expires - now
        warnings = [capped_warning(asked, longest)] if asked > longest + 0.5 else None
        lease.expires = now + min(asked, longest)
        lease.last_renewal = now
        duration = max(0, round(lease.expires - now))
        return Answer(lease_id=lease.id, renewable=True, lease_duration=duration, warnings=warnings)

    def end_lease(self, lease: Lease) -> None:
        """Revoke a lease: what it gave is taken back."""
        self.leases.pop(lease.id, None)
        lease.revoke()

    def sweep(self) -> None:
        """End what has run out."""
        now = self.clock.now()
        for token in [token for token in self.tokens.values() if token.left(now) <= 0]:
            if token.id in self.tokens:
                self.revoke_token(token)
        for lease in [lease for lease in self.leases.values() if lease.expires <= now]:
            self.end_lease(lease)

    # --- wrapping ---

    def wrap(self, body: JsonObject, path: str, ttl: float, accessor: str) -> Answer:
        """Put an answer under a single-use token and return the answer that tells of it."""
        now = self.clock.now()
        wrapped = Wrapped(body, path, ttl, now)
        token = Token(
            f"s.{letters(24)}", letters(24), ("response-wrapping",), path, "wrap", now, ttl, now + ttl, wraps=wrapped
        )
        self.add(token)
        info: JsonObject = {
            "token": token.id,
            "accessor": token.accessor,
            "ttl": int(ttl),
            "creation_time": rfc3339(now),
            "creation_path": path,
        }
        return Answer(wrap_info=info | ({"wrapped_accessor": accessor} if accessor else {}))

    def wrapped(self, token_id: str) -> tuple[Token, Wrapped]:
        """Return a live wrapping token and what it holds. Raises: 400 for any other."""
        self.sweep()
        token = self.tokens.get(token_id.strip())
        if token is None or token.wraps is None:
            raise VaultError(400, "wrapping token is not valid or does not exist")
        return token, token.wraps
