"""The state machine of secret-sync against a model of a server, on a time of its own: what it asks for, and when."""

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from sidecars.secret_sync.core.outcome import Failure, FailureReason
from sidecars.secret_sync.core.sync import NEVER, Granted, Kind, ProviderRequest, Reading, Spec, Sync

Result = Granted | Reading | Failure | float | None
Answer = Callable[["World", ProviderRequest], Result]


@dataclass
class World:
    """A server with one kind of credential, and the loop around the machine: answers come after `latency` seconds."""

    names: tuple[str, ...] = ("db",)
    lease: float = 100.0
    lease_max: float = 1000.0
    token: float = 3600.0
    token_max: float = NEVER
    renewable: bool = True
    seed: int = 1
    fault: Answer | None = None
    latency: float = 0.05
    now: float = 0.0
    log: list[tuple[float, ProviderRequest]] = field(default_factory=list)
    live: dict[str, float] = field(default_factory=dict)
    born: dict[str, float] = field(default_factory=dict)
    owner: dict[str, int] = field(default_factory=dict)
    minted: int = 0
    tokens: dict[int, float] = field(default_factory=dict)
    token_born: dict[int, float] = field(default_factory=dict)
    publications: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sync = Sync([Spec(name) for name in self.names], random.Random(self.seed).random)
        self._pending: list[tuple[float, int, ProviderRequest]] = []
        self._count = 0

    def run(self, until: float) -> None:
        """Let time pass."""
        while self.now < until:
            requests, wake = self.sync.next(self.now)
            for request in requests:
                self.log.append((self.now, request))
                self._count += 1
                heapq.heappush(self._pending, (self.now + self.latency, self._count, request))
            arrival = self._pending[0][0] if self._pending else NEVER
            self.now = min(until, max(min(wake, arrival), self.now))
            while self._pending and self._pending[0][0] <= self.now:
                request = heapq.heappop(self._pending)[2]
                self.sync.done(request, self.answer(request), self.now)
            if changed := self.sync.changed():
                self.publications.append(self.now)
                self.sync.published(changed)
                self.sync.announced()

    def answer(self, request: ProviderRequest) -> Result:
        """Answer as a server does, unless a fault says otherwise."""
        self.live = {lease: ends for lease, ends in self.live.items() if ends > self.now and self.alive(lease)}
        if self.fault is not None and (found := self.fault(self, request)) is not MISS:
            return found
        match request.kind:
            case Kind.HEALTH:
                return None
            case Kind.LOGIN:
                generation = len(self.tokens) + 1
                self.tokens[generation] = self.now + self.token
                self.token_born[generation] = self.now
                return Granted(self.token, renewable=self.renewable)
        if self.tokens.get(request.token, 0.0) <= self.now:
            return Failure(FailureReason.DENIED, "permission denied")
        return self.answered(request)

    def answered(self, request: ProviderRequest) -> Result:
        """Answer a request whose token is good."""
        match request.kind:
            case Kind.LOOKUP_TOKEN:
                return None
            case Kind.REVOKE_TOKEN:
                self.tokens[request.token] = self.now
                return None
            case Kind.RENEW_TOKEN:
                ends = min(self.now + self.token, self.token_born[request.token] + self.token_max)
                self.tokens[request.token] = ends
                return Granted(ends - self.now, renewable=True)
            case Kind.READ:
                self.minted += 1
                lease = f"{request.secret}/{self.minted}"
                self.live[lease], self.born[lease] = self.now + self.lease, self.now
                self.owner[lease] = request.token
                return Reading({"user": lease}, lease, self.lease, renewable=True)
        if request.lease not in self.live:
            return Failure(FailureReason.GONE, "lease not found")
        if request.kind is Kind.RENEW:
            self.live[request.lease] = min(self.now + self.lease, self.born[request.lease] + self.lease_max)
            return self.live[request.lease] - self.now
        return None

    def alive(self, lease: str) -> bool:
        """Whether the token of a lease lives."""
        return self.tokens.get(self.owner[lease], 0.0) > self.now

    def counts(self, since: float = 0.0) -> Counter[Kind]:
        """How many requests there were of each kind."""
        return Counter(request.kind for at, request in self.log if at >= since)

    def worst_second(self, since: float) -> int:
        """The most requests within one second."""
        times = [at for at, _ in self.log if at >= since]
        return max((sum(1 for other in times if at <= other < at + 1) for at in times), default=0)


MISS = Failure(FailureReason.UNUSABLE, "no fault")


def failing(reason: FailureReason, *kinds: Kind, since: float = 0.0, until: float = NEVER) -> Answer:
    """A fault: these kinds of requests fail between two moments."""

    def answer(world: World, request: ProviderRequest) -> Result:
        return Failure(reason, "by a fault") if request.kind in kinds and since <= world.now < until else MISS

    return answer


def test_a_start_is_one_login_and_one_read_per_secret() -> None:
    world = World(names=("a", "b", "c"))
    world.run(5)
    assert world.counts() == {Kind.LOGIN: 1, Kind.READ: 3}
    assert world.sync.unready(world.now) == {}


def test_a_lease_is_renewed_at_two_thirds_and_not_at_once() -> None:
    world = World()
    world.run(69)
    assert world.counts()[Kind.RENEW] == 0
    world.run(76)
    assert world.counts()[Kind.RENEW] == 1
    world.run(900)
    assert world.minted == 1


def test_a_lease_at_its_maximum_is_replaced_before_it_ends() -> None:
    world = World(lease_max=300)
    for moment in range(1, 1500):
        world.run(float(moment))
        value = world.sync.secrets["db"].value
        assert value is not None or moment < 2
        if value is not None:
            assert world.live[str(value["user"])] > world.now
    assert world.minted == len(world.publications) <= 7


@pytest.mark.parametrize("reason", [FailureReason.REFUSED, FailureReason.GONE, FailureReason.SERVER_ERROR])
def test_renewals_that_fail_for_ten_minutes_issue_nothing_until_the_window(reason: FailureReason) -> None:
    world = World(lease=900, lease_max=100_000, token=100_000)
    world.fault = failing(reason, Kind.RENEW, until=630 + 600)
    world.run(630)
    world.log.clear()
    for moment in range(630, 1230):
        world.run(float(moment))
        assert len(world.live) == 1 or world.sync.secrets["db"].lease is not None
    window = 900 * 0.9
    assert all(at >= window * 0.85 for at, request in world.log if request.kind is Kind.READ)
    assert world.minted <= 2
    assert len(world.log) <= 40


FAULTS = [
    FailureReason.UNREACHABLE,
    FailureReason.TIMEOUT,
    FailureReason.SEALED,
    FailureReason.THROTTLED,
    FailureReason.NOT_CURRENT,
    FailureReason.SERVER_ERROR,
    FailureReason.GARBLED,
]
SIDES = {"login": Kind.LOGIN, "renew": Kind.RENEW, "read": Kind.READ}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("reason", FAULTS)
@pytest.mark.parametrize("seed", range(5))
def test_no_fault_makes_more_than_a_request_a_second_and_all_is_well_soon_after(
    reason: FailureReason, side: str, seed: int
) -> None:
    """20 secrets; the fault lasts 25 s, and begins with the start or when renewals are due."""
    begins = 70.0 if side == "renew" else 0.0
    world = World(names=tuple(f"s{number}" for number in range(20)), seed=seed)
    world.fault = failing(reason, SIDES[side], since=begins, until=begins + 25)
    world.run(begins + 25)
    failing_ones = [at for at, request in world.log if request.kind in (SIDES[side], Kind.HEALTH) and at > begins + 12]
    gaps = [later - earlier for earlier, later in itertools.pairwise(failing_ones)]
    assert all(gap > 0.99 for gap in gaps), failing_ones
    world.run(begins + 30)
    assert world.sync.unready(world.now) == {}
    assert all(secret.fault is None for secret in world.sync.secrets.values())


@pytest.mark.parametrize("of_all", [True, False])
def test_a_server_that_counts_all_reads_together_is_left_alone_by_all_for_as_long_as_it_asks(*, of_all: bool) -> None:
    """Else the others go on: the limit may be that of one path."""
    world = World(names=tuple(f"s{number}" for number in range(20)))
    throttled = Failure(FailureReason.THROTTLED, "slow down", 30.0, 429, of_all=of_all)
    world.fault = lambda world, request: throttled if request.kind is Kind.READ and world.now < 100 else MISS
    world.run(100)
    reads = [at for at, request in world.log if request.kind is Kind.READ]
    assert (len([at for at in reads if 1 < at < 30]) == 0) is of_all, reads
    assert len(reads) <= (30 if of_all else 100)
    world.run(135)
    assert world.sync.unready(world.now) == {}


@pytest.mark.parametrize("seed", range(20))
def test_a_sealed_server_is_only_asked_for_its_health_and_recovery_is_quick(seed: int) -> None:
    world = World(lease=100, lease_max=10_000, seed=seed)
    away = failing(FailureReason.SEALED, *Kind, since=60.0, until=90.0)
    world.fault = away
    world.run(90)
    during = Counter(request.kind for at, request in world.log if at > 76)
    assert during.keys() <= {Kind.HEALTH, Kind.RENEW}
    world.run(95)
    assert world.sync.secrets["db"].fault is None
    assert world.minted == 1


def test_a_token_at_its_maximum_is_replaced_before_its_leases_end_with_it() -> None:
    world = World(lease=50, lease_max=10_000, token=100, token_max=300)
    dead = 0
    for tenth in range(20, 12_000):
        world.run(tenth / 10)
        value = world.sync.secrets["db"].value
        assert value is not None
        lease = str(value["user"])
        dead += lease not in world.live or not world.alive(lease)
    assert dead == 0
    kinds = world.counts()
    assert kinds[Kind.LOGIN] == world.minted
    assert kinds[Kind.REVOKE_TOKEN] == kinds[Kind.LOGIN] - 1


def test_the_old_token_is_revoked_after_the_new_lease_is_published() -> None:
    world = World(lease=50, lease_max=10_000, token=100, token_max=300)
    world.run(1000)
    revocations = [at for at, request in world.log if request.kind is Kind.REVOKE_TOKEN]
    reads = [at for at, request in world.log if request.kind is Kind.READ]
    assert revocations
    for at, read, published in zip(revocations, reads[1:], world.publications[1:], strict=False):
        assert read < published <= at


def test_a_revoked_token_is_one_lookup_and_one_login() -> None:
    world = World(names=tuple(f"s{number}" for number in range(5)))
    world.run(10)
    world.tokens[1] = world.now
    world.log.clear()
    world.run(80)
    since = next(at for at, request in world.log if request.kind is Kind.LOOKUP_TOKEN)
    counts = world.counts()
    assert (counts[Kind.LOOKUP_TOKEN], counts[Kind.LOGIN], counts[Kind.READ]) == (1, 1, 5)
    assert world.publications[-1] - since <= 3


def test_tokens_that_are_revoked_again_and_again_are_replaced_at_once_each_time() -> None:
    world = World(names=tuple(f"s{number}" for number in range(20)))
    world.run(10.0)
    for round_ in range(1, 6):
        at = world.now
        world.tokens = dict.fromkeys(world.tokens, world.now)
        for secret in world.sync.secrets.values():
            secret.lease, secret.read_due = None, world.now
        world.run(at + 5.0)
        assert world.counts(at)[Kind.LOGIN] == 1
        assert world.counts(at)[Kind.LOOKUP_TOKEN] == 1
        assert len(world.tokens) == round_ + 1
        assert all(secret.fault is None for secret in world.sync.secrets.values())


def test_a_denied_secret_is_asked_for_once_a_minute_and_the_others_do_not_notice() -> None:
    world = World(names=("good", "denied"))

    def denied(_: World, request: ProviderRequest) -> Result:
        read = request.kind is Kind.READ and request.secret == "denied"
        return Failure(FailureReason.DENIED, "denied") if read else MISS

    world.fault = denied
    world.run(600)
    asked = [at for at, request in world.log if request.secret == "denied"]
    assert 9 <= len(asked) <= 12
    assert world.counts()[Kind.LOOKUP_TOKEN] == 1
    assert world.counts()[Kind.LOGIN] == 1
    assert "denied" in world.sync.unready(world.now)


def test_a_refused_login_is_left_alone_until_a_file_changes() -> None:
    world = World()
    world.fault = failing(FailureReason.REFUSED, Kind.LOGIN)
    world.run(290)
    assert world.counts() == {Kind.LOGIN: 1}
    world.fault = None
    world.sync.credentials_changed(world.now)
    world.run(292)
    assert world.counts()[Kind.READ] == 1


def test_retry_after_is_obeyed() -> None:
    world = World()

    def throttled(world: World, request: ProviderRequest) -> Result:
        return Failure(FailureReason.THROTTLED, "quota", retry_after=7.0) if request.kind is Kind.READ else MISS

    world.fault = throttled
    world.run(60)
    reads = [at for at, request in world.log if request.kind is Kind.READ]
    gaps = [later - earlier for earlier, later in itertools.pairwise(reads)]
    assert all(7.0 <= gap <= 8.0 for gap in gaps)


def test_a_herd_logs_in_over_time_when_the_server_is_back() -> None:
    away = failing(FailureReason.UNREACHABLE, *Kind, since=10, until=130)
    worlds = [World(seed=seed, token=60, renewable=False, fault=away) for seed in range(500)]
    seconds: Counter[int] = Counter()
    for world in worlds:
        world.run(180)
        seconds.update(int(at) for at, request in world.log if request.kind is Kind.LOGIN and at >= 130)
    assert sum(seconds.values()) >= 500
    assert max(seconds.values()) <= 25


@pytest.mark.parametrize("seed", range(30))
def test_whatever_fails_there_is_one_request_in_flight_for_each_secret(seed: int) -> None:
    rng = random.Random(seed)
    world = World(names=("a", "b", "c"), lease=30, lease_max=100, token=60, token_max=150, seed=seed)

    def anything(_: World, request: ProviderRequest) -> Result:
        reason = rng.choice(list(FailureReason))
        return Failure(reason, "chaos") if rng.random() < 0.4 and request.kind is not Kind.HEALTH else MISS

    world.fault = anything
    world.run(300)
    world.fault = None
    world.run(800)
    assert world.sync.unready(world.now) == {}
    assert world.worst_second(320) <= 8


def test_at_the_end_of_a_token_nothing_is_issued_with_it_any_more() -> None:
    world = World(lease=3600, lease_max=100_000, token=100, token_max=300)
    world.run(1000)
    logins = [at for at, request in world.log if request.kind is Kind.LOGIN]
    reads = [request.token for _, request in world.log if request.kind is Kind.READ]
    assert reads == list(range(1, len(logins) + 1))


def test_a_lease_under_a_token_that_cannot_be_renewed_is_renewed_all_the_same() -> None:
    """A batch token, or one whose role forbids renewals: its leases are shorter than it is."""
    world = World(renewable=False, token=3600, lease=100, lease_max=100_000)
    for moment in range(2, 4000):
        world.run(float(moment))
        value = world.sync.secrets["db"].value
        assert value is not None
        assert world.live.get(str(value["user"]), 0.0) > world.now, moment
    assert world.minted == world.counts()[Kind.LOGIN] == 2


def test_renewals_that_grant_nothing_make_no_storm() -> None:
    world = World(lease=900, lease_max=100_000, token=900)

    def nothing(_: World, request: ProviderRequest) -> Result:
        match request.kind:
            case Kind.RENEW:
                return 0.0
            case Kind.RENEW_TOKEN:
                return Granted(None, renewable=True)
        return MISS

    world.fault = nothing
    world.run(850)
    assert len(world.log) <= 60
    assert world.minted <= 3  # replaced in its window, and once more with the new token


@pytest.mark.parametrize("renewal", [FailureReason.SERVER_ERROR, FailureReason.DENIED, FailureReason.REFUSED])
def test_a_refused_login_is_left_alone_also_while_the_old_token_lives(renewal: FailureReason) -> None:
    """Five wrong logins lock the role of a whole deployment out."""
    world = World(token=3600)
    refused, renewals = failing(FailureReason.REFUSED, Kind.LOGIN), failing(renewal, Kind.RENEW_TOKEN)

    def fault(world: World, request: ProviderRequest) -> Result:
        if world.now < 10:
            return MISS
        return refused(world, request) if request.kind is Kind.LOGIN else renewals(world, request)

    world.fault = fault
    world.run(3900)
    logins = [at for at, request in world.log if request.kind is Kind.LOGIN and at > 10]
    assert logins
    assert all(later - earlier >= 300 for earlier, later in itertools.pairwise(logins)), logins
    world.fault = None
    world.sync.credentials_changed(world.now)
    world.run(3905)
    assert world.sync.unready(world.now) == {}


def test_a_file_that_changes_ends_the_wait_after_a_refused_login_while_the_old_token_lives() -> None:
    world = World(token=1000, renewable=False)
    world.fault = failing(FailureReason.REFUSED, Kind.LOGIN, since=10)
    world.run(960)
    assert world.sync.token is not None
    world.fault = None
    world.sync.credentials_changed(world.now)
    world.run(962)
    assert world.sync.token.generation == 2


def test_a_token_that_may_not_be_renewed_makes_no_storm_and_is_replaced_in_time() -> None:
    world = World(token=3600)
    world.fault = failing(FailureReason.DENIED, Kind.RENEW_TOKEN)
    world.lease_max = 100_000
    world.run(7200)
    counts = world.counts()
    assert counts[Kind.RENEW_TOKEN] <= 3
    assert counts[Kind.LOOKUP_TOKEN] <= 3
    assert counts[Kind.LOGIN] == world.minted <= 3


def test_a_server_that_denies_looking_a_good_token_up_is_not_asked_to_log_in_all_the_time() -> None:
    """One secret is denied; the token is good, but nobody can tell."""
    world = World(names=("good", "denied"), token=100_000, lease=100_000)

    def denied(_: World, request: ProviderRequest) -> Result:
        if request.secret == "denied" or request.kind is Kind.LOOKUP_TOKEN:
            return Failure(FailureReason.DENIED, "permission denied")
        return MISS

    world.fault = denied
    world.run(3600)
    assert world.counts()[Kind.LOGIN] <= 8
    assert len(world.log) <= 200


def test_a_dead_token_is_told_of_until_there_is_another_one() -> None:
    world = World()
    world.run(10)
    world.tokens[1] = world.now
    world.fault = failing(FailureReason.REFUSED, Kind.LOGIN, since=10)
    world.run(90)
    assert world.sync.token is None
    assert world.sync.unready(world.now) == {"db": "has ended"}


def test_an_old_token_that_ended_holds_nothing_up() -> None:
    """One of two secrets cannot be read with the new token: the other one goes on, and so do the generations."""
    world = World(names=("good", "broken"), lease=50, lease_max=10_000, token=100, token_max=300)

    def broken(world: World, request: ProviderRequest) -> Result:
        fails = request.kind is Kind.READ and request.secret == "broken" and 200 < world.now < 1500
        return Failure(FailureReason.SERVER_ERROR, "no database") if fails else MISS

    world.fault = broken
    world.run(1000)
    assert "broken" in world.sync.unready(world.now)
    assert "good" not in world.sync.unready(world.now)
    world.run(3000)
    assert world.sync.unready(world.now) == {}
    assert sum(1 for ends in world.tokens.values() if ends > world.now) <= 2


def test_required_secrets_go_first() -> None:
    sync = Sync([Spec("later", required=False), Spec("first")], lambda: 0.5)
    [login], _ = sync.next(0.0)
    sync.done(login, Granted(100, renewable=True), 0.1)
    assert [request.secret for request in sync.next(0.1)[0]] == ["first", "later"]


@pytest.mark.parametrize("reason", [FailureReason.DENIED, FailureReason.SEALED, None])
def test_what_a_former_run_left_is_looked_at_before_it_is_used(reason: FailureReason | None) -> None:
    before = World(lease=1000, lease_max=10_000, token=10_000)
    before.run(5)
    world = World(lease=1000, lease_max=10_000, token=10_000)
    world.sync.restore(Granted(9_995, renewable=True), dict(before.sync.secrets), 0.0)
    world.tokens, world.token_born = {1: 10_000.0}, {1: 0.0}
    world.live, world.born, world.owner, world.minted = before.live, before.born, before.owner, 0
    if reason is FailureReason.DENIED:
        world.tokens[1] = 0.0
    if reason is FailureReason.SEALED:
        world.fault = failing(FailureReason.SEALED, *Kind, until=60)
    assert world.sync.is_suspect
    world.run(30)
    assert world.log[0][1].kind is Kind.LOOKUP_TOKEN
    if reason is FailureReason.SEALED:
        assert world.sync.unready(world.now) == {}
    world.run(100)
    again = reason is FailureReason.DENIED
    assert (world.minted, world.counts()[Kind.LOGIN]) == ((1, 1) if again else (0, 0))
    assert world.sync.unready(world.now) == {}


OF_VAULT = [one for one in FailureReason if one not in {"disabled", "not_yet_valid", "expired"}]
"""What a Vault's answers can mean; the others are of objects of Key Vault."""


@pytest.mark.parametrize("seed", range(150))
def test_after_any_chaos_all_is_well_again_and_no_storm_was_made(seed: int) -> None:
    """Servers of all kinds, faults of all kinds, grants of nothing, of a second and of more than before."""
    rng = random.Random(seed)
    lease, token = rng.choice([30, 100, 600]), rng.choice([40, 150, 900])
    world = World(
        names=tuple(f"s{number}" for number in range(rng.choice([1, 3, 8]))),
        lease=lease,
        lease_max=lease * rng.choice([1, 3, 100]),
        token=token,
        token_max=token * rng.choice([1, 3, 100]),
        renewable=rng.random() < 0.8,
        seed=seed,
        latency=rng.choice([0.01, 0.3, 2.0]),
    )
    broken, share = frozenset(rng.sample(list(Kind), rng.randint(1, 5))), rng.choice([0.3, 0.8, 1.0])

    def chaos(world: World, request: ProviderRequest) -> Result:
        if not 20 < world.now < 620 or request.kind not in broken or rng.random() > share:
            return MISS
        if request.kind is Kind.RENEW and rng.random() < 0.3:
            return rng.choice([0.0, 1.0, 5.0])
        if request.kind is Kind.RENEW_TOKEN and rng.random() < 0.3:
            return Granted(rng.choice([None, 1.0, 5.0]), renewable=rng.random() < 0.5)
        return Failure(rng.choice(OF_VAULT), "chaos", retry_after=rng.choice([None, None, 3.0]))

    world.fault = chaos
    world.run(620)
    assert len([at for at, _ in world.log if at > 30]) <= 620 * 1.5 + 20 * len(world.names), (lease, token, broken)
    world.fault = None
    world.run(620 + 400)
    assert world.sync.unready(world.now) == {}
    assert world.sync.token is not None
    for name, secret in world.sync.secrets.items():
        assert secret.lease is not None, name
        assert secret.lease.ends > world.now


def test_a_refresh_by_hand_does_not_repeat_a_login_that_was_refused() -> None:
    world = World()
    world.fault = failing(FailureReason.REFUSED, Kind.LOGIN)
    for second in range(1, 20):
        world.run(float(second))
        world.sync.refresh(world.now)
    assert world.counts()[Kind.LOGIN] == 1


def test_a_lease_that_somebody_revoked_is_asked_about_once_and_replaced_at_once() -> None:
    world = World()
    world.run(10)
    world.live.clear()
    world.run(80)
    assert world.counts()[Kind.LOOKUP] == 1
    assert world.minted == 2
    assert len(world.live) == 1


def test_a_refresh_while_a_read_is_under_way_is_one_more_read() -> None:
    sync = Sync([Spec("app")], lambda: 0.5)
    (login,), _ = sync.next(0.0)
    sync.done(login, Granted(3600.0, renewable=True), 0.1)
    (read,), _ = sync.next(0.1)
    sync.refresh(0.2)
    sync.done(read, Reading({"a": "old"}, again=600.0), 0.3)
    assert sync.next(0.3)[0] == [read]
    sync.done(read, Reading({"a": "new"}, again=600.0), 0.4)
    assert sync.next(0.4)[0] == []
