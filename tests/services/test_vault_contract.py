"""What secret-sync relies on of Vault's interface: the stand-in and a real server give the same answers.

A test makes what it needs under names of its own, so that it can run against a server that somebody uses.
"""

import json
import os
import re
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.services.vault_server import NoServer, VaultServer, real, stand_in
from tests.support.jwts import Issuer, Reviewer
from tests.support.postgres_server import PostgresServer, binaries
from tests.support.sidecars import SidecarProcess
from tests.support.vault_client import Reply, VaultClient

DENIED = (403, ["permission denied"])
DENIED_BY_POLICY = (403, ["1 error occurred:\n\t* permission denied\n\n"])


@pytest.fixture(scope="module", params=["stand-in", "real"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, without_server: Callable[..., Any]
) -> Iterator[VaultServer]:
    """A server, its address and a root token."""
    if request.param == "stand-in":
        with stand_in() as found:
            yield found
        return
    try:
        with real(tmp_path_factory.mktemp("vault")) as found:
            yield found
    except NoServer as error:
        without_server("vault", str(error))


@pytest.fixture
def root(server: VaultServer) -> VaultClient:
    """A client that may do everything."""
    return VaultClient(server.url, server.token)


@pytest.fixture
def made(root: VaultClient) -> Iterator[Callable[..., str]]:
    """`made("sys/mounts", {"type": "kv"})` makes something under a name of its own and returns the name; removed at the
    end.
    """
    paths: list[str] = []

    def make(kind: str, body: object) -> str:
        name = f"contract-{secrets.token_hex(4)}"
        root.set(f"{kind}/{name}", body)
        paths.append(f"{kind}/{name}")
        return name

    yield make
    for path in reversed(paths):
        root.call("DELETE", path)


@pytest.fixture
def kv(made: Callable[..., str]) -> str:
    """A mount of KV version 2 that takes writes."""
    return made("sys/mounts", {"type": "kv", "options": {"version": "2"}})


def settled(ask: Callable[[], Reply], wanted: Callable[[Reply], bool]) -> Reply:
    """Ask until the answer is as wanted: a fresh mount is upgraded for a moment, and what ends takes one."""
    deadline = time.monotonic() + 20
    while not wanted(reply := ask()):
        assert time.monotonic() < deadline, reply
        time.sleep(0.05)
    return reply


def is_success(reply: Reply) -> bool:
    return reply.status in (200, 204)


def policy(root: VaultClient, made: Callable[..., str], text: str) -> str:
    """A policy of this text; returns its name."""
    return made("sys/policies/acl", {"policy": text})


def token(root: VaultClient, **settings: object) -> dict[str, Any]:
    """A new token; returns its `auth` block."""
    auth: dict[str, Any] = root.set("auth/token/create", settings).body["auth"]
    return auth


# --- shapes ---


def test_a_success_has_eight_keys_and_a_refusal_one(root: VaultClient, kv: str) -> None:
    reply = settled(lambda: root.write(f"{kv}/data/a", {"data": {"x": 1}}), is_success)
    keys = {"request_id", "lease_id", "renewable", "lease_duration", "data", "wrap_info", "warnings", "auth"}
    assert reply.body.keys() == keys
    assert (reply.body["lease_id"], reply.body["renewable"], reply.body["auth"]) == ("", False, None)
    assert root.read(f"{kv}/data/none").errors == (404, [])
    assert reply.headers["content-type"] == "application/json"


def test_health_and_seal_status_need_no_token(root: VaultClient) -> None:
    nobody = root.using("")
    nobody.token = ""
    health = nobody.read("sys/health")
    assert (health.status, health.body["initialized"], health.body["sealed"]) == (200, True, False)
    assert nobody.read("sys/seal-status").body["sealed"] is False


# --- refusals ---


def test_a_dead_token_and_a_denial_are_told_apart_by_lookup_self(
    root: VaultClient, kv: str, made: Callable[..., str]
) -> None:
    settled(lambda: root.write(f"{kv}/data/a", {"data": {"x": 1}}), is_success)
    allowed = policy(root, made, f'path "{kv}/data/b" {{ capabilities = ["read"] }}')
    good = root.using(token(root, policies=[allowed], ttl="1m")["client_token"])
    assert good.read(f"{kv}/data/a").errors == DENIED_BY_POLICY
    assert good.read("nowhere/at/all").errors == DENIED_BY_POLICY
    assert good.read("auth/token/lookup-self").data["policies"] == sorted([allowed, "default"])
    good.set("auth/token/revoke-self")
    assert good.read(f"{kv}/data/b").errors == DENIED
    assert good.read("auth/token/lookup-self").errors == DENIED
    assert root.using("s.never").read("auth/token/lookup-self").errors == DENIED


def test_a_login_at_no_mount_is_denied(root: VaultClient) -> None:
    assert VaultClient(root.url).write("auth/nowhere/login", {"role": "a"}).errors == DENIED


def test_a_body_that_is_no_object_is_refused(root: VaultClient, kv: str) -> None:
    settled(lambda: root.write(f"{kv}/data/a", {"data": {"x": 1}}), is_success)
    status, errors = root.call("POST", f"{kv}/data/a", "text").errors
    assert status == 400
    assert "cannot unmarshal string" in errors[0]


# --- AppRole ---


@pytest.fixture
def approle(root: VaultClient, made: Callable[..., str]) -> tuple[str, str, str]:
    """An AppRole: its mount, its role-id, and the path of its secret-ids."""
    mount = made("sys/auth", {"type": "approle"})
    root.set(f"auth/{mount}/role/app", {"token_ttl": "20s", "token_max_ttl": "1m", "token_policies": "default"})
    role_id = root.read(f"auth/{mount}/role/app/role-id").data["role_id"]
    return mount, role_id, f"auth/{mount}/role/app/secret-id"


def test_an_approle_logs_in(root: VaultClient, approle: tuple[str, str, str]) -> None:
    mount, role_id, path = approle
    made = root.set(path).data
    assert {"secret_id", "secret_id_accessor", "secret_id_ttl", "secret_id_num_uses"} <= made.keys()
    reply = root.write(f"auth/{mount}/login", {"role_id": role_id, "secret_id": made["secret_id"]})
    auth = reply.body["auth"]
    assert (auth["lease_duration"], auth["renewable"], auth["token_type"], auth["orphan"]) == (
        20,
        True,
        "service",
        True,
    )
    assert auth["metadata"] == {"role_name": "app"}
    assert (reply.body["data"], reply.body["lease_duration"]) == (None, 0)
    looked = root.using(auth["client_token"]).read("auth/token/lookup-self").data
    assert (looked["path"], looked["creation_ttl"], looked["type"]) == (f"auth/{mount}/login", 20, "service")


def test_a_wrong_secret_id_is_400_and_five_of_them_lock_the_role_out(
    root: VaultClient, approle: tuple[str, str, str]
) -> None:
    mount, role_id, path = approle
    good = root.set(path).data["secret_id"]
    assert root.write(f"auth/{mount}/login", {"role_id": role_id}).errors == (400, ["missing secret_id"])
    wrong = {"role_id": role_id, "secret_id": "11111111-1111-4111-8111-111111111111"}
    for _ in range(5):
        assert root.write(f"auth/{mount}/login", wrong).errors == (400, ["invalid role or secret ID"])
    assert root.write(f"auth/{mount}/login", {"role_id": role_id, "secret_id": good}).errors == DENIED


def test_lockout_can_be_turned_off(root: VaultClient, approle: tuple[str, str, str]) -> None:
    mount, role_id, path = approle
    root.set(f"sys/auth/{mount}/tune", {"user_lockout_config": {"lockout_disable": True}})
    for _ in range(6):
        root.write(f"auth/{mount}/login", {"role_id": role_id, "secret_id": "11111111-1111-4111-8111-111111111111"})
    good = root.set(path).data["secret_id"]
    assert root.write(f"auth/{mount}/login", {"role_id": role_id, "secret_id": good}).status == 200


def test_a_secret_id_of_one_use_is_used_up(root: VaultClient, approle: tuple[str, str, str]) -> None:
    mount, role_id, path = approle
    root.set(f"auth/{mount}/role/app", {"secret_id_num_uses": 1})
    body = {"role_id": role_id, "secret_id": root.set(path).data["secret_id"]}
    assert root.write(f"auth/{mount}/login", body).status == 200
    assert root.write(f"auth/{mount}/login", body).errors == (400, ["invalid role or secret ID"])


def test_a_wrapped_secret_id_shows_its_path_and_is_unwrapped_once(
    root: VaultClient, approle: tuple[str, str, str]
) -> None:
    _, _, path = approle
    reply = root.write(path, {}, X_Vault_Wrap_TTL="30s")
    info = reply.body["wrap_info"]
    assert (info["creation_path"], info["ttl"], reply.body["data"], reply.body["request_id"]) == (path, 30, None, "")
    assert info["wrapped_accessor"]
    nobody = VaultClient(root.url)
    looked = nobody.write("sys/wrapping/lookup", {"token": info["token"]}).data
    assert (looked["creation_path"], looked["creation_ttl"]) == (path, 30)
    assert nobody.write("sys/wrapping/unwrap", {"token": info["token"]}).errors[0] == 403
    wrapping = root.using(info["token"])
    assert "secret_id" in wrapping.write("sys/wrapping/unwrap").data
    gone = (400, ["wrapping token is not valid or does not exist"])
    assert wrapping.write("sys/wrapping/unwrap").errors == gone
    assert nobody.write("sys/wrapping/lookup", {"token": info["token"]}).errors == gone


def test_any_other_call_burns_a_wrapping_token(root: VaultClient, approle: tuple[str, str, str]) -> None:
    info = root.write(approle[2], {}, X_Vault_Wrap_TTL="30s").body["wrap_info"]
    wrapping = root.using(info["token"])
    assert wrapping.read("auth/token/lookup-self").status == 403
    assert wrapping.write("sys/wrapping/unwrap").status == 400


# --- JWT ---

JWT_REFUSALS = {
    "expired": ({"exp": -3600}, "invalid expiration time (exp) claim: token is expired"),
    "audience": ({"aud": "other"}, "invalid audience (aud) claim: audience claim does not match any expected audience"),
    "issuer": ({"iss": "other"}, "invalid issuer (iss) claim"),
    "early": ({"nbf": 3600}, "invalid not before (nbf) claim: token not yet valid"),
}


@pytest.fixture
def jwt(root: VaultClient, made: Callable[..., str]) -> tuple[str, Issuer]:
    """A JWT method and who signs for it."""
    mount, issuer = made("sys/auth", {"type": "jwt"}), Issuer("https://issuer.test")
    root.set(f"auth/{mount}/config", {"jwt_validation_pubkeys": [issuer.public_pem], "bound_issuer": issuer.name})
    role = {"role_type": "jwt", "bound_audiences": ["vault"], "user_claim": "sub", "token_ttl": "30s"}
    root.set(f"auth/{mount}/role/app", role)
    return mount, issuer


def test_a_jwt_logs_in(root: VaultClient, jwt: tuple[str, Issuer]) -> None:
    mount, issuer = jwt
    reply = root.write(f"auth/{mount}/login", {"role": "app", "jwt": issuer.token(aud="vault")})
    assert reply.status == 200, reply
    assert reply.body["auth"]["metadata"] == {"role": "app"}
    assert reply.body["auth"]["lease_duration"] == 30


@pytest.mark.parametrize(("claims", "text"), JWT_REFUSALS.values(), ids=JWT_REFUSALS)
def test_a_jwt_that_is_refused_says_why(
    root: VaultClient, jwt: tuple[str, Issuer], claims: dict[str, Any], text: str
) -> None:
    mount, issuer = jwt
    body = {"role": "app", "jwt": issuer.token(**{"aud": "vault", **claims})}
    assert root.write(f"auth/{mount}/login", body).errors == (400, [f"error validating token: {text}"])


def test_a_jwt_of_another_key_no_role_and_no_token(root: VaultClient, jwt: tuple[str, Issuer]) -> None:
    mount, _ = jwt
    stranger = Issuer("https://issuer.test").token(aud="vault")
    status, errors = root.write(f"auth/{mount}/login", {"role": "app", "jwt": stranger}).errors
    assert status == 400
    assert "no known key successfully validated the token signature" in errors[0]
    unknown = root.write(f"auth/{mount}/login", {"role": "nope", "jwt": stranger}).errors
    assert unknown == (400, ['role "nope" could not be found'])
    assert root.write(f"auth/{mount}/login", {"role": "app"}).errors == (400, ["missing token"])


# --- the token ---


def test_a_renewal_is_capped_at_the_maximum_with_a_warning(root: VaultClient, approle: tuple[str, str, str]) -> None:
    mount, role_id, path = approle
    login = {"role_id": role_id, "secret_id": root.set(path).data["secret_id"]}
    mine = root.using(root.write(f"auth/{mount}/login", login).body["auth"]["client_token"])
    renewed = mine.write("auth/token/renew-self", {"increment": "1h"})
    assert renewed.status == 200
    assert 55 <= renewed.body["auth"]["lease_duration"] <= 60
    assert re.fullmatch(
        r'TTL of "1h" exceeded the effective max_ttl of "(1m|\d+s)"; TTL value is capped accordingly',
        renewed.body["warnings"][0],
    )


def test_tokens_that_cannot_be_renewed_say_so(root: VaultClient) -> None:
    batch = root.using(token(root, type="batch", ttl="1m", policies=["default"])["client_token"])
    assert batch.write("auth/token/renew-self").errors == (400, ["batch tokens cannot be renewed"])
    assert batch.write("auth/token/revoke-self").errors == (400, ["batch tokens cannot be revoked"])
    fixed = root.using(token(root, renewable=False, ttl="1m", policies=["default"])["client_token"])
    assert fixed.write("auth/token/renew-self").errors == (400, ["lease is not renewable"])
    assert fixed.write("auth/token/revoke-self").status == 204


def test_a_periodic_token_with_an_end_gets_less_near_it(root: VaultClient) -> None:
    auth = token(root, period="10s", explicit_max_ttl="13s", policies=["default"])
    mine = root.using(auth["client_token"])
    assert mine.read("auth/token/lookup-self").data["period"] == 10
    renewed = settled(
        lambda: mine.write("auth/token/renew-self", {}), lambda reply: reply.body["auth"]["lease_duration"] < 10
    )
    assert renewed.body["warnings"]


def test_a_token_out_of_uses_is_dead(root: VaultClient) -> None:
    mine = root.using(token(root, num_uses=1, ttl="1m", policies=["default"])["client_token"])
    assert mine.read("auth/token/lookup-self").status == 200
    assert mine.read("auth/token/lookup-self").errors == DENIED


# --- KV ---


def test_kv2_live_deleted_destroyed_and_missing(root: VaultClient, kv: str) -> None:
    written = settled(lambda: root.write(f"{kv}/data/a", {"data": {"b": 1, "a": "x"}}), is_success)
    assert written.data["version"] == 1
    live = root.read(f"{kv}/data/a")
    assert live.data["data"] == {"a": "x", "b": 1}
    assert live.data["metadata"] | {"created_time": ""} == {
        "created_time": "",
        "custom_metadata": None,
        "deletion_time": "",
        "destroyed": False,
        "version": 1,
    }
    root.call("DELETE", f"{kv}/data/a")
    deleted = root.read(f"{kv}/data/a")
    assert (deleted.status, deleted.data["data"], deleted.data["metadata"]["destroyed"]) == (404, None, False)
    assert deleted.data["metadata"]["deletion_time"]
    root.set(f"{kv}/destroy/a", {"versions": [1]})
    destroyed = root.read(f"{kv}/data/a")
    assert (destroyed.status, destroyed.data["data"], destroyed.data["metadata"]["destroyed"]) == (404, None, True)
    assert root.read(f"{kv}/data/none").errors == (404, [])
    assert root.read(f"{kv}/data/a?version=7").errors == (404, [])


def test_kv2_a_deletion_in_the_future_is_live(root: VaultClient, kv: str) -> None:
    settled(lambda: root.write(f"{kv}/metadata/later", {"delete_version_after": "1h"}), is_success)
    root.set(f"{kv}/data/later", {"data": {"x": "1"}})
    found = root.read(f"{kv}/data/later")
    assert (found.status, found.data["data"]) == (200, {"x": "1"})
    assert found.data["metadata"]["deletion_time"]


def test_kv2_metadata_tells_the_current_version(root: VaultClient, kv: str) -> None:
    for value in ("1", "2"):
        settled(lambda value=value: root.write(f"{kv}/data/a", {"data": {"x": value}}), is_success)  # type: ignore[misc]
    found = root.read(f"{kv}/metadata/a").data
    assert found["current_version"] == 2
    assert found["versions"]["1"].keys() == {"created_time", "deletion_time", "destroyed"}
    assert root.read(f"{kv}/data/a?version=1").data["data"] == {"x": "1"}


def test_kv2_a_path_without_data_is_404_with_a_warning(root: VaultClient, kv: str) -> None:
    settled(lambda: root.write(f"{kv}/data/a", {"data": {"x": 1}}), is_success)
    reply = root.read(f"{kv}/a")
    assert (reply.status, reply.body["data"]) == (404, None)
    assert reply.body["warnings"][0].startswith("Invalid path for a versioned K/V secrets engine")
    assert root.read(f"{kv}/data/a/").status == 500


def test_kv1_shows_the_ttl_as_lease_duration(root: VaultClient, made: Callable[..., str]) -> None:
    mount = made("sys/mounts", {"type": "kv", "options": {"version": "1"}})
    for path, body, duration in (
        ("plain", {"x": "1"}, 2764800),
        ("hint", {"x": "1", "ttl": "30s"}, 30),
        ("bogus", {"x": "1", "ttl": "bogus"}, 2764800),
    ):
        root.set(f"{mount}/{path}", body)
        reply = root.read(f"{mount}/{path}")
        assert (reply.data, reply.body["lease_duration"], reply.body["lease_id"]) == (body, duration, "")
    assert root.read(f"{mount}/none").errors == (404, [])


def test_the_version_of_a_mount_can_be_looked_up_with_any_right_below_it(
    root: VaultClient, kv: str, made: Callable[..., str]
) -> None:
    settled(lambda: root.write(f"{kv}/data/a", {"data": {"x": 1}}), is_success)
    allowed = policy(root, made, f'path "{kv}/data/a" {{ capabilities = ["read"] }}')
    mine = root.using(token(root, policies=[allowed], ttl="1m")["client_token"])
    found = mine.read(f"sys/internal/ui/mounts/{kv}/a").data
    assert (found["type"], found["path"], found["options"]) == ("kv", f"{kv}/", {"version": "2"})
    status, errors = mine.read("sys/internal/ui/mounts/none/a").errors
    assert status == 403
    assert errors[0].startswith("preflight capability check returned 403")


# --- PKI ---


@pytest.fixture
def pki(root: VaultClient, made: Callable[..., str]) -> str:
    """A PKI mount with a root and a role `web`."""
    mount = made("sys/mounts", {"type": "pki"})
    root.set(f"{mount}/root/generate/internal", {"common_name": "contract root", "ttl": "24h"})
    role = {
        "allow_any_name": True,
        "enforce_hostnames": False,
        "max_ttl": "1h",
        "ttl": "30m",
        "key_type": "ec",
        "key_bits": 256,
    }
    root.set(f"{mount}/roles/web", role)
    return mount


def test_pki_issues_a_pair_with_its_chain(root: VaultClient, pki: str) -> None:
    reply = root.write(f"{pki}/issue/web", {"common_name": "web.svc", "ttl": "10m"})
    data = reply.data
    assert (reply.body["lease_id"], reply.body["lease_duration"], reply.body["renewable"]) == ("", 0, False)
    assert data["private_key"].startswith("-----BEGIN EC PRIVATE KEY-----")
    assert data["private_key_type"] == "ec"
    assert isinstance(data["ca_chain"], list)
    assert data["issuing_ca"] in data["ca_chain"]
    for text in (data["certificate"], data["private_key"], data["issuing_ca"]):
        assert not text.endswith("\n")
    assert 600 <= data["expiration"] - data["not_before"] <= 640
    assert re.fullmatch(r"([0-9a-f]{2}:)+[0-9a-f]{2}", data["serial_number"])


def test_pki_caps_the_ttl_and_refuses_nonsense(root: VaultClient, pki: str) -> None:
    capped = root.write(f"{pki}/issue/web", {"common_name": "web.svc", "ttl": "9000h"})
    assert capped.status == 200
    assert capped.body["warnings"] == [
        'TTL "9000h0m0s" is longer than permitted maxTTL "1h0m0s", so maxTTL is being used'
    ]
    status, errors = root.write(f"{pki}/issue/web", {"common_name": "web.svc", "ttl": "bogus"}).errors
    assert status == 400
    assert errors[0].startswith("Field validation failed")
    assert root.write(f"{pki}/issue/none", {"common_name": "a"}).errors == (400, ["unknown role: none"])
    assert root.write(f"{pki}/issue/web", {}).status == 400


def test_pki_keys_as_pkcs8_and_leases_where_the_role_makes_them(root: VaultClient, pki: str) -> None:
    body = {"common_name": "web.svc", "private_key_format": "pkcs8"}
    assert root.write(f"{pki}/issue/web", body).data["private_key"].startswith("-----BEGIN PRIVATE KEY-----")
    role = {"allow_any_name": True, "generate_lease": True, "key_type": "ec", "key_bits": 256, "max_ttl": "1h"}
    root.set(f"{pki}/roles/leased", role)
    leased = root.write(f"{pki}/issue/leased", {"common_name": "a", "ttl": "30s"}).body
    assert leased["lease_id"].startswith(f"{pki}/issue/leased/")
    assert leased["renewable"] is False
    assert 28 <= leased["lease_duration"] <= 30


# --- leases ---


@pytest.fixture
def leased(root: VaultClient, pki: str) -> dict[str, Any]:
    """Any lease: of a certificate, since that needs no database."""
    role = {"allow_any_name": True, "generate_lease": True, "key_type": "ec", "key_bits": 256, "max_ttl": "1h"}
    root.set(f"{pki}/roles/leased", role)
    found: dict[str, Any] = root.write(f"{pki}/issue/leased", {"common_name": "a", "ttl": "5m"}).body
    return found


def test_a_lease_that_is_gone_or_never_was_is_400(root: VaultClient, leased: dict[str, Any]) -> None:
    looked = root.write("sys/leases/lookup", {"lease_id": leased["lease_id"]}).data
    assert looked.keys() == {"id", "path", "issue_time", "expire_time", "last_renewal", "renewable", "ttl"}
    assert root.write("sys/leases/revoke", {"lease_id": leased["lease_id"]}).status == 204
    renew = {"lease_id": leased["lease_id"]}
    settled(lambda: root.write("sys/leases/renew", renew), lambda reply: reply.status == 400)
    assert root.write("sys/leases/renew", renew).errors == (400, ["lease not found"])
    assert root.write("sys/leases/lookup", renew).errors == (400, ["invalid lease"])
    assert root.write("sys/leases/renew", {}).errors == (400, ["lease_id must be specified"])


# --- quotas, namespaces, seal ---


def test_a_quota_answers_429_with_retry_after_where_headers_are_on(
    root: VaultClient, kv: str, made: Callable[..., str]
) -> None:
    settled(lambda: root.write(f"{kv}/data/f", {"data": {"x": 1}}), is_success)
    try:
        root.set("sys/quotas/config", {"enable_rate_limit_response_headers": True})
        made("sys/quotas/rate-limit", {"path": f"{kv}/", "rate": 1, "interval": "30s"})
        refused = settled(lambda: root.read(f"{kv}/data/f"), lambda reply: reply.status == 429)
        assert refused.errors == (429, [f'request path "{kv}/data/f": rate limit quota exceeded'])
        assert 1 <= int(refused.headers["retry-after"]) <= 30
    finally:
        root.set("sys/quotas/config", {"enable_rate_limit_response_headers": False})


def test_namespaces_by_header_and_by_path(root: VaultClient, made: Callable[..., str]) -> None:
    space = made("sys/namespaces", {})
    inner = VaultClient(root.url, root.token, space)
    inner.set("sys/mounts/kv", {"type": "kv", "options": {"version": "2"}})
    written = settled(lambda: inner.write("kv/data/a", {"data": {"x": 1}}), is_success)
    assert written.headers["x-vault-namespace"].strip("/") == space
    assert inner.read("kv/data/a").data["data"] == {"x": 1}
    assert root.read(f"{space}/kv/data/a").data["data"] == {"x": 1}
    allowed = policy(root, made, f'path "{space}/kv/*" {{ capabilities = ["read"] }}')
    mine = root.using(token(root, policies=[allowed], ttl="1m")["client_token"])
    assert mine.using(mine.token, space).read("kv/data/a").status == 200
    assert VaultClient(root.url, root.token, "none-such").read("kv/data/a").errors == (404, ["namespace not found"])


# --- databases ---

CREATE = [
    """CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';""",
]


@pytest.fixture(scope="module")
def postgres(without_server: Callable[..., Any]) -> Iterator[PostgresServer]:
    """A real PostgreSQL whose superuser is `postgres`."""
    folder = binaries()
    if folder is None:
        without_server("postgresql", "no binaries below /usr/lib/postgresql")
        return
    server = PostgresServer(folder).start()
    try:
        deadline = time.monotonic() + 30
        while not logs_in(server, "postgres", "secret"):
            assert time.monotonic() < deadline, "PostgreSQL does not take logins"
            time.sleep(0.1)
        yield server
    finally:
        server.discard()


def psql(server: PostgresServer, user: str, password: str, statement: str) -> bool:
    """Whether a statement succeeds for this user."""
    address = f"postgresql://127.0.0.1:{server.port}/postgres"
    environment = {"PATH": os.environ["PATH"], "PGUSER": user, "PGPASSWORD": password, "PGCONNECT_TIMEOUT": "5"}
    command = ["psql", "--no-psqlrc", address, "-c", statement]
    return not subprocess.run(command, env=environment, capture_output=True, check=False).returncode


def logs_in(server: PostgresServer, user: str, password: str) -> bool:
    """Whether a login with these credentials works."""
    return psql(server, user, password, "select 1")


@pytest.fixture
def database(server: VaultServer, root: VaultClient, made: Callable[..., str], postgres: PostgresServer) -> str:
    """A database mount with a role `app`: 10 s, at most 25 s."""
    if not server.local:
        pytest.skip("needs a server that reaches this machine's loopback")
    mount = made("sys/mounts", {"type": "database"})
    url = f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{postgres.port}/postgres?sslmode=disable"
    config = {"plugin_name": "postgresql-database-plugin", "connection_url": url, "allowed_roles": "*"}
    root.set(f"{mount}/config/pg", {**config, "username": "postgres", "password": "secret"})
    role = {"db_name": "pg", "creation_statements": CREATE, "default_ttl": "10s", "max_ttl": "25s"}
    root.set(f"{mount}/roles/app", role)
    return mount


def test_a_database_user_lives_as_long_as_its_lease(root: VaultClient, database: str, postgres: PostgresServer) -> None:
    reply = root.read(f"{database}/creds/app")
    body, user = reply.body, reply.data
    assert user.keys() == {"username", "password"}
    assert (body["renewable"], body["lease_duration"]) == (True, 10)
    assert re.fullmatch(rf"{database}/creds/app/\w{{24}}", body["lease_id"])
    assert logs_in(postgres, user["username"], user["password"])
    assert root.write("sys/leases/revoke", {"lease_id": body["lease_id"], "sync": True}).status == 204
    assert not logs_in(postgres, user["username"], user["password"])
    assert root.read(f"{database}/creds/none").errors == (400, ["unknown role: none"])


def test_a_login_with_what_secret_sync_wrote_never_fails(
    root: VaultClient,
    database: str,
    approle: tuple[str, str, str],
    made: Callable[..., str],
    postgres: PostgresServer,
    tmp_path: Path,
) -> None:
    """Over the maximum of the lease, and of the token."""
    mount, role_id, path = approle
    allowed = policy(root, made, f'path "{database}/creds/app" {{ capabilities = ["read"] }}')
    root.set(
        f"auth/{mount}/role/app", {"token_policies": f"default,{allowed}", "token_ttl": "8s", "token_max_ttl": "16s"}
    )
    (tmp_path / "role-id").write_text(role_id)
    (tmp_path / "secret-id").write_text(root.set(path).data["secret_id"])
    ids = {f"{name}_id_file": str(tmp_path / f"{name}-id") for name in ("role", "secret")}
    secret = {"name": "db", "engine": "dynamic", "path": f"{database}/creds/app", "files": [{"path": "db.json"}]}
    settings = {
        "vault": {"address": root.url},
        "auth": {"method": "approle", "mount": mount, **ids},
        "targets": [{"path": str(tmp_path / "volume"), "allow_disk": True}],
        "secrets": [secret],
    }
    (tmp_path / "settings.yaml").write_text(json.dumps(settings))
    sync = SidecarProcess(tmp_path, {"config": tmp_path / "settings.yaml"})
    sync.name = "secret-sync"
    sync.start()
    file, users, deadline = tmp_path / "volume" / "db.json", set(), time.monotonic() + 30
    while time.monotonic() < deadline:
        text = file.read_text()
        login = json.loads(text)
        assert logs_in(postgres, login["username"], login["password"]) or file.read_text() != text
        users.add(login["username"])
    assert len(users) >= 2
    assert sync.terminate() == 0
    left = [user for user in users if logs_in(postgres, user, login["password"])]
    assert left == []


def test_a_renewal_may_shorten_a_lease_and_is_capped_near_its_maximum(root: VaultClient, database: str) -> None:
    lease = root.read(f"{database}/creds/app").body["lease_id"]
    renewed = root.write("sys/leases/renew", {"lease_id": lease, "increment": 5}).body
    assert (renewed["lease_id"], renewed["lease_duration"], renewed["data"]) == (lease, 5, None)
    assert root.write("sys/leases/renew", {"lease_id": lease}).body["lease_duration"] == 10
    capped = root.write("sys/leases/renew", {"lease_id": lease, "increment": 3600}).body
    assert 20 <= capped["lease_duration"] <= 25
    assert capped["warnings"][0].startswith('TTL of "1h" exceeded the effective max_ttl of "2')


def test_a_lease_ends_with_its_token_and_only_a_batch_token_is_honest_about_it(
    root: VaultClient, database: str, made: Callable[..., str], postgres: PostgresServer
) -> None:
    allowed = policy(root, made, f'path "{database}/creds/app" {{ capabilities = ["read"] }}')
    mine = root.using(token(root, policies=[allowed], ttl="4s")["client_token"])
    reply = mine.read(f"{database}/creds/app")
    assert reply.body["lease_duration"] == 10
    batch = root.using(token(root, policies=[allowed], ttl="6s", type="batch")["client_token"])
    assert batch.read(f"{database}/creds/app").body["lease_duration"] in (5, 6)
    lease = {"lease_id": reply.body["lease_id"]}
    settled(lambda: root.write("sys/leases/lookup", lease), lambda found: found.status == 400)
    assert not logs_in(postgres, reply.data["username"], reply.data["password"])


def test_a_static_role_shows_when_its_password_changed(
    root: VaultClient, database: str, postgres: PostgresServer
) -> None:
    user = f"static_{secrets.token_hex(4)}"
    assert psql(postgres, "postgres", "secret", f"CREATE ROLE {user} LOGIN")
    root.set(f"{database}/static-roles/fixed", {"db_name": "pg", "username": user, "rotation_period": "5s"})
    reply = root.read(f"{database}/static-creds/fixed")
    first = reply.data
    assert {"username", "password", "last_vault_rotation", "rotation_period", "ttl"} <= first.keys()
    assert (first["username"], first["rotation_period"], reply.body["lease_id"]) == (user, 5, "")
    assert logs_in(postgres, user, first["password"])
    changed = settled(
        lambda: root.read(f"{database}/static-creds/fixed"),
        lambda found: bool(found.data["last_vault_rotation"] != first["last_vault_rotation"]),
    ).data
    assert changed["password"] != first["password"]


# --- Kubernetes ---


@pytest.fixture
def reviewer() -> Iterator[Reviewer]:
    """The API server, as far as it reviews tokens."""
    with Reviewer() as found:
        yield found


@pytest.fixture
def kubernetes(
    server: VaultServer, root: VaultClient, made: Callable[..., str], reviewer: Reviewer
) -> tuple[str, Issuer]:
    """A Kubernetes method with a role `app` for the account `app` in `shop`, and who signs its tokens."""
    if not server.local:
        pytest.skip("needs a server that reaches this machine's loopback")
    mount = made("sys/auth", {"type": "kubernetes"})
    own = {"disable_local_ca_jwt": True, "kubernetes_ca_cert": trustme.CA().cert_pem.bytes().decode()}
    root.set(f"auth/{mount}/config", {"kubernetes_host": reviewer.url, "token_reviewer_jwt": REVIEWER_TOKEN, **own})
    role = {
        "bound_service_account_names": ["app"],
        "bound_service_account_namespaces": ["shop"],
        "audience": "vault",
        "token_ttl": "30s",
    }
    root.set(f"auth/{mount}/role/app", role)
    return mount, Issuer("https://kubernetes.default.svc")


REVIEWER_TOKEN = Issuer("https://kubernetes.default.svc").token()


def account(name: str = "app", namespace: str = "shop") -> dict[str, Any]:
    """The claims of a service account's projected token."""
    about = {"namespace": namespace, "serviceaccount": {"name": name, "uid": "0001"}}
    return {"aud": ["vault"], "sub": f"system:serviceaccount:{namespace}:{name}", "kubernetes.io": about}


def test_a_service_account_logs_in(root: VaultClient, kubernetes: tuple[str, Issuer]) -> None:
    mount, issuer = kubernetes
    reply = root.write(f"auth/{mount}/login", {"role": "app", "jwt": issuer.token(**account())})
    assert reply.status == 200, reply
    metadata = reply.body["auth"]["metadata"]
    assert metadata["role"] == "app"
    assert (metadata["service_account_name"], metadata["service_account_namespace"]) == ("app", "shop")


def test_a_service_account_is_refused_with_403_and_an_unknown_role_with_400(
    root: VaultClient, kubernetes: tuple[str, Issuer]
) -> None:
    mount, issuer = kubernetes
    path = f"auth/{mount}/login"
    expired = root.write(path, {"role": "app", "jwt": issuer.token(**account(), exp=-3600)})
    assert expired.errors == (403, ["invalid expiration time (exp) claim: token is expired"])
    stranger = root.write(path, {"role": "app", "jwt": issuer.token(**account(namespace="other"))})
    assert stranger.errors == (403, ["namespace not authorized"])
    unknown = root.write(path, {"role": "nope", "jwt": issuer.token(**account())})
    assert unknown.errors == (400, ['invalid role name "nope"'])


def test_an_api_server_that_is_away_looks_like_a_denial(
    root: VaultClient, kubernetes: tuple[str, Issuer], reviewer: Reviewer
) -> None:
    mount, issuer = kubernetes
    reviewer.close()
    reply = root.write(f"auth/{mount}/login", {"role": "app", "jwt": issuer.token(**account())})
    assert reply.errors == DENIED
