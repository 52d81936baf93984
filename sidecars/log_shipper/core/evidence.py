"""Whether a refusal that may mean the record or the target means the record.

Elasticsearch has statuses and types that stand for both. What tells them apart is the company: when others are taken,
it is the record; when nothing is taken, it is the target, and holding is the safer side, since nothing is lost by it.
Only a few records that stay alone for long count as spoilt without a witness, so that they do not block the rest.
"""

import msgspec

FEW_RECORDS = 3
"""So few may become dead letters without a witness."""
PATIENCE_SECONDS = 120.0
"""After so long."""
POISON_SECONDS = 300.0
"""A record that the server fails over for so long, while it takes others, is given up."""
TRIES = 6
"""Few records that are refused so often are called trouble, which is said; it takes a second or two."""


class FirstRefusal(msgspec.Struct, frozen=True):
    """When records were refused for the first time: the number of the last request that had begun, and the time."""

    request: int
    at: float


class Evidence:
    """What is known of the target's willingness, over all requests. `now` is in seconds of any steady clock."""

    def __init__(self) -> None:
        self._begun = 0
        self._witness = 0
        self._refused = 0

    def begin(self) -> int:
        """A request goes out; its number."""
        self._begun += 1
        return self._begun

    def was_taken(self, request: int) -> None:
        """The target took a record of this request, or refused it for a fault that is clearly the record's."""
        self._witness = max(self._witness, request)
        self._refused = 0

    def mark(self, now: float) -> FirstRefusal:
        """The present state, to remember with records of which none was taken."""
        return FirstRefusal(self._begun, now)

    def refused(self, records: int) -> None:
        """So many more records were refused for unclear reasons."""
        self._refused += records

    def was_taken_since(self, mark: FirstRefusal) -> bool:
        """Whether others are taken. A request that was under way already at the mark says nothing: the target may have
        changed since it was taken.
        """
        return self._witness > mark.request

    def is_about_record(self, mark: FirstRefusal, now: float, *, needs_witness: bool = False) -> bool:
        """Whether records that have been refused for unclear reasons since `mark`, and are again, are at fault.
        `needs_witness`: whole requests are refused, which is seldom for the sake of a record.
        """
        if self.was_taken_since(mark) or needs_witness:
            return self.was_taken_since(mark)
        return self._refused <= FEW_RECORDS and now - mark.at >= PATIENCE_SECONDS

    def is_poison(self, mark: FirstRefusal, now: float) -> bool:
        """Whether records that the server has failed over since `mark` (status 500, an error within it) are at fault:
        when others are taken all the time.
        """
        return self.was_taken_since(mark) and now - mark.at >= POISON_SECONDS

    def is_trouble(self, tries: int) -> bool:
        """Whether it is time to call it trouble of the target: at once for many records, for few after some tries."""
        return self._refused > FEW_RECORDS or tries >= TRIES
