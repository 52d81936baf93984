"""Requests for tokens, what their answers mean, and how far a vault's challenge is believed."""

import base64
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from sidecars.secret_sync.core.entra import (
    AzureIdentity,
    Challenge,
    IdentityKind,
    belongs,
    challenge_of,
    claims_of,
    cloud_of,
    other_tenant,
    probe_request,
    token_of,
    token_request,
)
from sidecars.secret_sync.core.outcome import Failure, FailureReason
from sidecars.secret_sync.core.sync import Granted

NOW = 1_790_000_000.0
RESOURCE = "https://vault.azure.net"
TENANT = "11111111-2222-4333-8444-555555555555"
POD = AzureIdentity(IdentityKind.WORKLOAD, TENANT, "client-id", "/token", "https://login.microsoftonline.com")
NODE = AzureIdentity(
    IdentityKind.MANAGED, client="client-id", endpoint="http://169.254.169.254/metadata/identity/oauth2/token"
)
SERVICE = AzureIdentity(IdentityKind.MANAGED, endpoint="http://127.0.0.1:41741/msi/token", header="c4nary")


def test_a_projected_token_is_exchanged_by_a_form() -> None:
    asked = token_request(POD, RESOURCE, "jwt", '{"access_token":{}}')
    assert asked.url == f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token"
    assert {name: texts[0] for name, texts in parse_qs(asked.form or "").items()} == {
        "grant_type": "client_credentials",
        "client_id": "client-id",
        "scope": "https://vault.azure.net/.default",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": "jwt",
        "claims": '{"access_token":{}}',
    }


@pytest.mark.parametrize(
    ("identity", "query", "headers"),
    [
        (NODE, {"api-version": "2018-02-01", "resource": RESOURCE, "client_id": "client-id"}, {"Metadata": "true"}),
        (SERVICE, {"api-version": "2019-08-01", "resource": RESOURCE}, {"X-IDENTITY-HEADER": "c4nary"}),
    ],
)
def test_a_managed_identity_is_asked_for_by_its_endpoint(
    identity: AzureIdentity, query: dict[str, str], headers: dict[str, str]
) -> None:
    asked = token_request(identity, RESOURCE)
    assert (asked.url.partition("?")[0], asked.form, asked.headers) == (identity.endpoint, None, headers)
    assert {name: texts[0] for name, texts in parse_qs(urlsplit(asked.url).query).items()} == query


def test_a_probe_holds_no_credential() -> None:
    for identity in (POD, NODE, SERVICE):
        asked = probe_request(identity)
        assert (asked.headers, asked.form, "c4nary" in asked.url) == ({}, None, False)


@pytest.mark.parametrize(
    ("body", "lasts"),
    [
        ({"access_token": "t", "expires_in": 3599}, 3599.0),
        ({"access_token": "t", "expires_in": "3599", "expires_on": "5"}, 3599.0),
        ({"access_token": "t", "expires_on": str(int(NOW) + 60)}, 60.0),
        ({"access_token": "t", "expires_in": 0}, None),
        ({"access_token": "t", "expires_in": "soon"}, None),
        ({"access_token": "t", "expires_in": "nan"}, None),
        ({"access_token": "t", "expires_in": float("inf")}, None),
        ({"access_token": "", "expires_in": 5}, None),
        ({"access_token": 5, "expires_in": 5}, None),
        ({}, None),
    ],
    ids=str,
)
def test_numbers_may_be_texts_and_an_end_may_be_a_date(body: dict[str, Any], lasts: float | None) -> None:
    found = token_of(NODE, 200, body, {}, NOW)
    if lasts is None:
        assert isinstance(found, Failure)
        assert found.reason is FailureReason.GARBLED
    else:
        assert found == (Granted(lasts, renewable=False), "t")


def entra(error: str, number: int = 0) -> dict[str, Any]:
    words = f"AADSTS{number}: No such thing. Trace ID: 3f2a Correlation ID: 1 Timestamp: 2026"
    return {"error": error, "error_description": words, "error_codes": [number]}


@pytest.mark.parametrize(
    ("identity", "status", "body", "reason", "text"),
    [
        (POD, 400, entra("unauthorized_client", 700016), FailureReason.DENIED, "check client_id and tenant_id"),
        (POD, 401, entra("invalid_client", 700213), FailureReason.DENIED, "federate the identity"),
        (POD, 401, entra("invalid_client", 700024), FailureReason.DENIED, "reads it again"),
        (POD, 400, entra("invalid_request", 1), FailureReason.DENIED, "Trace ID: 3f2a"),
        (POD, 400, entra("temporarily_unavailable", 90033), FailureReason.SERVER_ERROR, "AADSTS90033"),
        (POD, 429, None, FailureReason.THROTTLED, "HTTP 429"),
        (POD, 500, None, FailureReason.SERVER_ERROR, "HTTP 500"),
        (POD, 503, "text", FailureReason.UNREACHABLE, "HTTP 503"),
        (POD, 302, None, FailureReason.REDIRECTED, "redirects"),
        (POD, 200, None, FailureReason.GARBLED, "no JSON"),
        (
            NODE,
            400,
            {"error": "invalid_request", "error_description": "AzureIdentity not found"},
            FailureReason.DENIED,
            "client_id",
        ),
        (NODE, 404, None, FailureReason.SERVER_ERROR, "HTTP 404"),
        (NODE, 410, None, FailureReason.SERVER_ERROR, "HTTP 410"),
        (NODE, 429, None, FailureReason.THROTTLED, "HTTP 429"),
        (SERVICE, 500, {"error": {"code": "x", "message": "out of order"}}, FailureReason.SERVER_ERROR, "out of order"),
    ],
)
def test_a_refused_login_says_what_to_do(
    identity: AzureIdentity, status: int, body: Any, reason: FailureReason, text: str
) -> None:
    found = token_of(identity, status, body, {"retry-after": "9"}, NOW)
    assert isinstance(found, Failure)
    assert (found.reason, text in found.text, "Timestamp" in found.text) == (reason, True, False), found.text
    if reason is not FailureReason.REDIRECTED:
        assert found.retry_after == 9.0


@pytest.mark.parametrize(
    ("address", "resource", "good"),
    [
        ("https://shop.vault.azure.net", RESOURCE, True),
        ("https://SHOP.Vault.Azure.Net", "https://VAULT.azure.net", True),
        ("https://shop.vault.azure.net:8443", RESOURCE, True),
        ("https://shop.vault.azure.net", "https://vault.azure.cn", False),
        ("https://shop.vault.azure.net.evil.example", RESOURCE, False),
        ("https://shopvault.azure.net", RESOURCE, False),
        ("https://vault.azure.net", RESOURCE, False),
        ("https://127.0.0.1:8300", RESOURCE, False),
        ("https://shop.vault.azure.net", "", False),
        ("https://shop.vault.azure.net", "vault.azure.net", False),
    ],
)
def test_a_token_is_only_for_what_the_vaults_own_domain_belongs_to(address: str, resource: str, good: bool) -> None:
    assert belongs(address, resource) is good


@pytest.mark.parametrize(
    ("address", "authority", "resource"),
    [
        ("https://a.vault.azure.net", "https://login.microsoftonline.com", "https://vault.azure.net"),
        ("https://a.vault.azure.cn", "https://login.chinacloudapi.cn", "https://vault.azure.cn"),
        ("https://a.vault.usgovcloudapi.net", "https://login.microsoftonline.us", "https://vault.usgovcloudapi.net"),
    ],
)
def test_each_cloud_has_its_own_login(address: str, authority: str, resource: str) -> None:
    cloud = cloud_of(address)
    assert cloud is not None
    assert (cloud.authority, cloud.resource) == (authority, resource)
    assert cloud_of("https://vault.internal") is None


CLAIMS = '{"access_token":{"nbf":{"essential":true}}}'
ENCODED = base64.urlsafe_b64encode(CLAIMS.encode()).decode()


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (
            f'Bearer authorization="https://login.microsoftonline.com/{TENANT}", resource="{RESOURCE}"',
            Challenge(TENANT, RESOURCE),
        ),
        (f'Bearer authorization_uri="https://x/{TENANT}/", scope="{RESOURCE}/.default"', Challenge(TENANT, RESOURCE)),
        (f'bearer realm="", error="insufficient_claims", claims="{ENCODED}"', Challenge(claims=CLAIMS)),
        ('Bearer claims="\xff"', Challenge()),
        ('Basic realm="vault"', Challenge()),
        ("", Challenge()),
    ],
)
def test_a_challenge_is_read(header: str, found: Challenge) -> None:
    assert challenge_of(header) == found


def test_two_tenants_are_told_apart_only_by_their_ids() -> None:
    assert other_tenant(TENANT, TENANT.replace("1", "2"))
    assert not other_tenant(TENANT, TENANT.upper())
    assert not other_tenant("shop.example", TENANT)


@pytest.mark.parametrize(
    "claims", [{"iss": "i", "sub": "s", "aud": ["a", "b"]}, {"iss": "i", "sub": "s", "aud": "a, b"}]
)
def test_a_projected_token_says_whose_it_is(claims: dict[str, Any]) -> None:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    assert claims_of(f"e30.{payload}.c2ln") == ("i", "s", "a, b")


@pytest.mark.parametrize("token", ["", "a.b", "a.!!!!.c", "a.W10.c", "no token"])
def test_what_is_no_projected_token_says_nothing(token: str) -> None:
    assert claims_of(token) == ("", "", "")
