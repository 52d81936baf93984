"""Whose fault a refusal is that may mean both: told by whether others are taken meanwhile."""

from sidecars.log_shipper.core.bulk import Judgement, Refusal
from sidecars.log_shipper.core.evidence import (
    FEW_RECORDS,
    PATIENCE_SECONDS,
    POISON_SECONDS,
    STUCK_SECONDS,
    TRIES,
    BatchHistory,
    Blame,
    Evidence,
)


class Refused:
    """A batch of so many records, all of which are refused again and again, for the first time at 10 s."""

    def __init__(self, evidence: Evidence, records: int = 1, *, whole: bool = False, status: int = 0) -> None:
        self.evidence, self.history, self.records, self.whole, self.status = (
            evidence,
            BatchHistory(),
            records,
            whole,
            status,
        )
        self.first = self.again(10.0)

    def again(self, now: float, *, others_taken: bool = True) -> Blame:
        refusal = Refusal(self.status or 400, "some_exception", "r")
        judgement = Judgement(unclear=dict.fromkeys(range(self.records), refusal), whole=self.whole)
        if self.status:
            judgement = Judgement(retry={0: "status_5xx"}, broke={0: refusal}, cause=refusal, cause_reason="status_5xx")
        ruling = self.evidence.rule(self.history, judgement, self.records, now, others_taken=others_taken)
        left = ruling.judgement.rejected if ruling.blame is Blame.RECORDS else ruling.judgement.retry
        assert len(left) == self.records or self.status
        assert not ruling.judgement.unclear
        assert (ruling.diagnosis is not None) is (ruling.blame in (Blame.TARGET, Blame.PART))
        return ruling.blame


def test_a_record_is_at_fault_once_another_one_is_taken() -> None:
    evidence = Evidence()
    evidence.begin()
    refused = Refused(evidence, 500)
    assert refused.first is Blame.TARGET
    evidence.was_taken(evidence.begin())
    assert refused.again(11.0) is Blame.RECORDS


def test_a_request_that_was_under_way_at_the_refusal_is_no_witness() -> None:
    """The target broke in between: what it took before says nothing."""
    evidence = Evidence()
    earlier = evidence.begin()
    evidence.begin()
    refused = Refused(evidence)
    evidence.was_taken(earlier)
    assert refused.again(11.0) is Blame.UNDECIDED


def test_when_nothing_is_taken_many_records_are_held_for_ever() -> None:
    evidence = Evidence()
    batches = [Refused(evidence) for _ in range(FEW_RECORDS + 1)]
    assert {each.again(1e9) for each in batches} == {Blame.TARGET}


def test_a_few_that_stay_alone_for_long_are_at_fault_themselves() -> None:
    refused = Refused(Evidence(), FEW_RECORDS)
    assert refused.again(10.0 + PATIENCE_SECONDS - 1) is Blame.UNDECIDED
    assert refused.again(10.0 + PATIENCE_SECONDS) is Blame.RECORDS


def test_a_request_that_is_refused_as_a_whole_is_about_a_record_only_with_a_witness() -> None:
    evidence = Evidence()
    refused = Refused(evidence, whole=True)
    assert refused.again(1e9) is Blame.UNDECIDED
    evidence.was_taken(evidence.begin())
    assert refused.again(1e9) is Blame.RECORDS


def test_the_target_is_to_blame_at_once_for_many_and_for_few_after_some_tries_or_while_nothing_goes_through() -> None:
    assert Refused(Evidence(), FEW_RECORDS + 1).first is Blame.TARGET
    few = Refused(Evidence())
    rulings = [few.first, *(few.again(11.0) for _ in range(TRIES - 1))]
    assert rulings == [Blame.UNDECIDED] * (TRIES - 1) + [Blame.TARGET]
    assert Refused(Evidence()).again(11.0, others_taken=False) is Blame.TARGET


def test_what_is_taken_ends_the_count_of_the_refused() -> None:
    evidence = Evidence()
    Refused(evidence, 500)
    evidence.was_taken(evidence.begin())
    assert Refused(evidence).first is Blame.UNDECIDED


def test_what_the_target_refuses_while_it_takes_others_is_held_and_said_after_a_while() -> None:
    evidence = Evidence()
    refused = Refused(evidence, status=503)
    assert refused.first is Blame.TARGET
    evidence.was_taken(evidence.begin())
    assert refused.again(10.0 + STUCK_SECONDS - 1) is Blame.UNDECIDED
    assert refused.again(10.0 + STUCK_SECONDS) is Blame.PART


def test_a_record_over_which_the_server_fails_for_long_is_given_up_only_when_it_takes_others() -> None:
    evidence = Evidence()
    refused = Refused(evidence, status=500)
    assert refused.again(1e9) is Blame.TARGET
    evidence.was_taken(evidence.begin())
    assert refused.again(10.0 + POISON_SECONDS - 1) is Blame.PART
    assert refused.again(10.0 + POISON_SECONDS) is Blame.RECORDS
