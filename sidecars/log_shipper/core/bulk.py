"""What a reply to a bulk request means: each record is indexed, a duplicate, to be retried, or refused for good.

HTTP 200 says nothing: every item has its own status. What cannot be understood counts as unknown and is sent
again; with ids of our own that costs a 409, never a second document.
"""

from enum import StrEnum
from http import HTTPStatus

import msgspec

FILTER_PATH = "errors,items.*.status,items.*.error.type,items.*.error.reason,items.*.failure_store"
"""Asks for only what is judged here; the reply of a large batch shrinks tenfold."""
OUTCOMES = ("indexed", "duplicate", "failure_store", "written", "rejected")
"""How a record can end; the closed list of the metric's label."""
RETRY_REASONS = (
    "connection",
    "credentials",
    "dead_letter",
    "forbidden",
    "output",
    "status_408",
    "status_429",
    "status_4xx",
    "status_5xx",
    "timeout",
    "tls",
    "unknown",
)
"""Why records are sent again; the closed list of the metric's label."""
REJECT_TYPES = (
    "document_parsing_exception",
    "illegal_argument_exception",
    "index_not_found_exception",
    "mapper_parsing_exception",
    "request_too_large",
    "strict_dynamic_mapping_exception",
    "version_conflict_engine_exception",
    "other",
)
"""Why records are refused for good, by the server's error type; the closed list of the metric's label."""
_RETRIED = frozenset({408, 429})
_REASON_CHARACTERS = 300


class Advice(StrEnum):
    """What to do with a whole request."""

    JUDGE = "judge"
    """Read the items."""
    RETRY = "retry"
    """Send the same again after a pause."""
    SPLIT = "split"
    """Send it in two halves: it was too large, or one record of it spoils the rest."""
    HOLD = "hold"
    """Sending is refused as such (credentials, missing index): keep all, say so, try one request now and then."""


class Answer(msgspec.Struct, frozen=True):
    """What came back for a request: an HTTP status with its body, or status 0 and the reason why nothing did.

    `accepted`: an output without per-record results took all of it. `reason` is one of RETRY_REASONS, `detail` is
    for people.
    """

    status: int
    body: bytes = b""
    reason: str = ""
    detail: str = ""
    accepted: bool = False
    failovers: tuple[str, ...] = ()
    """Reasons for which other nodes failed in the same attempt."""


class Refusal(msgspec.Struct):
    """Why a record was refused: status 0 when no server said so."""

    status: int
    type: str
    reason: str


class Judgement(msgspec.Struct):
    """The outcome of a request: counts, and the indices of what is not settled.

    `retry` maps the index of a record to the reason; `rejected` to what the server said.
    """

    indexed: int = 0
    duplicate: int = 0
    failure_store: int = 0
    written: int = 0
    retry: dict[int, str] = {}
    rejected: dict[int, Refusal] = {}
    forbidden: bool = False


class _Item(msgspec.Struct):
    status: int = 0
    error: msgspec.Raw = msgspec.Raw(b"")
    failure_store: str | None = ""


class _Reply(msgspec.Struct):
    items: list[dict[str, _Item]]


class _Error(msgspec.Struct):
    type: str = ""
    reason: str | None = ""


_DECODER = msgspec.json.Decoder(_Reply, strict=False)  # some fakes and proxies write statuses as text
_CREATED = (b'{"errors":false,"items":[', b'{"create":{"status":201}}', b"]}")
"""Begin, item and end of what Elasticsearch answers, filtered by FILTER_PATH, when it stored everything."""


def advice(status: int, body: bytes = b"") -> Advice:
    """What the status of the whole request asks for. A 400 that brings a page instead of Elasticsearch's JSON is
    somebody else's (a proxy, a wrong address): that is no reason to give records up.
    """
    if status in (HTTPStatus.OK, HTTPStatus.CREATED):
        return Advice.JUDGE
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return Advice.SPLIT
    if status == HTTPStatus.BAD_REQUEST and (not body or body.lstrip().startswith(b"{")):
        return Advice.SPLIT
    if 400 <= status < 500 and status not in _RETRIED:
        return Advice.HOLD
    return Advice.RETRY


def request_reason(status: int) -> str:
    """The retry reason of a whole request that was answered with `status`."""
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return "forbidden"
    if status in _RETRIED:
        return f"status_{status}"
    if 400 <= status < 500:
        return "status_4xx"
    return "status_5xx" if 500 <= status < 600 else "unknown"


def whole_refusal(answer: Answer) -> Refusal:
    """Why a request with a single record was refused as a whole."""
    if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return Refusal(
            answer.status, "request_too_large", "the record alone is more than the server takes in a request"
        )
    try:
        error = msgspec.json.decode(answer.body, type=dict[str, msgspec.Raw]).get("error", msgspec.Raw(b""))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        error = msgspec.Raw(b"")
    return _refusal(answer.status, error)


def judge(body: bytes, count: int, *, own_ids: bool) -> Judgement | None:
    """The outcome of each of `count` records by the reply's body, or None when it is no reply to this request.

    `own_ids`: a 409 means that an earlier attempt stored the record; with ids made by the server it cannot.
    """
    begin, item, end = _CREATED
    if count and body == begin + b",".join([item] * count) + end:
        return Judgement(indexed=count)  # nearly always; comparing costs a fiftieth of parsing
    try:
        items = _DECODER.decode(body).items
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    if len(items) != count:
        return None
    result = Judgement()
    created = int(HTTPStatus.CREATED)  # looking an enum's member up costs more than all else in this loop
    for index, wrapped in enumerate(items):
        for found in wrapped.values():
            if found.status == created and not found.failure_store:
                result.indexed += 1
            else:
                _judge_item(result, index, found, own_ids=own_ids)
            break
        else:
            result.retry[index] = "unknown"
    return result


def _judge_item(result: Judgement, index: int, item: _Item, *, own_ids: bool) -> None:
    """Everything but the plain 201."""
    status = item.status
    if 200 <= status < 300:
        if item.failure_store == "used":
            result.failure_store += 1
        else:
            result.indexed += 1
    elif status == HTTPStatus.CONFLICT and own_ids:
        result.duplicate += 1
    elif status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        result.forbidden = True
        result.retry[index] = "forbidden"
    elif status in _RETRIED:
        result.retry[index] = f"status_{status}"
    elif 400 <= status < 500:
        result.rejected[index] = _refusal(status, item.error)
    else:
        result.retry[index] = "status_5xx" if 500 <= status < 600 else "unknown"


def _refusal(status: int, raw: msgspec.Raw) -> Refusal:
    """The server's reason; any shape of error object is taken."""
    try:
        error = msgspec.json.decode(raw, type=_Error)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return Refusal(status, "unknown", "")
    return Refusal(status, error.type or "unknown", (error.reason or "")[:_REASON_CHARACTERS])
