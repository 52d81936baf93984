"""A real Vault or OpenBao for the contract tests: at an address, as a program on PATH, or in a container.

`VAULT_ADDR` and `VAULT_TOKEN` (a root token) name one that runs. Else `bao` or `vault` on PATH is started in dev mode;
else an image that is there already (`VAULT_IMAGE`, or OpenBao's own) is started with testcontainers.
"""

import os
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import trustme

from sidecars.devstack.vault.server import Options
from sidecars.devstack.vault.serving import serving

READY_SECONDS = 60.0
_IMAGES = ("openbao/openbao:latest", "hashicorp/vault:latest")


class NoServer(Exception):
    """There is no real server to be had; its text says why."""


@dataclass(frozen=True)
class VaultServer:
    """A server to talk to. `local`: it can reach this machine's loopback (for Kubernetes logins and databases)."""

    url: str
    token: str
    kind: str
    local: bool = True
    ca_file: str = ""
    """Of its certificate; "": it speaks in the clear."""


@contextmanager
def stand_in_under_tls(folder: Path, clients: trustme.CA) -> Iterator[VaultServer]:
    """Run the stand-in under TLS; it asks clients for a certificate of `clients`, and takes them without one, too."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    clients.configure_trust(tls)
    tls.verify_mode = ssl.CERT_OPTIONAL
    with serving(Options(tls=tls)) as server:
        yield VaultServer(server.url, "root", "stand-in", ca_file=str(folder / "ca.pem"))


@contextmanager
def real_under_tls(folder: Path) -> Iterator[VaultServer]:
    """Start a real server under TLS, by a program on PATH. Raises NoServer."""
    program = shutil.which("bao") or shutil.which("vault")
    if program is None:
        raise NoServer("no bao or vault on PATH")
    with _program(program, folder, "-dev-tls", f"-dev-tls-cert-dir={folder}") as server:
        yield replace(server, ca_file=str(folder / "vault-ca.pem"))


@contextmanager
def stand_in() -> Iterator[VaultServer]:
    """Run the stand-in."""
    with serving() as server:
        yield VaultServer(server.url, "root", "stand-in")


@contextmanager
def real(folder: Path) -> Iterator[VaultServer]:
    """Use or start a real server. Raises NoServer."""
    if address := os.environ.get("VAULT_ADDR"):
        yield VaultServer(address.rstrip("/"), os.environ.get("VAULT_TOKEN", ""), "real", local=False)
        return
    program = shutil.which("bao") or shutil.which("vault")
    if program:
        with _program(program, folder) as server:
            yield server
        return
    with _container() as server:
        yield server


@contextmanager
def _program(program: str, folder: Path, *more: str) -> Iterator[VaultServer]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    options = ["server", "-dev", "-dev-root-token-id=root", "-dev-no-store-token"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    with (folder / "vault.log").open("wb") as log:
        command = [program, *options, *more, f"-dev-listen-address=127.0.0.1:{port}"]
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder)
    try:
        url = f"{'https' if more else 'http'}://127.0.0.1:{port}"
        _wait_until_ready(url, process, folder / "vault.log")
        yield VaultServer(url, "root", "real")
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
        process.kill()
        process.wait()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError):  # also while there is no certificate yet
            ca = log.with_name("vault-ca.pem")
            tls = ssl.create_default_context(cafile=ca) if url.startswith("https:") else None
            with urllib.request.urlopen(f"{url}/v1/sys/health", timeout=5, context=tls):
                return
        time.sleep(0.05)
    raise AssertionError(f"the server does not get ready:\n{log.read_text(errors='replace')[-2000:]}")


@contextmanager
def _container() -> Iterator[VaultServer]:
    image = os.environ.get("VAULT_IMAGE") or next(filter(_has_image, _IMAGES), "")
    if not image or not _has_image(image):
        raise NoServer("no VAULT_ADDR, no bao or vault on PATH, and no container image of either is here")
    from testcontainers.core.container import DockerContainer  # seldom used, and slow to import

    container = DockerContainer(image).with_exposed_ports(8200)
    for name in ("BAO_DEV_ROOT_TOKEN_ID", "VAULT_DEV_ROOT_TOKEN_ID"):
        container = container.with_env(name, "root")
    with container as running:
        url = f"http://{running.get_container_host_ip()}:{running.get_exposed_port(8200)}"
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            with suppress(OSError), urllib.request.urlopen(f"{url}/v1/sys/health", timeout=5):
                yield VaultServer(url, "root", "real", local=False)
                return
            time.sleep(0.2)
        raise AssertionError(f"{image} does not get ready")


def _has_image(image: str) -> bool:
    docker = shutil.which("docker")
    return (
        docker is not None
        and not subprocess.run([docker, "image", "inspect", image], capture_output=True, check=False).returncode
    )
