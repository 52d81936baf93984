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
    Judgement,
    advice,
    judge,
    request_reason,
    whole_refusal,
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
    return counted + len(judgement.retry) + len(judgement.rejected)


def check(judgement: Judgement | None, count: int) -> None:
    if judgement is None:
        return
    assert fates(judgement) == count
    assert not judgement.retry.keys() & judgement.rejected.keys()
    assert all(0 <= index < count for index in [*judgement.retry, *judgement.rejected])
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
        assert judgement.forbidden == (fate == "forbidden")
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
    (b'"a text"', "unknown", ""),
    (b"null", "unknown", ""),
    (b'{"type":7}', "unknown", ""),
    (b'{"type":"t","reason":"\xff"}', "unknown", ""),
]


@pytest.mark.parametrize(("error", "kind", "reason"), ERRORS, ids=[repr(error) for error, _, _ in ERRORS])
def test_any_shape_of_error_is_taken(error: bytes, kind: str, reason: str) -> None:
    judgement = judge(b'{"items":[{"create":{"status":400,"error":' + error + b"}}]}", 1, own_ids=True)
    refusal = judgement.rejected[0] if judgement else None
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
    Advice.HOLD: [401, 403, 404, 405, 410, 422, 451],
    Advice.RETRY: [0, 100, 204, 301, 302, 408, 429, 500, 502, 503, 504, 599, 600],
}


@pytest.mark.parametrize(("status", "expected"), [(s, step) for step, statuses in ADVICE.items() for s in statuses])
def test_the_status_of_a_request_decides(status: int, expected: Advice) -> None:
    assert advice(status) is expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", Advice.SPLIT),
        (b'{"error":{"type":"illegal_argument_exception"},"status":400}', Advice.SPLIT),
        (b"<html><h1>400 Bad Request</h1></html>", Advice.HOLD),
        (b"400: The plain HTTP request was sent to HTTPS port", Advice.HOLD),
    ],
)
def test_a_400_that_is_not_of_elasticsearch_gives_no_record_up(body: bytes, expected: Advice) -> None:
    assert advice(400, body) is expected


@given(st.integers(0, 999))
def test_every_status_has_a_reason_from_the_closed_list(status: int) -> None:
    assert request_reason(status) in RETRY_REASONS


@pytest.mark.parametrize("status", [HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN])
def test_refused_credentials_are_called_forbidden(status: int) -> None:
    assert request_reason(status) == "forbidden"
