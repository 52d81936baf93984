"""What answers of Key Vault mean, and which requests are made."""

from typing import Any

import pytest

from sidecars.secret_sync.core.engines import Engine, Source
from sidecars.secret_sync.core.key_vault import deleted_path, judged, pfx_of, reading, secret_path, soft_deleted
from sidecars.secret_sync.core.outcome import Failure, FailureReason, Success
from sidecars.secret_sync.core.sync import Reading

NOW = 1_790_000_000.0
SECRET = Source(Engine.SECRET, path="db")
ID = "https://shop.vault.azure.net/secrets/db/4387e9f3d6e14c459867679a90fd0f79"


def bundle(value: Any = "hunter2", **attributes: Any) -> Success:
    return Success({"value": value, "id": ID, "attributes": {"enabled": True} | attributes})


@pytest.mark.parametrize(
    ("source", "path"),
    [
        (SECRET, "/secrets/db"),
        (Source(Engine.SECRET, path="db", object_version="a1"), "/secrets/db/a1"),
        (Source(Engine.CERTIFICATE, path="web"), "/secrets/web"),
    ],
)
def test_key_and_chain_of_a_certificate_are_read_from_its_secret(source: Source, path: str) -> None:
    assert secret_path(source) == path
    assert deleted_path(source) == f"/deletedsecrets/{source.path}"


@pytest.mark.parametrize(
    ("attributes", "reason", "text"),
    [
        ({"enabled": False}, FailureReason.DISABLED, "disabled"),
        ({"nbf": NOW + 7200}, FailureReason.NOT_YET_VALID, "not valid for 2 h"),
        ({"exp": NOW - 300}, FailureReason.EXPIRED, "ended 5 min ago"),
        ({"exp": NOW}, FailureReason.EXPIRED, "ended 0 s ago"),
        ({"nbf": NOW - 1, "exp": NOW + 1}, None, ""),
        ({"nbf": None, "exp": "soon"}, None, ""),
    ],
    ids=str,
)
def test_the_attributes_are_obeyed_as_the_vault_itself_does_not(
    attributes: dict[str, Any], reason: FailureReason | None, text: str
) -> None:
    found = reading(SECRET, bundle(**attributes), NOW, lambda: 0.5)
    if reason is None:
        assert isinstance(found, Reading)
    else:
        assert isinstance(found, Failure)
        assert (found.reason, text in found.text, "4387e9" in found.text) == (reason, True, True)


def test_a_value_ends_with_its_exp_and_is_looked_at_again_before() -> None:
    found = reading(SECRET, bundle(exp=NOW + 100), NOW, lambda: 0.0)
    assert found == Reading({"value": "hunter2"}, again=27.0, ends=100.0)
    early = reading(SECRET, bundle(nbf=NOW + 5), NOW, lambda: 0.0)
    assert isinstance(early, Failure)
    assert early.retry_after == 5.0


@pytest.mark.parametrize("value", [None, 5, {}, []])
def test_an_answer_without_a_value_is_no_secret(value: object) -> None:
    found = reading(SECRET, bundle(value), NOW, lambda: 0.0)
    assert isinstance(found, Failure)
    assert found.reason is FailureReason.GARBLED


def test_a_certificate_that_is_no_pem_is_not_shown() -> None:
    found = reading(Source(Engine.CERTIFICATE, path="web"), bundle("hunter2"), NOW, lambda: 0.0)
    assert isinstance(found, Failure)
    assert (found.reason, "hunter2" in found.text) == (FailureReason.UNUSABLE, False)


def error(code: str, inner: str = "", message: str = "no", key: str = "innererror") -> dict[str, Any]:
    return {"error": {"code": code, "message": message} | ({key: {"code": inner}} if inner else {})}


@pytest.mark.parametrize(
    ("status", "body", "reason", "text"),
    [
        (401, error("Unauthorized"), FailureReason.DENIED, "no"),
        (403, error("Forbidden", "ForbiddenByRbac"), FailureReason.DENIED, "Key Vault Secrets User"),
        (403, error("Forbidden", "ForbiddenByPolicy"), FailureReason.DENIED, "access policies"),
        (403, error("Forbidden", "ForbiddenByFirewall"), FailureReason.DENIED, "network rule"),
        (403, error("Forbidden", "SecretDisabled"), FailureReason.DISABLED, "enable it"),
        (403, error("Forbidden", "SecretDisabled", key="innerError"), FailureReason.DISABLED, "enable it"),
        (404, error("SecretNotFound"), FailureReason.MISSING, "object_version"),
        (404, None, FailureReason.MISSING, "HTTP 404"),
        (408, None, FailureReason.TIMEOUT, "HTTP 408"),
        (429, error("Throttled", message="slow\r\ndown."), FailureReason.THROTTLED, "slow down"),
        (400, error("BadParameter"), FailureReason.REFUSED, "no"),
        (500, "<html>", FailureReason.SERVER_ERROR, "HTTP 500"),
        (503, error("ServiceUnavailable"), FailureReason.UNREACHABLE, "no"),
        (504, None, FailureReason.TIMEOUT, "HTTP 504"),
        (307, None, FailureReason.REDIRECTED, "redirects"),
        (200, None, FailureReason.GARBLED, "no JSON object"),
        (200, ["a"], FailureReason.GARBLED, "no JSON object"),
        (403, {"error": "text"}, FailureReason.DENIED, "HTTP 403"),
        (403, {"error": {"innererror": "text"}}, FailureReason.DENIED, "HTTP 403"),
    ],
)
def test_each_refusal_has_its_reason_and_says_what_to_do(
    status: int, body: Any, reason: FailureReason, text: str
) -> None:
    found = judged(status, body, {})
    assert isinstance(found, Failure)
    assert (found.reason, found.status) == (reason, status)
    assert text in found.text


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"x-ms-retry-after-ms": "250"}, 0.25),
        ({"retry-after": "Fri, 01 Jan 2027 00:00:00 GMT", "retry-after-ms": "1000"}, 1.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "1e9"}, 3600.0),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_each_spelling(headers: dict[str, str], wait: float | None) -> None:
    found = judged(429, error("Throttled"), headers)
    assert isinstance(found, Failure)
    assert found.retry_after == wait


def test_a_request_can_be_traced() -> None:
    found = judged(500, error("InternalError"), {"x-ms-request-id": "3f2a"})
    assert isinstance(found, Failure)
    assert "request 3f2a" in found.text


@pytest.mark.parametrize(
    ("date", "text"), [(1_795_000_000, "until 2026-11-18"), (None, "recovered:"), (1e30, "some day")]
)
def test_what_is_deleted_says_until_when_it_can_be_recovered(date: object, text: str) -> None:
    found = soft_deleted(Success({"scheduledPurgeDate": date}))
    assert (found.reason, text in found.text) == (FailureReason.DELETED, True)


def test_pfx_is_known_by_its_content_type() -> None:
    assert pfx_of(Success({"contentType": "application/x-pkcs12", "value": "AAEC"})) == b"\x00\x01\x02"
    assert pfx_of(Success({"contentType": "text/plain", "value": "AAEC"})) is None
    with pytest.raises(ValueError, match="no base64"):
        pfx_of(Success({"contentType": "application/x-pkcs12", "value": "?"}))
