"""From texts to typed values: how a variable, flag or YAML value becomes what the setting's declaration asks for.
Pure. Structures, which have a place for each part, are read in structures.py.

Exists because people write `1MiB`, `500ms`, `yes` and `a,b`, while the sidecar wants numbers and tuples, and because
an error has to say what was expected in the reader's words and not in a library's.
"""

import math
import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import msgspec.inspect as inspected

from sidecars.runtime.fields import Field, Kind, Secret

T = TypeVar("T")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(?:([kKMGT])(i?))?B?", re.ASCII)
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)\s*(ms|s|m|h|d)?", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def parse(field: Field, raw: object) -> object:
    """Turn a text, or a value from YAML, into the setting's value. Raise ValueError when it is not one (the text says
    nothing about `raw`). A tuple holds the texts of a flag that was given several times.
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
    if kind is Kind.LIST and isinstance(raw, tuple):
        return tuple(item for text in raw for item in _list(text))
    if kind is Kind.LIST and isinstance(raw, list):
        return tuple(_item(item) for item in raw)
    if kind is Kind.MAPPING and isinstance(raw, tuple):
        return {key: value for text in raw for key, value in _mapping(text).items()}
    if kind is Kind.MAPPING and isinstance(raw, dict):
        return _pairs(raw)
    if kind is Kind.BOOLEAN and isinstance(raw, bool):
        return raw
    numeric = kind in {Kind.INTEGER, Kind.FLOAT, Kind.SIZE, Kind.DURATION}
    if numeric and _is_number(raw):
        return raw
    raise ValueError("not this kind of value")


def _item(raw: object) -> str:
    """Turn an item of a list into text; a number is one (`[200, 204]`), a boolean is not: `yes` and `on` are two of
    those in YAML, and were meant as words.
    """
    if isinstance(raw, str):
        return raw
    if not _is_number(raw):
        raise ValueError("not a text or a number")
    return str(raw)


def _is_number(raw: object) -> bool:
    if isinstance(raw, float):
        return math.isfinite(raw)
    return isinstance(raw, int) and not isinstance(raw, bool)


def _pairs(raw: dict[Any, Any]) -> dict[str, str]:
    return {str(key): str(value).lower() if isinstance(value, bool) else _item(value) for key, value in raw.items()}


def _whole(value: float) -> int:
    if not value.is_integer():
        raise ValueError("not a whole number")
    return int(value)


def _integer(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text.strip()):
        raise ValueError("not a whole number")
    return int(text)


def _float(text: str) -> float:
    return _finite(float(text))


def _finite(value: float) -> float:
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
    return _finite(float(match[1]) * _SECONDS[match[2] or "s"])


def is_boolean(text: str) -> bool:
    """Whether the text is a yes or a no."""
    return text.strip().lower() in _BOOLEANS


def _boolean(text: str) -> bool:
    try:
        return _BOOLEANS[text.strip().lower()]
    except KeyError:
        raise ValueError("not a yes or no") from None


def _list(text: str) -> tuple[str, ...]:
    if re.match(r"\s*\[\s*[\"\]]", text):  # a glob may begin with a bracket too: [0-9]*.log
        return tuple(_item(item) for item in _json(text, list))
    return tuple(item for part in text.split(",") if (item := part.strip()))


def _mapping(text: str) -> dict[str, str]:
    if text.lstrip().startswith("{"):
        return _pairs(_json(text, dict))
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    found = {key.strip(): value.strip() for key, equals, value in pairs if equals and key.strip()}
    if len(found) != len(pairs):
        raise ValueError("not pairs")
    return found


def _json(text: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("not JSON") from None


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
