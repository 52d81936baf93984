"""The proxies that are measured: this project's ambassador, haproxy and stunnel, as far as they are installed.

Each listens in plain text and goes on in plain text or in TLS, to the same server behind; each verifies its
certificate. haproxy has one thread (a pod's share), and splices where that is measured. Ours runs in the environment of
its image.
"""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trustme

from tests.bench.figures import Broken, Process, wait_until
from tests.bench.shippers import Shipper as Program
from tests.bench.shippers import running
from tests.rules import agents

OURS = "ambassador"
COPY, SPLICE, STUNNEL = "haproxy, copying", "haproxy, splicing", "stunnel"
HAPROXY = "haproxy"
_ROOT = Path(__file__).resolve().parents[2]
_SOURCE = Path(__file__).with_name("tcp_peer.c")
_PEER_SECONDS = 600


@dataclass
class Doors:
    """Where a running proxy takes connections: for each kind of upstream, and under which name it is measured there."""

    process: Process
    plain: dict[str, int] = field(default_factory=dict)
    tls: dict[str, int] = field(default_factory=dict)

    def cpu_seconds(self) -> float:
        """User and system time since its start, also of threads that have ended, to the nanosecond: parts of a second
        are measured (clock_getcpuclockid(3)).
        """
        return time.clock_gettime((~self.process.pid << 3) | 2)


@dataclass(frozen=True)
class Peer:
    """The compiled program of both ends, and where its servers are."""

    program: Path
    plain_port: int
    tls_port: int
    authority: Path

    def ask(self, port: int, *words: object) -> list[float]:
        """Run its client (tcp_peer.c says what the words mean): seconds, median and p99 in microseconds."""
        command = [str(self.program), "ask", str(port), *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PEER_SECONDS)
        if done.returncode:
            raise Broken(f"the client failed: {done.stderr.strip()}")
        return [float(word) for word in done.stdout.split()]


@contextmanager
def peer(folder: Path) -> Iterator[Peer]:
    """Compile it, and start a server without and one with TLS."""
    program = folder / "tcp_peer"
    words = ["cc", "-O2", "-o", str(program), str(_SOURCE), "-lssl", "-lcrypto", "-lpthread"]
    try:
        built = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Broken("there is no C compiler; install gcc and libssl-dev") from None
    if built.returncode:
        raise Broken(f"cannot compile {_SOURCE.name} (is libssl-dev installed?): {built.stderr.strip()[-300:]}")
    authority = trustme.CA(key_type=trustme.KeyType.RSA)
    leaf = authority.issue_cert("localhost", key_type=trustme.KeyType.RSA)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    leaf.private_key_pem.write_to_path(str(folder / "key.pem"))
    (folder / "chain.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    plain, tls = _free_port(), _free_port()
    secured = [str(folder / "chain.pem"), str(folder / "key.pem")]
    with ExitStack() as stack:
        for port, more in ((plain, []), (tls, secured)):
            child = stack.enter_context(subprocess.Popen([program, "serve", str(port), *more]))
            stack.callback(child.kill)
            wait_until(lambda p=port: _listens(p), "the measured server")  # type: ignore[misc]
        yield Peer(program, plain, tls, folder / "ca.pem")


@contextmanager
def ours(folder: Path, peer: Peer) -> Iterator[Doors]:
    """The ambassador as it ships."""
    plain, tls = _free_port(), _free_port()
    (folder / "ambassador.yaml").write_text(f"""
listeners:
  - {{name: plain, listen: "127.0.0.1:{plain}", upstreams: [{{address: "127.0.0.1:{peer.plain_port}"}}]}}
  - name: tls
    listen: "127.0.0.1:{tls}"
    upstreams: [{{address: "127.0.0.1:{peer.tls_port}"}}]
    tls: {{ca_file: {peer.authority}, server_name: localhost}}
""")
    python = str(agents.shipping_environment(OURS))
    environment = {
        "PYTHONSAFEPATH": "1", "PYTHONPATH": str(_ROOT), "AMBASSADOR_ADMIN_HOST": "127.0.0.1",
        "AMBASSADOR_ADMIN_PORT": "0", "AMBASSADOR_LIFECYCLE": "native",
    }  # fmt: skip
    words = [python, "-m", "sidecars", OURS, "--config", str(folder / "ambassador.yaml")]
    with _running(Program(OURS, lambda _f, _p: words, lambda _f, _p: environment), folder, [plain, tls]) as process:
        yield Doors(process, {OURS: plain}, {OURS: tls})


@contextmanager
def haproxy(folder: Path, peer: Peer) -> Iterator[Doors]:
    """One process with three doors."""
    copying, splicing, tls = _free_port(), _free_port(), _free_port()
    secured = f"ssl verify required ca-file {peer.authority} verifyhost localhost sni str(localhost)"
    (folder / "haproxy.cfg").write_text(f"""
global
  nbthread 1
  maxconn 4000
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen copying
  bind 127.0.0.1:{copying}
  server one 127.0.0.1:{peer.plain_port}
listen splicing
  bind 127.0.0.1:{splicing}
  option splice-request
  option splice-response
  server one 127.0.0.1:{peer.plain_port}
listen tls
  bind 127.0.0.1:{tls}
  server one 127.0.0.1:{peer.tls_port} {secured}
""")
    words = [_program("haproxy"), "-f", str(folder / "haproxy.cfg"), "-db", "-q"]
    with _running(Program(HAPROXY, lambda _f, _p: words), folder, [copying, splicing, tls]) as process:
        yield Doors(process, {COPY: copying, SPLICE: splicing}, {HAPROXY: tls})


@contextmanager
def stunnel(folder: Path, peer: Peer) -> Iterator[Doors]:
    """It knows TLS only."""
    tls = _free_port()
    (folder / "stunnel.conf").write_text(f"""
foreground = yes
pid =
[tls]
client = yes
accept = 127.0.0.1:{tls}
connect = 127.0.0.1:{peer.tls_port}
CAfile = {peer.authority}
verifyChain = yes
checkHost = localhost
sni = localhost
""")
    words = [_program("stunnel"), str(folder / "stunnel.conf")]
    with _running(Program(STUNNEL, lambda _f, _p: words), folder, [tls]) as process:
        yield Doors(process, tls={STUNNEL: tls})


def missing() -> list[str]:
    """Which peers are not there, and the remedy."""
    return [f"{name}: install Debian's {name}" for name in ("haproxy", "stunnel") if not _program(name)]


@contextmanager
def _running(program: Program, folder: Path, ports: list[int]) -> Iterator[Process]:
    with running(program, folder, 0) as process:
        for port in ports:
            wait_until(lambda p=port: _listens(p), f"{program.name} to listen")  # type: ignore[misc]
        yield process


def _program(name: str) -> str:
    return shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/bin") or ""


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
