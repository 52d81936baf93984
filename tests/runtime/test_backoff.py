"""How long to wait before the next try."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecars.runtime import Backoff


def test_delays_double_up_to_the_cap() -> None:
    backoff = Backoff(1.0, 10.0, lambda: 1.0)
    assert [backoff.next() for _ in range(6)] == [1, 2, 4, 8, 10, 10]


def test_delays_are_jittered_down_to_zero() -> None:
    assert Backoff(1.0, 10.0, lambda: 0.0).next() == 0


def test_a_reset_starts_from_the_base() -> None:
    backoff = Backoff(1.0, 10.0, lambda: 1.0)
    for _ in range(5):
        backoff.next()
    backoff.reset()
    assert backoff.next() == 1


def test_thousands_of_tries_do_not_overflow() -> None:
    backoff = Backoff(0.1, 30.0, lambda: 1.0)
    assert [backoff.next() for _ in range(5000)][-1] == 30


@given(st.floats(0.001, 100), st.floats(1, 1000), st.floats(0, 1, exclude_max=True), st.integers(1, 2000))
def test_no_delay_is_above_the_cap(base: float, factor: float, chance: float, tries: int) -> None:
    backoff = Backoff(base, base * factor, lambda: chance)
    assert all(0 <= backoff.next() <= base * factor for _ in range(tries))


@pytest.mark.parametrize(("base", "cap"), [(0, 1), (2, 1), (-1, 1)])
def test_a_back_off_that_makes_no_sense_is_refused(base: float, cap: float) -> None:
    with pytest.raises(ValueError, match="cannot back off"):
        Backoff(base, cap, lambda: 0.5)
