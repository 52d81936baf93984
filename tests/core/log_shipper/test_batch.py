"""Batches and what is left of them: every record keeps the bytes that it stands for."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecars.log_shipper.core.batch import Batch, FilePart, chosen, halves, records_of
from sidecars.log_shipper.core.identity import Mark
from sidecars.log_shipper.core.ledger import Ledger

DOCUMENTS = st.lists(
    st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=12), min_size=1, max_size=12
)


def part(size_bytes: int) -> FilePart:
    ledger = Ledger(Mark(5))
    return FilePart(ledger, ledger.take(Mark(5 + size_bytes)))


def records(documents: Sequence[str]) -> list[str]:
    """As they stand in a bulk body: an action line and a document line, each telling its number."""
    return [f'{{"create":{{"_id":"{number}"}}}}\n{text}\n' for number, text in enumerate(documents)]


def batch_of(documents: Sequence[str]) -> Batch:
    batch = Batch()
    for number, text in enumerate(records(documents)):
        batch.add([text], [number + 100], [part(number + 100)], number + 100)
    return batch


@given(DOCUMENTS)
def test_a_batch_counts_the_bytes_of_its_body(documents: list[str]) -> None:
    batch = batch_of(documents)
    payload = batch.take_payload()
    assert batch.body_bytes == len(payload.body)
    assert batch.file_bytes == sum(payload.spans) == sum(100 + number for number in range(len(documents)))
    assert payload.count == len(payload.spans) == len(documents)


@given(DOCUMENTS)
def test_the_records_of_a_body_are_those_that_went_in(documents: list[str]) -> None:
    """Also with U+2028, form feeds and other things that only some take for line ends."""
    body = batch_of(documents).take_payload().body
    assert records_of(body, lines_each=2) == [text.encode() for text in records(documents)]


@given(DOCUMENTS, st.data())
def test_chosen_records_keep_their_spans(documents: list[str], data: st.DataObject) -> None:
    payload = batch_of(documents).take_payload()
    parts = records_of(payload.body, lines_each=2)
    indices = sorted(data.draw(st.sets(st.integers(0, len(documents) - 1))))
    some = chosen(parts, payload, indices)
    assert some.count == len(some.spans) == len(indices)
    assert list(some.spans) == [100 + index for index in indices]
    assert [some.number(at) for at in range(some.count)] == indices
    last = chosen(records_of(some.body, lines_each=2), some, range(1, some.count))
    assert [last.number(at) for at in range(last.count)] == indices[1:]
    assert some.body == b"".join(parts[index] for index in indices)


@given(DOCUMENTS.filter(lambda documents: len(documents) > 1))
def test_halves_are_the_whole_and_each_smaller(documents: list[str]) -> None:
    payload = batch_of(documents).take_payload()
    first, second = halves(records_of(payload.body, lines_each=2), payload)
    assert first.body + second.body == payload.body
    assert [*first.spans, *second.spans] == list(payload.spans)
    assert first.count + second.count == payload.count
    assert 0 < first.count < payload.count
    for half in (first, second):
        assert len(records_of(half.body, lines_each=2)) == half.count


def test_a_stretch_without_records_rides_along() -> None:
    batch = Batch()
    batch.add((), (), [part(70)], 70)
    batch.add(["x\n"], [30], [part(30)], 30)
    assert batch.file_bytes == 100
    assert [item.segment.size_bytes for item in batch.parts] == [70, 30]
    payload = batch.take_payload()
    assert (payload.body, payload.count) == (b"x\n", 1)


@pytest.mark.parametrize("lines_each", [1, 2])
def test_an_empty_body_has_no_records(lines_each: int) -> None:
    assert records_of(b"", lines_each) == []


def test_two_batches_share_nothing() -> None:
    one, other = Batch(), Batch()
    one.add(["x\n"], [2], [part(2)], 2)
    assert (other.texts, list(other.spans), other.parts) == ([], [], [])


def test_records_that_are_settled_before_others_count_for_their_own_stretch() -> None:
    batch, parts = Batch(), [part(30), part(0), part(40), part(10), part(7)]
    batch.add(["a\n", "b\n"], [10, 20], [parts[0]], 30)
    batch.add((), (), [parts[1]], 0)
    batch.add(["c\n", "d\n", "e\n"], [5, 15, 60], [parts[2], parts[3]], 80)  # 30 bytes were read before and held
    batch.add((), (), [parts[4]], 7)
    batch.acknowledge([1, 2, 4])
    assert [item.ledger.unacknowledged_bytes for item in parts] == [10, 0, 15, 0, 7]
    assert [item.ledger.committed.offset for item in parts] == [5] * 5
