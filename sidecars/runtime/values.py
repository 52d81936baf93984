"""From texts to typed values: how a variable, flag or YAML value becomes what the setting's declaration asks for.
Pure.

Exists because people write `1MiB`, `500ms`, `yes` and `a,b`, while the sidecar wants numbers and tuples, and because
an error has to say what was expected in the reader's words and not in a library's.
"""

import json
import math
import re
from collections.abc import Callable
from typing import Any

import msgspec
import msgspec.inspect as inspected

from sidecars.runtime.fields import Field, Kind, Secret

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(?:([kKMGT])(i?))?B?", re.ASCII)
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)\s*(ms|s|m|h|d)?", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def parse(field: Field, raw: object) -> object:
    """Turn a text, or a value from YAML, into the setting's value. Raise ValueError when it is not one (the text says
    nothing about `raw`).
    """
    value = _TEXTS[field.kind](raw) if isinstance(raw, str) else _plain(field.kind, raw)
    if isinstance(field.core, inspected.IntType) and isinstance(value, float):
        value = _whole(value)
    if isinstance(value, Secret):
        return value
    try:
        return msgspec.convert(value, field.annotation)
    except msgspec.ValidationError:
        raise ValueError(field.expected) from None


def _plain(kind: Kind, raw: object) -> object:
    """Turn a YAML value that is not a text into the kind's plain form."""
    if kind is Kind.LIST and isinstance(raw, list) and all(isinstance(item, str) for item in raw):
        return tuple(raw)
    if kind is Kind.MAPPING and isinstance(raw, dict):
        return _pairs(raw)
    if kind is Kind.BOOLEAN and isinstance(raw, bool):
        return raw
    numeric = kind in {Kind.INTEGER, Kind.FLOAT, Kind.SIZE, Kind.DURATION}
    if numeric and isinstance(raw, int | float) and not isinstance(raw, bool) and math.isfinite(raw):
        return raw
    raise ValueError("not this kind of value")


def _pairs(raw: dict[Any, Any]) -> dict[str, str]:
    if not all(isinstance(value, str | int | float | bool) for value in raw.values()):
        raise ValueError("a value that is not a scalar")
    return {str(key): value if isinstance(value, str) else json.dumps(value) for key, value in raw.items()}


def _whole(value: float) -> int:
    if not value.is_integer():
        raise ValueError("not a whole number")
    return int(value)


def _integer(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text.strip()):
        raise ValueError("not a whole number")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("not a finite number")
    return value


def _size(text: str) -> int:
    """Read `1048576`, `1MiB`, `1Mi`, `10MB`, `2k`: powers of 1024 with an i, else of 1000, as Kubernetes quantities
    do.
    """
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise ValueError("not a size")
    number, unit, binary = match.groups()
    power = "kMGT".index(unit.replace("K", "k")) + 1 if unit else 0
    factor: int = (1024 if binary else 1000) ** power
    return int(number) * factor if number.isdigit() else _whole(float(number) * factor)


def _duration(text: str) -> float:
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise ValueError("not a time")
    return _float(match[1]) * _SECONDS[match[2] or "s"]


def _boolean(text: str) -> bool:
    try:
        return _BOOLEANS[text.strip().lower()]
    except KeyError:
        raise ValueError("not a yes or no") from None


def _list(text: str) -> tuple[str, ...]:
    return tuple(item for part in text.split(",") if (item := part.strip()))


def _mapping(text: str) -> dict[str, str]:
    if text.lstrip().startswith("{"):
        return _pairs(json.loads(text))
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    found = {key.strip(): value.strip() for key, equals, value in pairs if equals and key.strip()}
    if len(found) != len(pairs):
        raise ValueError("not pairs")
    return found


_TEXTS: dict[Kind, Callable[[str], object]] = {
    Kind.INTEGER: _integer,
    Kind.FLOAT: _float,
    Kind.SIZE: _size,
    Kind.DURATION: _duration,
    Kind.BOOLEAN: _boolean,
    Kind.TEXT: str,
    Kind.CHOICE: str.strip,
    Kind.LIST: _list,
    Kind.MAPPING: _mapping,
    Kind.SECRET: Secret,
}
