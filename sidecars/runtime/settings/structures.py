"""Read one setting, also one that has parts: a Struct, or a list of Structs, nested as deep as they are declared.

Exists so that a part is read like a setting of its own: the same texts are understood (`10s`, `1MiB`), and every
problem is reported at once with its place (`steps[1].webhook.url`), what was expected and what to write.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from sidecars.runtime.errors import Problem, SettingsError, unknown

from .fields import Field, Secret, SettingKind, fields_of
from .values import Items, Pairs, Written, WrongPart, line_of, parse

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*")
_NAMES = {Pairs: "mapping", Items: "list"}
_SHOWN_BITS = 256  # a whole number that is longer is not shown (and from 4300 digits on, Python would refuse to)


@dataclass(frozen=True)
class SettingPlace:
    """Where a value stands: the path of its setting, and where it was given; `line` 0 when that is not known."""

    path: str
    source: str
    line: int = 0

    def below(self, part: str, line: int) -> "SettingPlace":
        """Return the place of a part."""
        return SettingPlace(self.path + part, self.source, line or self.line)

    @property
    def described(self) -> str:
        """The source for people."""
        return f"{self.source}, line {self.line}" if self.line else self.source


def read_setting(field: Field, raw: object, source: str, line: int = 0) -> object:
    """Return the value of a setting. What has parts may be given as a YAML text. Raise SettingsError with every problem
    in it.
    """
    at = SettingPlace(field.name, source, line)
    if field.struct and isinstance(raw, str):
        from .yaml import read_yaml  # PyYAML costs 1 MiB and more, only for those who need it

        raw = read_yaml(raw, field.name, source)
    elif isinstance(raw, str):
        raw = raw.strip("\r\n")  # many a value from a Secret ends with a newline
    return _read(field, raw, at)


def _read(field: Field, raw: object, at: SettingPlace) -> object:
    if field.kind is SettingKind.STRUCTURES and isinstance(raw, list):
        return _list(field.item, raw, at)
    if field.kind is SettingKind.STRUCTURE and isinstance(raw, dict) and field.struct:
        return _structure(field.struct, raw, at)
    if field.is_switch and field.struct and _is_true(raw):
        return field.struct()
    try:
        if not field.struct:
            return _without_nul(parse(field, raw), at)
    except WrongPart as error:
        part = at.below(error.place, line_of(raw, error.part))
        raise SettingsError([Problem(part.path, error.message, error.remedy, part.described)]) from None
    except ValueError:
        pass  # reported below, as a value of the wrong shape is
    raise SettingsError([Problem(at.path, field.expected, field.remedy, at.described, _shown(field, raw))])


def _is_true(raw: object) -> bool:
    return raw is True or (isinstance(raw, Written) and raw.value is True)


def _list(item: Field, raw: list[Any], at: SettingPlace) -> tuple[object, ...]:
    values: list[object] = []
    problems: list[Problem] = []
    for number, part in enumerate(raw):
        try:
            values.append(_read(item, part, at.below(f"[{number}]", line_of(raw, number))))
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems)
    return tuple(values)


def _structure(struct: type[msgspec.Struct], raw: dict[Any, Any], at: SettingPlace) -> msgspec.Struct:
    fields = fields_of(struct)
    known = [field.name for field in fields]
    problems = [
        unknown(str(key), "key", known, at.below("", line_of(raw, key)).described, f"{at.path}.")
        for key in raw
        if key not in known
    ]
    values: dict[str, object] = {}
    for field in fields:
        place = at.below(f".{field.name}", line_of(raw, field.name))
        if raw.get(field.name) is not None:
            try:
                values[field.name] = _read(field, raw[field.name], place)
            except SettingsError as error:
                problems += error.problems
        elif field.default is msgspec.NODEFAULT:
            problems.append(missing(field, place.path, place.described))
    if problems:
        raise SettingsError(problems)
    return struct(**values)


def missing(field: Field, path: str, source: str = "") -> Problem:
    """Return the problem of a required field that was not given."""
    return Problem(path, f"it is not set: {field.expected}", field.remedy, source)


def _shown(field: Field, raw: object) -> str:
    """Return a value for an error message: quoted, short, without secrets and without the user part of a URL."""
    if field.kind is SettingKind.SECRET:
        return "***"
    written = isinstance(raw, Written)  # a number or the like, so no pairs with a token in them
    raw = raw.text if isinstance(raw, Written) else raw
    if isinstance(raw, dict | list | tuple | set | bytes):
        return f"a {_NAMES.get(type(raw), type(raw).__name__)}"  # somebody may have put anything below the wrong key
    # Pairs and structures: headers written as one text would show a token.
    if isinstance(raw, str) and not written and (field.struct or field.kind is SettingKind.MAPPING):
        return "a text"
    if isinstance(raw, int) and raw.bit_length() > _SHOWN_BITS:
        return "a huge number"
    text = _without_user(str(raw))
    return f'"{text[:80]}..."' if len(text) > 80 else f'"{text}"'


def _without_user(text: str) -> str:
    """Return a text without all that may be the user part of a URL: a password can hold any character, an @ and a
    slash too, and the scheme may be missing.
    """
    user, at, rest = text.rpartition("@")
    scheme, colon, _ = user.partition("://")
    kept = f"{scheme}{colon}" if colon and _SCHEME.fullmatch(scheme) else ""
    return f"{kept}***@{rest}" if at else text


def _without_nul(value: object, at: SettingPlace) -> object:
    """Return the value. Raise SettingsError when a text in it holds a NUL: no path, argument or header can."""
    if any("\0" in text for text in _texts(value)):
        raise SettingsError([Problem(at.path, "it holds a NUL", "remove it", at.described)])
    return value


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Secret):
        yield value.reveal()
    elif isinstance(value, dict):
        yield from _texts((*value, *value.values()))
    elif isinstance(value, tuple):
        for item in value:
            yield from _texts(item)
