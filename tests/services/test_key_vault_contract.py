"""The stand-in of Key Vault read by the official clients: what they make of it is what secret-sync writes."""

import datetime as dt
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.identity import ManagedIdentityCredential, WorkloadIdentityCredential
from azure.keyvault.certificates import CertificateClient
from azure.keyvault.secrets import SecretClient

from sidecars.devstack.key_vault.issuing import PEM, PFX
from sidecars.devstack.key_vault.server import RESOURCE, Options
from sidecars.devstack.key_vault.serving import ServedKeyVault, serving
from sidecars.devstack.key_vault.tokens import CLIENT, TENANT
from sidecars.secret_sync.core.outcome import Failure, FailureReason
from sidecars.secret_sync.core.sync import Kind, ProviderRequest, Reading
from sidecars.secret_sync.key_vault.provider import KeyVaultProvider
from sidecars.secret_sync.provider import Result
from sidecars.secret_sync.settings import SecretSyncSettings


class Place:
    """The stand-in under TLS, and the files that a pod would have."""

    def __init__(self, vault: ServedKeyVault, folder: Path) -> None:
        self.vault = vault
        self.ca, self.token = folder / "ca.pem", folder / "token"
        self.token.write_text(vault.projected_token(), encoding="ascii")

    async def read(self, engine: str, path: str, **server: str) -> Result:
        """What secret-sync's provider makes of an object, with the same files."""
        files = {"ca_file": str(self.ca), "token_file": str(self.token)}
        whole = {"address": self.vault.url, "authority_host": self.vault.url, "resource": RESOURCE} | files
        secret = {"name": "one", "engine": engine, "path": path, "files": [{"path": "one", "key": "pfx"}]}
        given = {"key_vault": whole | {"tenant_id": TENANT, "client_id": CLIENT} | server, "secrets": [secret]}
        provider = KeyVaultProvider(msgspec.convert(given, SecretSyncSettings))
        made = await provider.perform(ProviderRequest(Kind.LOGIN))
        provider.adopt(1)
        return made if isinstance(made, Failure) else await provider.perform(ProviderRequest(Kind.READ, "one", 1))

    @contextmanager
    def client(
        self, of: Any = SecretClient, client_id: str = CLIENT, *, verify_challenge_resource: bool = False
    ) -> Iterator[Any]:
        """An official client that logs in by the projected token."""
        credential = WorkloadIdentityCredential(
            tenant_id=TENANT,
            client_id=client_id,
            token_file_path=str(self.token),
            authority=self.vault.url,
            disable_instance_discovery=True,
            connection_verify=str(self.ca),
        )
        options = {"verify_challenge_resource": verify_challenge_resource, "connection_verify": str(self.ca)}
        with credential, of(self.vault.url, credential, retry_total=0, **options) as client:
            yield client


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("key-vault")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(tls)
    with serving(Options(tls=tls)) as vault:
        yield Place(vault, folder)


def test_a_secret_and_its_versions_are_what_was_written(place: Place) -> None:
    first = place.vault.put("db-password", "first", contentType="text/plain")
    second = place.vault.put("db-password", "zweites=\u00e4\n")
    with place.client() as client:
        before = len(place.vault.requests())
        newest = client.get_secret("db-password")
        assert (newest.value, newest.properties.version) == ("zweites=\u00e4\n", second)
        assert client.get_secret("DB-Password", first).value == "first"
        assert {one.version for one in client.list_properties_of_secret_versions("db-password")} == {first, second}
        assert newest.properties.enabled
        asked = [(one.path.split("/")[1], one.status) for one in place.vault.requests()[before:]]
        assert asked[:2] == [("secrets", 401), (TENANT, 200)], "the challenge comes before the login"
        assert newest.properties.recovery_level == "Recoverable+Purgeable"


def test_what_is_disabled_missing_or_deleted_is_refused_as_the_client_expects(place: Place) -> None:
    place.vault.put("gone", "x")
    with place.client() as client:
        place.vault.change("gone", enabled=False)
        with pytest.raises(HttpResponseError) as disabled:
            client.get_secret("gone")
        assert disabled.value.status_code == 403
        assert "SecretDisabled" in str(vars(disabled.value.error)["innererror"])
        place.vault.change("gone", enabled=True)
        place.vault.delete("gone")
        with pytest.raises(ResourceNotFoundError, match="SecretNotFound"):
            client.get_secret("gone")
        assert client.get_deleted_secret("gone").name == "gone"
        place.vault.recover("gone")
        assert client.get_secret("gone").value == "x"


def test_not_before_and_expires_are_shown_and_hold_nothing_back(place: Place) -> None:
    place.vault.put("dated", "x", nbf=4102444800, exp=946684800)
    with place.client() as client:
        properties = client.get_secret("dated").properties
    assert properties.not_before == dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
    assert properties.expires_on == dt.datetime(2000, 1, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize("kind", [PEM, PFX])
def test_a_certificate_and_the_secret_of_its_name_are_one(place: Place, kind: str) -> None:
    name = f"web-{kind.rpartition('-')[2]}"
    version = place.vault.issue(name, kind)
    with place.client(CertificateClient) as certificates, place.client() as secrets:
        certificate, secret = certificates.get_certificate(name), secrets.get_secret(name)
    assert certificate.properties.version == secret.properties.version == version
    assert secret.properties.content_type == kind
    assert certificate.properties.x509_thumbprint
    if kind == PEM:
        assert ssl.PEM_cert_to_DER_cert(secret.value[secret.value.index("-----BEGIN CERT") :].split("-----END")[0]
                                        + "-----END CERTIFICATE-----\n") == bytes(certificate.cer)  # fmt: skip


def test_who_may_not_have_a_token_or_a_secret_gets_none(place: Place) -> None:
    place.vault.put("secret", "x")
    with (
        place.client(client_id="00000000-0000-4000-8000-000000000000") as client,
        pytest.raises(ClientAuthenticationError),
    ):
        client.get_secret("secret")
    good = place.token.read_text(encoding="ascii")
    place.token.write_text(place.vault.projected_token(lasts_seconds=-60.0), encoding="ascii")
    try:
        with place.client() as client, pytest.raises(ClientAuthenticationError):
            client.get_secret("secret")
    finally:
        place.token.write_text(good, encoding="ascii")


async def test_secret_sync_reads_what_the_official_clients_read(place: Place) -> None:
    value = "zweites=\u00e4\n\U0001f511"
    place.vault.put("parity", value)
    place.vault.issue("parity-pem", PEM)
    place.vault.issue("parity-pfx", PFX)
    with place.client() as secrets, place.client(CertificateClient) as certificates:
        ours = await place.read("secret", "parity")
        assert isinstance(ours, Reading)
        assert ours.value == {"value": secrets.get_secret("parity").value} == {"value": value}
        for name in ("parity-pem", "parity-pfx"):
            parts = await place.read("certificate", name)
            assert isinstance(parts, Reading)
            cer = bytes(certificates.get_certificate(name).cer)
            assert ssl.PEM_cert_to_DER_cert(parts.value["certificate"]) == cer
            assert parts.value.get("pfx", secrets.get_secret(name).value) == secrets.get_secret(name).value


async def test_both_refuse_a_challenge_that_the_vaults_own_domain_does_not_belong_to(place: Place) -> None:
    place.vault.put("challenged", "x")
    before = len(place.vault.requests())
    found = await place.read("secret", "challenged", resource="")
    assert isinstance(found, Failure)
    assert found.reason is FailureReason.UNUSABLE
    with place.client(verify_challenge_resource=True) as client, pytest.raises(ValueError, match="domain"):
        client.get_secret("challenged")
    asked = place.vault.requests()[before:]
    # the official client remembers the challenge of a host, and may refuse without one more request
    assert {(one.path.split("/")[1], one.status) for one in asked} == {("secrets", 401)}


async def test_a_managed_identity_is_the_same_for_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the clear: the node's endpoint is link-local, and the vault only for this test."""
    with serving() as vault:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", vault.url)
        with ManagedIdentityCredential(client_id=CLIENT) as credential:
            token = credential.get_token(f"{RESOURCE}/.default")
        assert vault.ask(lambda server: server.tokens.issued[token.token].client) == CLIENT
        [asked] = [one for one in vault.requests() if one.status == 200]
        given = {"address": vault.url, "identity": "managed", "client_id": CLIENT, "resource": RESOURCE}
        provider = KeyVaultProvider(msgspec.convert({"key_vault": given}, SecretSyncSettings))
        assert not isinstance(await provider.perform(ProviderRequest(Kind.LOGIN)), Failure)
        ours = vault.requests()[-1]
        assert (ours.method, ours.path, ours.query) == (asked.method, asked.path, asked.query)
        assert (ours.headers["Metadata"], asked.headers["Metadata"]) == ("true", "true")
