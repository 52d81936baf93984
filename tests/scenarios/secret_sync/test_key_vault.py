"""Secret-sync as a process against Azure Key Vault: values follow, the last good one stays, logins use what is new."""

import json
import os
import shutil
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecars.devstack.key_vault.issuing import PEM, PFX
from sidecars.devstack.key_vault.server import RESOURCE
from sidecars.devstack.key_vault.serving import ServedKeyVault, serving
from sidecars.devstack.key_vault.tokens import CLIENT, TENANT
from sidecars.devstack.vault.faults import Fault
from tests.scenarios.secret_sync.conftest import MEMORY, SecretSyncProcess
from tests.support.waiting import until

PASSWORD = {"path": "password", "format": "raw", "key": "value"}
DB = {"name": "db", "engine": "secret", "path": "db-password", "files": [PASSWORD]}
PARTS = {"tls.crt": "certificate", "tls.key": "private_key"}
FILES = [{"path": path, "format": "raw", "key": key} for path, key in PARTS.items()]
WEB = {"name": "web", "engine": "certificate", "path": "web", "files": FILES}


class KeyVaultStage:
    """A Key Vault, a pod's projected token, a memory volume."""

    def __init__(self, vault: ServedKeyVault, folder: Path) -> None:
        self.vault = vault
        self.folder = folder
        self.volume = Path(tempfile.mkdtemp(dir=MEMORY if os.access(MEMORY, os.W_OK) else folder))
        self.token = folder / "token"
        self.token.write_text(vault.projected_token(), encoding="ascii")

    def start(self, *secrets: Any, wait: bool = True, **settings: Any) -> SecretSyncProcess:
        server = {"address": self.vault.url, "authority_host": self.vault.url, "resource": RESOURCE}
        identity = {"tenant_id": TENANT, "client_id": CLIENT, "token_file": str(self.token)}
        targets = [{"name": "main", "path": str(self.volume), "allow_disk": not MEMORY.is_dir()}]
        file = self.folder / "settings.yaml"
        polled = [{"poll_seconds": 1, **secret} for secret in secrets]
        whole = {"key_vault": server | identity, "lifecycle": "ordinary", "targets": targets, "secrets": polled}
        file.write_text(json.dumps(whole | settings), encoding="utf-8")
        return SecretSyncProcess(self.folder, {"config": file}).start(wait=wait)

    def read(self, name: str = "password") -> str:
        path = self.volume / name
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def logins(self) -> int:
        return sum(one.path.endswith("/token") for one in self.vault.requests())


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[KeyVaultStage]:
    with serving() as vault:
        vault.put("db-password", "first-value")
        one = KeyVaultStage(vault, tmp_path)
        yield one
        shutil.rmtree(one.volume, ignore_errors=True)


def fault_of(sync: SecretSyncProcess, name: str) -> Any:
    fault = json.loads(sync.ask("/status")[1])["secrets"][name]["fault"]
    return fault["reason"] if fault else None


def test_a_new_version_is_written_and_the_app_notified(stage: KeyVaultStage) -> None:
    told = stage.folder / "told"
    sync = stage.start(DB, notify=[{"exec": {"command": ["sh", "-c", f"echo >> {told}"]}}])
    assert stage.read() == "first-value"
    stage.vault.put("db-password", "second-value")
    until(lambda: stage.read() == "second-value", "the new value")
    until(told.exists, "the notification")
    assert sync.terminate() == 0
    assert "first-value" not in sync.stderr
    assert stage.token.read_text(encoding="ascii") not in sync.stderr


@pytest.mark.parametrize("kind", [PEM, PFX])
def test_key_and_certificate_fit_and_follow_a_renewal(stage: KeyVaultStage, kind: str) -> None:
    stage.vault.issue("web", kind)
    stage.start(WEB)

    def loaded() -> str:
        folder = Path(os.path.realpath(stage.volume / "..data"))
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(folder / "tls.crt", folder / "tls.key")
        return (folder / "tls.crt").read_text(encoding="ascii")

    first = loaded()
    stage.vault.issue("web", kind)
    until(lambda: loaded() != first, "the new certificate")


def test_what_is_disabled_or_deleted_keeps_the_last_good_value_and_says_so(stage: KeyVaultStage) -> None:
    sync = stage.start(DB)
    stage.vault.change("db-password", enabled=False)
    until(lambda: fault_of(sync, "db") == "disabled", "the fault in /status")
    assert (stage.read(), sync.ask("/readyz")[0]) == ("first-value", 200)
    stage.vault.change("db-password", enabled=True)
    stage.vault.delete("db-password")
    assert sync.ask("/refresh", "POST")[0] == 200  # what somebody has to change is looked at once a minute
    until(lambda: fault_of(sync, "db") == "deleted", "that it is deleted")
    assert stage.read() == "first-value"


def test_a_pinned_version_stays_when_there_is_a_newer_one(stage: KeyVaultStage) -> None:
    pinned = stage.vault.put("db-password", "pinned")
    stage.vault.put("db-password", "newest")
    follower = {**DB, "name": "newest", "files": [{"path": "newest", "format": "raw", "key": "value"}]}
    stage.start({**DB, "object_version": pinned}, follower)
    assert (stage.read(), stage.read("newest")) == ("pinned", "newest")


def test_an_ended_token_is_replaced_by_a_login_with_the_projected_token_of_now(stage: KeyVaultStage) -> None:
    stage.start(DB)
    before = stage.logins()
    fresh = stage.vault.projected_token(lasts_seconds=86400.0)
    (stage.folder / "new").write_text(fresh, encoding="ascii")
    (stage.folder / "new").rename(stage.token)
    stage.vault.ask(lambda server: server.tokens.revoke())
    stage.vault.put("db-password", "after")
    until(lambda: stage.read() == "after", "the value under a new token")
    assert stage.logins() > before
    assert stage.vault.ask(lambda server: server.tokens.assertions[-1]) == fresh


def test_a_throttled_vault_is_left_alone_for_as_long_as_it_asks(stage: KeyVaultStage) -> None:
    sync = stage.start(DB)
    stage.vault.set_faults(Fault(kind="status", match="GET /secrets", status=429, retry_after="4"))
    until(lambda: fault_of(sync, "db") == "throttled", "the fault in /status")
    struck = [one.moment for one in stage.vault.requests() if one.status == 429]
    until(lambda: len([one for one in stage.vault.requests() if one.status == 429]) > len(struck), "the next attempt")
    moments = [one.moment for one in stage.vault.requests() if one.status == 429]
    assert moments[1] - moments[0] >= 4.0
    stage.vault.set_faults()
    stage.vault.put("db-password", "well again")
    until(lambda: stage.read() == "well again", "recovery")


def test_both_providers_at_once_and_a_missing_identity_are_refused_by_name(stage: KeyVaultStage) -> None:
    sync = stage.start(DB, wait=False, vault={"address": "https://vault:8200"})
    assert sync.wait() == 2
    assert "one provider for each sidecar" in sync.stderr
