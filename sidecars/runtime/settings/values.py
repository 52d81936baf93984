"""From texts to typed values: how a variable, flag or YAML value becomes what the setting's declaration asks for.
Pure. Structures, which have a place for each part, are read in structures.py.

Exists because people write `1MiB`, `500ms`, `yes` and `a,b`, while the sidecar wants numbers and tuples, and because
an error has to say what was expected in the reader's words and not in a library's. YAML in addition turns words into
other things (`NO` is false, `1.10` is 1.1, `01234` is 668, `12:30` is 750), while a setting that is a text means what
stands in the file: a value from there comes with how and where it was written.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import msgspec.inspect as inspected

from .fields import Field, Secret, SettingKind

T = TypeVar("T")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(?:([kKMGT])(i?))?B?", re.ASCII)
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)\s*(ms|s|m|h|d)?", re.ASCII)
_DURATIONS = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d)\s*){2,}", re.ASCII)  # 1m30s
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}\s*$", re.ASCII)
_OPEN_QUERY = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*://[^?#]*[?#]", re.ASCII)
_KEY = re.compile(r"""\s*[^\s=;:"'?&<>(){}\[\]]+\s*=""")
_NUMBERS = {SettingKind.INTEGER, SettingKind.FLOAT, SettingKind.SIZE, SettingKind.DURATION}
_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class Written:
    """A plain scalar that YAML takes for a number, a boolean or a date: `text` as it stands in the file."""

    text: str
    value: object


class Pairs(dict[str, object]):
    """A mapping, its keys as they stand in the file; `lines` says where, as far as that is worth knowing."""

    lines: dict[str, int]


class Items(list[object]):
    """A list; `lines` as above, by index."""

    lines: dict[int, int]


def line_of(whole: object, part: object) -> int:
    """Return the line of a part of a mapping or list; 0 when it is not known."""
    found = getattr(whole, "lines", {}).get(part, 0)
    return found if isinstance(found, int) else 0


class WrongPart(ValueError):
    """A part of pairs or of a list cannot be used: `part` is the key or the index. Shows no value: a header may hold a
    token.
    """

    def __init__(self, part: str | int, message: str, remedy: str) -> None:
        super().__init__(message)
        self.part, self.message, self.remedy = part, message, remedy

    @property
    def place(self) -> str:
        """The part as it is appended to the name of the setting."""
        if isinstance(self.part, int):
            return f"[{self.part}]"
        return f".{self.part}" if self.part.isprintable() and len(self.part) <= 80 else ""


def parse(field: Field, raw: object) -> object:
    """Turn a text, or a value from YAML, into the setting's value. Raise ValueError when it is not one (the text says
    nothing about `raw`), WrongPart when only a part is not. A tuple holds the texts of a flag that was given several
    times.
    """
    if not isinstance(raw, Written):
        return _parse(field, raw)
    try:
        return _parse(field, raw.text)  # as in a variable
    except ValueError:
        if field.kind not in _NUMBERS or ":" in raw.text:  # 12:30 would be 750
            raise
    return _parse(field, raw.value)  # 0x10, 1_000


def _parse(field: Field, raw: object) -> object:
    value = _TEXTS[field.kind](raw) if isinstance(raw, str) else _plain(field.kind, raw)
    if isinstance(field.core, inspected.IntType) and isinstance(value, float):
        value = _whole(value)
    if isinstance(value, Secret):
        return value
    try:
        return msgspec.convert(value, field.annotation)
    except msgspec.ValidationError:
        raise ValueError(field.expected) from None


def _plain(kind: SettingKind, raw: object) -> object:
    """Turn a YAML value that is not a text into the kind's plain form."""
    if kind is SettingKind.LIST and isinstance(raw, tuple):
        return tuple(item for text in raw for item in _list(text))
    if kind is SettingKind.LIST and isinstance(raw, list):
        return tuple(_item(item, index) for index, item in enumerate(raw))
    if kind is SettingKind.MAPPING and isinstance(raw, tuple):
        return {key: value for text in raw for key, value in _mapping(text).items()}
    if kind is SettingKind.MAPPING and isinstance(raw, dict):
        return {str(key): _item(value, str(key)) for key, value in raw.items()}
    if kind is SettingKind.BOOLEAN and isinstance(raw, bool):
        return raw
    if kind in _NUMBERS and _is_number(raw):
        return raw
    raise ValueError("not this kind of value")


def _item(raw: object, part: str | int) -> str:
    """Turn a value in a list or in pairs into text, as it stands in the file."""
    if isinstance(raw, str):
        return raw
    if isinstance(raw, Written):
        return raw.text
    if isinstance(raw, bool) or _is_number(raw):
        return str(raw).lower()
    if raw is None:
        raise WrongPart(part, "it has no value", 'give it one, "" for an empty text')
    raise WrongPart(part, "it is not a text", "write a text there, in quotes if need be")


def _is_number(raw: object) -> bool:
    if isinstance(raw, float):
        return math.isfinite(raw)
    return isinstance(raw, int) and not isinstance(raw, bool)


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
    """Read `90`, `1.5s`, `2m`, `1m30s`."""
    text = text.strip()
    one = _DURATION.fullmatch(text)
    if not one and not _DURATIONS.fullmatch(text):
        raise ValueError("not a time")
    parts = [one] if one else _DURATION.finditer(text)
    return _finite(sum(float(part[1]) * _SECONDS[part[2] or "s"] for part in parts))


def is_boolean(text: str) -> bool:
    """Return whether the text is a yes or a no."""
    return text.strip().lower() in _BOOLEANS


def _boolean(text: str) -> bool:
    try:
        return _BOOLEANS[text.strip().lower()]
    except KeyError:
        raise ValueError("not a yes or no") from None


def _list(text: str) -> tuple[str, ...]:
    """Read JSON, or items between commas and newlines. A comma in the query of an address belongs to it, unless an
    address follows (`http://a/?status=200,204,tcp://b:1` are two).
    """
    if text.lstrip().startswith("["):
        try:
            return tuple(_item(_decoded(raw), index) for index, raw in enumerate(_json(text, list[msgspec.Raw])))
        except ValueError:
            if re.match(r"\s*\[\s*[\"\]]", text):  # a glob may begin with a bracket too: [0-9]*.log
                raise
    lines, whole = _lines(text)
    parts = lines if whole else [part for line in lines for part in _split(line, _goes_on)]
    return tuple(item for part in parts if (item := part.strip()))


def _mapping(text: str) -> dict[str, str]:
    """Read JSON, or `key=value` between commas and newlines. A comma that no `key=` follows belongs to the value
    (`Accept=a,b`).
    """
    if text.lstrip().startswith("{"):
        return {key: _item(_decoded(raw), key) for key, raw in _json(text, dict[str, msgspec.Raw]).items()}
    lines, whole = _lines(text)
    found: dict[str, str] = {}
    parts = (
        lines if whole else [part for line in lines for part in _split(line, lambda _, next_: not _KEY.match(next_))]
    )
    for part in parts:
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not key:
            raise ValueError("not pairs")
        if key in found:
            raise WrongPart(key, "it is given twice", "keep one of them")
        found[key] = value
    return found


def _lines(text: str) -> tuple[list[str], bool]:
    """Return the lines that are not empty; with True when they are the items of a YAML list, which are whole."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    if not lines or not all(line.startswith("- ") for line in lines):
        return lines, False
    items = [line[2:].strip() for line in lines]
    return [item[1:-1] if item[0] in "\"'" and item[0] == item[-1] and len(item) > 1 else item for item in items], True


def _split(line: str, goes_on: Callable[[str, str], bool]) -> list[str]:
    """Split at commas, but where what follows goes on with the item before. Empty parts are left out."""
    parts: list[str] = []
    for piece in line.split(","):
        if not piece.strip():
            continue
        if parts and goes_on(parts[-1], piece):
            parts[-1] += f",{piece}"
        else:
            parts.append(piece)
    return parts


def _goes_on(item: str, following: str) -> bool:
    return bool(_OPEN_QUERY.match(item)) and not following[0].isspace() and not _ADDRESS.match(following)


def _decoded(raw: msgspec.Raw) -> object:
    """Return a JSON value; a number or a boolean as it stands there."""
    text = bytes(raw).decode()
    if text[:1] in {'"', "[", "{", "n"}:
        return _json(text, object)
    return Written(text, None)


def _json(text: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("not JSON") from None


_TEXTS: dict[SettingKind, Callable[[str], object]] = {
    SettingKind.INTEGER: _integer,
    SettingKind.FLOAT: _float,
    SettingKind.SIZE: _size,
    SettingKind.DURATION: _duration,
    SettingKind.BOOLEAN: _boolean,
    SettingKind.TEXT: str,
    SettingKind.CHOICE: str.strip,
    SettingKind.LIST: _list,
    SettingKind.MAPPING: _mapping,
    SettingKind.SECRET: Secret,
}
