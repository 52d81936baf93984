"""The low watermark moves over what is acknowledged without a gap, in whatever order replies come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecars.log_shipper.core.identity import Mark
from sidecars.log_shipper.core.ledger import Ledger


@given(st.lists(st.integers(0, 100), max_size=12).flatmap(lambda sizes: st.tuples(
    st.just(sizes), st.permutations(range(len(sizes))))))  # fmt: skip
def test_the_watermark_never_passes_an_open_segment(case: tuple[list[int], list[int]]) -> None:
    sizes, order = case
    ledger, place = Ledger(Mark(7, "start")), 7
    segments = []
    for number, size in enumerate(sizes):
        place += size
        segments.append(ledger.take(Mark(place, str(number))))
    open_ones = set(order)
    for number in order:
        before = ledger.committed
        moved = ledger.settle(segments[number])
        open_ones.discard(number)
        first_open = min(open_ones, default=len(sizes))
        assert ledger.committed.offset == 7 + sum(sizes[:first_open])
        assert ledger.committed.marker == (str(first_open - 1) if first_open else "start")
        assert moved == (ledger.committed is not before)
        assert ledger.in_flight_bytes == sum(sizes[first_open:])
        assert ledger.unacknowledged_bytes == sum(sizes[each] for each in open_ones), "not what is beyond a gap"
    assert ledger.committed == ledger.read
    assert ledger.in_flight_bytes == 0


def test_reading_backwards_is_refused() -> None:
    ledger = Ledger(Mark(10))
    with pytest.raises(ValueError, match="cannot read backwards from 10 to 9"):
        ledger.take(Mark(9))
    assert ledger.read.offset == 10


def test_settling_twice_moves_nothing() -> None:
    ledger = Ledger(Mark())
    first, second = ledger.take(Mark(5)), ledger.take(Mark(9))
    assert ledger.settle(first)
    assert not ledger.settle(first)
    assert ledger.committed.offset == 5
    assert ledger.settle(second)


def test_a_segment_knows_its_bytes() -> None:
    ledger = Ledger(Mark(3))
    assert ledger.take(Mark(10)).size_bytes == 7
    assert ledger.take(Mark(10)).size_bytes == 0


def test_the_watermark_rests_at_clean_places_only() -> None:
    ledger = Ledger(Mark())
    first, amid, last = ledger.take(Mark(5)), ledger.take(Mark(9), clean=False), ledger.take(Mark(12))
    ledger.settle(amid)
    ledger.settle(first)
    assert ledger.committed.offset == 5
    ledger.settle(last)
    assert ledger.committed.offset == 12


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_generations_that_share_a_record_move_over_it_together(order: tuple[int, int]) -> None:
    former, later = Ledger(Mark()), Ledger(Mark())
    before = former.take(Mark(5))
    former.settle(former.take(Mark(9), clean=False))
    later.continues(former)
    tasks = [(former, before), (later, later.take(Mark(7)))]
    ledger, segment = tasks[order[0]]
    ledger.settle(segment)
    assert later.committed.offset == 0
    assert former.committed.offset == (5 if order[0] == 0 else 0)
    ledger, segment = tasks[order[1]]
    ledger.settle(segment)
    assert (former.committed.offset, later.committed.offset) == (9, 7)


def test_what_is_written_late_to_the_former_generation_waits_with_it() -> None:
    former, later = Ledger(Mark()), Ledger(Mark())
    former.settle(former.take(Mark(9), clean=False))
    later.continues(former)
    former.settle(former.take(Mark(11)))
    assert former.committed.offset == 0
    later.settle(later.take(Mark(7)))
    assert (former.committed.offset, later.committed.offset) == (11, 7)
    former.settle(former.take(Mark(12)))
    assert former.committed.offset == 12
