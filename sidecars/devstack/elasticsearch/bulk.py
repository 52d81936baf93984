"""The bulk request: NDJSON in, one result per item out.

Quick on purpose (a document costs a few microseconds): a load test of a shipper must not measure its stand-in. Sources
are parsed once, to check them as the real server does, and kept as bytes.
"""

import json
from collections import Counter
from typing import Any

import msgspec

from . import filter_path
from .errors import JsonObject, RestError, bad_request
from .faults import Dice
from .store import Index, Store

_ACTIONS = ("create", "delete", "index", "update")
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_DIGITS = 1000
"""The longest number that the real server's parser takes."""
_SHARDS = {"total": 2, "successful": 1, "failed": 0}


class Action(msgspec.Struct, frozen=True):
    """An action line: what to do, where, under which id (None: the server chooses)."""

    name: str
    target: str
    id: str | None
    require_data_stream: bool


class BulkResult(msgspec.Struct, frozen=True):
    """The outcome of a bulk request: the reply's text, and how many items had which HTTP status."""

    reply: bytes
    statuses: Counter[int]
    targets: Counter[str]


class BulkRequest(msgspec.Struct, frozen=True):
    """A bulk request without HTTP: `target` is the default index from the path."""

    body: bytes
    target: str | None = None
    filter_path: str | None = None
    require_data_stream: bool = False


def parse(request: BulkRequest) -> list[tuple[Action, bytes]]:
    """Splits the body into (action, source) pairs; `source` is empty for a delete.

    Raises: RestError 400 for the whole request, as the real server does for anything wrong with an action line.
    """
    if not request.body:
        raise bad_request("request body is required", "parse_exception")
    if not request.body.endswith(b"\n"):
        raise bad_request("The bulk request must be terminated by a newline [\\n]")
    pairs: list[tuple[Action, bytes]] = []
    known: dict[bytes, Action] = {}
    lines = iter(request.body.split(b"\n")[:-1])
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        action = known.get(line)
        if action is None:
            action = _action(line, number, request)
            if action.id is None:
                known[line] = action
        if action.name == "delete":
            pairs.append((action, b""))
        elif (source := next(lines, None)) is not None:  # the real server, too, drops an action without its source
            pairs.append((action, source))
    if not pairs:
        raise bad_request("Validation Failed: 1: no requests added;", "action_request_validation_exception")
    return pairs


def _action(line: bytes, number: int, request: BulkRequest) -> Action:
    try:
        entry = _decode(line)
    except msgspec.DecodeError as error:
        kind = "x_content_e_o_f_exception" if "truncated" in str(error) else "x_content_parse_exception"
        raise bad_request(f"[1:1] {error}", kind) from None
    if not isinstance(entry, dict) or len(entry) != 1:
        raise bad_request(f"Malformed action/metadata line [{number}], expected START_OBJECT or one field")
    ((name, meta),) = entry.items()
    if name not in _ACTIONS:
        reason = f"expected field [create], [delete], [index] or [update] but found [{name}]"
        raise bad_request(f"Malformed action/metadata line [{number}], {reason}")
    if not isinstance(meta, dict):
        raise bad_request(
            f"Malformed action/metadata line [{number}], expected START_OBJECT or END_OBJECT but found [VALUE_STRING]"
        )
    target = meta.get("_index", request.target)
    if target is None:
        reason = f"Validation Failed: {number}: index is missing;"
        raise bad_request(reason, "action_request_validation_exception")
    document_id = meta.get("_id")
    required = bool(meta.get("require_data_stream", request.require_data_stream))
    return Action(name, target, None if document_id is None else str(document_id), required)


class BulkRun:
    """Carries out one bulk request on the store, item by item."""

    def __init__(self, store: Store, dice: Dice) -> None:
        self._store = store
        self._dice = dice if dice.has_item_faults else None
        self._writable: dict[tuple[str, bool], Index] = {}

    def execute(self, request: BulkRequest) -> BulkResult:
        """Stores what can be stored. Raises: RestError when the request as a whole is refused."""
        pairs = parse(request)
        keep, drop = filter_path.parse(request.filter_path or "")
        statuses: Counter[int] = Counter()
        targets: Counter[str] = Counter()
        items: list[Any] = []
        constant = _constant_success(keep, drop)
        errors = False
        for action, source in pairs:
            targets[action.target] += 1
            try:
                status, result = self._perform(action, source)
            except RestError as problem:
                errors = True
                status = problem.status
                items.append({action.name: self._failure(action, len(items), problem)})
            else:
                fixed = constant.get((action.name, status))
                items.append(fixed if fixed is not None else {action.name: result})
            statuses[status] += 1
        reply = {"errors": errors, "took": 1, "items": items}
        filtered = _filtered(reply, keep, drop) if keep or drop else reply
        return BulkResult(_encode(filtered), statuses, targets)

    def _failure(self, action: Action, position: int, problem: RestError) -> JsonObject:
        index = self._writable.get((action.target, action.name == "create"))
        name = index.name if index is not None else action.target
        document_id = action.id if action.id is not None else f"auto-refused-{position}"
        return {"_index": name, "_id": document_id, "status": problem.status, "error": problem.cause()}

    def _perform(self, action: Action, source: bytes) -> tuple[int, JsonObject]:
        if self._dice is not None:
            self._dice.refuse_item(source)
        if action.name == "delete":
            return self._delete(action)
        if action.name == "update":
            raise bad_request("cannot update: the stand-in knows create, index and delete only")
        create = action.name == "create"
        index = self._index_for(action, create=create)
        documents = index.documents
        document_id = action.id
        if document_id is None:
            document_id = _new_id(index)
        elif create and document_id in documents:
            version = documents.version(document_id)
            reason = f"[{document_id}]: version conflict, document already exists (current version [{version}])"
            raise RestError(409, "version_conflict_engine_exception", reason, {"index": index.name, "shard": "0"})
        _check(index, document_id, source)
        if self._dice is not None and self._dice.strikes("swallow_odds"):  # the lie that a count at the end must notice
            return 201, _success(index.name, document_id, (0, 1), (201, "created"))
        sequence, version = documents.put(document_id, source)
        status, word = (201, "created") if version == 1 else (200, "updated")
        return status, _success(index.name, document_id, (sequence, version), (status, word))

    def _index_for(self, action: Action, *, create: bool) -> Index:
        key = (action.target, create)
        index = self._writable.get(key)
        if index is None:
            required = action.require_data_stream
            index = self._store.for_writing(action.target, create=create, require_data_stream=required)
            if not required:
                self._writable[key] = index
        return index

    def _delete(self, action: Action) -> tuple[int, JsonObject]:
        index = self._index_for(action, create=False)
        found = action.id is not None and index.documents.remove(action.id)
        status, word = (200, "deleted") if found else (404, "not_found")
        return status, _success(index.name, action.id or "", (0, 1), (status, word))


def _check(index: Index, document_id: str, source: bytes) -> None:
    if not source.strip():
        raise bad_request("[0:0] failed to parse, document is empty", "document_parsing_exception")
    try:
        document = _decode(source)
    except msgspec.DecodeError as error:
        raise bad_request(f"[1:1] failed to parse: {error}", "document_parsing_exception") from None
    if not isinstance(document, dict):
        raise bad_request("Malformed content, must start with an object", "document_parsing_exception")
    if index.data_stream is not None and document.get("@timestamp") is None:
        missing = "data stream timestamp field [@timestamp] is missing"
        cause = {"caused_by": {"type": "illegal_argument_exception", "reason": missing}}
        raise RestError(400, "document_parsing_exception", f"[1:1] failed to parse: {missing}", cause)
    names = index.mapping.admit(document, document_id)
    if source.count(b'":') - source.count(b'\\":') != names or len(source) > _DIGITS:
        _check_closely(source)


def _check_closely(source: bytes) -> None:
    """What our own decoder lets pass and the real server's does not: a name given twice, a number of many digits."""
    try:
        json.loads(source, object_pairs_hook=_once, parse_int=_short, parse_float=_short)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"[1:1] failed to parse: {error}", "document_parsing_exception") from None


def _once(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise ValueError(f"Duplicate field '{name}'")
        seen.add(name)


def _short(digits: str) -> None:
    if len(digits) > _DIGITS:
        raise ValueError(f"Number value length ({len(digits)}) exceeds the maximum allowed ({_DIGITS})")


def _new_id(index: Index) -> str:
    return f"auto-{index.documents.generation[0]:015x}"


def _success(index: str, document_id: str, numbers: tuple[int, int], outcome: tuple[int, str]) -> JsonObject:
    return {
        "_index": index,
        "_id": document_id,
        "_version": numbers[1],
        "result": outcome[1],
        "_shards": _SHARDS,
        "_seq_no": numbers[0],
        "_primary_term": 1,
        "status": outcome[0],
    }


def _constant_success(keep: filter_path.Patterns, drop: filter_path.Patterns) -> dict[tuple[str, int], msgspec.Raw]:
    """Items that look the same for every document under this filter, encoded once."""
    if not keep or drop:
        return {}
    constant: dict[tuple[str, int], msgspec.Raw] = {}
    for name, outcome in (("create", (201, "created")), ("index", (201, "created"))):
        one, other = ({"items": [{name: _success(c, c, (ord(c), ord(c)), outcome)}]} for c in "ab")
        kept = filter_path.apply(one, keep, drop)
        if kept and kept == filter_path.apply(other, keep, drop):
            constant[(name, 201)] = msgspec.Raw(_encode(kept["items"][0]))
    return constant


def _filtered(reply: JsonObject, keep: filter_path.Patterns, drop: filter_path.Patterns) -> JsonObject:
    """`filter_path.apply` on a reply of which some items are already in their final form."""
    items = []
    for item in reply["items"]:
        if isinstance(item, msgspec.Raw):
            items.append(item)
            continue
        kept = filter_path.apply({"items": [item]}, keep, drop)
        items += kept.get("items", [])
    filtered: JsonObject = filter_path.apply({"errors": reply["errors"], "took": reply["took"]}, keep, drop)
    return filtered | ({"items": items} if items else {})
