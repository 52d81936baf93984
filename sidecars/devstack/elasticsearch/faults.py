"""Scripted faults: what shall go wrong, as a value that can be sent over HTTP, and the dice that decide when.

A fault is a field of `Faults`; several may be set at once. Random ones draw from one generator with a seed, so the same
requests in the same order meet the same faults.
"""

import random
from collections import Counter
from typing import Literal

import msgspec

from .errors import RestError


class ItemRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Refuses bulk items whose source contains `match`; `times` of them, or all when it is null."""

    match: str
    status: int = 400
    type: str = "document_parsing_exception"
    reason: str = "refused by a rule of the stand-in"
    times: int | None = None


class Faults(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Everything that can be made to go wrong. Odds are from 0 to 1 and per request; those of `item_429_odds` and
    `swallow_odds` per item.

    `swallow_odds`: the item is answered as created and not stored, a loss that only a count at the end can see.
    `scope` says which requests the request faults strike: only bulk requests (so a test can still count what arrived),
    or all of them. `blocked` and `down_seconds` always strike all.
    """

    seed: int = 0
    scope: Literal["bulk", "all"] = "bulk"
    item_429_odds: float = 0.0
    swallow_odds: float = 0.0
    item_rules: tuple[ItemRule, ...] = ()
    request_status: int | None = None
    request_times: int | None = None
    max_content_length_bytes: int | None = None
    cut_before_store_odds: float = 0.0
    cut_after_store_odds: float = 0.0
    cut_reply_odds: float = 0.0
    garbage_reply_odds: float = 0.0
    wrong_item_count_odds: float = 0.0
    empty_reply_odds: float = 0.0
    delay_seconds: float = 0.0
    never_answer: bool = False
    blocked: bool = False
    down_seconds: float = 0.0


class Dice:
    """The state of a script of faults: its generator, what is left of the counted ones, what has struck so far."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.struck: Counter[str] = Counter()
        self._random = random.Random(faults.seed)
        self._requests_left = faults.request_times
        self._rules = [(rule.match.encode(), rule) for rule in faults.item_rules]
        self._rules_left = [rule.times for rule in faults.item_rules]

    def strikes(self, name: str) -> bool:
        """Draws for the fault of which `Faults.<name>` holds the odds; counts it when it strikes."""
        odds: float = getattr(self.faults, name)
        if odds <= 0 or self._random.random() >= odds:
            return False
        self.struck[name.removesuffix("_odds")] += 1
        return True

    def request_status(self) -> int | None:
        """The status this whole request shall get, or None; counts down `request_times`."""
        status = self.faults.request_status
        if status is None or self._requests_left == 0:
            return None
        if self._requests_left is not None:
            self._requests_left -= 1
        self.struck[f"request_{status}"] += 1
        return status

    @property
    def has_item_faults(self) -> bool:
        """Whether any item could be refused; lets the bulk path skip the question."""
        return bool(self._rules) or self.faults.item_429_odds > 0 or self.faults.swallow_odds > 0

    def refuse_item(self, source: bytes) -> None:
        """Raises the RestError this bulk item shall end with, if any."""
        for place, (needle, rule) in enumerate(self._rules):
            left = self._rules_left[place]
            if left == 0 or needle not in source:
                continue
            if left is not None:
                self._rules_left[place] = left - 1
            self.struck["item_rule"] += 1
            raise RestError(rule.status, rule.type, rule.reason)
        if self.strikes("item_429_odds"):
            raise overloaded()


def overloaded() -> RestError:
    """The 429 of a full write queue or of indexing pressure."""
    reason = "rejected execution of coordinating operation [coordinating_and_primary_bytes=0, replica_bytes=0]"
    return RestError(429, "es_rejected_execution_exception", reason)


_WHOLE_REQUEST = {
    401: ("security_exception", "unable to authenticate with provided credentials and anonymous access is not allowed"),
    403: ("security_exception", "action [indices:data/write/bulk] is unauthorized for user [devstack]"),
    404: ("index_not_found_exception", "no such index [devstack]"),
    408: ("process_cluster_event_timeout_exception", "failed to process cluster event within 30s"),
    500: ("exception", "internal error"),
    502: ("exception", "bad gateway"),
    503: ("cluster_block_exception", "blocked by: [SERVICE_UNAVAILABLE/1/state not recovered / initialized];"),
    504: ("exception", "gateway timeout"),
}


def whole_request(status: int) -> RestError:
    """The problem a whole request ends with for a status."""
    if status == 429:
        return overloaded()
    kind, reason = _WHOLE_REQUEST.get(status, ("exception", f"status {status} by a fault of the stand-in"))
    return RestError(status, kind, reason)
