"""When an upstream counts as up, when its role has changed, and when it is left out."""

import pytest

from sidecars.ambassador.core.causes import Cause
from sidecars.ambassador.core.upstream import CheckResult, NodeChange, NodeHealth, NodeRole, Patience, UpstreamState

GOOD, BAD = CheckResult(ok=True), CheckResult(ok=False, detail="it is down")
PRIMARY, REPLICA = (CheckResult(ok=True, role=role) for role in (NodeRole.PRIMARY, NodeRole.REPLICA))

HISTORIES = {
    "the first success counts at once": ([GOOD], 3, 3, [NodeHealth.UP]),
    "the first failure counts at once": ([BAD], 3, 3, [NodeHealth.DOWN]),
    "fall counts failures in a row": (
        [GOOD, BAD, GOOD, BAD, BAD],
        1,
        2,
        [NodeHealth.UP, NodeHealth.UP, NodeHealth.UP, NodeHealth.UP, NodeHealth.DOWN],
    ),
    "rise counts successes in a row": (
        [BAD, GOOD, BAD, GOOD, GOOD],
        2,
        1,
        [NodeHealth.DOWN, NodeHealth.DOWN, NodeHealth.DOWN, NodeHealth.DOWN, NodeHealth.UP],
    ),
}


@pytest.mark.parametrize(("results", "rise", "fall", "healths"), HISTORIES.values(), ids=HISTORIES.keys())
def test_health_follows_rise_and_fall(
    results: list[CheckResult], rise: int, fall: int, healths: list[NodeHealth]
) -> None:
    state, seen = UpstreamState(Patience(rise, fall)), []
    for now, result in enumerate(results):
        state.checked(result, float(now))
        seen.append(state.health)
    assert seen == healths


def test_a_role_counts_at_once_and_stays_while_nothing_answers() -> None:
    state = UpstreamState(Patience(rise=3, fall=3))
    assert state.checked(PRIMARY, 1.0) == {NodeChange.UP, NodeChange.ROLE}
    assert state.checked(BAD, 2.0) == set()
    assert (state.role, state.detail, state.primary_since) == (NodeRole.PRIMARY, "it is down", 1.0)
    assert state.checked(REPLICA, 3.0) == {NodeChange.ROLE}
    assert state.primary_since == float("inf")


def test_a_primary_that_was_away_begins_anew() -> None:
    state = UpstreamState(Patience(fall=1))
    for now, result in enumerate((PRIMARY, PRIMARY, BAD, PRIMARY)):
        state.checked(result, float(now))
    assert state.primary_since == 3.0


def test_failed_connects_eject_for_longer_each_time_and_a_good_check_takes_it_back() -> None:
    state, until = UpstreamState(Patience(fall=2)), []
    state.checked(GOOD, 0.0)
    for _ in range(14):
        state.connect_failed(Cause.REFUSED, 100.0)
        until.append(state.ejected_until - 100.0)
    assert until[1::2] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert state.is_ejected(129.0)
    state.checked(GOOD, 101.0)
    assert not state.is_ejected(101.0)
    assert state.connect_failed(Cause.REFUSED, 102.0) == set()
    state.connected()
    assert state.connect_failed(Cause.REFUSED, 103.0) == set(), "they were not in a row"


def test_a_node_that_has_come_back_takes_its_share_slowly_and_one_that_was_there_at_the_start_at_once() -> None:
    state = UpstreamState(Patience(fall=1, slow_start_seconds=10.0))
    state.checked(GOOD, 0.0)
    assert state.share(0.0) == 1.0
    state.checked(BAD, 1.0)
    state.checked(GOOD, 100.0)
    assert [state.share(now) for now in (100.0, 105.0, 110.0, 200.0)] == [0.1, 0.5, 1.0, 1.0]
