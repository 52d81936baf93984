"""A `stage` for each test: a Vault, a memory volume, and the sidecar as a process."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from sidecars.devstack.vault.serving import Served, serving
from tests.support.sidecars import SidecarProcess
from tests.support.vault_client import VaultClient

MEMORY = Path("/dev/shm")


class SecretSyncProcess(SidecarProcess):
    """One secret-sync."""

    name = "secret-sync"


class Stage:
    """What a test has at hand. `volume` is on tmpfs where there is one."""

    def __init__(self, folder: Path, vault: Served) -> None:
        self.folder = folder
        self.vault = vault
        self.root = VaultClient(vault.url, "root")
        self.volume = Path(
            tempfile.mkdtemp(prefix="secret-sync-", dir=MEMORY if os.access(MEMORY, os.W_OK) else folder)
        )
        self.configuration: dict[str, Any] = {
            "vault": {"address": vault.url},
            "lifecycle": "ordinary",
            "targets": [{"name": "main", "path": str(self.volume), "allow_disk": not MEMORY.is_dir()}],
            "secrets": [],
        }
        self._processes = 0

    def close(self) -> None:
        """Remove the volume."""
        shutil.rmtree(self.volume, ignore_errors=True)

    def kv(self) -> Self:
        """Mount KV 2 at `kv`, with a secret at `app`."""
        self.root.set("sys/mounts/kv", {"type": "kv", "options": {"version": "2"}})
        self.root.set("kv/data/app", {"data": {"user": "bob", "password": "first-value"}})
        return self

    def database(self, default_ttl: str = "1h", max_ttl: str = "24h") -> Self:
        """Mount a database engine at `database`, with a role `app`; its users are in memory."""
        self.root.set("sys/mounts/database", {"type": "database"})
        self.root.set("database/config/pg", {"plugin_name": "postgresql-database-plugin"})
        role = {"db_name": "pg", "default_ttl": default_ttl, "max_ttl": max_ttl}
        self.root.set("database/roles/app", role)
        return self

    def pki(self, max_ttl: str = "1h") -> Self:
        """Mount PKI at `pki`, with a role `web`."""
        self.root.set("sys/mounts/pki", {"type": "pki"})
        self.root.set("pki/root/generate/internal", {"common_name": "root", "ttl": "24h"})
        role = {"allow_any_name": True, "max_ttl": max_ttl, "key_type": "ec", "key_bits": 256}
        self.root.set("pki/roles/web", role)
        return self

    def approle(self, policy: str, ttl: str = "1h", max_ttl: str = "24h") -> Self:
        """Mount AppRole; the role-id and secret-id are files, and the policy is its only one."""
        self.root.set("sys/policies/acl/app", {"policy": policy})
        self.root.set("sys/auth/approle", {"type": "approle"})
        role = {"token_policies": "app", "token_ttl": ttl, "token_max_ttl": max_ttl}
        self.root.set("auth/approle/role/app", role)
        (self.folder / "role-id").write_text(self.root.read("auth/approle/role/app/role-id").data["role_id"])
        self.new_secret_id()
        self.configuration["auth"] = {
            "method": "approle",
            "role_id_file": str(self.folder / "role-id"),
            "secret_id_file": str(self.folder / "secret-id"),
        }
        return self

    def new_secret_id(self) -> None:
        """Put a new secret-id into its file."""
        made = self.root.set("auth/approle/role/app/secret-id").data["secret_id"]
        (self.folder / "secret-id.new").write_text(made)
        (self.folder / "secret-id.new").rename(self.folder / "secret-id")

    def secret(self, **settings: Any) -> Self:
        """Fetch this secret, too."""
        self.configuration["secrets"].append(settings)
        return self

    def process(self, **settings: Any) -> SecretSyncProcess:
        """Return the sidecar with what was set so far; it is not started yet."""
        self._processes += 1
        folder = self.folder / f"run-{self._processes}"
        folder.mkdir()
        file = folder / "settings.yaml"
        file.write_text(json.dumps(self.configuration | settings))
        return SecretSyncProcess(folder, {"config": file})

    def read(self, name: str) -> str:
        """Return the content of a file of the volume; "" while it is not there."""
        try:
            return (self.volume / name).read_text()
        except FileNotFoundError:
            return ""

    def asked(self, path: str) -> int:
        """Return how often Vault was asked for a path since `forget`."""
        return sum(1 for seen in self.vault.requests() if path in seen.path)

    def forget(self) -> None:
        """Count requests from now on."""
        self.vault.ask(lambda server: server.requests.clear())


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with serving() as vault:
        one = Stage(tmp_path, vault)
        yield one
        one.close()
