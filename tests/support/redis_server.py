"""A real Redis with TLS only, from Debian's package, gone at the end."""

import shutil
import socket
from pathlib import Path
from typing import Self

from tests.support.processes import Process


def binary() -> str | None:
    """The path of redis-server, or None."""
    return shutil.which("redis-server")


class RedisServer(Process):
    """Not running yet. The password is `secret`; with `replica_of` it follows that one."""

    name = "redis"

    def __init__(self, folder: Path, chain: tuple[bytes, bytes], ca_file: Path) -> None:
        super().__init__(folder)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        for name, content in zip(("redis.crt", "redis.key"), chain, strict=True):
            (folder / name).write_bytes(content)
        self._options = {
            "port": "0",
            "tls-port": str(self.port),
            "bind": "127.0.0.1",
            "tls-cert-file": str(folder / "redis.crt"),
            "tls-key-file": str(folder / "redis.key"),
            "tls-ca-cert-file": str(ca_file),
            "tls-auth-clients": "no",
            "tls-replication": "yes",
            "requirepass": "secret",
            "masterauth": "secret",
            "save": "",
            "dir": str(folder),
        }

    def replica_of(self, other: "RedisServer") -> Self:
        """Follow another one."""
        self._options["replicaof"] = f"127.0.0.1 {other.port}"
        return self

    def start(self) -> Self:
        """Run it."""
        words = [word for name, value in self._options.items() for word in (f"--{name}", *(value.split() or [""]))]
        self.command = (str(binary()), *words)
        return super().start()
