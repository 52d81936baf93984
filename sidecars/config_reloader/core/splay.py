"""How long this pod waits before it tells its app, so that not all replicas reload at once. Pure.

Replicas of a StatefulSet have numbers, and multiples of the golden ratio spread any count of them evenly (the additive
recurrence with the lowest discrepancy: Knuth, TAOCP 3, 6.4); other names can only be spread by chance, by their hash.
"""

import hashlib
import re

_GOLDEN = 0.6180339887498949
_ORDINAL = re.compile(r"(.*)-([0-9]{1,9})")


def splay_seconds(pod: str, span_seconds: float) -> float:
    """Return the wait of this pod, from 0 up to `span_seconds`; the same pod always gets the same."""
    if match := _ORDINAL.fullmatch(pod):
        return (_fraction(match[1]) + int(match[2]) * _GOLDEN) % 1.0 * span_seconds
    return _fraction(pod) * span_seconds


def _fraction(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode(errors="surrogateescape")).digest()[:8], "big") / 2**64
