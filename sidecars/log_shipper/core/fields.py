"""A line's JSON object becomes fields that a search server takes, whatever they are called and whatever they hold.

A server refuses a whole document for one field that it cannot place, and a type that the first document gave to a field
binds all later ones. So here each name gets one spelling (nested), fields of ours keep their type, and what fits
nowhere is moved to `labels`. Nothing is left out: what would lose its meaning is kept as text.
"""

import json
import re
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import Any, TypeAlias

import msgspec

from .timestamps import recognised

Fields: TypeAlias = dict[str, Any]
Path: TypeAlias = tuple[str, ...]
_DECODER = msgspec.json.Decoder(dict[str, Any])
_ENCODER = msgspec.json.Encoder()
_LEVELS = 20
"""Objects and arrays below this level are sent as text; servers map no deeper unless told to."""
_READABLE_LEVELS = 100
"""A line with more levels is no object; interpreters differ in what they can decode."""
_NESTING = re.compile(r'"(?:[^"\\\\]|\\\\.)*"|[{}\[\]]')
"""Strings (skipped) and what opens and closes."""
_NAME_CHARACTERS = 512
"""A line with a longer name is no object: servers use names as index terms, which have a limit."""
_LONG_NUMBER = re.compile(r"\d{1000}")
"""JSON parsers of servers (Jackson) refuse a number of more digits, and the document with it."""
_INTERNAL = frozenset(
    (
        *(
            "_id",
            "_index",
            "_source",
            "_routing",
            "_version",
            "_seq_no",
            "_primary_term",
            "_field_names",
            "_nested_path",
        ),
        *("_ignored", "_ignored_source", "_doc_count", "_data_stream_timestamp", "_index_mode", "_tier", "_size"),
        *("_tsid", "_ts_routing_hash", "_routing_hash", "_inference_fields"),
        *("_tombstone", "__soft_deletes", "_recovery_source", "_recovery_source_size"),
    )
)
"""Names at the top that servers keep to themselves. Most are refused; the rest do harm, as Elasticsearch 9.5 and
OpenSearch 3.9 were seen to: a document with `__soft_deletes` is accepted and cannot be found, one with `_tombstone`
makes all that follow be refused."""
_ABSENT = object()


class FieldPlace(Enum):
    """What stands at a field of ours."""

    VALUE = "a value or a list of values, no object"
    OURS = "our value; what the line says is moved aside"


FieldPlaces: TypeAlias = dict[str, "FieldPlace | FieldPlaces"]
_OURS: FieldPlaces = {
    "message": FieldPlace.VALUE,
    "stream": FieldPlace.VALUE,
    "log": {
        "level": FieldPlace.VALUE,
        "offset": FieldPlace.OURS,
        "flags": FieldPlace.VALUE,
        "original": FieldPlace.VALUE,
        "file": {"path": FieldPlace.OURS},
    },
    "kubernetes": {
        "namespace": FieldPlace.VALUE,
        "node": {"name": FieldPlace.VALUE},
        "pod": {"name": FieldPlace.VALUE, "uid": FieldPlace.VALUE},
        "container": {"name": FieldPlace.VALUE},
    },
    "labels": {},
}
"""The fields of our index template. A server that got one of them as an object once takes no value for it again."""


class MovedFields:
    """What does not fit where the line has it, by its path; ends in `labels`."""

    def __init__(self) -> None:
        self.moved: list[tuple[str, Any]] = []

    def put(self, path: Path, value: Any) -> None:
        """Move a value aside. Values stay as they are; objects and lists become text, so that they never clash with
        each other.
        """
        self.moved.append(("_".join(path), _text(value) if isinstance(value, dict | list) else value))

    def into(self, labels: Any) -> Fields:
        """Return `labels` with all that was moved; a label that is there already keeps its value beside the new one."""
        result = dict(labels) if isinstance(labels, dict) else {}
        for name, value in self.moved:
            while isinstance(result.get(name), dict):
                name += "_"  # noqa: PLW2901 the next name that is free
            result[name] = _both(result[name], value) if name in result else value
        return result


def places(fields: Mapping[str, Any]) -> FieldPlaces:
    """Return what stands where in the documents of an agent with these static `fields`."""
    return _overlaid(_OURS, fields)


def fields_of(text: str, ours: FieldPlaces) -> Fields | None:
    """Return the fields of the JSON object that `text` is; None when it is none that can be sent."""
    openings = text.count("{") + text.count("[")  # there are at most so many levels
    value = _decoded(text, openings)
    if value is None:
        return None
    if "log" in value and isinstance(value["log"], str) and "time" in value and "message" not in value:
        # Docker's json-file format: {"log": "text\n", "stream": "stdout", "time": "..."}
        value["message"] = value.pop("log").removesuffix("\n")
        value.setdefault("@timestamp", value.pop("time"))
    names = list(value) if openings == 1 else _names(value)
    joined = "\n".join(names)
    if len(joined) > _NAME_CHARACTERS and max(map(len, names)) > _NAME_CHARACTERS:
        return None
    aside = MovedFields()
    if not (_is_plain(joined) if len(joined) <= _NAME_CHARACTERS else _is_plain.__wrapped__(joined)):
        value = _tidied(value, (), aside)
        for name in sorted(_INTERNAL & value.keys()):
            aside.put((name,), value.pop(name))
    if openings > _LEVELS:
        value = {name: _bounded(item, 2) for name, item in value.items()}
    _place_time(value, aside)
    _place(value, ours, (), aside)
    if _has_doubles(text, len(names)):
        value["log"] = {**value.get("log", {}), "original": text}
    if aside.moved:
        value["labels"] = aside.into(value.get("labels"))
    return value


def _decoded(text: str, openings: int) -> Fields | None:
    if not text.startswith("{") and not text.lstrip().startswith("{"):
        return None
    if openings > _READABLE_LEVELS and _is_deep(text):
        return None
    if len(text) > 1000 and _LONG_NUMBER.search(text):
        return None
    try:
        return _DECODER.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _is_deep(text: str) -> bool:
    depth = 0
    for mark in _NESTING.findall(text):
        depth += 1 if mark in "{[" else -1 if mark in "}]" else 0
        if depth > _READABLE_LEVELS:
            return True
    return False


def _names(value: Fields) -> list[str]:
    """Return the names of all fields at all levels."""
    names = list(value)
    for item in value.values():
        kind = item.__class__
        if kind is dict or kind is list:
            _add_names(item, names)
    return names


def _add_names(value: Any, names: list[str]) -> None:
    if value.__class__ is dict:
        names += value
        value = value.values()
    for item in value:
        kind = item.__class__
        if kind is dict or kind is list:
            _add_names(item, names)


@lru_cache(256)
def _is_plain(joined: str) -> bool:
    """Return whether names, joined by newlines, need no second look. An app logs the same ones again and again."""
    names = joined.split("\n")
    return "." not in joined and all(map(str.strip, names)) and _INTERNAL.isdisjoint(names)


@lru_cache(1024)
def _spelt(name: str) -> tuple[Path, str]:
    """Return the objects and the field in them that `name` stands for; what is empty becomes `_`."""
    parts = [part if part.strip() else "_" for part in name.split(".")]
    return (tuple(parts[:-1]), parts[-1]) if len(parts) <= _LEVELS else ((), "_".join(parts))


def _tidied(value: Fields, path: Path, aside: MovedFields) -> Fields:
    """Return `value`, which stands at `path`, with dots nested as servers read them: both spellings of a field become
    one. Of an object and a value at the same place the value moves aside; of two values both stay.
    """
    result: Fields = {}
    for name, item in value.items():
        parents, last = _spelt(name)
        kind = item.__class__
        if kind is dict:
            item = _tidied(item, (*path, *parents, last), aside)  # noqa: PLW2901 the same in its one spelling
        elif kind is list:
            item = _tidied_list(item, (*path, *parents, last), aside)  # noqa: PLW2901 likewise
        target = result
        for part in parents:
            target = target.get(part)  # type: ignore[assignment]
            if target.__class__ is not dict:
                target = _made(result, parents, path, aside)
                break
        if last in target:
            _join(target, (*path, *parents, last), item, aside)
        else:
            target[last] = item
    return result


def _made(target: Fields, parents: Path, path: Path, aside: MovedFields) -> Fields:
    """Return the last of `parents`, objects in each other within `target` (at `path`); made where it is missing."""
    for depth, part in enumerate(parents, 1):
        below = target.get(part)
        if below.__class__ is not dict:
            if part in target:
                aside.put((*path, *parents[:depth]), below)
            below = target[part] = {}
        target = below
    return target


def _tidied_list(values: list[Any], path: Path, aside: MovedFields) -> list[Any]:
    result: list[Any] = []
    for item in values:
        if isinstance(item, dict):
            result.append(_tidied(item, path, aside))
        else:
            result.append(_tidied_list(item, path, aside) if isinstance(item, list) else item)
    return result


def _join(target: Fields, path: Path, value: Any, aside: MovedFields) -> None:
    """Join `value` with what the last name of `path` has in `target` already."""
    name = path[-1]
    present = target[name]
    if isinstance(present, dict) and isinstance(value, dict):
        for inner, item in value.items():
            if inner in present:
                _join(present, (*path, inner), item, aside)
            else:
                present[inner] = item
    elif isinstance(present, dict):
        aside.put(path, value)
    elif isinstance(value, dict):
        aside.put(path, present)
        target[name] = value
    else:
        target[name] = _both(present, value)


def _both(one: Any, other: Any) -> Any:
    """Return two values of one field: servers hold a list of them as they hold one."""
    if one == other and one.__class__ is other.__class__:
        return one
    return [*(one if isinstance(one, list) else [one]), *(other if isinstance(other, list) else [other])]


def _bounded(value: Any, level: int) -> Any:
    """Return `value`, which stands at `level`, with what is too deep as text."""
    if not isinstance(value, dict | list):
        return value
    if level > _LEVELS:
        return _text(value)
    if isinstance(value, list):
        return [_bounded(item, level + 1) for item in value]
    return {name: _bounded(item, level + 1) for name, item in value.items()}


def _place_time(value: Fields, aside: MovedFields) -> None:
    if "@timestamp" in value:
        said = value["@timestamp"]
        time = recognised(said)
        if time is not None:
            value["@timestamp"] = time
        else:
            del value["@timestamp"]
            aside.put(("@timestamp",), said)


def _place(value: Fields, ours: FieldPlaces, path: Path, aside: MovedFields) -> None:
    """Move aside what is not of the kind that its place has in our documents."""
    for name, place in ours.items():
        item = value.get(name, _ABSENT)
        if item is _ABSENT or (place is FieldPlace.VALUE and item.__class__ is str):
            continue
        if isinstance(place, dict) and isinstance(item, dict):
            _place(item, place, (*path, name), aside)
        elif place is not FieldPlace.VALUE or _holds_object(item):
            aside.put((*path, name), value.pop(name))


def _holds_object(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(map(_holds_object, value)))


def _has_doubles(text: str, names: int) -> bool:
    """Return whether one object has a name twice: decoding keeps the last value only. Where there are as many names as
    ends of names in the text (a quote and a colon, the quote not escaped) there is none, and nothing has to be parsed.
    """
    ends = text.count('":') - text.count('\\":')
    if ends == names or (ends < names and ends + text.count('" :') - text.count('\\" :') == names):
        return False
    found = False

    def look(pairs: list[tuple[str, Any]]) -> None:
        nonlocal found
        found = found or len({name for name, _ in pairs}) != len(pairs)

    try:
        json.loads(text, object_pairs_hook=look)
    except (ValueError, RecursionError):
        return False
    return found


def _overlaid(ours: FieldPlaces, fields: Mapping[str, Any]) -> FieldPlaces:
    result = dict(ours)
    for name, value in fields.items():
        if isinstance(value, Mapping):
            below = ours.get(name)
            result[name] = _overlaid(below if isinstance(below, dict) else {}, value)
        else:
            result.setdefault(name, FieldPlace.VALUE)
    return result


def _text(value: Any) -> str:
    return _ENCODER.encode(value).decode()
