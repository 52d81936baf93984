"""Whether an HTTP answer is as a target wants it. Words only about what is missing: the answer's body may hold
anything, so nothing of it is repeated.
"""

import json
import re
from typing import Any

from sidecars.kit.http_match import json_value

from .target import HttpTarget, JsonCondition

BODY_BYTES = 1 << 20
"""So much of a body is looked at."""


def needs_body(target: HttpTarget) -> bool:
    """Return whether the status alone does not decide."""
    return target.body is not None or target.json is not None


def unmet(target: HttpTarget, status: int, body: bytes, *, whole: bool) -> str:
    """Return what is not as it should be, or an empty text. `body` is not `whole` when it is longer than BODY_BYTES."""
    if status not in target.statuses:
        return f"answered {status}, expected {target.statuses}"
    if target.body is not None and not re.search(target.body, body.decode("utf-8", "replace")):
        return f"answered {status}, and its body does not match"
    if target.json is None:
        return ""
    if not whole:
        return f"answered {status}, and its JSON is longer than {BODY_BYTES} bytes"
    return _unmet_json(target.json, body)


def _unmet_json(condition: JsonCondition, body: bytes) -> str:
    try:
        value = json_value(body, condition.path)
    except ValueError:
        return "its answer is not JSON"
    except LookupError:
        return f"its JSON has no {condition.shown} yet"
    if condition.equals is not None and not _equals(value, condition.equals):
        return f"its JSON has another value at {condition.shown} than expected"
    return ""


def _equals(value: Any, expected: str) -> bool:
    """Return whether it equals a text: a text by its letters, everything else as JSON (`true`, `3`, `null`)."""
    if isinstance(value, str):
        return value == expected
    try:
        wanted = json.loads(expected)
    except (ValueError, RecursionError):
        return False
    # True == 1 in Python, and 1 == 1.0 is what we want
    return isinstance(value, bool) == isinstance(wanted, bool) and bool(value == wanted)
