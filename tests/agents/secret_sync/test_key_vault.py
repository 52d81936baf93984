"""Key Vault as the provider, with a stand-in and with servers that answer oddly: as whom it asks, what it believes, and
where a token goes.
"""

import base64
import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12

from sidecars.devstack.key_vault.issuing import PEM, PFX
from sidecars.devstack.key_vault.server import RESOURCE, Options
from sidecars.devstack.key_vault.serving import ServedKeyVault, serving
from sidecars.devstack.key_vault.tokens import CLIENT, TENANT
from sidecars.devstack.vault.faults import Fault
from sidecars.secret_sync.core.entra import AzureIdentity
from sidecars.secret_sync.core.outcome import Failure, FailureReason
from sidecars.secret_sync.core.sync import Granted, Kind, ProviderRequest, Reading
from sidecars.secret_sync.key_vault.identity import identity_of
from sidecars.secret_sync.key_vault.provider import KeyVaultProvider
from sidecars.secret_sync.provider import Result, provider_of
from sidecars.secret_sync.settings import KeyVaultServer, SecretSyncSettings
from tests.support.scripted_http import ScriptedHttp, answer, answer_json

LOGIN = ProviderRequest(Kind.LOGIN)
READ = ProviderRequest(Kind.READ, "db", 1)
WEB = ProviderRequest(Kind.READ, "web", 1)
LOOKUP = ProviderRequest(Kind.LOOKUP_TOKEN, token=1)


class Asker:
    """A provider for a vault at an address, with a projected token in a file."""

    def __init__(self, folder: Path, address: str) -> None:
        self.token = folder / "token"
        self.server = {
            "address": address,
            "authority_host": address,
            "resource": RESOURCE,
            "tenant_id": TENANT,
            "client_id": CLIENT,
            "token_file": str(self.token),
            "timeout_seconds": 2,
        }

    def provider(self, **server: Any) -> KeyVaultProvider:
        keys = ("certificate", "private_key", "pfx")
        files = [{"path": key, "key": key, "format": "base64" if key == "pfx" else "raw"} for key in keys]
        secrets = [
            {"name": "db", "path": "db", "files": [{"path": "db", "format": "raw"}]},
            {"name": "web", "engine": "certificate", "path": "web", "files": files},
        ]
        given = {"key_vault": self.server | server, "targets": [{"path": "/secrets"}], "secrets": secrets}
        made = provider_of(msgspec.convert(given, SecretSyncSettings))
        assert isinstance(made, KeyVaultProvider)
        return made


@pytest.fixture
def vault() -> Iterator[ServedKeyVault]:
    with serving() as one:
        one.put("db", "first-value")
        yield one


@pytest.fixture
def asker(tmp_path: Path, vault: ServedKeyVault) -> Asker:
    one = Asker(tmp_path, vault.url)
    one.token.write_text(vault.projected_token())
    return one


async def logged_in(provider: KeyVaultProvider) -> Result:
    made = await provider.perform(LOGIN)
    provider.adopt(1)
    return made


def why(result: Result) -> tuple[FailureReason, str]:
    assert isinstance(result, Failure), result
    return result.reason, result.text


# --- as whom ---

POD = {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_FEDERATED_TOKEN_FILE": "/f"}
SERVICE = {"IDENTITY_ENDPOINT": "http://127.0.0.1:1/msi/token", "IDENTITY_HEADER": "h"}
NODE = "http://169.254.169.254/metadata/identity/oauth2/token"


@pytest.mark.parametrize(
    ("server", "environment", "found"),
    [
        ({}, POD, ("workload", "t", "c", "/f", "https://login.microsoftonline.com")),
        ({}, POD | {"AZURE_AUTHORITY_HOST": "https://login.x/"}, ("workload", "t", "c", "/f", "https://login.x")),
        ({}, POD | SERVICE, ("workload", "t", "c", "/f", "https://login.microsoftonline.com")),
        (
            {"client_id": "own", "tenant_id": "T"},
            POD,
            ("workload", "T", "own", "/f", "https://login.microsoftonline.com"),
        ),
        (
            {"address": "https://a.vault.usgovcloudapi.net"},
            POD,
            ("workload", "t", "c", "/f", "https://login.microsoftonline.us"),
        ),
        ({}, SERVICE, ("managed", "", "", "", "http://127.0.0.1:1/msi/token")),
        ({"identity": "managed"}, {}, ("managed", "", "", "", NODE)),
        ({"identity": "managed", "client_id": "own"}, POD, ("managed", "", "own", "", NODE)),
        (
            {"identity": "managed"},
            {"AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://127.0.0.1:2/"},
            ("managed", "", "", "", "http://127.0.0.1:2/metadata/identity/oauth2/token"),
        ),
    ],
    ids=str,
)
def test_the_identity_is_what_settings_and_then_the_pod_say(
    server: dict[str, Any], environment: dict[str, str], found: tuple[str, ...]
) -> None:
    one = identity_of(msgspec.convert({"address": "https://a.vault.azure.net"} | server, KeyVaultServer), environment)
    assert isinstance(one, AzureIdentity)
    assert (one.kind, one.tenant, one.client, one.token_file, one.server) == found


@pytest.mark.parametrize(
    ("environment", "fields"),
    [
        ({}, ["tenant_id", "client_id", "token_file"]),
        ({"AZURE_FEDERATED_TOKEN_FILE": "/f"} | SERVICE, ["tenant_id", "client_id"]),
        (POD | {"AZURE_AUTHORITY_HOST": "http://login.x"}, ["authority_host"]),
    ],
    ids=str,
)
def test_half_an_identity_is_refused_and_never_replaced_by_that_of_the_node(
    environment: dict[str, str], fields: list[str]
) -> None:
    found = identity_of(KeyVaultServer(address="https://a.vault.azure.net"), environment)
    assert isinstance(found, list)
    assert [problem.field for problem in found] == [f"key_vault.{field}" for field in fields]


@pytest.mark.parametrize("texts", [True, False], ids=["node", "app service"])
async def test_a_managed_identity_gives_a_token(
    asker: Asker, vault: ServedKeyVault, monkeypatch: pytest.MonkeyPatch, texts: bool
) -> None:
    if texts:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", vault.url)
    else:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{vault.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "devstack")
    provider = asker.provider(identity="managed")
    made = await logged_in(provider)
    assert isinstance(made, Granted)
    assert made.duration == pytest.approx(3599, abs=2)
    assert isinstance(await provider.perform(READ), Reading)
    vault.ask(lambda server: server.tokens.managed.append("other"))
    reason, said = why(await asker.provider(identity="managed", client_id="").perform(LOGIN))
    assert (reason, "Multiple user assigned identities" in said) == (FailureReason.DENIED, True)


# --- logging in ---


async def test_each_login_reads_the_projected_token_again(asker: Asker, vault: ServedKeyVault) -> None:
    provider = asker.provider()
    before = provider.credentials()
    await logged_in(provider)
    following = vault.projected_token()
    asker.token.with_suffix(".new").write_text(following)
    asker.token.with_suffix(".new").rename(asker.token)
    assert provider.credentials() != before
    assert isinstance(await logged_in(provider), Granted)
    assert vault.ask(lambda server: server.tokens.assertions[-1]) == following


@pytest.mark.parametrize(
    ("spoil", "server", "text"),
    [
        ({"lasts_seconds": -5.0}, {}, "reads it again"),
        ({"subject": "system:serviceaccount:default:other"}, {}, "system:serviceaccount:default:other"),
        ({"audience": "vault"}, {}, "needs the audience api://AzureADTokenExchange"),
        ({}, {"client_id": TENANT}, "check client_id and tenant_id"),
        ({}, {"tenant_id": CLIENT}, "check tenant_id and authority_host"),
    ],
    ids=["ended", "subject", "audience", "client", "tenant"],
)
async def test_a_refused_login_names_what_to_change(
    asker: Asker, vault: ServedKeyVault, spoil: dict[str, Any], server: dict[str, str], text: str
) -> None:
    asker.token.write_text(vault.projected_token(**spoil))
    reason, said = why(await asker.provider(**server).perform(LOGIN))
    assert (reason, text in said) == (FailureReason.DENIED, True), said
    assert "issuer https://issuer.invalid/" in said
    assert asker.token.read_text().split(".")[1] not in said


async def test_a_token_that_cannot_be_read_names_the_setting_and_the_file(asker: Asker) -> None:
    asker.token.unlink()
    reason, said = why(await asker.provider().perform(LOGIN))
    assert (reason, f"key_vault.token_file {asker.token}" in said) == (FailureReason.UNUSABLE, True)


async def test_a_token_is_asked_only_for_what_the_vaults_own_domain_belongs_to(
    asker: Asker, vault: ServedKeyVault
) -> None:
    provider = asker.provider(resource="")
    reason, said = why(await provider.perform(LOGIN))
    assert (reason, "set key_vault.resource" in said) == (FailureReason.UNUSABLE, True)
    assert [seen.path for seen in vault.requests()] == ["/secrets"], "the projected token went nowhere"


# --- tokens that are not taken ---


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda vault: vault.ask(lambda server: server.tokens.revoke()), "does not take the token"),
        (lambda vault: vault.advance(4000), "does not take the token"),
        (lambda vault: vault.ask(lambda server: setattr(server.tokens, "resource", "https://other")), "check resource"),
    ],
    ids=["revoked", "ended", "audience"],
)
async def test_a_401_is_a_dead_token_and_asks_nobody_to_know_it(
    asker: Asker, vault: ServedKeyVault, change: Callable[[ServedKeyVault], None], text: str
) -> None:
    provider = asker.provider()
    await logged_in(provider)
    assert await provider.perform(LOOKUP) is None
    change(vault)
    reason, said = why(await provider.perform(READ))
    assert (reason, text in said) == (FailureReason.DENIED, True), said
    asked = len(vault.requests())
    assert why(await provider.perform(LOOKUP))[0] is FailureReason.DENIED
    assert len(vault.requests()) == asked


async def test_a_403_is_about_the_role_and_the_token_lives(asker: Asker, vault: ServedKeyVault) -> None:
    provider = asker.provider()
    await logged_in(provider)
    vault.ask(lambda server: server.tokens.roles.update({CLIENT: set()}))
    reason, said = why(await provider.perform(READ))
    assert (reason, "Key Vault Secrets User" in said) == (FailureReason.DENIED, True)
    assert await provider.perform(LOOKUP) is None


async def test_the_claims_that_a_vault_wants_are_in_the_next_login(tmp_path: Path) -> None:
    claims = '{"access_token":{"nbf":{"essential":true}}}'
    encoded = base64.b64encode(claims.encode()).decode()
    challenge = f'Bearer authorization="https://x/{TENANT}", error="insufficient_claims", claims="{encoded}"'
    token = answer_json({"access_token": "t", "expires_in": 60})
    async with ScriptedHttp(token, answer(401, b"{}", WWW_Authenticate=challenge), token, token) as server:
        asker = Asker(tmp_path, server.url)
        asker.token.write_text("e30.e30.c2ln")
        provider = asker.provider()
        await logged_in(provider)
        assert why(await provider.perform(READ))[0] is FailureReason.DENIED
        await logged_in(provider)
        await logged_in(provider)
    bodies = [seen.body.decode() for seen in server.requests if seen.method == "POST"]
    assert ["claims=" in body for body in bodies] == [False, True, False]


async def test_a_redirect_is_not_followed_and_no_token_goes_elsewhere(asker: Asker, vault: ServedKeyVault) -> None:
    async with ScriptedHttp(answer_json({"value": "evil"})) as elsewhere:
        provider = asker.provider()
        await logged_in(provider)
        vault.set_faults(Fault("redirect", location=f"{elsewhere.url}/secrets/db"))
        assert why(await provider.perform(READ))[0] is FailureReason.REDIRECTED
        assert why(await provider.perform(LOGIN))[0] is FailureReason.REDIRECTED
        assert elsewhere.connections == 0


# --- what is read ---


@pytest.mark.parametrize("kind", ["EC", "RSA"])
@pytest.mark.parametrize(("content_type", "converts"), [(PEM, True), (PFX, True), (PFX, False)])
async def test_all_parts_of_a_certificate_are_of_one_version(
    asker: Asker, vault: ServedKeyVault, tmp_path: Path, kind: str, content_type: str, converts: bool
) -> None:
    vault.issue("web", content_type, kind=kind)
    if not converts:  # as interfaces before 2025-07-01 do

        def as_it_is(server: Any) -> None:
            read = server.objects.read
            server.objects.read = lambda name, version="", out_content_type="": read(name, version)

        vault.ask(as_it_is)
    provider = asker.provider()
    await logged_in(provider)
    made = await provider.perform(WEB)
    assert isinstance(made, Reading), made
    (tmp_path / "pair.pem").write_text(made.value["bundle"])
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tmp_path / "pair.pem")
    assert made.ends == pytest.approx(86400, abs=10)
    assert ("pfx" in made.value) is (content_type == PFX)
    if content_type == PFX:
        key, certificate, _ = pkcs12.load_key_and_certificates(base64.b64decode(made.value["pfx"]), None)
        assert key is not None
        assert certificate is not None
        assert certificate.public_bytes(Encoding.PEM).decode() == made.value["certificate"]


async def test_a_deleted_secret_is_told_from_one_that_never_was(asker: Asker, vault: ServedKeyVault) -> None:
    provider = asker.provider()
    await logged_in(provider)
    vault.delete("db")
    assert why(await provider.perform(READ))[0] is FailureReason.DELETED
    vault.ask(lambda server: server.objects.purge("db"))
    assert why(await provider.perform(READ))[0] is FailureReason.DELETED, "it is not asked at each try"
    seen = [why(await provider.perform(READ))[0] for _ in range(10)]
    assert seen[-1] is FailureReason.MISSING


ODD: list[Any] = [
    [],
    None,
    "text",
    5,
    {},
    {"value": 5},
    {"value": "x", "attributes": ["a"]},
    {"value": "x", "attributes": {"exp": {}}},
]


@pytest.mark.parametrize("body", ODD, ids=json.dumps)
async def test_answers_of_unknown_shape_are_failures_and_no_crash(tmp_path: Path, body: object) -> None:
    async with ScriptedHttp(answer_json(body)) as server:
        asker = Asker(tmp_path, server.url)
        asker.token.write_text("e30.e30.c2ln")
        provider = asker.provider()
        provider.adopt(1, "token")
        assert why(await provider.perform(LOGIN))[0] is FailureReason.GARBLED
        for request in (READ, WEB):
            result = await provider.perform(request)
            assert isinstance(result, Failure | Reading)
            if request is WEB:
                assert isinstance(result, Failure)
        assert await provider.perform(ProviderRequest(Kind.HEALTH)) is None


# --- TLS, and what `check` says ---


async def test_the_vault_is_known_by_its_authority_which_is_read_each_time(tmp_path: Path) -> None:
    authority, other = trustme.CA(), trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    with serving(Options(tls=tls)) as vault:
        asker = Asker(tmp_path, vault.url)
        asker.token.write_text(vault.projected_token())
        other.cert_pem.write_to_path(tmp_path / "ca.pem")
        provider = asker.provider(ca_file=str(tmp_path / "ca.pem"))
        reason, said = why(await provider.perform(LOGIN))
        assert (reason, said.startswith("TLS: ")) == (FailureReason.UNREACHABLE, True)
        assert vault.requests() == []
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        assert isinstance(await provider.perform(LOGIN), Granted)


async def test_check_says_what_is_asked_and_which_role_it_needs_and_logs_in_nowhere(
    asker: Asker, vault: ServedKeyVault
) -> None:
    provider = asker.provider()
    said = "\n".join(finding.text for finding in provider.findings())
    for part in (
        "reads db: GET /secrets/db (secret)",
        "reads web: GET /secrets/web (certificate)",
        f'az role assignment create --role "Key Vault Secrets User" --assignee {CLIENT}',
        "--issuer https://issuer.invalid/ --subject system:serviceaccount:default:shop",
    ):
        assert part in said
    assert [finding.level for finding in await provider.findings_outside()] == ["ok", "ok"]
    assert vault.state()["issued_tokens"] == 0
    assert asker.token.read_text() not in said
    unknown = asker.provider(tenant_id=CLIENT)
    assert [finding.level for finding in await unknown.findings_outside()] == ["error", "error"]
