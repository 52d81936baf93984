"""Whose fault a refusal is that may mean both: told by whether others are taken meanwhile."""

from sidecars.log_shipper.core.evidence import (
    FEW_RECORDS,
    PATIENCE_SECONDS,
    POISON_SECONDS,
    TRIES,
    Evidence,
    FirstRefusal,
)


def suspected(evidence: Evidence, records: int) -> FirstRefusal:
    """So many were refused, at 10 s."""
    evidence.refused(records)
    return evidence.mark(10.0)


def test_a_record_is_at_fault_once_another_one_is_taken() -> None:
    evidence = Evidence()
    evidence.begin()
    mark = suspected(evidence, 500)
    assert not evidence.is_about_record(mark, 10.0)
    evidence.was_taken(evidence.begin())
    assert evidence.is_about_record(mark, 11.0)


def test_a_request_that_was_under_way_at_the_refusal_is_no_witness() -> None:
    """The target broke in between: what it took before says nothing."""
    evidence = Evidence()
    earlier = evidence.begin()
    evidence.begin()
    mark = suspected(evidence, 1)
    evidence.was_taken(earlier)
    assert not evidence.is_about_record(mark, 11.0)


def test_when_nothing_is_taken_many_records_are_held_for_ever() -> None:
    evidence = Evidence()
    marks = [suspected(evidence, 1) for _ in range(FEW_RECORDS + 1)]
    assert not any(evidence.is_about_record(mark, 1e9) for mark in marks)


def test_a_few_that_stay_alone_for_long_are_at_fault_themselves() -> None:
    evidence = Evidence()
    mark = suspected(evidence, FEW_RECORDS)
    assert not evidence.is_about_record(mark, 10.0 + PATIENCE_SECONDS - 1)
    assert evidence.is_about_record(mark, 10.0 + PATIENCE_SECONDS)


def test_a_request_that_is_refused_as_a_whole_is_about_a_record_only_with_a_witness() -> None:
    evidence = Evidence()
    mark = suspected(evidence, 1)
    assert not evidence.is_about_record(mark, 1e9, needs_witness=True)
    evidence.was_taken(evidence.begin())
    assert evidence.is_about_record(mark, 11.0, needs_witness=True)


def test_many_are_trouble_at_once_and_few_after_some_tries() -> None:
    many, few = Evidence(), Evidence()
    many.refused(FEW_RECORDS + 1)
    few.refused(1)
    assert many.is_trouble(1)
    assert [tries for tries in range(1, TRIES + 1) if few.is_trouble(tries)] == [TRIES]


def test_what_is_taken_ends_the_count_of_the_refused() -> None:
    evidence = Evidence()
    evidence.refused(500)
    evidence.was_taken(evidence.begin())
    evidence.refused(1)
    assert not evidence.is_trouble(1)


def test_a_record_over_which_the_server_fails_for_long_is_given_up_only_when_it_takes_others() -> None:
    evidence = Evidence()
    mark = evidence.mark(0.0)
    assert not evidence.is_poison(mark, 1e9)
    evidence.was_taken(evidence.begin())
    assert not evidence.is_poison(mark, POISON_SECONDS - 1)
    assert evidence.is_poison(mark, POISON_SECONDS)
