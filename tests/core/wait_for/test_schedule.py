"""When a target is tried again, and when it counts as ready."""

import itertools
import random

import pytest

from sidecars.runtime import Backoff
from sidecars.wait_for.core.schedule import BASE_SECONDS, AttemptSchedule, Pace, progress_pauses


class Listed:
    """Pauses from a list."""

    def __init__(self, *pauses: float) -> None:
        self._pauses = pauses
        self._at = 0

    def next(self) -> float:
        self._at += 1
        return self._pauses[min(self._at, len(self._pauses)) - 1]

    def reset(self) -> None:
        self._at = 0


def test_without_a_stable_time_the_first_success_is_enough() -> None:
    schedule = AttemptSchedule(Pace(0.0, 2.0), Listed(0.1))
    assert [schedule.failed(), schedule.succeeded(5.0)] == [0.1, None]


def test_a_stable_target_is_ready_when_it_was_up_for_so_long() -> None:
    schedule = AttemptSchedule(Pace(10.0, 3.0), Listed(0.1))
    assert [schedule.succeeded(at) for at in (0.0, 2.0, 9.5)] == [2.0, 2.0, 0.5]
    assert schedule.up_seconds(9.5) == 9.5
    assert schedule.succeeded(10.0) is None


def test_a_failure_begins_the_stable_time_anew() -> None:
    schedule = AttemptSchedule(Pace(10.0, 3.0), Listed(0.1, 0.2))
    assert schedule.succeeded(0.0) is not None
    assert schedule.failed() == 0.1
    assert schedule.up_seconds(9.0) == 0.0
    assert schedule.succeeded(9.0) is not None
    assert schedule.succeeded(18.9) is not None
    assert schedule.succeeded(19.0) is None


def test_failures_back_off_and_a_success_begins_again_with_short_pauses() -> None:
    schedule = AttemptSchedule(Pace(10.0, 3.0), Listed(0.1, 0.2, 0.4))
    assert [schedule.failed(), schedule.failed(), schedule.succeeded(0.0), schedule.failed()] == [0.1, 0.2, 2.0, 0.1]


@pytest.mark.parametrize(("progress_seconds", "pauses"), [(10.0, [2, 10, 10]), (0.5, [0.5, 0.5, 0.5])])
def test_the_first_line_of_progress_comes_early(progress_seconds: float, pauses: list[float]) -> None:
    assert list(itertools.islice(progress_pauses(progress_seconds), 3)) == pauses


def test_no_pause_is_longer_than_the_interval(rng: random.Random) -> None:
    schedule = AttemptSchedule(Pace(0.0, 2.0), Backoff(BASE_SECONDS, 2.0, rng.random))
    pauses = [schedule.failed() for _ in range(50)]
    assert pauses[0] <= BASE_SECONDS
    assert max(pauses) <= 2.0
    assert AttemptSchedule(Pace(60.0, 2.0), Listed(0.1)).succeeded(0.0) == 2.0
