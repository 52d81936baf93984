"""What replies mean: each record has exactly one fate, whatever the server says."""

import json
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecars.log_shipper.core.bulk import (
    RETRY_REASONS,
    Advice,
    Answer,
    Fault,
    Judgement,
    Refusal,
    advice,
    fault,
    judge,
    reason_of,
    what_it_is,
    whole_refusal,
    without_content,
)

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**30), 10**30), st.floats(), st.text(max_size=5), st.just("used")
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
)
ITEMS = st.dictionaries(
    st.sampled_from(["create", "index", "x"]),
    st.one_of(
        ANYTHING,
        st.fixed_dictionaries(
            {"status": st.one_of(st.integers(-1, 700), SCALARS)},
            optional={
                "error": st.one_of(ANYTHING, st.fixed_dictionaries({}, optional={"type": SCALARS, "reason": SCALARS})),
                "failure_store": st.one_of(SCALARS, st.sampled_from(["used", "not_enabled", "failed"])),
            },
        ),
    ),
    max_size=2,
)


def fates(judgement: Judgement) -> int:
    counted = judgement.indexed + judgement.duplicate + judgement.failure_store + judgement.written
    return counted + len(judgement.retry) + len(judgement.rejected) + len(judgement.unclear)


def check(judgement: Judgement | None, count: int) -> None:
    if judgement is None:
        return
    assert fates(judgement) == count
    unsettled = [*judgement.retry, *judgement.rejected, *judgement.unclear]
    assert len(set(unsettled)) == len(unsettled)
    assert all(0 <= index < count for index in unsettled)
    assert not (judgement.unclear and judgement.settled), "with company that was taken nothing is unclear"
    assert set(judgement.retry.values()) <= set(RETRY_REASONS)


@given(st.lists(ITEMS, max_size=5), st.booleans())
def test_any_items_give_every_record_one_fate(items: list[Any], own_ids: bool) -> None:
    body = json.dumps({"errors": True, "took": 3, "items": items}).encode()
    check(judge(body, len(items), own_ids=own_ids), len(items))


@given(st.one_of(ANYTHING, st.fixed_dictionaries({"items": ANYTHING})), st.integers(0, 3))
def test_any_json_is_a_reply_or_none(value: Any, count: int) -> None:
    check(judge(json.dumps(value).encode(), count, own_ids=True), count)


@given(st.binary(max_size=60), st.integers(0, 3))
def test_any_bytes_are_a_reply_or_none(body: bytes, count: int) -> None:
    check(judge(body, count, own_ids=True), count)
    check(judge(b'{"items":[' + body + b"]}", count, own_ids=True), count)
    check(judge(b'{"items":[{"create":{"status":400,"error":"' + body + b'"}}]}', 1, own_ids=True), 1)


@pytest.mark.parametrize("depth", [100, 900, 1000, 5000])
def test_a_deeply_nested_reply_is_a_reply_or_none(depth: int) -> None:
    deep = b"[" * depth + b"]" * depth
    for body in (deep, b'{"items":' + deep + b"}", b'{"items":[{"create":{"status":400,"error":' + deep + b"}}]}"):
        check(judge(body, 1, own_ids=True), 1)
    assert whole_refusal(Answer(400, b'{"error":' + deep + b"}")).status == 400


@given(st.integers(0, 5), st.integers(0, 5))
def test_a_reply_of_another_length_is_none(items: int, count: int) -> None:
    body = json.dumps({"items": [{"create": {"status": 201}}] * items}).encode()
    judgement = judge(body, count, own_ids=True)
    assert judgement == (Judgement(indexed=count) if items == count else None)


@given(st.data())
def test_a_cut_reply_is_none(data: st.DataObject) -> None:
    body = json.dumps({"items": [{"create": {"status": 201}}, {"create": {"status": 429}}]}).encode()
    assert judge(body[: data.draw(st.integers(0, len(body) - 1))], 2, own_ids=True) is None


FATES: list[tuple[dict[str, Any], str]] = [
    ({"status": 200}, "indexed"),
    ({"status": 201}, "indexed"),
    ({"status": 201, "failure_store": "used"}, "failure_store"),
    ({"status": 201, "failure_store": "not_applicable_or_unknown"}, "indexed"),
    ({"status": 409}, "duplicate"),
    ({"status": 400, "error": {"type": "document_parsing_exception", "reason": "no"}}, "rejected"),
    ({"status": 404}, "rejected"),
    ({"status": 404, "error": {"type": "index_not_found_exception"}}, "target"),
    ({"status": 403, "error": {"type": "cluster_block_exception"}}, "blocked"),
    ({"status": 429, "error": {"type": "cluster_block_exception"}}, "blocked"),
    ({"status": 503, "error": {"type": "cluster_block_exception"}}, "status_5xx"),
    ({"status": 500, "error": {"type": "fail_processor_exception"}}, "rejected"),
    ({"status": 413}, "rejected"),
    ({"status": 401}, "forbidden"),
    ({"status": 403}, "forbidden"),
    ({"status": 408}, "status_408"),
    ({"status": 429}, "status_429"),
    ({"status": 500}, "status_5xx"),
    ({"status": 503}, "status_5xx"),
    ({"status": 0}, "unknown"),
    ({"status": 100}, "unknown"),
    ({"status": 302}, "unknown"),
    ({"status": 600}, "unknown"),
    ({}, "unknown"),
]


@pytest.mark.parametrize(("item", "fate"), FATES, ids=[json.dumps(item) for item, _ in FATES])
def test_the_status_of_an_item_decides(item: dict[str, Any], fate: str) -> None:
    body = json.dumps({"items": [{"create": {"status": 201}}, {"create": item}]}).encode()
    judgement = judge(body, 2, own_ids=True)
    assert judgement is not None
    if fate in RETRY_REASONS:
        assert judgement.retry == {1: fate}
    elif fate == "rejected":
        assert judgement.rejected[1].status == item["status"]
    else:
        assert getattr(judgement, fate) == (2 if fate == "indexed" else 1)


def test_a_conflict_on_an_id_of_the_servers_own_making_is_no_duplicate() -> None:
    judgement = judge(b'{"items":[{"create":{"status":409,"error":{"type":"t","reason":"r"}}}]}', 1, own_ids=False)
    assert judgement is not None
    assert (judgement.duplicate, judgement.rejected[0].type) == (0, "t")


ERRORS: list[tuple[bytes, str, str]] = [
    (b'{"type":"t","reason":"r"}', "t", "r"),
    (b'{"type":"t","reason":null}', "t", ""),
    (b'{"reason":"r"}', "unknown", "r"),
    (b'"a text"', "unknown", "a text"),
    (b"null", "unknown", ""),
    (b'{"type":7}', "unknown", ""),
    (b'{"type":"t","reason":"\xff"}', "unknown", ""),
]


@pytest.mark.parametrize(("error", "kind", "reason"), ERRORS, ids=[repr(error) for error, _, _ in ERRORS])
def test_any_shape_of_error_is_taken(error: bytes, kind: str, reason: str) -> None:
    judgement = judge(b'{"items":[{"create":{"status":400,"error":' + error + b"}}]}", 1, own_ids=True)
    refusal = judgement.unclear[0] if judgement else None
    assert refusal is not None
    assert (refusal.type, refusal.reason) == (kind, reason)
    whole = whole_refusal(Answer(400, b'{"error":' + error + b"}"))
    assert (whole.type, whole.reason) == (kind, reason)


def test_a_long_reason_is_shortened() -> None:
    error = json.dumps({"error": {"type": "t", "reason": "x" * 10_000}}).encode()
    assert len(whole_refusal(Answer(400, error)).reason) == 300


@given(st.binary(max_size=40), st.integers(0, 999))
def test_any_refusal_of_a_request_has_a_reason(body: bytes, status: int) -> None:
    assert whole_refusal(Answer(status, body)).type


ADVICE = {
    Advice.JUDGE: [200],
    Advice.SPLIT: [400, 413],
    Advice.HOLD: [301, 302, 307, 308, 401, 403, 404, 405, 410, 422, 451],
    Advice.RETRY: [0, 100, 204, 408, 429, 500, 502, 503, 504, 599, 600],
}


@pytest.mark.parametrize(("status", "expected"), [(s, step) for step, statuses in ADVICE.items() for s in statuses])
def test_the_status_of_a_request_decides(status: int, expected: Advice) -> None:
    assert advice(Answer(status)) is expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", Advice.SPLIT),
        (b'{"error":{"type":"illegal_argument_exception"},"status":400}', Advice.SPLIT),
        (b'{"message":"no Route matched with those values"}', Advice.SPLIT),
        (b'{"error":"no handler found for uri [/es/x/_bulk] and method [POST]"}', Advice.HOLD),
        (b'{"error":{"type":"media_type_header_exception","reason":"Invalid media-type value"}}', Advice.HOLD),
        (b'{"error":{"type":"parse_exception","reason":"request body is required"}}', Advice.HOLD),
        (b"<html><h1>400 Bad Request</h1></html>", Advice.HOLD),
        (b"400: The plain HTTP request was sent to HTTPS port", Advice.HOLD),
    ],
)
def test_a_400_that_is_not_of_elasticsearch_gives_no_record_up(body: bytes, expected: Advice) -> None:
    assert advice(Answer(400, body)) is expected


@given(st.integers(0, 999), st.sampled_from(["unknown", "cluster_block_exception", "index_closed_exception"]))
def test_every_status_has_a_reason_from_the_closed_list(status: int, kind: str) -> None:
    assert reason_of(Refusal(status, kind, "")) in RETRY_REASONS


@pytest.mark.parametrize("status", [HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN])
def test_refused_credentials_are_called_forbidden(status: int) -> None:
    assert reason_of(Refusal(status, "unknown", "")) == "forbidden"


ILLEGAL, PARSING = "illegal_argument_exception", "document_parsing_exception"
STRICT = "[1:16] mapping set to strict, dynamic introduction of [{}] within [{}] is not allowed"
FAULTS: list[tuple[int, str, str, Fault]] = [
    # As Elasticsearch 9.5 answers.
    (400, "index_closed_exception", "closed", Fault.TARGET),
    (400, ILLEGAL, "no write index is defined for alias [logs]. The write index may be explicitly ...", Fault.TARGET),
    (400, ILLEGAL, "pipeline with id [enrich] does not exist", Fault.TARGET),
    (400, "validation_exception", "Validation Failed: 1: this action would add [2] shards, but ...", Fault.TARGET),
    (404, "index_not_found_exception", "no such index [x] and [action.auto_create_index] is [false]", Fault.TARGET),
    (403, "cluster_block_exception", "index [x] blocked by: [FORBIDDEN/8/index write (api)];", Fault.TARGET),
    (429, "cluster_block_exception", "index [x] blocked by: [TOO_MANY_REQUESTS/12/disk usage ...];", Fault.TARGET),
    (400, "invalid_index_name_exception", "Invalid index name [X], must be lowercase", Fault.TARGET),
    (400, "routing_missing_exception", "routing is required for [x]/[a]", Fault.TARGET),
    (401, "security_exception", "unable to authenticate user", Fault.TARGET),
    (403, "whatever_exception", "", Fault.TARGET),
    (400, PARSING, "[1:7] failed to parse field [k] of type [long] in document with id 'b'.", Fault.RECORD),
    (400, PARSING, "[1:31] failed to parse: Limit of total fields [3] has been exceeded", Fault.RECORD),
    (400, PARSING, "[1:7] failed to parse field [k]: 'no write index is defined for [x]'", Fault.RECORD),
    (400, "mapper_parsing_exception", "failed to parse field [n] of type [long]", Fault.RECORD),
    (400, "strict_dynamic_mapping_exception", STRICT.format("colour", "_doc"), Fault.RECORD),
    (400, ILLEGAL, "mapper [a] cannot be changed from type [long] to [text]", Fault.RECORD),
    (400, ILLEGAL, 'Document contains at least one immense term in field="k"', Fault.RECORD),
    (400, ILLEGAL, "Limit of total fields [1000] in index [x] has been exceeded", Fault.RECORD),
    (409, "version_conflict_engine_exception", "[a]: version conflict", Fault.RECORD),
    (500, "fail_processor_exception", "not wanted here", Fault.RECORD),
    (400, ILLEGAL, "field [user] not present as part of path [user.name]", Fault.UNCLEAR),
    (400, "strict_dynamic_mapping_exception", STRICT.format("@timestamp", "_doc"), Fault.UNCLEAR),
    (400, PARSING, "[1:64] failed to parse: _id must be unset or set to [J] but was [a] because ...", Fault.UNCLEAR),
    (418, "never_heard_of_exception", "", Fault.UNCLEAR),
    (404, "never_heard_of_exception", "", Fault.UNCLEAR),
    (413, "unknown", "", Fault.UNCLEAR),
]


@pytest.mark.parametrize(("status", "kind", "reason", "expected"), FAULTS)
def test_a_refusal_is_about_the_record_or_about_the_target(
    status: int, kind: str, reason: str, expected: Fault
) -> None:
    assert fault(Refusal(status, kind, reason)) is expected


@pytest.mark.parametrize(
    ("statuses", "unclear"), [([418, 418], [0, 1]), ([418, 201], []), ([418, 409], []), ([418, 429], [0])]
)
def test_what_is_unclear_is_the_records_fault_when_others_of_the_request_are_taken(
    statuses: list[int], unclear: list[int]
) -> None:
    body = json.dumps({"items": [{"create": {"status": status}} for status in statuses]}).encode()
    judgement = judge(body, len(statuses), own_ids=True)
    assert judgement is not None
    assert list(judgement.unclear) == unclear
    assert (0 in judgement.rejected) is (not unclear)


def test_of_what_is_sent_again_the_cause_is_what_a_person_has_to_act_for() -> None:
    errors = [(503, "unavailable"), (400, "index_closed_exception"), (429, "busy")]
    items = [{"create": {"status": status, "error": {"type": kind, "reason": "r"}}} for status, kind in errors]
    judgement = judge(json.dumps({"items": items}).encode(), 3, own_ids=True)
    assert judgement is not None
    assert judgement.cause == Refusal(400, "index_closed_exception", "r")
    assert judgement.cause_reason == "target"


QUOTING = [
    "[x][0] primary shard is not active Timeout: [2s], request: [BulkShardRequest [[x][0]] containing [card 4111]",
    "failed to parse field [k] of type [long]. Preview of field's value: 'card 4111'",
    'failed to execute on source[{"message": "card 4111"}]',
]


@pytest.mark.parametrize("reason", QUOTING)
def test_a_reason_is_shown_without_the_document_that_it_quotes(reason: str) -> None:
    assert "4111" not in without_content(reason)
    assert without_content(reason)


BODIES = [
    (b'{"error":"no handler found for uri [/es/x/_bulk] and method [POST]"}', "no handler found for uri [/es/x/_bulk]"),
    (b'{"message":"no Route matched with those values"}', "no Route matched"),
    (b"<html><head><title>400 Bad Request</title><style>b{}</style></head><body>nginx</body>", "400 Bad Request nginx"),
    (b"The plain HTTP request was sent to HTTPS port\n", "The plain HTTP request was sent to HTTPS port"),
]


@pytest.mark.parametrize(("body", "said"), BODIES)
def test_a_gateway_is_quoted_in_its_own_words(body: bytes, said: str) -> None:
    assert whole_refusal(Answer(400, body)).reason.startswith(said)


REPLIES = [
    (b"", "an empty reply"),
    (b"<html><title>Log in</title></html>", "a page instead of Elasticsearch's JSON (Log in)"),
    (b"\xff\xfe", "something else than JSON"),
    (b'{"errors":false,"items":[{"create":{"sta', "cut off or garbled"),
    (b'{"hello":"world"}', "no reply to a bulk request"),
    (b'{"items":[{"create":{"status":201}}]}', "results for 1 records, and 2 were sent"),
]


@pytest.mark.parametrize(("body", "said"), REPLIES)
def test_a_reply_that_cannot_be_used_is_called_what_it_is(body: bytes, said: str) -> None:
    assert said in what_it_is(Answer(200, body), 2)
