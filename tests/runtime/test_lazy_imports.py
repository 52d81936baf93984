"""What a sidecar need not load is not loaded, and is there, whole, for who asks. Each in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

ROOT = Path(__file__).resolve().parents[2]
BEGIN = """
import sys, threading
from sidecars.runtime import lazy_imports
lazy_imports.defer()
import asyncio
"""


def run(script: str, **more: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    ended = subprocess.run(
        [sys.executable, "-c", BEGIN + script], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


STAYS_AWAY = {
    "asyncio alone": "",
    "a connection": """
async def connect():
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    assert await reader.read() == b""
    writer.close()
    server.close()
asyncio.run(connect())
""",
    "a command": """
async def command():
    process = await asyncio.create_subprocess_exec("true")
    assert await process.wait() == 0
asyncio.run(command())
""",
}


@pytest.mark.parametrize("script", STAYS_AWAY.values(), ids=STAYS_AWAY.keys())
def test_openssl_stays_away_from_who_speaks_no_tls(script: str) -> None:
    loaded = run(script + 'print(*(name for name in ("_ssl", "_hashlib") if name in sys.modules))')
    assert loaded == ""


ASKED = {
    "by an attribute": "import ssl; ssl.create_default_context()",
    "by a name": "from ssl import SSLContext, PROTOCOL_TLS_CLIENT; SSLContext(PROTOCOL_TLS_CLIENT)",
    "by all names": "from ssl import *; SSLContext(PROTOCOL_TLS_CLIENT)",
    "by an error": """
try:
    raise __import__("ssl").SSLError(1, "no")
except sys.modules["ssl"].SSLError as error:
    assert isinstance(error, OSError)
""",
}


@pytest.mark.parametrize("script", ASKED.values(), ids=ASKED.keys())
def test_a_deferred_module_is_whole_for_who_asks(script: str) -> None:
    said = run(f"{script}\nimport ssl\nprint(ssl.__name__, type(ssl).__name__, ssl.SSLSocket.__mro__[1].__name__)")
    assert said == "ssl module socket"


def test_a_socket_that_speaks_tls_is_known_as_one() -> None:
    """What asyncio refuses; before ssl was loaded it asked a class that nothing is an instance of."""
    said = run("""
import socket, ssl
async def ask():
    loop = asyncio.get_running_loop()
    plain = socket.socket()
    plain.setblocking(False)
    try:
        await loop.sock_recv(plain, 1)
    except OSError:
        pass
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    wrapped = context.wrap_socket(socket.socket(), do_handshake_on_connect=False)
    try:
        await loop.sock_recv(wrapped, 1)
    except TypeError as error:
        print(error)
asyncio.run(ask())
""")
    assert said == "Socket cannot be of type SSLSocket"


def test_threads_that_ask_at_once_all_get_it() -> None:
    said = run("""
found, gate = [], threading.Barrier(8)
def ask():
    import ssl
    gate.wait()
    found.append(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
threads = [threading.Thread(target=ask) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(found))
""")
    assert said == "8"


def test_threads_that_need_each_others_imports_do_not_wait_for_ever(tmp_path: Path) -> None:
    """One loads a deferred module, which imports another; a second one imports that, which asks the deferred module."""
    (tmp_path / "first.py").write_text("import at\nat.gate()\nimport second\nname = 1\n")
    (tmp_path / "second.py").write_text("import at\nat.gate()\nimport first\ngetattr(first, 'name', None)\n")
    (tmp_path / "at.py").write_text(
        "import threading\nbarrier = threading.Barrier(2)\n"
        "def gate():\n    try: barrier.wait(5)\n    except threading.BrokenBarrierError: pass\n"
    )
    said = run(f"""
sys.path.insert(0, {str(tmp_path)!r})
lazy_imports.defer(["first"])
import at, first
def imports(): import second
threads = [threading.Thread(target=lambda: first.name, daemon=True), threading.Thread(target=imports, daemon=True)]
for thread in threads: thread.start()
for thread in threads: thread.join(20)
print([thread.is_alive() for thread in threads], first.name)
""")
    assert said == "[False, False] 1"


CERTIFICATES = """
import os, aiohttp, aiohttp.connector, ssl
print(len(aiohttp.connector._SSL_CONTEXT_VERIFIED.get_ca_certs()), os.environ["SSL_CERT_FILE"],
      len(ssl.create_default_context().get_ca_certs()), os.environ["SSL_CERT_DIR"])
"""


def test_certificates_are_loaded_only_for_who_asks(tmp_path: Path) -> None:
    """The libraries' own context has none: a request without a context of ours would be refused, not trusted."""
    authority = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(authority))
    said = run(CERTIFICATES, SSL_CERT_FILE=str(authority), SSL_CERT_DIR=str(tmp_path))
    assert said == f"0 {authority} 1 {tmp_path}"


def test_metrics_are_shown_without_servers_and_the_servers_are_there_afterwards() -> None:
    said = run("""
from prometheus_client import CollectorRegistry, Counter, generate_latest
registry = CollectorRegistry()
Counter("a", "A.", registry=registry).inc()
print("a_total 1.0" in generate_latest(registry).decode(), "http.server" in sys.modules, "socketserver" in sys.modules)
from http.server import BaseHTTPRequestHandler
from socketserver import BaseRequestHandler
print(issubclass(BaseHTTPRequestHandler, BaseRequestHandler))
""")
    assert said == "True False False\nTrue"


def test_a_traceback_shows_the_lines_of_the_http_library() -> None:
    said = run("import aiohttp.connector, inspect; print(inspect.getsource(aiohttp.connector.TCPConnector)[:18])")
    assert said == "class TCPConnector"
