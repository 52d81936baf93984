"""How long the oldest unacknowledged byte waits: never less than the truth."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecars.log_shipper.core.lag import Lag

CASES: dict[str, tuple[list[tuple[int, float]], int, float, float]] = {
    "nothing seen, no lag": ([], 0, 9.0, 0.0),
    "all acknowledged, no lag": ([(10, 1.0), (20, 2.0)], 20, 9.0, 0.0),
    "none acknowledged: since the first byte": ([(10, 1.0), (20, 2.0)], 0, 9.0, 8.0),
    "the first part acknowledged: since the second": ([(10, 1.0), (20, 2.0)], 10, 9.0, 7.0),
    "part of the second acknowledged: still since the second": ([(10, 1.0), (20, 2.0)], 19, 9.0, 7.0),
    "a size seen again does not make it younger": ([(10, 1.0), (10, 5.0)], 0, 9.0, 8.0),
    "many looks at one size wear nothing out": ([(10, float(at)) for at in range(100)] + [(20, 100.0)], 10, 101.0, 1.0),
    "an empty file does not lag": ([(0, 1.0)], 0, 9.0, 0.0),
}


@pytest.mark.parametrize(("seen", "committed", "now", "expected"), CASES.values(), ids=CASES.keys())
def test_the_lag_is(seen: list[tuple[int, float]], committed: int, now: float, expected: float) -> None:
    lag = Lag()
    for size, at in seen:
        lag.grew(size, at)
    assert lag.seconds(committed, now) == expected


@given(st.lists(st.integers(1, 50), min_size=1, max_size=100), st.data())
def test_the_lag_is_never_understated_and_zero_only_when_all_is_acknowledged(
    growth: list[int], data: st.DataObject
) -> None:
    lag, sizes, committed = Lag(), list[int](), 0
    for at, more in enumerate(growth):
        sizes.append((sizes[-1] if sizes else 0) + more)
        lag.grew(sizes[-1], float(at))
        committed = data.draw(st.integers(committed, sizes[-1]))
        waiting = next((seen for seen, size in enumerate(sizes) if size > committed), None)
        seconds = lag.seconds(committed, float(at))
        assert (seconds == 0.0) if waiting is None else (seconds >= at - waiting)
        assert seconds <= at
