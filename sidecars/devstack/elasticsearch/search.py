"""Search and count over the store: which documents, in which order, and the reply in Elasticsearch's shape.

The last sorted result is kept, so that reading a million documents page by page with `search_after` sorts them once.
"""

import asyncio
from typing import Any

import msgspec

from .documents import Document
from .errors import JsonObject, bad_request
from .fields import sortable, values_of
from .query import Predicate, compile_query
from .store import Index, Store

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode
_WINDOW = 10_000
_BREATH = 2_000
_DEFAULT_TRACKED = 10_000

Key = tuple[Any, ...]
Found = tuple[Key, Index, int]


class _Descending:
    """Reverses the order of one value inside a sort key."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __lt__(self, other: "_Descending") -> bool:
        return bool(other.value < self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descending) and bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash(self.value)


class SortField(msgspec.Struct, frozen=True):
    """One field to sort by."""

    field: str
    descending: bool

    def key(self, value: Any) -> Any:
        """The place of a value in this order; missing values come last."""
        place = (1, (0, 0)) if value is None else (0, sortable(value))
        return (place[0], _Descending(place[1])) if self.descending else place


class Searcher:
    """Answers `_search` and `_count`; remembers the last result for its next page."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last: tuple[bytes, list[Found]] | None = None

    async def count(self, target: str, body: JsonObject) -> int:
        """How many documents fit."""
        query = body.get("query") or {"match_all": {}}
        if set(query) == {"match_all"}:
            return sum(len(index.documents) for index in self._store.matching(target))
        return len(await self._found(target, query, []))

    async def search(self, target: str, body: JsonObject) -> JsonObject:
        """The reply of `_search`. Raises: RestError 400 for a window over 10,000 or an unknown query."""
        size, start = int(body.get("size", 10)), int(body.get("from", 0))
        if size + start > _WINDOW:
            bound = f"from + size must be less than or equal to: [{_WINDOW}] but was [{size + start}]"
            reason = f"Result window is too large, {bound}"
            raise bad_request(reason)
        fields = _sort_fields(body.get("sort", []))
        found = await self._found(target, body.get("query") or {"match_all": {}}, fields)
        if (after := body.get("search_after")) is not None:
            start = _after(found, tuple(field.key(value) for field, value in zip(fields, after, strict=True)))
        hits = [self._hit(item, fields, body.get("_source", True)) for item in found[start : start + size]]
        return _reply(
            len(found), hits, body.get("track_total_hits", _DEFAULT_TRACKED), len(self._store.matching(target))
        )

    async def _found(self, target: str, query: JsonObject, fields: list[SortField]) -> list[Found]:
        indices = self._store.matching(target)
        state = [(index.name, index.documents.generation) for index in indices]
        question = _encode([state, query, fields])
        if self._last is not None and self._last[0] == question:
            return self._last[1]
        found: list[Found] = []
        for index in indices:
            fits = None if set(query) == {"match_all"} else compile_query(query, index.mapping)
            found += await _scan(index, fits, fields)
        if fields:
            found.sort(key=lambda item: item[0])
        self._last = (question, found)
        return found

    def _hit(self, found: Found, fields: list[SortField], source: Any) -> JsonObject:
        _, index, ordinal = found
        document = index.documents.at(ordinal)
        hit: JsonObject = {"_index": index.name, "_id": document.id, "_score": None if fields else 1.0}
        if source is not False:
            hit["_source"] = msgspec.Raw(document.source) if source is True else _selected(document, source)
        if fields:
            parsed = _decode(document.source)
            hit["sort"] = [_sort_value(parsed, field.field, ordinal) for field in fields]
        return hit


async def _scan(index: Index, fits: Predicate | None, fields: list[SortField]) -> list[Found]:
    documents = index.documents
    if fits is None and all(field.field == "_doc" for field in fields):
        return [(tuple(field.key(ordinal) for field in fields), index, ordinal) for ordinal in documents.live()]
    found: list[Found] = []
    for ordinal in documents.live():
        if ordinal % _BREATH == 0:
            await asyncio.sleep(0)  # a long search must not hold up bulk requests
        document = documents.at(ordinal)
        parsed = _decode(document.source)
        if fits is None or fits({**parsed, "_id": document.id}):
            key = tuple(field.key(_sort_value(parsed, field.field, ordinal)) for field in fields)
            found.append((key, index, ordinal))
    return found


def _sort_value(parsed: JsonObject, field: str, ordinal: int) -> Any:
    if field in ("_doc", "_shard_doc", "_seq_no"):
        return ordinal
    values = values_of(parsed, field.removesuffix(".keyword"))
    if not values:
        return None
    number = sortable(values[0])
    return int(number[1]) if isinstance(values[0], str) and number[0] == 0 else values[0]


def _sort_fields(sort: Any) -> list[SortField]:
    fields: list[SortField] = []
    for entry in [sort] if isinstance(sort, str | dict) else sort:
        if isinstance(entry, str):
            name, _, order = entry.partition(":")
            fields.append(SortField(name, order == "desc"))
            continue
        for name, option in entry.items():
            order = option if isinstance(option, str) else option.get("order", "asc")
            fields.append(SortField(name, order == "desc"))
    return [field for field in fields if field.field != "_score"]


def _after(found: list[Found], key: Key) -> int:
    low, high = 0, len(found)
    while low < high:
        middle = (low + high) // 2
        if key < found[middle][0]:
            high = middle
        else:
            low = middle + 1
    return low


def _selected(document: Document, source: Any) -> JsonObject:
    names = source.get("includes", []) if isinstance(source, dict) else [source] if isinstance(source, str) else source
    parsed = _decode(document.source)
    selected: JsonObject = {}
    for name in names:
        if name in parsed:
            selected[name] = parsed[name]
        elif values := values_of(parsed, name):
            target = selected
            *parents, leaf = name.split(".")
            for parent in parents:
                target = target.setdefault(parent, {})
            target[leaf] = values[0] if len(values) == 1 else values
    return selected


def _reply(total: int, hits: list[JsonObject], track: Any, shards: int) -> JsonObject:
    limit = total if track is True else _DEFAULT_TRACKED if track is False else int(track)
    relation = "eq" if total <= limit else "gte"
    inner: JsonObject = {"total": {"value": min(total, limit), "relation": relation}} if track is not False else {}
    inner["max_score"] = 1.0 if hits and hits[0]["_score"] else None
    inner["hits"] = hits
    summary = {"total": shards, "successful": shards, "skipped": 0, "failed": 0}
    return {"took": 1, "timed_out": False, "_shards": summary, "hits": inner}
