"""Which upstream is chosen: never one of the wrong role, whatever else is down."""

import itertools

import pytest

from sidecars.ambassador.core.causes import Cause
from sidecars.ambassador.core.selection import Candidate, TargetRole, choose, must_leave
from sidecars.ambassador.core.upstream import CheckResult, NodeHealth, NodeRole, Patience, UpstreamState

P, R, U = NodeRole.PRIMARY, NodeRole.REPLICA, NodeRole.UNKNOWN
UP, DOWN = NodeHealth.UP, NodeHealth.DOWN


def state(role: NodeRole, health: NodeHealth, at: float = 0.0) -> UpstreamState:
    made = UpstreamState(Patience(fall=1))
    if health is not NodeHealth.UNKNOWN:
        made.checked(CheckResult(ok=True, role=role), at)
        made.checked(CheckResult(ok=health is UP, role=role), at)
    return made


def candidates(*states: UpstreamState, priorities: tuple[int, ...] = (0, 0, 0)) -> list[Candidate]:
    return [Candidate(number, one, priorities[number]) for number, one in enumerate(states)]


def chosen(these: list[Candidate], wanted: TargetRole, now: float = 0.0) -> list[int]:
    return [one.index for one in choose(these, wanted, now, lambda: 0.5)]


ALLOWED = {
    TargetRole.ANY: {P, R, U},
    TargetRole.PRIMARY: {P},
    TargetRole.REPLICA: {R},
    TargetRole.PREFER_REPLICA: {P, R},
}


@pytest.mark.parametrize("wanted", list(TargetRole))
def test_there_is_no_panic_in_any_combination_of_three_nodes(wanted: TargetRole) -> None:
    kinds = list(itertools.product([P, R, U], [UP, DOWN, NodeHealth.UNKNOWN]))
    for nodes in itertools.product(kinds, repeat=3):
        found = chosen(candidates(*(state(*node) for node in nodes)), wanted)
        usable = {number for number, (role, health) in enumerate(nodes) if health is UP and role in ALLOWED[wanted]}
        if wanted is TargetRole.PRIMARY:
            assert len(found) == min(1, len(usable))
            assert set(found) <= usable
        else:
            assert set(found) == usable, nodes


def test_of_two_primaries_the_one_that_was_it_for_longer_is_used_whatever_the_priorities() -> None:
    returned, promoted = state(P, UP, at=50.0), state(P, UP, at=10.0)
    assert chosen(candidates(returned, promoted, priorities=(0, 9)), TargetRole.PRIMARY) == [1]


def test_the_order_is_replica_priority_and_sessions_for_the_weight() -> None:
    three = candidates(state(P, UP), state(R, UP), state(R, UP), priorities=(0, 1, 1))
    assert chosen(three, TargetRole.ANY)[0] == 0
    assert chosen(three, TargetRole.PREFER_REPLICA)[-1] == 0
    three[1].sessions, three[2].sessions = 3, 5
    three[2].weight = 2
    assert chosen(three, TargetRole.REPLICA) == [2, 1]
    three[2].weight = 1
    assert chosen(three, TargetRole.REPLICA) == [1, 2]


def test_what_is_ejected_or_left_comes_last_and_is_still_used_when_nothing_else_is_there() -> None:
    one, two = state(R, UP), state(R, UP)
    one.connect_failed(Cause.REFUSED, 0.0)
    assert chosen(candidates(one, two), TargetRole.REPLICA) == [1, 0]
    two.away_until = 60.0
    assert chosen(candidates(one, two), TargetRole.REPLICA) == [0, 1]
    assert chosen(candidates(one), TargetRole.REPLICA) == [0]


def test_equals_are_told_apart_by_chance_so_that_pods_do_not_choose_alike() -> None:
    draws = iter([0.9, 0.1])
    assert choose(candidates(state(R, UP), state(R, UP)), TargetRole.ANY, 0.0, lambda: next(draws))[0].index == 1


LEAVING = {
    "the primary is still it": (TargetRole.PRIMARY, state(P, UP), state(R, UP), False),
    "the primary was demoted": (TargetRole.PRIMARY, state(R, UP), state(R, UP), True),
    "the primary does not answer": (TargetRole.PRIMARY, state(P, DOWN), state(R, UP), False),
    "another one was promoted": (TargetRole.PRIMARY, state(P, DOWN), state(P, UP), True),
    "the replica was promoted": (TargetRole.REPLICA, state(P, UP), state(R, UP), True),
    "the replica is down": (TargetRole.REPLICA, state(R, DOWN), state(P, UP), False),
    "any role is welcome": (TargetRole.ANY, state(R, UP), state(P, UP), False),
    "a primary is good enough": (TargetRole.PREFER_REPLICA, state(P, UP), state(R, UP), False),
}


@pytest.mark.parametrize(("wanted", "here", "other", "leaves"), LEAVING.values(), ids=LEAVING.keys())
def test_sessions_leave_a_node_of_the_wrong_role_and_no_other(
    wanted: TargetRole, here: UpstreamState, other: UpstreamState, *, leaves: bool
) -> None:
    both = candidates(here, other)
    assert must_leave(both[0], both, wanted, 0.0) is leaves
