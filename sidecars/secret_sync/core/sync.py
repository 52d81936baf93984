"""The one state machine of secret-sync: a token, the secrets, and what is to be asked of the provider next.

Events come in (`done`, `published`, `refresh`), requests go out (`next`). At most one request is in flight for the
token and for each secret. The rules:

- A renewal that fails never leads to a new credential while the old lease lives: it is tried again until the lease's
  grace begins, and only then is the credential replaced.
- A lease ends with its token. So at the end of a token's life: log in, read what has a lease with the new token,
  publish, notify, and only then revoke the old token.
- A 403 is asked about once (lookup-self): a dead token means one login, a good one that a policy says no.
- While the provider as a whole is away only its health is asked, and all that is known stays.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from .lease import Lease, due
from .outcome import OUTAGE, TRANSIENT, Failure, FailureReason
from .retry import LastingFault, Limiter, failed

PROBE_SECONDS = (1.5, 2.5)
SHORT_OUTAGE_SECONDS = 30.0
"""After a shorter outage a sidecar logs in at once; after a longer one logins are spread over half its length."""
LONGEST_SPREAD_SECONDS = 30.0
REFUSED_LOGIN_SECONDS = 300.0
"""How long a login that was refused with 400 is left alone while its files do not change: five wrong ones lock an
AppRole out, for all pods."""
IN_FLIGHT = 4
"""For secrets; half of it for those that failed before, so that what hangs leaves room for what works."""
DOUBT_SECONDS = (5.0, 3600.0)
"""A look-up of the token that is denied tells a dead token from a good one only where tokens may look themselves up. So
when a login did not help, a second one for that reason waits for so long, and each further one three times as long."""
FAILURES_IN_A_ROW = 2
"""After so many failures without a success everything is slowed down, also what was never tried before."""
NEVER = float("inf")


class Kind(StrEnum):
    """What a request is for."""

    LOGIN = "login"
    RENEW_TOKEN = "renew_token"
    LOOKUP_TOKEN = "lookup_token"
    REVOKE_TOKEN = "revoke_token"
    REVOKE = "revoke"
    READ = "read"
    RENEW = "renew"
    LOOKUP = "lookup"
    HEALTH = "health"


@dataclass(frozen=True)
class ProviderRequest:
    """One request to make now. `token` is the generation of the token to make it with, 0 for none."""

    kind: Kind
    secret: str = ""
    token: int = 0
    lease: str = ""


@dataclass(frozen=True)
class Granted:
    """A token or a renewal of one: how long it is good for (None: for ever), and whether it can be renewed."""

    duration: float | None
    renewable: bool


@dataclass(frozen=True)
class Reading:
    """What a read gave. `again` is in how many seconds it is to be read again, None: when its lease says so."""

    value: Mapping[str, Any]
    lease: str = ""
    duration: float = 0.0
    renewable: bool = False
    again: float | None = None
    ends: float | None = None
    """In how many seconds the value is worthless, where it says so itself (a certificate)."""


@dataclass(frozen=True)
class Spec:
    """What the machine has to know of a secret."""

    name: str
    required: bool = True
    stale_seconds: float = NEVER
    """After how long without a fresh read the secret counts as past its refresh deadline."""


@dataclass
class SecretState:
    """One secret: what is known of it, and what is going on with it."""

    spec: Spec
    value: Mapping[str, Any] | None = None
    read_at: float = 0.0
    lease: Lease | None = None
    ends: float = NEVER
    read_due: float = 0.0
    fault: LastingFault | None = None
    in_flight: Kind | None = None
    asked_about_denial: bool = False
    doubted: bool = False
    """Whether the server is to be asked if the lease still lives, since its renewal was refused."""
    failing: Kind | None = None
    """What the fault is of."""
    sent_at: float = 0.0
    unpublished: bool = False
    is_wanted_again: bool = False
    """Whether somebody asked for a fresh read while one was under way, which may bring what was there before."""


@dataclass
class Token:
    """The token of one generation. `lease` None: it never ends."""

    generation: int
    lease: Lease | None

    @property
    def ends(self) -> float:
        """The moment at which it ends."""
        return NEVER if self.lease is None else self.lease.ends


@dataclass
class Sync:
    """See the module. `chance` gives numbers from 0 to 1; times are those of one monotonic clock."""

    specs: Iterable[Spec]
    chance: Callable[[], float]
    secrets: dict[str, SecretState] = field(init=False)
    token: Token | None = None
    old: Token | None = None
    """The former token, which still holds leases until all of them are replaced, published and told of."""
    _generation: int = 0
    _sent_at: float = 0.0
    _fault: LastingFault | None = None
    _failing: Kind | None = None
    """What the token's fault is of."""
    _former: dict[int, float] = field(default_factory=dict)
    """When former tokens end, by generation."""
    _drop_again_at: float = 0.0
    _drop_pause: float = 0.0
    _dropped_for: set[str] | None = None
    """The secrets that were denied when a token was dropped, until a read shows that the login helped."""
    _quiet_until: float = 0.0
    """Until then the provider has asked to be left alone by all secrets."""
    _in_flight: Kind | None = None
    _count: int = 0
    _limiter: Limiter = field(default_factory=Limiter)
    _failed_in_a_row: Counter[Kind] = field(default_factory=Counter)
    _outage_since: float | None = None
    _outage_seen: bool = False
    _probe_at: float = NEVER
    _probing: bool = False
    _login_at: float = 0.0
    _suspect: bool = False
    _revoke: bool = False

    def __post_init__(self) -> None:
        """Make a place for each secret."""
        self.secrets = {spec.name: SecretState(spec) for spec in self.specs}

    # --- what goes out ---

    def next(self, now: float) -> tuple[list[ProviderRequest], float]:
        """Return the requests to make now (each is in flight from here on), and when to ask again at the latest."""
        if self.is_away:
            return self._probe(now)
        if self.old is not None and self.old.ends <= now:
            self.old, self._revoke = None, False
        requests, wake = self._probe(now)
        for secret in (None, *sorted(self.secrets.values(), key=lambda one: not one.spec.required)):
            if secret is not None and self._count >= (IN_FLIGHT if secret.fault is None else IN_FLIGHT // 2):
                continue  # the end of another one wakes it
            request, at = self._token_request(now) if secret is None else self._secret_request(secret, now)
            if request is None:
                wake = min(wake, at)
                continue
            if self._is_limited(request):
                if self._limiter.at(now) > now:
                    wake = min(wake, self._limiter.at(now))
                    continue
                self._limiter.take(now)
            self._start(request)
            self._note_sent(request, now)
            requests.append(request)
        return requests, wake

    def _probe(self, now: float) -> tuple[list[ProviderRequest], float]:
        if self._probing:
            return [], NEVER
        if (at := max(self._probe_at, self._limiter.at(now))) > now:
            return [], at
        self._limiter.take(now)
        self._probing, self._probe_at = True, NEVER
        self._count += 1
        return [ProviderRequest(Kind.HEALTH)], NEVER

    def _is_limited(self, request: ProviderRequest) -> bool:
        """Whether it may only go out once a second: what failed before, and everything while nothing succeeds."""
        if self._failed_in_a_row[request.kind] >= FAILURES_IN_A_ROW:
            return True
        fault = self.secrets[request.secret].fault if request.secret else self._fault
        return fault is not None and not fault.over

    def _start(self, request: ProviderRequest) -> None:
        self._count += 1
        if request.secret:
            self.secrets[request.secret].in_flight = request.kind
        else:
            self._in_flight = request.kind

    def _note_sent(self, request: ProviderRequest, now: float) -> None:
        """Remember when a request went out: what it grants counts from then, not from when its answer came."""
        if request.secret:
            self.secrets[request.secret].sent_at = now
        else:
            self._sent_at = now

    def _token_request(self, now: float) -> tuple[ProviderRequest | None, float]:
        if self._in_flight is not None:
            return None, NEVER
        token = self.token
        if self._suspect and token is not None:
            lookup = ProviderRequest(Kind.LOOKUP_TOKEN, token=token.generation)
            return self._when(self._retry_at(Kind.LOOKUP_TOKEN), now, lookup)
        if self._revoke and self.old is not None:
            return ProviderRequest(Kind.REVOKE_TOKEN, token=self.old.generation), NEVER
        login = ProviderRequest(Kind.LOGIN)
        if token is None or token.ends <= now:
            return self._when(max(self._retry_at(Kind.LOGIN), self._login_at), now, login)
        if token.lease is None:
            return None, NEVER
        window = token.lease.replace_at(NEVER)
        at = max(token.lease.renew_at(), self._retry_at(Kind.RENEW_TOKEN))
        if not token.lease.renewable or at >= window or window <= now:
            return self._when(max(window, self._retry_at(Kind.LOGIN)), now, login)
        # A renewal that is tried again late must not delay the replacement.
        return self._when(at, now, ProviderRequest(Kind.RENEW_TOKEN, token=token.generation), window)

    def _retry_at(self, kind: Kind) -> float:
        """Return when a request for the token that failed may be made again; 0 when its kind did not fail."""
        return self._fault.retry_at if self._fault is not None and self._failing is kind else 0.0

    @staticmethod
    def _when(
        at: float, now: float, request: ProviderRequest, otherwise: float = NEVER
    ) -> tuple[ProviderRequest | None, float]:
        return (request, NEVER) if at <= now else (None, min(at, otherwise))

    def _secret_request(self, secret: SecretState, now: float) -> tuple[ProviderRequest | None, float]:
        token = self.token
        if secret.in_flight is not None or token is None or token.ends <= now:
            return None, NEVER
        if self._suspect and self._fault is None:  # asked at this moment
            return None, NEVER
        if self._quiet_until > now:
            return None, self._quiet_until
        name, generation = secret.spec.name, token.generation
        retry_at = secret.fault.retry_at if secret.fault is not None else 0.0
        read = ProviderRequest(Kind.READ, name, generation)
        if secret.lease is None:
            return self._when(max(secret.read_due, retry_at), now, read)
        lease = secret.lease
        if lease.token != generation:  # its token is the old one: replaced now, for it ends with that
            return self._when(retry_at if secret.failing is Kind.READ else 0.0, now, read)
        if secret.doubted:
            return ProviderRequest(Kind.LOOKUP, name, generation, lease.id), NEVER
        window = lease.replace_at(NEVER)
        if window <= now:
            if self._may_renew_late(secret, lease, now):
                return ProviderRequest(Kind.RENEW, name, generation, lease.id), NEVER
            if self._is_replaced(token, now) and lease.ends >= token.ends:
                return None, NEVER  # what is issued now would end with the token, too: after the login
            return self._when(retry_at if secret.failing is Kind.READ else 0.0, now, read)
        at, replacing = due(lease, NEVER)
        at = max(at, retry_at)
        if replacing or at >= window:
            return None, window
        return self._when(at, now, ProviderRequest(Kind.RENEW, name, generation, lease.id), window)

    def _may_renew_late(self, secret: SecretState, lease: Lease, now: float) -> bool:
        """Whether a lease within its grace is renewed and not replaced: after an outage, unless that was refused."""
        if secret.failing is Kind.RENEW and secret.fault is not None:
            answered = secret.fault.reason not in OUTAGE
            if answered or secret.sent_at >= lease.replace_at(NEVER):
                return False
        token_lasts = self.token is not None and self.token.ends > now + lease.grace
        return lease.renewable and not lease.is_capped and lease.ends > now and token_lasts

    @staticmethod
    def _is_replaced(token: Token, now: float) -> bool:
        """Whether a login is due, so that the token will not be renewed any more."""
        return token.lease is not None and token.lease.replace_at(NEVER) <= now

    # --- what comes in ---

    def done(self, request: ProviderRequest, result: Granted | Reading | Failure | float | None, now: float) -> None:
        """Take the result of a request: Granted of a login or token renewal, Reading of a read, the granted seconds of
        a renewal, None of what only succeeds, or a Failure.
        """
        self._count -= 1
        if request.kind is Kind.HEALTH:
            self._probed(now, healthy=not isinstance(result, Failure))
            return
        if request.secret:
            self.secrets[request.secret].in_flight = None
        else:
            self._in_flight = None
        if _grants_nothing(request, result, self.token):
            result = Failure(FailureReason.GARBLED, "the renewal grants nothing")
        if isinstance(result, Failure):
            self._failed_in_a_row[request.kind] += 1
            self._failed(request, result, now)
            return
        if self._failed_in_a_row.pop(request.kind, 0) >= FAILURES_IN_A_ROW:
            self._resume(now)
        if request.secret:
            self._secret_done(self.secrets[request.secret], request, result, now)
        else:
            self._token_done(request, result, now)

    def _token_done(self, request: ProviderRequest, result: object, now: float) -> None:
        if request.kind in (Kind.LOGIN, self._failing):
            self._fault = self._failing = None
        match request.kind:
            case Kind.LOGIN if isinstance(result, Granted):
                self._logged_in(result, now)
            case Kind.RENEW_TOKEN if isinstance(result, Granted) and self.token is not None and self.token.lease:
                renewed = self.token.lease.renewed(result.duration or 0.0, self._sent_at)
                self.token.lease = replace(renewed, renewable=result.renewable)
            case Kind.LOOKUP_TOKEN:  # the token is good: it was the policy
                self._suspect, self._drop_again_at, self._drop_pause = False, 0.0, 0.0
            case Kind.REVOKE_TOKEN:
                self.old, self._revoke = None, False

    def _logged_in(self, granted: Granted, now: float) -> None:
        self._generation += 1
        generation, lease = self._generation, None
        if granted.duration is not None:
            lease = Lease("", generation, self._sent_at, max(granted.duration, 1.0), granted.renewable, self.chance())
        holds = any(secret.lease is not None for secret in self.secrets.values())
        if self.token is not None:
            self._former[self.token.generation] = self.token.ends
            held = {secret.lease.token for secret in self.secrets.values() if secret.lease is not None}
            self._former = {made: ends for made, ends in self._former.items() if made in held}
        if self.token is not None and self.token.ends > now and not self._suspect and self.old is None:
            self.old = self.token
            self._revoke = not holds
        self.token, self._suspect = Token(generation, lease), False
        for secret in self.secrets.values():
            secret.asked_about_denial = False
            if secret.lease is not None or secret.fault is not None:
                secret.read_due = min(secret.read_due, now)
            if secret.fault is not None and secret.fault.reason is FailureReason.DENIED:
                secret.fault = None

    def _secret_done(self, secret: SecretState, request: ProviderRequest, result: object, now: float) -> None:
        if request.kind is Kind.LOOKUP:  # the lease lives, so its renewal is tried again as planned
            secret.doubted = False
            return
        secret.fault, secret.asked_about_denial = None, False
        if self._dropped_for is not None and (not self._dropped_for or secret.spec.name in self._dropped_for):
            self._dropped_for, self._drop_again_at, self._drop_pause = None, 0.0, 0.0  # it was dead indeed
        if isinstance(result, Reading):
            self._take(secret, result, request.token, now)
        elif isinstance(result, float | int) and secret.lease is not None and secret.lease.id == request.lease:
            secret.lease = secret.lease.renewed(float(result), secret.sent_at)

    def _take(self, secret: SecretState, reading: Reading, token: int, now: float) -> None:
        changed = secret.value is None or dict(secret.value) != dict(reading.value)
        secret.value, secret.read_at = reading.value, now
        secret.unpublished = secret.unpublished or changed
        secret.failing = None
        secret.ends = NEVER if reading.ends is None else now + reading.ends
        secret.lease = None
        if reading.lease and reading.duration > 0:
            secret.lease = Lease(
                reading.lease, token, secret.sent_at, reading.duration, reading.renewable, self.chance()
            )
        secret.read_due = NEVER if reading.again is None else now + max(reading.again, 1.0)
        if secret.is_wanted_again and secret.lease is None:
            secret.read_due = now
        secret.is_wanted_again = False

    def _failed(self, request: ProviderRequest, failure: Failure, now: float) -> None:
        reason = failure.reason
        if reason in OUTAGE and self._probe_at == NEVER and not self._probing:
            self._outage_since = now if self._outage_since is None else self._outage_since
            self._probe_at = now + self._between(PROBE_SECONDS)
        if not request.secret:
            self._token_failed(request, failure, now)
            return
        if failure.of_all and failure.retry_after is not None:
            self._quiet_until = max(self._quiet_until, now + failure.retry_after)
        secret = self.secrets[request.secret]
        secret.failing = request.kind if request.kind is not Kind.LOOKUP else secret.failing
        if reason is FailureReason.DENIED and (self.token is None or request.token != self.token.generation):
            secret.read_due = min(secret.read_due, now)  # its token was replaced meanwhile
            return
        if reason is FailureReason.DENIED and not secret.asked_about_denial:
            secret.asked_about_denial = self._suspect = True
        if request.kind is Kind.LOOKUP:
            secret.doubted = False
            if reason is FailureReason.GONE:
                secret.lease, secret.fault, secret.read_due, secret.ends = None, None, now, min(secret.ends, now)
            return
        if request.kind is Kind.RENEW and reason in (FailureReason.REFUSED, FailureReason.GONE):
            secret.doubted = secret.fault is None  # asked once for each time of trouble
            # Tried again as what passes by itself: while the lease lives, nothing new is issued.
            passing = failed(secret.fault, replace(failure, reason=FailureReason.SERVER_ERROR), now, self.chance)
            secret.fault = replace(passing, reason=reason)
            return
        secret.fault = failed(secret.fault, failure, now, self.chance)

    def _token_failed(self, request: ProviderRequest, failure: Failure, now: float) -> None:
        match request.kind:
            case Kind.LOOKUP_TOKEN if failure.reason is FailureReason.DENIED:
                self._lookup_denied(now)
            case Kind.RENEW_TOKEN if failure.reason is FailureReason.DENIED and self.token and self.token.lease:
                self._suspect = True  # if it lives it may not be renewed
                self.token.lease = replace(self.token.lease, renewable=False)
            case Kind.RENEW_TOKEN if failure.reason is FailureReason.REFUSED and self.token and self.token.lease:
                self.token.lease = replace(self.token.lease, renewable=False)
            case Kind.REVOKE_TOKEN:  # it ends by itself
                self.old, self._revoke = None, False
            case Kind.LOGIN if failure.reason is FailureReason.REFUSED:
                fault = self._token_fault_of(request.kind, failure, now)
                self._fault = replace(fault, retry_at=now + REFUSED_LOGIN_SECONDS * (1 + 0.2 * self.chance()))
            case Kind.LOGIN if failure.reason is FailureReason.DENIED:
                passing = replace(failure, reason=FailureReason.SERVER_ERROR)
                fault = self._token_fault_of(request.kind, passing, now)
                self._fault = replace(fault, reason=failure.reason, retry_at=max(fault.retry_at, now + 5.0))
            case _:
                self._fault = self._token_fault_of(request.kind, failure, now)

    def _token_fault_of(self, kind: Kind, failure: Failure, now: float) -> LastingFault:
        before = self._fault if self._failing is kind else None
        self._failing = kind
        return failed(before, failure, now, self.chance)

    def _lookup_denied(self, now: float) -> None:
        """The token is dead, or may not look itself up. The first login is made at once, further ones ever later."""
        if now >= self._drop_again_at:
            shortest, longest = DOUBT_SECONDS
            self._drop_pause = min(max(3 * self._drop_pause, shortest), longest)
            self._drop_again_at = now + self._drop_pause
            self._dropped_for = {name for name, secret in self.secrets.items() if secret.asked_about_denial}
            self._drop_token(now)
            return
        self._suspect = False
        for secret in self.secrets.values():  # the next denial asks again
            secret.asked_about_denial = False

    def _drop_token(self, now: float) -> None:
        """The token is dead, and so are its leases: one login, then everything is read again."""
        self.token, self._suspect = None, False
        self._fault = self._failing = None
        self.old, self._revoke = None, False
        for secret in self.secrets.values():
            if secret.lease is not None:
                secret.lease, secret.read_due, secret.ends = None, now, min(secret.ends, now)
            if secret.fault is not None and secret.fault.reason is FailureReason.DENIED:
                secret.fault, secret.read_due = None, now
                secret.asked_about_denial = False

    def _probed(self, now: float, *, healthy: bool) -> None:
        self._probing = False
        since = self._outage_since if self._outage_since is not None else now
        if not healthy:
            self._outage_seen = True
            self._probe_at = now + self._between(PROBE_SECONDS)
            return
        if self._outage_seen:
            lasted = now - since
            spread = 0.0 if lasted < SHORT_OUTAGE_SECONDS else min(lasted / 2, LONGEST_SPREAD_SECONDS)
            self._login_at = now + spread * self.chance()
            if self._fault is not None and self._fault.reason in TRANSIENT:
                self._fault = self._failing = None
            self._resume(now)
        self._outage_since, self._outage_seen = None, False

    def _resume(self, now: float) -> None:
        """Let what failed for a reason that has passed be tried again soon: within a second, not all at once."""
        for secret in self.secrets.values():
            if secret.fault is not None and secret.fault.reason in TRANSIENT:
                soon = min(secret.fault.retry_at, now + self.chance())
                secret.fault = replace(secret.fault, retry_at=soon, over=True)

    def _between(self, bounds: tuple[float, float]) -> float:
        return bounds[0] + (bounds[1] - bounds[0]) * self.chance()

    # --- publishing, and what people ask for ---

    def changed(self) -> list[str]:
        """Return the secrets whose value is not published yet."""
        return [name for name, secret in self.secrets.items() if secret.unpublished]

    def published(self, names: Iterable[str]) -> None:
        """Note that these are published; the app does not know yet."""
        for name in names:
            self.secrets[name].unpublished = False

    def announced(self) -> None:
        """Note that the app was notified of all that is published, or needs not be. When nothing holds to the old token
        any more it is revoked.
        """
        if self.old is None or any(secret.unpublished for secret in self.secrets.values()):
            return
        if all(secret.lease is None or secret.lease.token != self.old.generation for secret in self.secrets.values()):
            self._revoke = True

    def refresh(self, now: float) -> None:
        """Read everything that has no lease again now, and retry what failed; not a login that was refused, since a few
        more wrong ones lock an AppRole out.
        """
        for secret in self.secrets.values():
            if secret.lease is None:
                secret.read_due = min(secret.read_due, now)
                secret.is_wanted_again = secret.in_flight is Kind.READ
            if secret.fault is not None:
                secret.fault = replace(secret.fault, retry_at=now)
        if self._fault is not None and not (self.is_login_failing and self._fault.reason is FailureReason.REFUSED):
            self._fault = replace(self._fault, retry_at=now)

    def credentials_changed(self, now: float) -> None:
        """A file that logins use has changed: a login that was refused is tried again."""
        if self._fault is not None and self.is_login_failing:
            self._fault = replace(self._fault, retry_at=now)

    # --- what is seen from outside ---

    def token_fault(self) -> LastingFault | None:
        """Return what is wrong with the login or the token."""
        return self._fault

    @property
    def is_login_failing(self) -> bool:
        """Whether it is a login that fails, and not a renewal."""
        return self._fault is not None and self._failing is Kind.LOGIN

    @property
    def is_away(self) -> bool:
        """Whether the provider as a whole is away: only its health is asked."""
        return self._outage_since is not None and self._outage_seen

    @property
    def is_reading(self) -> bool:
        """Whether some secret is being read."""
        return any(secret.in_flight is Kind.READ for secret in self.secrets.values())

    @property
    def is_suspect(self) -> bool:
        """Whether the token may be dead: it is being looked up."""
        return self._suspect and self._fault is None

    def ends(self, secret: SecretState) -> float:
        """Return when the value of a secret is worthless."""
        if secret.lease is None:
            return secret.ends
        token = self.token
        current = token is not None and token.generation == secret.lease.token
        ends = token.ends if token is not None and current else self._former.get(secret.lease.token, NEVER)
        return min(secret.ends, secret.lease.ends, ends)

    def unready(self, now: float) -> dict[str, str]:
        """Return why secrets are not as they should be, by name: never read, ended, or past the refresh deadline."""
        found = {}
        for name, secret in self.secrets.items():
            if secret.value is None:
                if secret.spec.required:
                    found[name] = "was never read" + (f": {secret.fault.text}" if secret.fault else "")
            elif self.ends(secret) <= now:
                found[name] = "has ended"
            elif now - secret.read_at > secret.spec.stale_seconds and secret.lease is None:
                found[name] = "is past its refresh deadline"
        return found

    # --- from one run to the next ---

    def take_back(self, *, given: bool) -> list[ProviderRequest]:
        """Return the requests that end all that was issued, for the end of a run: each token, and its leases with it.
        A token that was `given` to us is not ours to end: then each lease by itself.
        """
        tokens = [token.generation for token in (self.old, self.token) if token is not None]
        if not given:
            return [ProviderRequest(Kind.REVOKE_TOKEN, token=generation) for generation in tokens]
        return [
            ProviderRequest(Kind.REVOKE, name, tokens[-1], secret.lease.id)
            for name, secret in self.secrets.items()
            if tokens and secret.lease is not None
        ]

    def restore(self, token: Granted, left: Mapping[str, "SecretState"], now: float) -> int:
        """Take over what a former run had, its token and its secrets. Return the generation that the token has from now
        on. Whether it lives is asked first.
        """
        self._generation += 1
        lease = None
        if token.duration is not None:
            lease = Lease("", self._generation, now, max(token.duration, 1.0), token.renewable, self.chance())
        self.token, self._suspect = Token(self._generation, lease), True
        for name, secret in left.items():
            if name in self.secrets:
                kept = replace(secret.lease, token=self._generation) if secret.lease is not None else None
                self.secrets[name] = replace(secret, spec=self.secrets[name].spec, lease=kept, unpublished=True)
        return self._generation


def _grants_nothing(request: ProviderRequest, result: object, token: Token | None) -> bool:
    """Whether a renewal was granted for no time at all. It is no success: it would be due again at once."""
    if request.kind is Kind.RENEW:
        return isinstance(result, float | int) and result <= 0
    if request.kind is Kind.RENEW_TOKEN and token is not None and token.lease is not None:
        return isinstance(result, Granted) and not result.duration
    return False
