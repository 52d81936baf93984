"""What a reply to a bulk request means: each record is indexed, a duplicate, to be sent again, or refused for good.

HTTP 200 says nothing: every item has its own status. What cannot be understood counts as unknown and is sent
again; with ids of our own that costs a 409, never a second document. A refusal is either about the record (a dead
letter) or about the target (a closed index, a missing pipeline: the record is held until somebody mends that); which,
is in the tables here. What stands in none of them is unclear: `evidence` decides.
"""

import re
from enum import StrEnum
from http import HTTPStatus

import msgspec

FILTER_PATH = "errors,items.*.status,items.*.error.type,items.*.error.reason,items.*.failure_store"
"""Asks for only what is judged here; the reply of a large batch shrinks tenfold."""
OUTCOMES = ("indexed", "duplicate", "failure_store", "written", "rejected")
"""How a record can end; the closed list of the metric's label."""
RETRY_REASONS = (
    "blocked",
    "connection",
    "credentials",
    "dead_letter",
    "forbidden",
    "output",
    "redirect",
    "status_408",
    "status_429",
    "status_4xx",
    "status_5xx",
    "target",
    "timeout",
    "tls",
    "unclear",
    "unknown",
)
"""Why records are sent again; the closed list of the metric's label."""
HELD_REASONS = frozenset({"blocked", "credentials", "forbidden", "redirect", "status_4xx", "target", "tls", "unclear"})
"""Those of them for which a person has to act."""
REJECT_TYPES = (
    "document_parsing_exception",
    "illegal_argument_exception",
    "mapper_parsing_exception",
    "request_too_large",
    "strict_dynamic_mapping_exception",
    "version_conflict_engine_exception",
    "other",
)
"""Why records are refused for good, by the server's error type; the closed list of the metric's label."""
SMALL_BYTES = 32 << 10
"""Bytes of log in a request that is not called too large: then it is the load or a limit, and not the size."""
_RETRIED = frozenset({408, 429})
_REASON_CHARACTERS = 300
_PAGE_CHARACTERS = 120


class Fault(StrEnum):
    """What a refusal is about."""

    RECORD = "record"
    """The record itself: no repetition helps, it is a dead letter."""
    TARGET = "target"
    """The index, the cluster or the privileges: every record would be refused alike."""
    UNCLEAR = "unclear"
    """Elasticsearch uses the same status and type for both."""


_FAULTS = {
    # The record does not fit: Elasticsearch 8 and 9 say document_parsing_exception, 7 and OpenSearch mapper_parsing_.
    "document_parsing_exception": Fault.RECORD,
    "mapper_parsing_exception": Fault.RECORD,
    "mapper_exception": Fault.RECORD,
    "strict_dynamic_mapping_exception": Fault.RECORD,
    "max_bytes_length_exceeded_exception": Fault.RECORD,
    "json_parse_exception": Fault.RECORD,
    "not_x_content_exception": Fault.RECORD,
    "x_content_parse_exception": Fault.RECORD,
    "date_time_parse_exception": Fault.RECORD,
    "number_format_exception": Fault.RECORD,
    "timestamp_error": Fault.RECORD,
    "fail_processor_exception": Fault.RECORD,  # a pipeline refuses it on purpose; comes with a 500
    "version_conflict_engine_exception": Fault.RECORD,
    # The target does not take anything.
    "index_not_found_exception": Fault.TARGET,
    "index_closed_exception": Fault.TARGET,
    "index_create_block_exception": Fault.TARGET,
    "invalid_alias_name_exception": Fault.TARGET,
    "invalid_index_name_exception": Fault.TARGET,
    "invalid_index_template_exception": Fault.TARGET,
    "index_creation_exception": Fault.TARGET,
    "resource_not_found_exception": Fault.TARGET,
    "routing_missing_exception": Fault.TARGET,
    "validation_exception": Fault.TARGET,  # the limit of shards, when the write would make an index
    "media_type_header_exception": Fault.TARGET,
    "cluster_block_exception": Fault.TARGET,
    "security_exception": Fault.TARGET,
}
"""By error type, as measured on Elasticsearch 9.5 and OpenSearch 3.9."""
_WORDS = {
    "illegal_argument_exception": (
        (
            re.compile(r"no write index is defined for|pipeline with id \[|[Nn]umber of documents in the index"),
            Fault.TARGET,
        ),
        (
            re.compile(
                r"Document contains at least one immense term|Limit of [a-z ]+ \[\d+\]|mapper \[|[Ff]ailed to parse"
                r"|object mapping for \[|Provided Grok expressions do not match|the document timestamp \["
            ),
            Fault.RECORD,
        ),
    ),
    # What every document of ours has, or every id is, may be what the target does not take.
    "document_parsing_exception": (
        (re.compile(r"(\[\d+:\d+\] )?failed to parse: _id must be unset"), Fault.UNCLEAR),  # index.mode: time_series
    ),
    "strict_dynamic_mapping_exception": (
        (
            re.compile(r".{0,60}dynamic introduction of \[(@timestamp|message|log|kubernetes)\] within \["),
            Fault.UNCLEAR,
        ),
    ),
}
"""How the reason begins, where the type alone says too little. Only the beginning: later it may quote the record."""
_ABOUT_REQUEST = re.compile(
    r"no handler found for uri|request \[[^]]*\] contains unrecognized|request body is required"
)
"""A whole request that is refused for these reasons holds no spoilt record."""
_WITH_CONTENT = re.compile(r",? (request: \[|containing \[|Preview of field's value).*|\bsource\[.*", re.DOTALL)
"""From here on a reason quotes documents (unavailable_shards_exception does), which no log may show."""
_TAGS = re.compile(rb"<(script|style)\b.*?</\1\s*>|<[^>]*>", re.DOTALL | re.IGNORECASE)


class Advice(StrEnum):
    """What to do with a whole request."""

    JUDGE = "judge"
    """Read the items."""
    RETRY = "retry"
    """Send the same again after a pause."""
    SPLIT = "split"
    """Send it in two halves: it was too large, or one record of it spoils the rest. Should every record alone be
    refused so, it is not about the records.
    """
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
    url: str = ""
    """Who answered, without credentials."""
    location: str = ""
    """Where a redirect leads."""


class Refusal(msgspec.Struct):
    """Why a record was refused: status 0 when no server said so."""

    status: int
    type: str
    reason: str


class Judgement(msgspec.Struct):
    """The outcome of a request: counts, and the indices of what is not settled.

    `retry` maps the index of a record to the reason; `rejected` and `unclear` to what the server said. `cause` is what
    it said of those to be sent again: of the first, or rather of the first that a person has to act for.
    """

    indexed: int = 0
    duplicate: int = 0
    failure_store: int = 0
    written: int = 0
    retry: dict[int, str] = {}
    rejected: dict[int, Refusal] = {}
    unclear: dict[int, Refusal] = {}
    broke: dict[int, Refusal] = {}
    """Those of `retry` over which the server itself failed (500): it may do so for ever."""
    cause: Refusal | None = None
    cause_reason: str = ""
    url: str = ""
    """Who answered."""
    whole: bool = False
    """The request was refused, and with it its only record."""

    @property
    def settled(self) -> int:
        """Return how many records have their outcome."""
        return self.indexed + self.duplicate + self.failure_store + self.written + len(self.rejected)


class _BulkItem(msgspec.Struct):
    status: int = 0
    error: msgspec.Raw = msgspec.Raw(b"")
    failure_store: str | None = ""


class _BulkReply(msgspec.Struct):
    items: list[dict[str, _BulkItem]]


class _BulkError(msgspec.Struct):
    type: str = ""
    reason: str | None = ""


_DECODER = msgspec.json.Decoder(_BulkReply, strict=False)  # some fakes and proxies write statuses as text
_CREATED = (b'{"errors":false,"items":[', b'{"create":{"status":201}}', b"]}")
"""Begin, item and end of what Elasticsearch answers, filtered by FILTER_PATH, when it stored everything."""


def advice(answer: Answer) -> Advice:
    """Return what the answer to the whole request asks for. A 400 that brings a page instead of JSON is somebody
    else's (a proxy, a wrong address), and one that names the request or the target is about them: no reason to look for
    a record.
    """
    status, body = answer.status, answer.body
    if status in (HTTPStatus.OK, HTTPStatus.CREATED):
        return Advice.JUDGE
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return Advice.SPLIT
    if status == HTTPStatus.BAD_REQUEST and (not body or body.lstrip().startswith(b"{")):
        refusal = whole_refusal(answer)
        in_vain = fault(refusal) is Fault.TARGET or _ABOUT_REQUEST.match(refusal.reason)
        return Advice.HOLD if in_vain else Advice.SPLIT
    if 300 <= status < 500 and status not in _RETRIED:
        return Advice.HOLD
    return Advice.RETRY


def judge_single(answer: Answer, record_bytes: int) -> Judgement:
    """Return the outcome of a request of one record that was refused as a whole: `too large` is the record's own fault
    if it is large at all.
    """
    refusal = whole_refusal(answer)
    if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and record_bytes > SMALL_BYTES:
        return Judgement(rejected={0: refusal}, url=answer.url)
    return Judgement(unclear={0: refusal}, url=answer.url, whole=True)


def fault(refusal: Refusal) -> Fault:
    """Return whether a refusal is about the record or about the target."""
    if refusal.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return Fault.TARGET
    if refusal.status == HTTPStatus.CONFLICT:
        return Fault.RECORD
    for beginning, about in _WORDS.get(refusal.type, ()):
        if beginning.match(refusal.reason):
            return about
    return _FAULTS.get(refusal.type, Fault.UNCLEAR)


def reason_of(refusal: Refusal) -> str:
    """Return the one of RETRY_REASONS for a status and error type, of a request or of one of its records."""
    status = refusal.status
    if refusal.type == "cluster_block_exception" and status in (HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS):
        return "blocked"
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return "forbidden"
    if status in _RETRIED:
        return f"status_{status}"
    if 400 <= status < 500:
        return "target" if fault(refusal) is Fault.TARGET else "status_4xx"
    return "status_5xx" if 500 <= status < 600 else "unknown"


def whole_refusal(answer: Answer) -> Refusal:
    """Return why a request was refused as a whole, in the words of whoever answered: Elasticsearch, or a gateway before
    it.
    """
    if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return Refusal(
            answer.status, "request_too_large", "the record alone is more than the server takes in a request"
        )
    try:
        fields = msgspec.json.decode(answer.body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return Refusal(answer.status, "unknown", _page_text(answer.body))
    for name in ("error", "message", "detail"):
        if name in fields:
            return _refusal(answer.status, fields[name])
    return Refusal(answer.status, "unknown", "")


def _page_text(body: bytes) -> str:
    """Return what a page says, on one line; empty when it is no text."""
    text = " ".join(_TAGS.sub(b" ", body[:4096]).decode("utf-8", "replace").split())
    return text[:_PAGE_CHARACTERS] if text.isprintable() and "\ufffd" not in text else ""


def what_it_is(answer: Answer, count: int) -> str:
    """Return what is wrong with a reply of status 200 that `judge` could not use, for people."""
    body = answer.body.lstrip()
    if not body:
        return "an empty reply"
    if body[:1] not in b"{[":
        text = _page_text(body)
        return f"a page instead of Elasticsearch's JSON ({text})" if text else "something else than JSON"
    try:
        reply = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return f"a reply that is cut off or garbled (not JSON, {len(answer.body)} bytes)"
    items = reply.get("items") if isinstance(reply, dict) else None
    if not isinstance(items, list):
        return "JSON that is no reply to a bulk request"
    return f"results for {len(items)} records, and {count} were sent" if len(items) != count else "garbled results"


def judge(body: bytes, count: int, *, own_ids: bool) -> Judgement | None:
    """Return the outcome of each of `count` records by the reply's body, or None when it is no reply to this request.

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
    if result.settled:  # the target takes records, so it is these
        result.rejected |= result.unclear
        result.unclear = {}
    return result


def _judge_item(result: Judgement, index: int, item: _BulkItem, *, own_ids: bool) -> None:
    """Judge everything but the plain 201."""
    status = item.status
    if 200 <= status < 300:
        if item.failure_store == "used":
            result.failure_store += 1
        else:
            result.indexed += 1
        return
    if status == HTTPStatus.CONFLICT and own_ids:
        result.duplicate += 1
        return
    refusal = _refusal(status, item.error)
    about = fault(refusal) if 400 <= status < 500 or refusal.type == "fail_processor_exception" else Fault.TARGET
    if status in _RETRIED or about is Fault.TARGET:
        reason = reason_of(refusal)
        result.retry[index] = reason
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            result.broke[index] = refusal
        if result.cause is None or (reason in HELD_REASONS and result.cause_reason not in HELD_REASONS):
            result.cause, result.cause_reason = refusal, reason
    elif about is Fault.RECORD:
        result.rejected[index] = refusal
    else:
        result.unclear[index] = refusal


def _refusal(status: int, raw: msgspec.Raw) -> Refusal:
    """Return the server's reason, without the documents that some quote; any shape of error object is taken."""
    try:
        error: _BulkError | str = msgspec.json.decode(raw, type=_BulkError | str)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return Refusal(status, "unknown", "")
    if isinstance(error, str):
        return Refusal(status, "unknown", _shortened(error))
    return Refusal(status, error.type or "unknown", _shortened(error.reason or ""))


def _shortened(reason: str) -> str:
    return reason[:_REASON_CHARACTERS]


def without_content(reason: str) -> str:
    """Return a reason as it may stand in a log: without the documents that some of them quote."""
    return " ".join(_WITH_CONTENT.sub("", reason).split())
