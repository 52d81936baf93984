"""When a request is sent once more beside itself, and which address comes first."""

import math

import pytest

from sidecars.log_shipper.core.hedging import Hedge, HedgedRequest, Latency, attempt_seconds, hedge, ordered

NEVER, AT_ONCE = math.inf, -math.inf


@pytest.mark.parametrize(
    ("own_ids", "stopping", "routes", "why"),
    [
        (True, False, 1, None),
        (True, False, 2, Hedge.NODES),
        (True, True, 1, Hedge.STOPPING),
        (True, True, 2, Hedge.STOPPING),
        (False, False, 2, None),
        (False, True, 2, None),
    ],
)
def test_a_second_copy_may_go_out(own_ids: bool, stopping: bool, routes: int, why: Hedge | None) -> None:
    assert hedge(own_ids=own_ids, stopping=stopping, routes=routes) is why


def test_while_stopping_copies_go_out_at_growing_intervals_as_long_as_all_hang() -> None:
    request, at = HedgedRequest(), 100.0
    times = []
    for _ in range(7):
        request.sent(at)
        times.append(at - 100.0)
        at = request.next_at(Hedge.STOPPING, 1, 1.0)
    assert [round(time, 2) for time in times] == [0, 1, 2.5, 4.75, 8.12, 13.19, 20.78]


def test_of_several_nodes_each_gets_one_copy() -> None:
    request = HedgedRequest()
    assert request.next_at(Hedge.NODES, 3, 1.0) == AT_ONCE
    request.sent(0.0)
    assert request.next_at(Hedge.NODES, 3, 1.0) == 1.0
    request.sent(1.0)
    assert request.next_at(Hedge.NODES, 3, 1.0) == 2.5
    request.sent(2.5)
    assert request.next_at(Hedge.NODES, 3, 1.0) == NEVER


def test_without_a_reason_the_next_node_is_asked_when_the_one_before_has_failed() -> None:
    request = HedgedRequest()
    request.sent(0.0)
    assert request.next_at(None, 2, 1.0) == NEVER
    assert not request.is_over(2)
    request.failed(10.0)
    assert not request.is_over(2)
    assert request.next_at(None, 2, 1.0) == AT_ONCE
    request.sent(10.0)
    request.failed(20.0)
    assert request.is_over(2)
    assert request.next_at(None, 2, 1.0) == NEVER


def test_a_failure_sends_the_next_node_a_copy_at_once_also_beside_one_that_hangs() -> None:
    request = HedgedRequest()
    request.sent(0.0)
    request.sent(1.0)
    request.failed(1.1)
    assert request.next_at(Hedge.NODES, 3, 1.0) == AT_ONCE
    assert request.next_at(Hedge.NODES, 2, 1.0) == NEVER
    assert not request.is_over(2), "the first may still be answered"


def test_while_stopping_a_second_follows_a_failure_beside_one_that_hangs() -> None:
    request = HedgedRequest()
    for at in (0.0, 1.0, 2.5, 4.75):
        request.sent(at)
    request.failed(5.0)
    assert request.next_at(Hedge.STOPPING, 1, 1.0) == 6.0


def test_while_stopping_an_only_copy_that_failed_ends_the_attempt() -> None:
    request = HedgedRequest()
    request.sent(0.0)
    request.failed(0.1)
    assert request.is_over(1)


@pytest.mark.parametrize(
    ("answered", "left_seconds", "patience"),
    [
        ([], NEVER, 1.0),
        ([0.02] * 5, NEVER, 1.0),
        ([2.0] * 5, NEVER, 6.0),
        ([60.0] * 5, NEVER, 10.0),
        ([0.02] * 8 + [30.0] * 7, NEVER, 1.0),
        ([9.0] * 20 + [0.1] * 15, NEVER, 1.0),
        ([2.0] * 5, 9.0, 3.0),
        ([2.0] * 5, 0.5, 1.0),
        ([], 0.0, 1.0),
    ],
    ids=[
        "nothing known",
        "quick answers",
        "a slow backend is not asked twice too soon",
        "but a limit there is",
        "hangs do not make all that follows longer",
        "what was long ago is forgotten",
        "while stopping the time that is left counts",
        "but not below a second",
        "also when there is none",
    ],
)
def test_patience(answered: list[float], left_seconds: float, patience: float) -> None:
    latency = Latency()
    for seconds in answered:
        latency.answered(seconds)
    assert latency.patience_seconds(left_seconds) == patience


@pytest.mark.parametrize(
    ("silent_at", "turn", "expected"),
    [
        ({}, 0, ["a", "b", "c"]),
        ({}, 4, ["b", "c", "a"]),
        ({"a": 90.0}, 0, ["b", "c", "a"]),
        ({"b": 90.0}, 1, ["c", "a", "b"]),
        ({"a": 95.0, "b": 90.0, "c": 80.0}, 0, ["c", "b", "a"]),
        ({"a": 60.0}, 0, ["a", "b", "c"]),
        ({"gone": 99.0}, 0, ["a", "b", "c"]),
    ],
)
def test_addresses_take_turns_and_those_that_were_silent_lately_come_last(
    silent_at: dict[str, float], turn: int, expected: list[str]
) -> None:
    assert ordered(["a", "b", "c"], silent_at, turn, 100.0) == expected
    assert ordered([], silent_at, turn, 100.0) == []


@pytest.mark.parametrize(
    ("timeout_seconds", "nodes", "may_hedge", "silent", "expected"),
    [
        (30, 1, False, True, 30),
        (30, 2, False, False, 10),
        (30, 2, False, True, 3),
        (30, 2, True, True, 10),
        (2, 2, True, True, 2),
    ],
)
def test_a_node_beside_others_has_less_time_and_little_when_it_was_silent(
    timeout_seconds: float, nodes: int, may_hedge: bool, silent: bool, expected: float
) -> None:
    assert attempt_seconds(timeout_seconds, nodes, may_hedge=may_hedge, silent=silent) == expected
