"""A real PostgreSQL for one test: from the binaries of a Debian package, in a folder of its own, gone at the end."""

import os
import shutil
import signal
import socket
import tempfile
from pathlib import Path
from typing import Self

from tests.support.processes import Process, run

NOBODY = 65534


def binaries() -> Path | None:
    """The folder with initdb and postgres, of the newest version, or None."""
    found = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "postgres").exists()]
    return max(found, key=lambda path: float(path.parent.name), default=None)


class PostgresServer:
    """Not running yet. `settings` are those of postgresql.conf. It refuses to run as root: then it runs as nobody.
    `standby_of`: it is a streaming standby of that one, which runs. The password of `postgres` is `secret`.
    """

    def __init__(self, folder_of_binaries: Path, standby_of: "PostgresServer | None" = None, **settings: str) -> None:
        self._binaries = folder_of_binaries
        self.folder = Path(tempfile.mkdtemp(prefix="wait-for-postgres-"))
        self.data = self.folder / "data"
        self._settings = settings
        self._process: Process | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        if standby_of is not None:
            self.own(self.folder)
            source = f"host=127.0.0.1 port={standby_of.port} user=postgres password=secret"
            self._run(
                "pg_basebackup", "-d", source, "-D", str(self.data), "-R", "-X", "stream", "-c", "fast", "--no-sync"
            )
            return
        password = self.folder / "password"
        password.write_text("secret\n", encoding="ascii")
        self.own(self.folder)
        self._run(
            "initdb",
            "-D",
            str(self.data),
            "-U",
            "postgres",
            "--no-sync",
            "--auth=scram-sha-256",
            f"--pwfile={password}",
        )

    def own(self, path: Path) -> None:
        """Give a file to the user that the server runs as."""
        if os.getuid() == 0:
            os.chown(path, NOBODY, NOBODY)

    def tls(self, certificate: bytes, key: bytes) -> Self:
        """Take TLS with this certificate (PEM), and from now on nobody without it."""
        for name, content in (("server.crt", certificate), ("server.key", key)):
            (self.data / name).write_bytes(content)
            (self.data / name).chmod(0o600)
            self.own(self.data / name)
        self._settings["ssl"] = "on"
        lines = ("hostssl all all all scram-sha-256", "hostssl replication all all scram-sha-256")
        (self.data / "pg_hba.conf").write_text("\n".join(lines) + "\n", encoding="ascii")
        return self

    def promote(self) -> None:
        """Make a standby the primary."""
        self._run("pg_ctl", "promote", "-D", str(self.data))

    def start(self) -> Self:
        """Start the server; when it takes connections is for others to find out."""
        options = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
        }
        words = [f"--{name}={value}" for name, value in (options | self._settings).items()]
        command = (*self._user(), str(self._binaries / "postgres"), "-D", str(self.data), *words)
        self._process = Process(self.folder, command, name="postgres").start()
        return self

    @property
    def log(self) -> str:
        """What it has said since its start."""
        return self._process.stderr if self._process else ""

    def stop(self) -> None:
        """Disconnect everybody and end."""
        if self._process is not None:
            self._process.signal(signal.SIGINT).wait()
            self._process = None

    def discard(self) -> None:
        """End at once, and leave nothing."""
        if self._process is not None:
            self._process.signal(signal.SIGQUIT).wait()
        shutil.rmtree(self.folder)

    def _user(self) -> list[str]:
        if os.getuid() != 0:
            return []
        return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--pdeathsig=QUIT"]

    def _run(self, program: str, *words: str) -> None:
        run(*self._user(), self._binaries / program, *words, check=True, cwd=self.folder)
