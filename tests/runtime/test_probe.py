"""`sidecar-probe`: what a health check that has to be a command gets told, with a bare interpreter as in the images."""

import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.listeners import Listener, Script, answering, closing, greeting, saying

PROBE = Path(__file__).resolve().parents[2] / "sidecars" / "probe.py"


def probe(*words: str, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Its exit status and what it said on stdout; nothing on stderr."""
    command = [sys.executable, "-I", "-S", str(PROBE), *words]
    done = subprocess.run(command, env=dict(environment or {}), capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("script", "status", "said"),
    [
        (answering(200, b"started\n"), 0, "startupz: 200 started\n"),
        (answering(503, b"not started: log-shipper\n"), 1, "startupz: 503 not started: log-shipper\n"),
        (answering(404), 1, "startupz: 404 \n"),
        (closing, 1, "startupz"),
        (greeting(b"SSH-2.0-OpenSSH\r\n\r\nContent-Length: 0"), 1, "timed out"),
        (saying(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n" + b"x" * 9000), 0, "startupz: 200 xxx"),
    ],
)
def test_the_answer_decides_the_exit_status(script: Script, status: int, said: str) -> None:
    with Listener() as server:
        server.listen(script)
        found = probe(str(server.port))
    assert found[0] == status
    assert said in found[1]


def test_the_page_that_was_named_is_asked() -> None:
    asked: list[bytes] = []

    def script(connection: object) -> None:
        asked.append(connection.recv(4096))  # type: ignore[attr-defined]

    with Listener() as server:
        server.listen(script)
        for page in ("livez", "readyz", "/startupz"):
            probe(page, str(server.port))
    assert [request.split()[1] for request in asked] == [b"/livez", b"/readyz", b"/startupz"]


def test_an_endpoint_on_ipv6_only_is_found_too() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:

        def answer() -> None:
            with server.accept()[0] as connection:
                answering(200, b"started\n")(connection)

        answerer = threading.Thread(target=answer)
        answerer.start()
        assert probe(str(server.getsockname()[1])) == (0, "startupz: 200 started\n")
        answerer.join()


def test_nobody_there_is_said_with_the_address() -> None:
    with Listener() as server:
        said = f"cannot ask 127.0.0.1 or ::1, port {server.port}, for /startupz: nobody listens there\n"
        assert probe(str(server.port)) == (1, said)


def test_the_port_is_found_in_the_environment() -> None:
    with Listener() as server:
        server.listen(answering(200))
        port = str(server.port)
        assert probe(environment={"SIDECAR_PROBE": f"LOG_SHIPPER_ADMIN_PORT={port}"})[0] == 0
        moved = {"SIDECAR_PROBE": "LOG_SHIPPER_ADMIN_PORT=1", "LOG_SHIPPER_ADMIN_PORT": f"{port}\n"}
        assert probe("livez", environment=moved)[0] == 0


def test_of_several_ports_the_first_with_somebody_there_counts() -> None:
    """The image with all sidecars does not know which of them is named first."""
    with Listener() as nobody, Listener() as server, Listener() as last:
        server.listen(answering(503))
        last.listen(answering(200))
        pairs = f"A_ADMIN_PORT={nobody.port} B_ADMIN_PORT={server.port} C_ADMIN_PORT={last.port}"
        assert probe(environment={"SIDECAR_PROBE": pairs})[0] == 1
        assert probe(environment={"SIDECAR_PROBE": pairs, "A_ADMIN_PORT": str(last.port)})[0] == 0
        nobodys = f"A_ADMIN_PORT={nobody.port} B_ADMIN_PORT={nobody.port}"
        assert probe(environment={"SIDECAR_PROBE": nobodys}) == (
            1,
            f"cannot ask 127.0.0.1 or ::1, port {nobody.port} or {nobody.port}, for /startupz: nobody listens there\n",
        )


@pytest.mark.parametrize("words", [(), ("health", "80"), ("0",), ("65536",), ("livez", "80", "90"), ("80", "90")])
def test_words_that_make_no_sense_are_answered_with_the_usage(words: tuple[str, ...]) -> None:
    status, said = probe(*words)
    assert status == 2
    assert said.startswith("usage: sidecar-probe")


def test_it_imports_nothing_that_a_bare_interpreter_has_not_got_already() -> None:
    """Its whole point: 10 ms and 9 MiB, every second, in a container that may have 32 MiB."""
    code = f"import sys; before = set(sys.modules); exec(open({str(PROBE)!r}).read(), {{'__name__': 'probe'}})"
    code += "; print(*(set(sys.modules) - before))"
    said = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True).stdout
    assert set(said.split()) <= {"_socket", "errno"}  # both without a file
