"""Lines become bulk actions and documents in the Elastic Common Schema.

Speed is decided here. All that is the same for every line of a file is prepared once in a `Template`; the
lines of a block are escaped by one call of the JSON encoder for the whole block and spliced into it, so no
dict and no encoder call is paid per line.
"""

from collections.abc import Mapping
from typing import Any
from zlib import crc32

import msgspec

from .fields import places
from .lines import Taken, flags_of

_JSON = msgspec.json.Encoder()
_AMBIGUOUS = '\\","'
"""An escaped quote, a comma and a quote: where splitting the encoded list of lines at `","` could go wrong."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Encoded(msgspec.Struct):
    """Documents ready for a bulk body.

    `texts`: one for each record: its action line (if any) and its document, both newline-terminated.
    `spans`: bytes of the file each record stands for. The counters say what had to be repaired on the way.
    """

    texts: list[str]
    spans: list[int]
    invalid_utf8_lines: int = 0
    unparsed_lines: int = 0


class Shape(msgspec.Struct, frozen=True):
    """What every document of this agent has in common.

    `fields`: nested object of pod fields and static fields, part of each document. `action`: whether a bulk
    action line stands before each document. `with_id`: whether that action carries an id of ours.
    """

    fields: dict[str, Any]
    action: bool = True
    with_id: bool = True


class Template:
    """The unchanging text around the lines of one file."""

    __slots__ = (
        "_after_id",
        "_before_id",
        "_log",
        "_log_names",
        "_message",
        "_offset",
        "_place",
        "_rest",
        "_rest_names",
        "_shape",
        "_tail",
        "fields",
        "overhead_bytes",
        "places",
    )

    def __init__(self, shape: Shape, path: str, prefix: str) -> None:
        self._shape = shape
        self.fields = merged(shape.fields, {"log": {"file": {"path": printable(path)}}})
        self.places = places(shape.fields)
        rest = {key: value for key, value in self.fields.items() if key != "log"}
        if not shape.action:
            self._before_id, close = "", ""
        elif shape.with_id:
            self._before_id, close = '{"create":{"_id":"' + prefix, '"}}\n'
        else:
            self._before_id, close = '{"create":{}}\n', ""
        self._after_id = close + '{"@timestamp":"'
        self._log_names = frozenset(("flags", *self.fields["log"]))
        self._log = ',"log":' + encode(self.fields["log"])[:-1] + ',"offset":'
        self._place = encode(self.fields["log"])[1:-1] + ',"offset":'
        self._offset = '"' + self._log
        self._message = '},"message":"'
        self._rest_names = frozenset(rest)
        self._rest = "}\n" if not rest else "," + encode(rest)[1:-1] + "}\n"
        self._tail = '"' + self._rest
        fixed = (self._before_id, self._after_id, self._offset, self._message, self._tail)
        self.overhead_bytes = sum(map(len, fixed)) + 60

    def plain(self, taken: Taken, timestamp: str) -> Encoded:
        """Return each line as the `message` of a document; `timestamp` is RFC 3339 text."""
        pieces, invalid = _escaped_texts_of(taken)
        before, middle, message, tail = (
            self._before_id,
            self._after_id + timestamp + self._offset,
            self._message,
            self._tail,
        )
        if self._shape.action and self._shape.with_id:
            texts = [
                f"{before}{start:x}-{crc32(line):x}{middle}{start}{message}{piece}{tail}"
                for start, line, piece in zip(taken.starts, taken.lines, pieces, strict=True)
            ]
        else:
            head = before + middle
            texts = [f"{head}{start}{message}{piece}{tail}" for start, piece in zip(taken.starts, pieces, strict=True)]
        for index in taken.cut:
            texts[index] = texts[index].replace('"log":{', '"log":{"flags":["truncated"],', 1)
        return Encoded(texts, taken.spans, invalid)

    def record(self, taken: Taken, index: int, document: dict[str, Any], timestamp: str) -> str:
        """Return action and document of one record: our fields below, those of `document` above, what locates the line
        on top.

        What all records share is not encoded again, unless the document has fields of such a name. `timestamp` stands
        in for an `@timestamp` that the document does not have.
        """
        start = taken.starts[index]
        said = document.pop("log", None)
        rest = self._rest
        if not document.keys().isdisjoint(self._rest_names):
            document = merged({name: self.fields[name] for name in self._rest_names}, document)
            rest = "}\n"
        flags = flags_of(taken, index) if taken.cut or taken.partial else None
        if said is None and not flags:
            log = f"{self._log}{start}"
        elif said and not flags and said.keys().isdisjoint(self._log_names):
            log = f',"log":{encode(said)[:-1]},{self._place}{start}'
        else:
            place = {**self.fields["log"], "offset": start}
            if flags:
                place["flags"] = flags
            log = ',"log":' + encode(merged(said or {}, place))[:-1]
        if "@timestamp" not in document:
            document["@timestamp"] = timestamp
        return f"{self.action(start, taken.lines[index])}{encode(document)[:-1]}{log}}}{rest}"

    def action(self, start: int, line: bytes) -> str:
        """Return the bulk action line for a record at offset `start`, or nothing where the output has no actions."""
        if not self._shape.action:
            return ""
        if not self._shape.with_id:
            return self._before_id
        return f'{self._before_id}{start:x}-{crc32(line):x}"}}}}\n'


def texts_of(taken: Taken) -> tuple[list[str], int]:
    """Return the lines as text and how many of them held invalid UTF-8 (each bad sequence replaced by U+FFFD).

    A carriage return before the newline and a byte order mark at the start of a file are not part of the text.
    """
    lines = taken.lines
    if not lines:
        return [], 0
    if taken.starts[0] == 0 and lines[0].startswith(BYTE_ORDER_MARK):
        lines = [lines[0][len(BYTE_ORDER_MARK) :], *lines[1:]]
    invalid = 0
    try:
        texts = b"\n".join(lines).decode().split("\n")
    except UnicodeDecodeError:
        decoded = [_decoded(line) for line in lines]
        texts = [text for text, _ in decoded]
        invalid = sum(1 for _, repaired in decoded if repaired)
    if any(text.endswith("\r") for text in texts):
        texts = [text.removesuffix("\r") for text in texts]
    return texts, invalid


def _decoded(line: bytes) -> tuple[str, bool]:
    """Return the text of one line and whether invalid bytes had to be replaced."""
    try:
        return line.decode(), False
    except UnicodeDecodeError:
        return line.decode("utf-8", "replace"), True


def printable(path: str) -> str:
    """Return a file name as text that can be sent: bytes that are not UTF-8 (lone surrogates, PEP 383) are replaced."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def encode(value: object) -> str:
    """Return compact JSON text."""
    return _JSON.encode(value).decode()


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `over` laid upon it, objects merged key by key; `over` wins where both have a value."""
    result = dict(base)
    for key, value in over.items():
        present = result.get(key)
        result[key] = merged(present, value) if isinstance(present, dict) and isinstance(value, dict) else value
    return result


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Nest dotted names: `{"service.name": "a"}` becomes `{"service": {"name": "a"}}`, so one document never has both
    spellings.
    """
    result: dict[str, Any] = {}
    for name, value in flat.items():
        branch = value
        for part in reversed(name.split(".")):
            branch = {part: branch}
        result = merged(result, branch)
    return result


def _escaped_texts_of(taken: Taken) -> tuple[list[str], int]:
    """Return `texts_of` as JSON string bodies. Where nothing has to be repaired and there is no backslash, the lines
    are escaped as one string, in which a backslash before an `n` can only be a newline: no text is made for each line.
    """
    whole = b"\n".join(taken.lines)
    if whole and b"\\" not in whole and b"\r" not in whole and BYTE_ORDER_MARK not in whole:
        try:
            return encode(whole.decode())[1:-1].split("\\n"), 0
        except UnicodeDecodeError:
            pass  # texts_of repairs it, line by line
    texts, invalid = texts_of(taken)
    return _escaped(texts), invalid


def _escaped(texts: list[str]) -> list[str]:
    """Return the JSON string bodies of `texts`: one encoder call for all, split again where that is unambiguous."""
    if not texts:
        return []
    encoded = encode(texts)
    if _AMBIGUOUS not in encoded:
        return encoded[2:-2].split('","')
    return [encode(text)[1:-1] for text in texts]
