"""`filter_path`: the reply with only the wanted fields, by Elasticsearch's rules.

It matters for a shipper that asks for `items.*.error` only: objects and lists that end up empty vanish from the reply,
so items without a status would no longer line up with the lines that were sent. The stand-in shows the same trap.
"""

from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

Patterns = tuple[tuple[str, ...], ...]
ABSENT: Any = object()


def parse(text: str) -> tuple[Patterns, Patterns]:
    """Splits `a.*.b,-c` into the patterns to keep and the patterns to leave out."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    keep = tuple(tuple(name.split(".")) for name in names if not name.startswith("-"))
    drop = tuple(tuple(name[1:].split(".")) for name in names if name.startswith("-"))
    return keep, drop


def apply(value: Any, keep: Patterns, drop: Patterns) -> Any:
    """The filtered value; an object of which nothing is left is `{}` at the top."""
    kept = _keep(value, keep) if keep else value
    left = _drop(kept, drop) if drop and kept is not ABSENT else kept
    return {} if left is ABSENT else left


@lru_cache(maxsize=4096)
def _advance(patterns: Patterns, key: str) -> Patterns:
    """What is left to match below `key`; an empty tuple among the results means "all of it"."""
    rest: list[tuple[str, ...]] = []
    for pattern in patterns:
        head, tail = pattern[0], pattern[1:]
        if head == "**":
            rest.append(pattern)
            if tail:
                rest.extend(_advance((tail,), key))
            else:
                rest.append(())
        elif fnmatchcase(key, head):
            rest.append(tail)
    return tuple(rest)


def _keep(value: Any, patterns: Patterns) -> Any:
    if isinstance(value, list):
        items = [kept for item in value if (kept := _keep(item, patterns)) is not ABSENT]
        return items or ABSENT
    if not isinstance(value, dict):
        return ABSENT
    out: dict[str, Any] = {}
    for key, child in value.items():
        rest = _advance(patterns, key)
        kept = child if () in rest else _keep(child, rest) if rest else ABSENT
        if kept is not ABSENT:
            out[key] = kept
    return out or ABSENT


def _drop(value: Any, patterns: Patterns) -> Any:
    if isinstance(value, list):
        items = [left for item in value if (left := _drop(item, patterns)) is not ABSENT]
        return items or ABSENT
    if not isinstance(value, dict):
        return value
    out: dict[str, Any] = {}
    for key, child in value.items():
        rest = _advance(patterns, key)
        left = ABSENT if () in rest else _drop(child, rest) if rest else child
        if left is not ABSENT:
            out[key] = left
    return out or ABSENT
