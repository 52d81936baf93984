"""Scripted faults: what goes wrong for which requests, as values that can be sent over HTTP."""

import random
import re
from collections import Counter
from typing import Literal

import msgspec

Kind = Literal["status", "hang", "cut", "cut_after", "garbage", "empty", "delay", "redirect", "body"]


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One fault. `match` is a regular expression on `METHOD /v1/path`; `times` counts it down, null is for ever.

    `status`: answered with `status`, `errors` and, when given, `Retry-After`. `hang`: never answered. `cut`: the
    connection ends before the request is carried out; `cut_after`: after it. `garbage` and `empty`: carried out, and
    answered with what is no JSON. `delay`: carried out after `delay_seconds`. `redirect`: 307 to `location`. `body`:
    answered with `body` (any JSON) and `status`.
    """

    kind: Kind
    match: str = ""
    times: int | None = None
    odds: float = 1.0
    status: int = 500
    errors: tuple[str, ...] = ()
    retry_after: str = ""
    delay_seconds: float = 0.0
    location: str = ""
    body: msgspec.Raw = msgspec.Raw(b"{}")


_TEXTS = {
    412: "required index state not present",
    429: 'request path "devstack": rate limit quota exceeded',
    500: "1 error occurred:\n\t* internal error\n\n",
    503: "Vault is sealed",
}


def texts_of(fault: Fault) -> tuple[str, ...]:
    """Return the error texts that a `status` fault answers with."""
    return fault.errors or ((_TEXTS[fault.status],) if fault.status in _TEXTS else ())


class Script:
    """The faults that are set, what is left of the counted ones, and how often each kind struck."""

    def __init__(self, faults: tuple[Fault, ...] = (), seed: int = 0) -> None:
        self.faults = faults
        self.struck: Counter[str] = Counter()
        self._left = [fault.times for fault in faults]
        self._random = random.Random(seed)

    def strike(self, call: str) -> Fault | None:
        """Return the first fault that this request meets, and count it."""
        for place, fault in enumerate(self.faults):
            left = self._left[place]
            if left == 0 or not re.search(fault.match, call) or self._random.random() >= fault.odds:
                continue
            if left is not None:
                self._left[place] = left - 1
            self.struck[fault.kind] += 1
            return fault
        return None
