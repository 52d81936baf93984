"""When a request that has no answer yet is sent once more beside itself, and which address of a name comes first.

A request that hangs may hang for ever (the connection's other end is gone), or the server stored its records long
ago and the answer got lost. With document ids of our own a repeat is harmless, so a second copy of the request can
overtake the first: J. Dean, L. A. Barroso, "The Tail at Scale", CACM 56(2), 2013 calls it a hedged request.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from enum import StrEnum
from statistics import median

PATIENCE_SECONDS = 1.0
"""The first copy of a request is alone for so long at least; a healthy Elasticsearch answers in a tenth of that."""
_MOST_PATIENCE_SECONDS = 10.0
_USUAL_TIMES = 3.0
"""... and for so many times the usual: a backend that is slow must not get everything twice."""
_GROWTH = 1.5
"""Each further copy waits so much longer: after 1, 2.5, 4.75, 8.1, 13.2, 20.8 s, if all of them hang."""
_SHARES_OF_LEFT = 3
"""While stopping, no more than this part of the time that is left passes before a second copy goes out."""
_AFTER_FAILURE_SECONDS = 1.0
"""While stopping: one copy failed and another one hangs."""
_CHANCE_SECONDS = 10.0
_SECOND_CHANCE_SECONDS = 3.0
_SAMPLES = 15
_SILENT_SECONDS = 30.0
"""For so long an address that did not answer comes after those that did."""


class Hedge(StrEnum):
    """Why a second copy may go out; the closed list of the metric's label."""

    NODES = "nodes"
    """There is another node, or another address of the same name, that may do better."""
    STOPPING = "stopping"
    """There is not the time to wait for the end of the first."""


def hedge(*, own_ids: bool, stopping: bool, routes: int) -> Hedge | None:
    """Return whether a second copy may go out beside one that has no answer yet, and why. Ids made by the server tell
    no repeats, so there it never may.
    """
    if not own_ids:
        return None
    if stopping:
        return Hedge.STOPPING
    return Hedge.NODES if routes > 1 else None


def attempt_seconds(timeout_seconds: float, nodes: int, *, may_hedge: bool, silent: bool) -> float:
    """Return how long one of several nodes may take. Where there are others it has less time, and little when it was
    silent the last time and must not be hedged: a node that accepts and never answers must not hold up what the others
    could take.
    """
    if nodes == 1:
        return timeout_seconds
    return min(timeout_seconds, _SECOND_CHANCE_SECONDS if silent and not may_hedge else _CHANCE_SECONDS)


class Latency:
    """How long answers usually take, and so how long to be patient. A median: one hang must not make all the following
    ones longer.
    """

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=_SAMPLES)

    def answered(self, seconds: float) -> None:
        """Note that a request was answered after so long."""
        self._samples.append(seconds)

    def patience_seconds(self, left_seconds: float = math.inf) -> float:
        """Return how long the first copy of a request stays alone. `left_seconds` is what the stop has left."""
        usual = median(self._samples) * _USUAL_TIMES if self._samples else 0.0
        patience = min(max(PATIENCE_SECONDS, usual), _MOST_PATIENCE_SECONDS)
        return min(patience, max(PATIENCE_SECONDS, left_seconds / _SHARES_OF_LEFT))


class HedgedRequest:
    """The copies of one request: when the next goes out, and when there is nothing more to wait for."""

    def __init__(self) -> None:
        self._sent: list[float] = []
        self._failed_at = -math.inf
        self._replace = False
        """A copy failed and none was sent since."""
        self.under_way = 0

    def sent(self, now: float) -> None:
        """Note that a copy went out."""
        self._sent.append(now)
        self._replace = False
        self.under_way += 1

    def failed(self, now: float) -> None:
        """Note that a copy ended, and the others may still bring an answer."""
        self._failed_at = now
        self._replace = True
        self.under_way -= 1

    def next_at(self, why: Hedge | None, routes: int, patience_seconds: float) -> float:
        """Return when the next copy goes out: in the past is at once, infinity never. `routes` are the nodes, or the
        addresses of an only node; without a reason to hedge each is tried once, when the one before has failed.
        """
        untried = len(self._sent) < routes
        if not self._sent or (self._replace and untried):
            return -math.inf
        if not self.under_way or why is None or (why is Hedge.NODES and not untried):
            return math.inf
        at = self._sent[-1] + patience_seconds * _GROWTH ** (len(self._sent) - 1)
        return min(at, self._failed_at + _AFTER_FAILURE_SECONDS) if self._replace else at

    def is_over(self, routes: int) -> bool:
        """Return whether all copies have failed and there is no other route."""
        return not self.under_way and len(self._sent) >= routes


def ordered(addresses: Sequence[str], silent_at: Mapping[str, float], turn: int, now: float) -> list[str]:
    """Return the addresses of one name in the order in which they are tried: by turns, and those last that were silent
    lately, the latest at the very end.
    """
    first = turn % len(addresses) if addresses else 0
    in_turn = [*addresses[first:], *addresses[:first]]

    def silence(address: str) -> float:
        at = silent_at.get(address, -math.inf)
        return at if now - at < _SILENT_SECONDS else -math.inf

    return sorted(in_turn, key=silence)
