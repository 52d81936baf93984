"""Whether a refusal that may mean the record or the target means the record.

Elasticsearch has statuses and types that stand for both. What tells them apart is the company: when others are taken,
it is the record; when nothing is taken, it is the target, and holding is the safer side, since nothing is lost by it.
Only a few records that stay alone for long count as spoilt without a witness, so that they do not block the rest.
"""

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from .bulk import Judgement
from .diagnosis import Diagnosis, of_records, of_refusal

FEW_RECORDS = 3
"""So few may become dead letters without a witness."""
PATIENCE_SECONDS = 120.0
"""After so long."""
POISON_SECONDS = 300.0
"""A record that the server fails over for so long, while it takes others, is given up."""
TRIES = 6
"""Few records that are refused so often: the target is to blame, which is said. It takes a second or two."""
STUCK_SECONDS = 10.0
"""When records of a batch have not been taken for so long while others were, that is said."""


class FirstRefusal(msgspec.Struct, frozen=True):
    """When records were refused for the first time: the number of the last request that had begun, and the time."""

    request: int
    at: float


@dataclass(slots=True, eq=False)
class BatchHistory:
    """What is known of one batch while it is delivered."""

    first_refusal: FirstRefusal | None = None
    """When nothing of what was left of it was taken for the first time."""
    taken_in_part: bool = False
    tries: int = 0
    """Refusals for unclear reasons."""


class Blame(StrEnum):
    """Whose fault it is that no record of a request was taken."""

    RECORDS = "records"
    """They are dead letters."""
    TARGET = "target"
    """Nothing goes through: the circuit opens."""
    PART = "part"
    """The target takes others, and has refused these for long: they are held, and that is said."""
    UNDECIDED = "undecided"
    """They are sent again."""


class Ruling(msgspec.Struct, frozen=True):
    """Whose fault it is; the judgement, in which every record is now rejected or to be sent again; and, where the
    target is to blame, why.
    """

    blame: Blame
    judgement: Judgement
    diagnosis: Diagnosis | None = None


class Evidence:
    """What is known of the target's willingness, over all requests. `now` is in seconds of any steady clock."""

    def __init__(self) -> None:
        self._begun = 0
        self._witness = 0
        self._refused = 0

    def begin(self) -> int:
        """Note that a request goes out, and return its number."""
        self._begun += 1
        return self._begun

    def was_taken(self, request: int) -> None:
        """Note that the target took a record of this request, or refused it for a fault that is clearly the
        record's.
        """
        self._witness = max(self._witness, request)
        self._refused = 0

    def suspect(self, batch: BatchHistory, records: int, now: float) -> FirstRefusal:
        """Note that so many records of a batch were refused for what may be their own fault. Return when the first ones
        were.
        """
        if batch.first_refusal is None:
            batch.first_refusal = FirstRefusal(self._begun, now)
            self._refused += records
        return batch.first_refusal

    def rule(
        self, batch: BatchHistory, judgement: Judgement, records: int, now: float, *, others_taken: bool
    ) -> Ruling:
        """Decide whose fault it is that none of so many records of a request was taken. `others_taken`: requests go
        through at present, as far as known (the circuit is closed).
        """
        if judgement.unclear:
            return self._rule_unclear(batch, judgement, records, now, others_taken=others_taken)
        first = batch.first_refusal = batch.first_refusal or FirstRefusal(self._begun, now)
        if judgement.broke and self._was_taken_since(first) and now - first.at >= POISON_SECONDS:
            kept = {index: why for index, why in judgement.retry.items() if index not in judgement.broke}
            rejected = msgspec.structs.replace(judgement, rejected=judgement.broke, retry=kept)
            return Ruling(Blame.RECORDS, rejected)
        if not (batch.taken_in_part or self._was_taken_since(first)):
            return Ruling(Blame.TARGET, judgement, of_records(judgement))
        if now - first.at >= STUCK_SECONDS:
            return Ruling(Blame.PART, judgement, of_records(judgement))
        return Ruling(Blame.UNDECIDED, judgement)

    def _rule_unclear(
        self, batch: BatchHistory, judgement: Judgement, records: int, now: float, *, others_taken: bool
    ) -> Ruling:
        first = self.suspect(batch, records, now)
        if self._is_about_record(first, now, needs_witness=judgement.whole):
            return Ruling(Blame.RECORDS, msgspec.structs.replace(judgement, rejected=judgement.unclear, unclear={}))
        batch.tries += 1
        retry = judgement.retry | dict.fromkeys(judgement.unclear, "unclear")
        held = msgspec.structs.replace(judgement, retry=retry, unclear={})
        if others_taken and self._refused <= FEW_RECORDS and batch.tries < TRIES:
            return Ruling(Blame.UNDECIDED, held)
        said = next(iter(judgement.unclear.values()))
        return Ruling(Blame.TARGET, held, of_refusal("unclear", said, judgement.url))

    def _is_about_record(self, first: FirstRefusal, now: float, *, needs_witness: bool) -> bool:
        """Return whether records that have been refused for unclear reasons since then, and are again, are at fault.
        `needs_witness`: the whole request is refused, which is seldom for the sake of a record.
        """
        if self._was_taken_since(first) or needs_witness:
            return self._was_taken_since(first)
        return self._refused <= FEW_RECORDS and now - first.at >= PATIENCE_SECONDS

    def _was_taken_since(self, first: FirstRefusal) -> bool:
        """Return whether others are taken. A request that was under way already at the refusal says nothing: the target
        may have changed since it was taken.
        """
        return self._witness > first.request
