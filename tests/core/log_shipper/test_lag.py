"""How long the oldest unacknowledged byte waits: never less than the truth."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecars.log_shipper.core.lag import OTHERS, FileFigures, Lag, lags

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


UNFINISHED: dict[str, tuple[list[tuple[int, float]], int, int, float]] = {
    "only half a line: no lag": ([(7, 1.0)], 0, 0, 0.0),
    "lines before it that are not acknowledged: since them": ([(10, 1.0), (17, 4.0)], 10, 0, 8.0),
    "seen in one look with lines before it: since them": ([(17, 1.0)], 10, 0, 8.0),
    "the lines before it acknowledged: no lag": ([(10, 1.0), (17, 4.0)], 10, 10, 0.0),
    "half a line that grew in many looks: no lag": ([(10, 1.0), (12, 2.0), (15, 3.0), (17, 4.0)], 10, 10, 0.0),
    "partly acknowledged: since what is left": ([(10, 1.0), (12, 2.0), (17, 4.0)], 12, 10, 7.0),
}


@pytest.mark.parametrize(("seen", "read", "committed", "expected"), UNFINISHED.values(), ids=[*UNFINISHED])
def test_the_beginning_of_a_line_at_the_end_of_a_file_does_not_lag(
    seen: list[tuple[int, float]], read: int, committed: int, expected: float
) -> None:
    lag = Lag()
    for size, at in seen:
        lag.grew(size, at)
    lag.ends_unfinished(read, 17)
    lag.grew(17, 6.0)
    assert lag.seconds(committed, 9.0) == expected


def test_a_line_lags_from_the_moment_at_which_it_is_finished() -> None:
    lag = Lag()
    lag.grew(7, 1.0)
    lag.ends_unfinished(0, 7)
    lag.grew(12, 5000.0)
    assert lag.seconds(0, 5002.0) == 2.0


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


def figures(place: str, lag_bytes: int, lag_seconds: float) -> FileFigures:
    return FileFigures(place, 0, lag_bytes, lag_seconds, deleted=False)


def test_two_generations_of_one_name_are_one_series() -> None:
    assert lags([figures("/a", 5, 1.0), figures("/a", 7, 3.0), figures("/b", 0, 0.0)]) == {
        "/a": (12, 3.0),
        "/b": (0, 0.0),
    }


def test_ten_thousand_files_are_a_few_series_with_the_same_sum_and_maximum() -> None:
    files = [figures(f"/{number}", number, number / 10) for number in range(10_000)]
    found = lags(files)
    assert len(found) == 201
    assert found["/9999"] == (9999, 999.9)
    assert "/0" not in found
    assert sum(lag_bytes for lag_bytes, _ in found.values()) == sum(each.lag_bytes for each in files)
    assert found[OTHERS] == (sum(range(9800)), 979.9)
