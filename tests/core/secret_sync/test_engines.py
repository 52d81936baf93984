"""Requests and answers of the engines: the truth table of KV, leases, static roles and certificates."""

from typing import Any

import pytest

from sidecars.secret_sync.core.engines import Engine, Source, VaultCall, call, policy, reading
from sidecars.secret_sync.core.outcome import Endpoint, Failure, FailureReason, Success, judged
from sidecars.secret_sync.core.sync import Reading

NOW = 1_000_000.0
KV2 = Source(Engine.KV2, "kv", "app", poll_seconds=30)


def kv2(data: dict[str, Any] | None, **metadata: object) -> dict[str, Any]:
    return {"data": {"data": data, "metadata": {"version": 3, "deletion_time": "", "destroyed": False, **metadata}}}


def read(source: Source, status: int, body: Any) -> Reading | Failure:
    outcome = judged(Endpoint.READ, status, body)
    return reading(source, outcome, NOW, lambda: 0.5) if isinstance(outcome, Success) else outcome


TRUTH: dict[str, tuple[int, Any, object]] = {
    "live": (200, kv2({"a": "1"}), {"a": "1"}),
    "deleted in the future": (200, kv2({"a": "1"}, deletion_time="2999-01-01T00:00:00Z"), {"a": "1"}),
    "deleted": (404, kv2(None, deletion_time="2026-01-01T00:00:00Z"), FailureReason.DELETED),
    "destroyed": (404, kv2(None, destroyed=True), FailureReason.DELETED),
    "missing": (404, {"errors": []}, FailureReason.MISSING),
    "denied": (403, {"errors": ["permission denied"]}, FailureReason.DENIED),
    "data/ in the path": (404, {"data": None, "warnings": ["Invalid path for a versioned K/V"]}, FailureReason.MISSING),
    "empty": (200, kv2({}), {}),
}  # fmt: skip


@pytest.mark.parametrize(("status", "body", "wanted"), TRUTH.values(), ids=TRUTH)
def test_the_truth_table_of_kv2(status: int, body: Any, wanted: object) -> None:
    found = read(KV2, status, body)
    if isinstance(wanted, FailureReason):
        assert isinstance(found, Failure)
        assert found.reason is wanted
    else:
        assert isinstance(found, Reading)
        assert (found.value, found.again) == (wanted, 30)


def test_the_ttl_of_kv1_is_no_lease_and_sets_no_pause() -> None:
    found = read(
        Source(Engine.KV1, "old", "app", poll_seconds=30), 200, {"data": {"ttl": "768h"}, "lease_duration": 2764800}
    )
    assert isinstance(found, Reading)
    assert found.lease == ""
    assert 27 <= (found.again or 0) <= 30


def test_a_dynamic_secret_has_a_lease_and_one_without_is_read_once() -> None:
    source = Source(Engine.DYNAMIC, path="database/creds/app")
    found = read(source, 200, {"data": {"username": "u"}, "lease_id": "l", "lease_duration": 60, "renewable": True})
    assert found == Reading({"username": "u"}, "l", 60.0, renewable=True)
    key = read(
        Source(Engine.DYNAMIC, path="transit/datakey/plaintext/k", write=True), 200, {"data": {"plaintext": "x"}}
    )
    assert key == Reading({"plaintext": "x"}, again=None)


@pytest.mark.parametrize(("ttl", "again"), [(40, 41.0), (0, 1.0), ("bogus", 1.0), (None, 1.0)])
def test_a_static_role_is_read_a_second_after_its_rotation(ttl: object, again: float) -> None:
    found = read(Source(Engine.STATIC, "db", role="app"), 200, {"data": {"username": "u", "ttl": ttl}})
    assert isinstance(found, Reading)
    assert found.again == again


def test_a_certificate_is_issued_anew_at_a_share_of_the_life_left_on_our_clock() -> None:
    source = Source(Engine.PKI, "pki", role="web", parameters={"common_name": "web.svc"})
    data = {"certificate": "c", "private_key": "k", "expiration": NOW + 900, "not_before": NOW - 100_000}
    found = read(source, 200, {"data": data})
    assert isinstance(found, Reading)
    assert 900 * 0.6 - 1 <= (found.again or 0) <= 900 * 2 / 3
    assert found.ends == 900
    ended = read(source, 200, {"data": data | {"expiration": NOW - 1}})
    assert isinstance(ended, Failure)


CALLS = {
    "kv1": (Source(Engine.KV1, "old/", "/app"), VaultCall("GET", "old/app")),
    "kv2": (
        Source(Engine.KV2, "team/kv", "a/b", version=2),
        VaultCall("GET", "team/kv/data/a/b", query={"version": "2"}),
    ),
    "pki": (
        Source(Engine.PKI, "pki", role="web", parameters={"ttl": "1h"}),
        VaultCall("POST", "pki/issue/web", {"ttl": "1h"}, mints=True),
    ),
    "static": (Source(Engine.STATIC, "db", role="app"), VaultCall("GET", "db/static-creds/app")),
    "dynamic": (Source(Engine.DYNAMIC, path="db/creds/app"), VaultCall("GET", "db/creds/app", mints=True)),
    "ssh": (
        Source(Engine.DYNAMIC, path="ssh/sign/x", write=True, parameters={"k": "v"}),
        VaultCall("POST", "ssh/sign/x", {"k": "v"}, mints=True),
    ),
}


@pytest.mark.parametrize(("source", "wanted"), CALLS.values(), ids=CALLS)
def test_requests(source: Source, wanted: VaultCall) -> None:
    assert call(source) == wanted


def test_policies_name_each_path() -> None:
    assert policy(CALLS["pki"][0]) == [("pki/issue/web", ("update",))]
    assert policy(Source(Engine.KV, "kv", "app")) == [("kv/app", ("read",)), ("kv/data/app", ("read",))]


ANSWERS = {
    (Endpoint.READ, 429): FailureReason.THROTTLED,
    (Endpoint.READ, 412): FailureReason.NOT_CURRENT,
    (Endpoint.READ, 472): FailureReason.NOT_CURRENT,
    (Endpoint.READ, 503): FailureReason.SEALED,
    (Endpoint.READ, 500): FailureReason.SERVER_ERROR,
    (Endpoint.LOGIN, 400): FailureReason.REFUSED,
    (Endpoint.READ, 307): FailureReason.REDIRECTED,
    (Endpoint.HEALTH, 503): FailureReason.SEALED,
    (Endpoint.HEALTH, 472): FailureReason.SEALED,
}


@pytest.mark.parametrize(("asked", "wanted"), ANSWERS.items(), ids=str)
def test_a_status_means_what_its_endpoint_says(asked: tuple[Endpoint, int], wanted: FailureReason) -> None:
    found = judged(asked[0], asked[1], {"errors": []}, "7")
    assert isinstance(found, Failure)
    assert found.reason is wanted


@pytest.mark.parametrize("status", [200, 429, 473])
def test_a_standby_is_healthy(status: int) -> None:
    assert isinstance(judged(Endpoint.HEALTH, status, {"sealed": False}), Success)


def test_a_400_that_is_no_json_is_not_vaults_and_no_refusal() -> None:
    found = judged(Endpoint.LOGIN, 400, None)
    assert isinstance(found, Failure)
    assert found.reason is FailureReason.GARBLED
    assert "https" in found.text


def test_garbage_is_no_success() -> None:
    bodies: tuple[Any, ...] = (None, [], "text")
    for body in bodies:
        found = judged(Endpoint.READ, 200, body)
        assert isinstance(found, Failure)
        assert found.reason is FailureReason.GARBLED


def test_every_refusal_says_something_and_the_common_ones_what_to_do() -> None:
    for endpoint in Endpoint:
        for status in (400, 403, 404, 412, 429, 500, 503):
            found = judged(endpoint, status, {"errors": []})
            assert isinstance(found, Success) or found.text, (endpoint, status)
    missing = judged(Endpoint.READ, 404, {"errors": []})
    denied = judged(Endpoint.READ, 403, {"errors": ["permission denied"]})
    assert isinstance(missing, Failure)
    assert isinstance(denied, Failure)
    assert "check mount, path and version" in missing.text
    assert denied.text.startswith("permission denied; its policy")


def test_what_is_read_without_a_lease_is_polled_whatever_its_duration_says() -> None:
    source = Source(Engine.DYNAMIC, path="old/app", poll_seconds=30)
    found = read(source, 200, {"data": {"password": "x"}, "lease_id": "", "lease_duration": 2764800})
    assert isinstance(found, Reading)
    assert 27 <= (found.again or 0) <= 30
    assert found.ends is None


def test_a_lease_of_no_duration_is_renewed_soon_and_not_read_again_at_once() -> None:
    source = Source(Engine.DYNAMIC, path="database/creds/app")
    body = {"lease_id": "x", "lease_duration": 0, "renewable": True, "data": {"a": "1"}}
    found = reading(source, Success(body), 0.0, lambda: 0.5)
    assert isinstance(found, Reading)
    assert (found.lease, found.duration, found.renewable, found.again) == ("x", 300.0, True, None)


@pytest.mark.parametrize(("margin", "again"), [(600.0, 3000.0), (7200.0, 2400.0)])
def test_a_certificate_is_issued_anew_a_margin_before_its_end_where_it_lives_that_long(
    margin: float, again: float
) -> None:
    source = Source(Engine.PKI, mount="pki", role="web", life_fraction=2 / 3, margin_seconds=margin)
    body = {"data": {"certificate": "x", "private_key": "y", "expiration": 4600}}
    found = reading(source, Success(body), 1000.0, lambda: 0.0)
    assert isinstance(found, Reading)
    assert found.again == pytest.approx(again)
