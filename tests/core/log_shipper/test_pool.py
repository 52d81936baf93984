"""Whose turn it is among several nodes."""

import pytest

from sidecars.log_shipper.core.pool import Pool


def turns(pool: Pool[str], count: int, now: float = 0.0) -> str:
    return "".join(pool.next(now) for _ in range(count))


def test_nodes_take_turns() -> None:
    assert turns(Pool("abc"), 7) == "abcabca"


def test_one_that_failed_is_left_out_for_a_second_and_then_has_its_turn_again() -> None:
    pool = Pool("abc")
    pool.failed("b", 10.0)
    assert turns(pool, 4, now=10.9) == "acac"
    assert sorted(turns(pool, 3, now=11.0)) == ["a", "b", "c"]


@pytest.mark.parametrize(("failures", "seconds"), [(1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (1000, 30)])
def test_the_pause_doubles_with_each_failure_in_a_row_up_to_half_a_minute(failures: int, seconds: float) -> None:
    pool = Pool("ab")
    for _ in range(failures):
        pool.failed("a", 100.0)
    assert turns(pool, 2, now=100 + seconds - 0.01) == "bb"
    assert "a" in turns(pool, 2, now=100 + seconds)


def test_an_answer_brings_it_back_at_once_and_forgets_its_failures() -> None:
    pool = Pool("ab")
    for _ in range(5):
        pool.failed("a", 0.0)
    pool.answered("a")
    assert sorted(turns(pool, 2)) == ["a", "b"]
    pool.failed("a", 0.0)
    assert "a" in turns(pool, 2, now=1.0)


def test_where_all_failed_the_one_that_is_back_first_is_asked_and_then_the_next() -> None:
    pool = Pool("abc")
    for at, node in enumerate("bca"):
        pool.failed(node, float(at))
    assert turns(pool, 1, now=0.5) == "b"
    pool.failed("b", 0.5)  # for two seconds now
    assert turns(pool, 1, now=0.6) == "c"


def test_an_only_node_is_always_in_turn() -> None:
    pool = Pool(["a"])
    pool.failed("a", 0.0)
    assert turns(pool, 3) == "aaa"


def test_a_node_that_was_asked_already_is_passed_over_for_one_that_was_not_and_rather_one_that_answers() -> None:
    pool = Pool("abc")
    assert pool.next(0.0, asked="bc") == "a"
    assert pool.next(0.0, asked="bc") == "a"
    pool.failed("a", 0.0, silent=True)
    assert pool.is_silent("a")
    assert pool.next(5.0, asked="c") == "b"
    assert {pool.next(5.0, asked="ab") for _ in range(3)} == {"c"}
    assert pool.next(5.0, asked="abc") in "abc"
    pool.answered("a")
    assert not pool.is_silent("a")
