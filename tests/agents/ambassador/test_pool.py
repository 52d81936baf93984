"""A pool of nodes on virtual time: names and checks are scripted, sessions are told when they must leave."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from sidecars.ambassador.connecting.dial import Dialler, NodeTarget
from sidecars.ambassador.core.causes import Cause
from sidecars.ambassador.core.selection import TargetRole
from sidecars.ambassador.core.upstream import CheckResult, NodeRole
from sidecars.ambassador.metrics import AmbassadorMetrics
from sidecars.ambassador.pool import NodePool, PoolParts
from sidecars.ambassador.settings import AmbassadorSettings, ListenerPlan
from sidecars.kit.net.resolve import NotResolved, Resolved
from tests.support.context import context, passes

pytestmark = pytest.mark.looptime

PRIMARY, REPLICA = (CheckResult(ok=True, role=role) for role in (NodeRole.PRIMARY, NodeRole.REPLICA))
GOOD, DOWN = CheckResult(ok=True), CheckResult(ok=False, detail="it is away", cause=Cause.REFUSED)


class World:
    """What names lead to, and what checks find, by host or address. `checked` counts them."""

    def __init__(self) -> None:
        self.names: dict[str, tuple[str, ...]] = {}
        self.found: dict[str, CheckResult] = {}
        self.checked: dict[str, int] = {}
        self.asked_at: dict[str, object] = {}

    async def resolve(self, address: str) -> Resolved:
        host, _, port = (address, "", "5432") if address.startswith("srv://") else address.rpartition(":")
        if host not in self.names:
            raise NotResolved("no such name")
        return Resolved(tuple((ip, int(port)) for ip in self.names[host]))

    async def check(self, target: NodeTarget, special: NodeTarget | None) -> CheckResult:
        (ip, _), *_ = target.places  # type: ignore[misc]  # of tcp
        self.asked_at[ip] = None if special is None else special.places
        self.checked[ip] = self.checked.get(ip, 0) + 1
        return self.found[ip]

    def close(self) -> None:
        """For the pool."""


class Visitor:
    """A session that notes what it is told."""

    def __init__(self, role: TargetRole) -> None:
        self.role = role
        self.told: list[Cause] = []

    def end(self, cause: Cause, text: str) -> None:
        self.told.append(cause)

    def drain(self, cause: Cause, text: str, within_seconds: float) -> None:
        self.told.append(cause)


def plan(**settings: Any) -> ListenerPlan:
    usual = {"listen": ("127.0.0.1:1",), "protocol": "postgres", "check": {"kind": "sql", "user": "u"}}
    return msgspec.convert({**usual, **settings}, AmbassadorSettings).plans()[0]


@asynccontextmanager
async def running(world: World, **settings: Any) -> AsyncIterator[NodePool]:
    ctx, made = context(name="ambassador"), plan(**settings)
    dialler = Dialler(None, made.protocol, None)  # type: ignore[arg-type]  # nobody dials here
    pool = NodePool(made, ctx, AmbassadorMetrics(ctx.metrics), PoolParts(dialler, lambda: world, world))
    task = asyncio.get_running_loop().create_task(pool.run())
    try:
        await passes(0.01)
        yield pool
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def world() -> World:
    made = World()
    made.names = {"db-1": ("10.0.0.1",), "db-2": ("10.0.0.2",)}
    made.found = {"10.0.0.1": PRIMARY, "10.0.0.2": REPLICA}
    return made


TWO = ("db-1:5432", "db-2:5432")


def usable(pool: NodePool, role: TargetRole) -> list[str]:
    return [node.shown for node in pool.choice(role)]


async def test_a_demoted_primary_loses_its_sessions_within_one_check(world: World) -> None:
    async with running(world, upstream=TWO, role="primary") as pool:
        assert usable(pool, TargetRole.PRIMARY) == ["db-1:5432"]
        writer, reader = Visitor(TargetRole.PRIMARY), Visitor(TargetRole.PREFER_REPLICA)
        for session in (writer, reader):
            pool.nodes[0].enter(session)
        world.found["10.0.0.1"] = REPLICA
        await passes(1.2)
        assert (writer.told, reader.told) == ([Cause.ROLE_CHANGED], [])
        assert usable(pool, TargetRole.PRIMARY) == []
        assert "db-1:5432 is a replica" in pool.why_none(TargetRole.PRIMARY)


async def test_sessions_of_a_primary_that_does_not_answer_stay_until_another_one_is_promoted(world: World) -> None:
    async with running(world, upstream=TWO, role="primary") as pool:
        writer = Visitor(TargetRole.PRIMARY)
        pool.nodes[0].enter(writer)
        world.found["10.0.0.1"] = DOWN
        await passes(5)
        assert writer.told == []
        changed = pool.changed
        world.found["10.0.0.2"] = PRIMARY
        await passes(1.2)
        assert changed.is_set(), "those that are parked are told"
        assert writer.told == [Cause.ROLE_CHANGED]
        world.found["10.0.0.1"] = PRIMARY  # it comes back and does not know
        await passes(5)
        assert usable(pool, TargetRole.PRIMARY) == ["db-2:5432"]


async def test_a_failed_connect_is_checked_at_once_and_a_lasting_fault_of_all_is_known(world: World) -> None:
    check = {"kind": "sql", "user": "u", "interval_seconds": 60, "fall": 1}
    async with running(world, upstream=TWO, check=check) as pool:
        await passes(1)
        before = world.checked["10.0.0.1"]
        world.found["10.0.0.1"] = DOWN
        pool.connect_failed(pool.nodes[0], Cause.REFUSED)
        await passes(0.2)
        assert world.checked["10.0.0.1"] == before + 1
        assert usable(pool, TargetRole.ANY) == ["db-2:5432"]
        assert pool.lasting() is None
        for ip in world.found:
            world.found[ip] = CheckResult(ok=False, detail="expired", cause=Cause.UNTRUSTED)
        await passes(70)
        assert pool.lasting() == (Cause.UNTRUSTED, "db-1:5432: expired")


async def test_that_we_have_no_descriptors_says_nothing_of_a_node(world: World) -> None:
    async with running(world, upstream=TWO) as pool:
        world.found["10.0.0.1"] = CheckResult(ok=False, detail="too many open files", cause=Cause.EXHAUSTED)
        for _ in range(5):
            pool.connect_failed(pool.nodes[0], Cause.EXHAUSTED)
        await passes(10)
        assert usable(pool, TargetRole.ANY)[0] == "db-1:5432"


async def test_a_name_with_several_addresses_is_several_nodes_each_with_its_role(world: World) -> None:
    world.names = {"db": ("10.0.0.1", "10.0.0.2")}
    async with running(world, upstream=("db:5432",), role="primary") as pool:
        assert usable(pool, TargetRole.PRIMARY) == ["db:5432 at 10.0.0.1:5432"]
        assert usable(pool, TargetRole.REPLICA) == ["db:5432 at 10.0.0.2:5432"]
        world.names = {"db": ("10.0.0.1", "fd00::1")}
        world.found["fd00::1"] = PRIMARY
        await passes(31)
        assert [node.shown for node in pool.nodes] == ["db:5432"], "an IPv4 and an IPv6 address are one"


async def test_the_servers_of_a_service_are_nodes_whose_certificates_are_for_its_domain(world: World) -> None:
    world.names = {"srv://_pg._tcp.db.svc": ("10.0.0.1", "10.0.0.2")}
    async with running(world, upstream=("srv://_pg._tcp.db.svc",), role="primary") as pool:
        assert usable(pool, TargetRole.PRIMARY) == ["srv://_pg._tcp.db.svc at 10.0.0.1:5432"]
        assert {node.target.host for node in pool.nodes} == {"db.svc"}


@pytest.mark.parametrize(
    ("check_address", "asked"),
    [
        ("", {"10.0.0.1": (("10.0.0.1", 8008),), "10.0.0.2": (("10.0.0.2", 8008),)}),
        (":9000", {"10.0.0.1": (("10.0.0.1", 9000),), "10.0.0.2": (("10.0.0.2", 9000),)}),
        ("db:9000", {"10.0.0.1": (("10.0.0.1", 9000),), "10.0.0.2": (("10.0.0.2", 9000),)}),
        ("other:9000", {}),
    ],
)
async def test_each_node_of_a_name_is_asked_itself_and_none_speaks_for_the_others(
    check_address: str, asked: dict[str, object], world: World
) -> None:
    world.names = {"db": ("10.0.0.1", "10.0.0.2"), "other": ("10.0.0.7",)}
    upstreams = [{"address": "db:5432", "check_address": check_address}]
    async with running(world, upstreams=upstreams, role="primary", check={"kind": "patroni"}) as pool:
        assert world.asked_at == asked
        if not asked:
            assert "write it as :9000" in pool.why_none(TargetRole.PRIMARY)
            world.names["db"] = ("10.0.0.1",)
            await passes(1.2)
            assert world.asked_at == {"10.0.0.1": (("10.0.0.7", 9000),)}


@pytest.mark.parametrize(("drain", "told"), [(0, []), (60, [Cause.DRAINED])])
async def test_a_changed_address_is_a_new_node_and_sessions_are_drained_by_setting(
    world: World, drain: int, told: list[Cause]
) -> None:
    async with running(world, upstream=TWO, resolve_seconds=5, dns_drain_seconds=drain) as pool:
        session = Visitor(TargetRole.ANY)
        kept, moved = pool.nodes
        moved.enter(session)
        world.names["db-2"] = ("10.0.0.9",)
        world.found["10.0.0.9"] = REPLICA
        await passes(6)
        assert pool.nodes[0] is kept
        assert pool.nodes[1] is not moved
        assert "db-2:5432" in usable(pool, TargetRole.ANY)
        assert session.told == told


async def test_a_writer_leaves_an_address_that_left_the_dns_when_another_node_is_the_primary(world: World) -> None:
    async with running(world, upstream=TWO, role="primary", resolve_seconds=5) as pool:
        writer = Visitor(TargetRole.PRIMARY)
        pool.nodes[0].enter(writer)
        world.names["db-1"] = ("10.0.0.9",)
        world.found |= {"10.0.0.9": REPLICA, "10.0.0.2": PRIMARY}
        await passes(8)
        assert writer.told == [Cause.ROLE_CHANGED]


async def test_an_unknown_name_is_asked_for_each_second_and_the_others_are_used(world: World) -> None:
    del world.names["db-2"]
    async with running(world, upstream=TWO, resolve_seconds=3600) as pool:
        assert usable(pool, TargetRole.ANY) == ["db-1:5432"]
        world.names["db-2"] = ("10.0.0.2",)
        await passes(1.5)
        assert usable(pool, TargetRole.ANY) == ["db-1:5432", "db-2:5432"]
        world.found["10.0.0.2"] = DOWN  # it has moved: a node that goes down is looked up again
        world.names["db-2"] = ("10.0.0.3",)
        world.found["10.0.0.3"] = GOOD
        await passes(5)
        assert usable(pool, TargetRole.ANY) == ["db-1:5432", "db-2:5432"]


async def test_that_no_name_is_known_is_told_to_whoever_watches(world: World) -> None:
    world.names.clear()
    told: list[str] = []
    async with running(world, upstream=TWO) as pool:
        pool.told = lambda: told.append(pool.why_none(TargetRole.ANY))
        await passes(1.5)
        assert all("db-1:5432 is unknown" in text and "db-2:5432 is unknown" in text for text in told)
        assert told
