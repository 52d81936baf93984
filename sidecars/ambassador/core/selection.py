"""Which upstream a connection goes to, and which sessions must leave theirs. Pure.

There is no panic: where no upstream of the right role is usable, there is none. The two leaders of the field send
writes to replicas then (Envoy below its panic threshold of 50 %) or keep sessions on a demoted node (HAProxy without
on-marked-down).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from .upstream import NodeHealth, NodeRole, UpstreamState


class TargetRole(StrEnum):
    """Which upstreams a listener wants."""

    ANY = "any"
    PRIMARY = "primary"
    REPLICA = "replica"
    PREFER_REPLICA = "prefer-replica"


@dataclass(slots=True)
class Candidate:
    """An upstream as the choice sees it. `sessions`: how many it has of this listener."""

    index: int
    state: UpstreamState
    priority: int = 0
    weight: int = 1
    sessions: int = 0


def choose(
    candidates: Sequence[Candidate], wanted: TargetRole, now: float, chance: Callable[[], float]
) -> list[Candidate]:
    """Return the usable upstreams, the best first.

    By priority (the lowest number first), then by sessions for their weight; `chance` (from 0 to 1) decides between
    equals, so that many pods do not choose alike. Ejected ones, and those that somebody wants to be left, come last.
    """
    usable = [one for one in candidates if one.state.health is NodeHealth.UP and _fits(one, wanted)]
    if wanted is TargetRole.PRIMARY:
        usable = _incumbent(usable, now)

    def order(one: Candidate) -> tuple[bool, bool, bool, int, float, float]:
        state = one.state
        second = wanted is TargetRole.PREFER_REPLICA and state.role is not NodeRole.REPLICA
        load = (one.sessions + 1) / (max(one.weight, 1) * state.share(now))
        return state.is_away(now), state.is_ejected(now), second, one.priority, load, chance()

    return sorted(usable, key=order)


def _fits(one: Candidate, wanted: TargetRole) -> bool:
    match wanted:
        case TargetRole.ANY:
            return True
        case TargetRole.PRIMARY:
            return one.state.role is NodeRole.PRIMARY
        case TargetRole.REPLICA:
            return one.state.role is NodeRole.REPLICA
        case TargetRole.PREFER_REPLICA:
            return one.state.role is not NodeRole.UNKNOWN


def _incumbent(primaries: list[Candidate], now: float) -> list[Candidate]:
    """Return the one primary. Of two, it is the one that has been it for longer without a break: a former primary that
    comes back does not know yet that it was replaced, and what is written to it is lost.
    """
    if not primaries:
        return []
    return [min(primaries, key=lambda one: (one.state.is_away(now), one.state.primary_since, one.priority))]


def must_leave(session_on: Candidate, candidates: Sequence[Candidate], wanted: TargetRole, now: float) -> bool:
    """Whether sessions must leave an upstream: it has another role now, or another one is the primary.

    A node that merely does not answer keeps its sessions: they end by their own time-outs, or go on.
    """
    state = session_on.state
    if wanted is TargetRole.PRIMARY:
        now_primary = choose(candidates, wanted, now, lambda: 0.0)
        replaced = bool(now_primary) and now_primary[0].index != session_on.index
        return replaced or state.role is not NodeRole.PRIMARY
    return wanted is TargetRole.REPLICA and state.role is not NodeRole.REPLICA
