"""Whether a value at a status URL advanced: how it is taken from the answer, and what counts as an advance.

An app that answers "reloaded" may still run on its former configuration; a value of its own says what it runs on.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping

from sidecars.kit.http_match import json_path, json_value

from .steps import Confirm

Value = int | float | str
"""A number (a metric, a JSON number), else text."""

_METRIC = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)[ \t]*(\{.*\})?", re.ASCII)
_LABEL = re.compile(r'[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\]|\\.)*)"[ \t]*,?[ \t]*', re.ASCII)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def extract(step: Confirm, body: bytes) -> Value:
    """Return the value that `metric`, `json` or `text` names. Raises ValueError, with words, when it is not there; the
    words hold nothing of the body.
    """
    if step.metric:
        return _metric(step.metric, body.decode(errors="replace"))
    if step.json:
        return _json(step.json, body)
    return _text(step.text, body.decode(errors="replace"))


def advanced(before: Value | None, after: Value | None, equals: str = "") -> bool:
    """Return whether the app took the content, judged by the value before it was notified and the one now (None: there
    is none). `equals`, filled in, decides alone when it is given.
    """
    if after is None:
        return False
    if equals:
        return _same(after, equals)
    if isinstance(before, int | float) and isinstance(after, int | float):
        return after > before
    return after != before


def faults(step: Confirm) -> Iterator[tuple[str, str, str]]:
    """Yield (field, message, remedy) for what can never work, beyond a missing value and a bad `text`."""
    if step.interval_seconds >= step.timeout_seconds:
        yield "interval_seconds", "there would be one request only", "make it shorter than timeout_seconds"
    try:
        _wanted(step.metric or "up")
    except ValueError as error:
        yield "metric", str(error), 'write a name, or name{label="value"}'
    try:
        json_path(step.json)
    except ValueError as error:
        yield "json", str(error), 'write a path such as status.items[0].version or status["key.with.dots"]'


def _same(value: Value, equals: str) -> bool:
    """Return whether the value as text equals the other; numbers count by what they are worth (`1.0` is `1`)."""
    if str(value) == equals:
        return True
    try:
        return not isinstance(value, str) and value == float(equals)
    except ValueError:
        return False


def _metric(metric: str, text: str) -> float:
    """Return the sum of the series that have the labels. Text format 0.0.4 and OpenMetrics: after name and labels comes
    the value, then perhaps a timestamp and an exemplar.
    """
    name, labels = _wanted(metric)
    values = []
    for line in re.finditer(rf"^[ \t]*{name}(?=[ \t{{])[ \t]*(.*)$", text, re.MULTILINE):
        try:
            found, rest = _labels(line[1]) if line[1].startswith("{") else ({}, line[1])
            if labels.items() <= found.items():
                values.append(float(rest.split()[0]))
        except (ValueError, IndexError):
            raise ValueError(f"a line of the metric {name} cannot be read") from None
    if not values:
        raise ValueError(f"there is no metric {metric}")
    total = sum(values)
    if math.isnan(total):  # the client libraries' way to say that there is no value yet
        raise ValueError(f"the metric {metric} is NaN")
    return total


def _wanted(metric: str) -> tuple[str, Mapping[str, str]]:
    match = _METRIC.fullmatch(metric.strip())
    if match is None:
        raise ValueError("it is no name of a metric")
    labels, rest = _labels(match[2]) if match[2] else ({}, "")
    if rest:
        raise ValueError("something follows its labels")
    return match[1], labels


def _labels(text: str) -> tuple[dict[str, str], str]:
    """Split `{a="b",c="d"} rest` into labels and rest. A brace inside a value does not end them."""
    found = {}
    at = 1
    while not text.startswith("}", at):
        match = _LABEL.match(text, at)
        if match is None:
            raise ValueError("its labels cannot be read")
        found[match[1]] = _ESCAPED.sub(lambda escaped: "\n" if escaped[1] == "n" else escaped[1], match[2])
        at = match.end()
    return found, text[at + 1 :]


def _json(path: str, body: bytes) -> Value:
    try:
        value = json_value(body, json_path(path))
    except LookupError:
        raise ValueError(f"there is no {path} in the JSON") from None
    if value is None:
        raise ValueError(f"{path} is null")
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return value
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _text(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise ValueError(f"nothing matches {pattern}")
    return match[1] if match.re.groups and match[1] is not None else match[0]
