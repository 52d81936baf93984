"""In which order addresses are tried: families take turns (RFC 8305, 4), so that a dead IPv6 costs one stagger."""

from collections.abc import Sequence

STAGGER_SECONDS = 0.25
"""The next address is tried so long after the last one, or at once when that failed (RFC 8305, 5)."""

Place = tuple[str, int]
"""An address, and a port."""


def interleaved(places: Sequence[Place]) -> tuple[Place, ...]:
    """Return the places with IPv6 and IPv4 in turns, beginning with the family of the first; else in their order."""
    sixes = [place for place in places if ":" in place[0]]
    fours = [place for place in places if ":" not in place[0]]
    first, second = (sixes, fours) if places and ":" in places[0][0] else (fours, sixes)
    ordered: list[Place] = []
    for number in range(max(len(first), len(second))):
        ordered += first[number : number + 1] + second[number : number + 1]
    return tuple(dict.fromkeys(ordered))
