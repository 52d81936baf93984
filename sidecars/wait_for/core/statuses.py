"""Sets of HTTP statuses as people write them: `200`, `2xx`, `200-299`, `200,204`."""

import re

_ITEM = re.compile(r"([1-5])xx|([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?", re.IGNORECASE)


def parse_statuses(text: str) -> frozenset[int]:
    """Return the statuses. Raise ValueError naming the part that is none."""
    found: set[int] = set()
    for part in text.split(","):
        match = _ITEM.fullmatch(part.strip())
        if not match:
            raise ValueError(f"{part.strip()!r} is no HTTP status")
        hundreds, first, last = match.groups()
        low, high = (int(hundreds) * 100, int(hundreds) * 100 + 99) if hundreds else (int(first), int(last or first))
        if low > high:
            raise ValueError(f"the range {part.strip()!r} runs backwards")
        found.update(range(low, high + 1))
    return frozenset(found)
