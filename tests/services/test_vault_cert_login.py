"""A login by a TLS client certificate, at the stand-in and at a real server; they speak TLS for it."""

import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.services.vault_server import NoServer, VaultServer, real_under_tls, stand_in_under_tls
from tests.support.sidecars import SidecarProcess
from tests.support.vault_client import VaultClient
from tests.support.waiting import until


class Clients:
    """An authority of clients, and a server that may ask for one."""

    def __init__(self, server: VaultServer, authority: trustme.CA) -> None:
        self.server = server
        self.authority = authority

    def api(self, certificate: trustme.LeafCert | None = None, token: str = "") -> VaultClient:
        tls = ssl.create_default_context(cafile=self.server.ca_file)
        if certificate:
            certificate.configure_cert(tls)
        return VaultClient(self.server.url, token, tls=tls)

    def issue(self, name: str, authority: trustme.CA | None = None) -> trustme.LeafCert:
        return (authority or self.authority).issue_cert(f"{name}.example", common_name=name)


@pytest.fixture(scope="module", params=["stand-in", "real"])
def clients(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, without_server: Callable[..., Any]
) -> Iterator[Clients]:
    authority = trustme.CA()
    folder = tmp_path_factory.mktemp("vault-tls")
    chosen = stand_in_under_tls(folder, authority) if request.param == "stand-in" else real_under_tls(folder)
    try:
        with chosen as server:
            made = Clients(server, authority)
            root = made.api(token="root")
            root.set("sys/auth/cert", {"type": "cert"})
            root.set("sys/policies/acl/app", {"policy": 'path "kv/data/*" { capabilities = ["read"] }'})
            pem = authority.cert_pem.bytes().decode()
            role = {"certificate": pem, "token_policies": "app", "allowed_common_names": "app"}
            root.set("auth/cert/certs/app", role)
            root.set("sys/mounts/kv", {"type": "kv", "options": {"version": "2"}})
            until(lambda: root.write("kv/data/app", {"data": {"a": "1"}}).status == 200, "the mount")
            yield made
    except NoServer as error:
        without_server("vault", str(error))


def test_who_has_a_certificate_of_the_role_gets_its_token(clients: Clients) -> None:
    reply = clients.api(clients.issue("app")).write("auth/cert/login", {"name": "app"})
    assert reply.status == 200
    assert "app" in reply.body["auth"]["policies"]
    assert reply.body["auth"]["metadata"]["common_name"] == "app"


@pytest.mark.parametrize("who", ["nobody", "another name", "another authority"])
def test_who_has_none_or_another_one_is_refused_with_400(clients: Clients, who: str) -> None:
    certificate = None if who == "nobody" else clients.issue("other")
    if who == "another authority":
        certificate = clients.issue("app", trustme.CA())
    try:
        status = clients.api(certificate).write("auth/cert/login", {"name": "app"}).status
    except (ssl.SSLError, ConnectionError):
        status = 400  # a server that verifies at the handshake
    assert status == 400


def test_secret_sync_logs_in_with_its_client_pair(clients: Clients, tmp_path: Path) -> None:
    pair = clients.issue("app")
    pair.private_key_pem.write_to_path(tmp_path / "key.pem")
    (tmp_path / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in pair.cert_chain_pems))
    files = {"client_certificate_file": str(tmp_path / "cert.pem"), "client_key_file": str(tmp_path / "key.pem")}
    secret = {"name": "app", "engine": "kv2", "mount": "kv", "path": "app", "files": [{"path": "app.json"}]}
    settings = {
        "vault": {"address": clients.server.url, "ca_file": clients.server.ca_file, **files},
        "auth": {"method": "cert", "role": "app"},
        "targets": [{"name": "main", "path": str(tmp_path / "target"), "allow_disk": True}],
        "secrets": [secret],
    }
    (tmp_path / "target").mkdir()
    (tmp_path / "settings.yaml").write_text(json.dumps(settings), encoding="utf-8")
    sync = SecretSyncOnce(tmp_path, {"config": tmp_path / "settings.yaml"})
    sync.flags = ("--once",)
    assert sync.start(wait=False).wait() == 0, sync.stderr
    assert json.loads((tmp_path / "target" / "app.json").read_text(encoding="utf-8")) == {"a": "1"}


class SecretSyncOnce(SidecarProcess):
    """One secret-sync that runs once."""

    name = "secret-sync"
