"""Requests to servers that answer oddly, and files of TLS that change under the client."""

import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import trustme

from sidecars.runtime.clock import monotonic
from sidecars.secret_sync.core.outcome import Endpoint, Failure, FailureReason, Success
from sidecars.secret_sync.core.sync import Kind, ProviderRequest
from sidecars.secret_sync.settings import SecretSyncSettings, VaultServer
from sidecars.secret_sync.vault.client import MOST_BYTES, VaultClient, VaultRequest
from sidecars.secret_sync.vault.provider import VaultProvider
from tests.support.context import passes
from tests.support.scripted_http import HANGS, Play, ScriptedHttp, answer, answer_json

HEALTH = VaultRequest(Endpoint.READ, "GET", "kv/data/app", token="s.token")


@pytest.fixture
async def loop_gaps() -> AsyncIterator[list[float]]:
    """The pauses of the loop while the test runs."""
    import asyncio

    gaps: list[float] = []

    async def watch() -> None:
        while True:
            before = monotonic()
            await passes(0.005)
            gaps.append(monotonic() - before)

    task = asyncio.create_task(watch())
    yield gaps
    task.cancel()


def provider(address: str) -> VaultProvider:
    secret = {"name": "db", "engine": "dynamic", "path": "database/creds/app", "files": [{"path": "db.json"}]}
    given = {"vault": {"address": address, "timeout_seconds": 1}, "auth": {"role": "app"}, "secrets": [secret]}
    return VaultProvider(msgspec.convert(given, SecretSyncSettings))


ODD = [
    {"data": ["a"]},
    {"data": "text"},
    {"auth": {"client_token": 5}},
    {"auth": {"client_token": "s.x", "lease_duration": "soon"}},
    {"lease_duration": {"a": 1}, "lease_id": ["x"], "data": {"a": 1}},
    {"warnings": 5, "data": None},
    {"errors": {"a": 1}},
    [],
    None,
    "text",
]


@pytest.mark.parametrize("body", ODD, ids=json.dumps)
async def test_answers_of_unknown_shape_are_failures_and_no_crash(body: object) -> None:
    async with ScriptedHttp(answer_json(body)) as server:
        vault = provider(server.url)
        vault.adopt(1, "s.token")
        for kind in Kind:
            secret = "db" if kind in (Kind.READ, Kind.RENEW, Kind.LOOKUP) else ""
            result = await vault.perform(ProviderRequest(kind, secret, 1, "lease"))
            holds = isinstance(body, dict) and isinstance(body.get("data"), dict)
            if kind is Kind.LOGIN or (kind is Kind.READ and not holds):
                assert isinstance(result, Failure), kind
            elif kind is Kind.RENEW:
                assert isinstance(result, Failure) or result == 0.0
        vault.close()


async def test_a_token_that_was_given_is_never_revoked() -> None:
    async with ScriptedHttp(answer(204)) as server:
        given = {"vault": {"address": server.url}, "auth": {"method": "token", "token_file": "/token"}}
        vault = VaultProvider(msgspec.convert(given, SecretSyncSettings))
        vault.adopt(1, "s.token")
        assert await vault.perform(ProviderRequest(Kind.REVOKE_TOKEN, token=1)) is None
        vault.close()
    assert server.requests == []


async def test_an_answer_that_is_too_long_or_never_ends_is_no_answer() -> None:
    for play in (answer(200, b"[" + b"1," * MOST_BYTES), Play(b"HTTP/1.1 200 OK\r\n\r\n", endless=True)):
        async with ScriptedHttp(play) as server:
            client = VaultClient(VaultServer(address=server.url, timeout_seconds=1))
            found = await client.ask(HEALTH)
            assert isinstance(found, Failure)
            assert found.reason in (FailureReason.GARBLED, FailureReason.TIMEOUT)
            client.close()


async def test_the_loop_goes_on_while_a_server_hangs(loop_gaps: list[float]) -> None:
    async with ScriptedHttp(HANGS) as server:
        client = VaultClient(VaultServer(address=server.url, timeout_seconds=1))
        await client.ask(HEALTH)  # loads the libraries
        loop_gaps.clear()
        found = await client.ask(HEALTH)
        client.close()
    assert isinstance(found, Failure)
    assert max(loop_gaps) < 0.5  # a call on the loop itself would take the second
    assert sorted(loop_gaps)[len(loop_gaps) // 2] < 0.05


async def test_a_token_that_cannot_be_sent_is_not_shown() -> None:
    client = VaultClient(VaultServer(address="http://127.0.0.1:9", timeout_seconds=1))
    found = await client.ask(VaultRequest(Endpoint.READ, "GET", "kv/app", token="s.c4nary\r\nX-Evil: 1"))
    client.close()
    assert isinstance(found, Failure)
    assert "c4nary" not in found.text


async def test_an_authority_and_a_client_pair_that_are_replaced_are_used_at_once(tmp_path: Path) -> None:
    first, second = trustme.CA(), trustme.CA()
    files = {"ca_file": tmp_path / "ca.pem", "client_certificate_file": tmp_path / "client.pem"}

    def install(authority: trustme.CA) -> None:
        for path, text in (
            (files["ca_file"], authority.cert_pem.bytes()),
            (files["client_certificate_file"], authority.issue_cert("app").private_key_and_cert_chain_pem.bytes()),
        ):
            path.with_suffix(".new").write_bytes(text)
            path.with_suffix(".new").rename(path)

    def context(authority: trustme.CA) -> ssl.SSLContext:
        made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(made)
        authority.configure_trust(made)
        made.verify_mode = ssl.CERT_REQUIRED
        return made

    install(first)
    play = answer_json({"data": {"a": "1"}})
    names = {name: str(path) for name, path in files.items()}
    async with ScriptedHttp(play, tls=context(first)) as one, ScriptedHttp(play, tls=context(second)) as other:
        for server, authority in ((one, first), (other, second)):
            client = VaultClient(VaultServer(address=server.url, timeout_seconds=2, **names))
            install(second if authority is first else first)
            assert isinstance(await client.ask(HEALTH), Failure)
            install(authority)
            assert isinstance(await client.ask(HEALTH), Success)
            client.close()


async def test_a_redirect_is_not_followed_and_the_token_goes_nowhere_else() -> None:
    async with ScriptedHttp(answer_json({"data": {"a": "b"}})) as elsewhere:
        to = f"{elsewhere.url}/v1/database/creds/app"
        async with ScriptedHttp(answer(307, Location=to)) as server:
            vault = provider(server.url)
            vault.adopt(1, "s.token")
            result = await vault.perform(ProviderRequest(Kind.READ, "db", 1))
            vault.close()
        assert isinstance(result, Failure)
        assert result.reason is FailureReason.REDIRECTED
        assert elsewhere.connections == 0


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({}, "vault.ca_file"),
        ({"ca_file": "other.pem"}, "vault.ca_file"),
        ({"ca_file": "ca.pem", "server_name": "elsewhere"}, "vault.server_name"),
        ({"address": "http"}, "https"),
        ({"address": "nobody"}, "vault.address"),
    ],
    ids=str,
)
async def test_trouble_with_the_connection_names_the_server_and_what_to_do(
    tmp_path: Path, settings: dict[str, str], remedy: str
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with ScriptedHttp(answer_json({}), tls=context) as server:
        addresses = {"http": server.url.replace("https", "http"), "nobody": "https://127.0.0.1:1"}
        given = settings | {"address": addresses.get(settings.get("address", ""), server.url)}
        if "ca_file" in given:
            given["ca_file"] = str(tmp_path / given["ca_file"])
        client = VaultClient(msgspec.convert(given, VaultServer))
        found = await client.ask(HEALTH)
        client.close()
    assert isinstance(found, Failure)
    assert found.reason is FailureReason.UNREACHABLE
    assert found.text.startswith(f"{given['address']}: ")
    assert remedy in found.text
