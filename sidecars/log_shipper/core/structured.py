"""Lines that carry structure: JSON objects (`parse: json`) and the CRI log format (`parse: cri`).

A line that does not parse is shipped whole as `message` and counted; nothing is refused here.
"""

import re
from typing import Any

import msgspec

from .documents import Encoded, Template, encode, merged, texts_of
from .joining import CRI
from .lines import Taken, flags_of

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
    """Each CRI record becomes a document, its time `@timestamp`. The parts of long lines are joined already."""
    matches = [CRI.fullmatch(line) for line in taken.lines]
    contents = [line if match is None else match[4] or b"" for match, line in zip(matches, taken.lines, strict=True)]
    content = msgspec.structs.replace(taken, lines=contents)
    texts, invalid = texts_of(content)
    result = Encoded([], taken.spans, invalid, sum(1 for match in matches if match is None))
    for index, (match, text) in enumerate(zip(matches, texts, strict=True)):
        document: dict[str, Any] = {"@timestamp": timestamp, "message": text}
        if match is not None:
            document["@timestamp"], document["stream"] = match[1].decode(), match[2].decode()
        result.texts.append(_record(template, content, index, document))
    return result


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
    if flags := flags_of(taken, index):
        place["flags"] = flags
    whole = merged(merged(template.fields, document), {"log": place})
    return template.action(taken.starts[index], taken.lines[index]) + encode(whole) + "\n"
