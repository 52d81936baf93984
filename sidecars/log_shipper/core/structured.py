"""Lines that carry structure: JSON objects (`parse: json`) and the CRI log format (`parse: cri`).

A line that does not parse is shipped whole as `message` and counted; nothing is refused here.
"""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from .documents import Encoded, Template, encode, merged, texts_of
from .lines import Taken

_CRI = re.compile(rb"(\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:\d\d)) (stdout|stderr) ([FP](?::\S*)?) ?(.*)", re.DOTALL)
"""Time, stream, tag, content, as the kubelet's CRI logs have them. The tag's first letter says full or partial; more
tags may follow, separated by colons."""
_DEPTH = 100
"""Deeper objects are shipped as text; Elasticsearch maps no more than 20 levels unless told to."""
_NESTING = re.compile(r'"(?:[^"\\\\]|\\\\.)*"|[{}\[\]]')
"""Strings (skipped) and what opens and closes."""
_OURS = ("log", "kubernetes")
"""Objects that hold fields of ours: a scalar of that name would be a mapping conflict, so it moves to `labels`."""
_DATE = re.compile(r"\d{4}(?:-\d\d(?:-\d\d(?:T\S+)?)?)?|-?\d+")
"""What Elasticsearch takes for a date by default (strict_date_optional_time, epoch_millis), roughly: a data stream
refuses a document with any other `@timestamp`, so another one moves to `labels` too.
"""


class _Record(msgspec.Struct):
    """Lines (by index) that make one record, with the record's own time and stream where it has them."""

    indices: list[int]
    time: str = ""
    stream: str = ""


def json_documents(template: Template, taken: Taken, timestamp: str) -> Encoded:
    """Each line that is a JSON object gives its fields to the document; its `@timestamp` wins over ours."""
    texts, invalid = texts_of(taken)
    result = Encoded([], taken.spans, invalid)
    for index, text in enumerate(texts):
        document = None if index in taken.cut else _json_object(text)
        if document is None:
            result.unparsed_lines += 1
            document = {"message": text}
        result.texts.append(_record(template, taken, index, {"@timestamp": timestamp, **document}))
    return result


def cri_documents(template: Template, taken: Taken, timestamp: str) -> Encoded:
    """Each whole CRI record becomes a document: its time is `@timestamp`, its partial lines are joined.

    The caller leaves unfinished records for the next read (`whole_records`), or passes them when no more will come.
    """
    matches = [_CRI.fullmatch(line) for line in taken.lines]
    records = _cri_records(matches)
    contents = [
        b"".join(_content(matches[index], taken.lines[index]) for index in record.indices) for record in records
    ]
    joined = Taken(
        lines=contents,
        starts=[taken.starts[record.indices[0]] for record in records],
        spans=[sum(taken.spans[index] for index in record.indices) for record in records],
        consumed=taken.consumed,
        cut=frozenset(number for number, record in enumerate(records) if not taken.cut.isdisjoint(record.indices)),
    )
    texts, invalid = texts_of(joined)
    result = Encoded([], joined.spans, invalid, sum(1 for record in records if not record.time))
    for number, (record, text) in enumerate(zip(records, texts, strict=True)):
        document: dict[str, Any] = {"@timestamp": record.time or timestamp, "message": text}
        if record.stream:
            document["stream"] = record.stream
        result.texts.append(_record(template, joined, number, document))
    return result


def whole_records(lines: Sequence[bytes]) -> int:
    """How many of the first lines hold only whole CRI records. The rest must wait for more: a record that began before
    an unfinished one of the other stream may end behind its beginning.
    """
    waiting: set[bytes] = set()
    whole = 0
    for index, line in enumerate(lines):
        match = _CRI.fullmatch(line)
        if match is not None:
            (waiting.discard if match[3].startswith(b"F") else waiting.add)(match[2])
        if not waiting:
            whole = index + 1
    return whole


def _cri_records(matches: Sequence[re.Match[bytes] | None]) -> list[_Record]:
    """Group lines into records, in the order in which the records begin; partial lines are joined by stream."""
    records: list[_Record] = []
    unfinished: dict[bytes, _Record] = {}
    for index, match in enumerate(matches):
        if match is None:
            records.append(_Record([index]))
            continue
        record = unfinished.pop(match[2], None)
        if record is None:
            record = _Record([], match[1].decode(), match[2].decode())
            records.append(record)
        record.indices.append(index)
        if match[3].startswith(b"P"):
            unfinished[match[2]] = record
    return records


def _content(match: re.Match[bytes] | None, line: bytes) -> bytes:
    return line if match is None else match[4]


def _json_object(text: str) -> dict[str, Any] | None:
    """The object that `text` is, with names that clash with ours out of the way; None when it is no JSON object."""
    if not text.lstrip().startswith("{"):
        return None
    if _is_deep(text):
        return None
    try:
        value = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    if isinstance(value.get("log"), str) and "time" in value and "message" not in value:
        # Docker's json-file format: {"log": "text\n", "stream": "stdout", "time": "..."}
        value["message"] = value.pop("log").removesuffix("\n")
        value.setdefault("@timestamp", value.pop("time"))
    aside = [name for name in _OURS if name in value and not isinstance(value[name], dict)]
    if "@timestamp" in value and not _is_date(value["@timestamp"]):
        aside.append("@timestamp")
    if aside:
        labels = value.get("labels", {})
        moved = {name: value.pop(name) for name in aside}
        value["labels"] = {**(labels if isinstance(labels, dict) else {"labels": labels}), **moved}
    return value


def _is_date(value: object) -> bool:
    if isinstance(value, str):
        return _DATE.fullmatch(value) is not None
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_deep(text: str) -> bool:
    """Whether objects and arrays may be nested deeper than _DEPTH; interpreters differ in what they can decode."""
    if text.count("{") + text.count("[") <= _DEPTH:
        return False
    depth = 0
    for mark in _NESTING.findall(text):
        depth += 1 if mark in "{[" else -1 if mark in "}]" else 0
        if depth > _DEPTH:
            return True
    return False


def _record(template: Template, taken: Taken, index: int, document: dict[str, Any]) -> str:
    """Action and document of one record: static fields below, the line's own above, what locates the line on top."""
    place: dict[str, Any] = {"file": template.fields["log"]["file"], "offset": taken.starts[index]}
    if index in taken.cut:
        place["flags"] = ["truncated"]
    whole = merged(merged(template.fields, document), {"log": place})
    return template.action(taken.starts[index], taken.lines[index]) + encode(whole) + "\n"
