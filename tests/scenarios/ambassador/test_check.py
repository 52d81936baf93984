"""`sidecar check ambassador`: what would be served, and whether each upstream answers, as the sidecar would ask."""

import socket
import struct
from collections.abc import Callable
from pathlib import Path

from sidecars.ambassador.core.postgres import message
from tests.scenarios.ambassador.conftest import Authority
from tests.support.listeners import listening, saying
from tests.support.postgres_server import PostgresServer
from tests.support.sidecars import AmbassadorProcess

Make = Callable[..., AmbassadorProcess]


def test_it_logs_in_as_the_checks_do_and_says_what_it_found(
    database: PostgresServer, authority: Authority, ambassador: Make, tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text("secret\n")
    made = ambassador(
        listen="0.0.0.0:5432",
        protocol="postgres",
        role="primary",
        upstream=f"localhost:{database.port},localhost:1",
        ca_file=authority.ca_file,
        check={"kind": "sql", "user": "postgres", "password_file": str(password)},
    )
    done = made.check()
    assert done.returncode == 1, done.stdout
    assert f"localhost:{database.port}: works, a primary" in done.stdout
    assert "localhost:1: fails (sql): Connection refused" in done.stdout
    assert "0.0.0.0:5432 can be reached from outside of the pod" in done.stdout
    made.settings["upstream"] = f"localhost:{database.port}"
    assert made.check().returncode == 0
    password.write_text("wrong-password\n")
    done = made.check()
    assert done.returncode == 1
    assert "password authentication failed" in done.stdout
    assert "none of the upstreams is a primary now" in done.stdout
    assert "wrong-password" not in done.stdout + done.stderr


def test_certificates_that_cannot_be_used_are_named(ambassador: Make, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    done = ambassador(listen="127.0.0.1:0", upstream="localhost:1", ca_file=tmp_path / "ca.pem").check()
    assert done.returncode == 1
    assert f"{tmp_path}/ca.pem" in done.stdout


def test_patroni_is_asked_for_the_role_and_the_server_itself_whether_it_works(ambassador: Make) -> None:
    def script(status: int) -> Callable[..., None]:
        return saying(f"HTTP/1.0 {status} Whatever\r\n\r\n".encode())

    with listening(script(200)) as patroni, listening(saying(b"N")) as postgres, listening(script(503)) as other:
        settings = {"protocol": "postgres", "role": "primary", "check": {"kind": "patroni"}}
        upstreams = [
            {"address": postgres.place, "check_address": patroni.place},
            {"address": "127.0.0.1:1", "check_address": patroni.place},
            {"address": postgres.place.replace("127.0.0.1", "127.0.0.2"), "check_address": other.place},
        ]
        done = ambassador(upstreams=upstreams[:1], **settings).check()
        assert (done.returncode, f"{postgres.place}: works, a primary" in done.stdout) == (0, True)
        done = ambassador(upstreams=upstreams, **settings).check()
        assert "127.0.0.1:1: fails (patroni): Connection refused" in done.stdout, "Patroni may say 200 of a dead server"


def stranger(connection: socket.socket) -> None:
    """Begin SCRAM as PostgreSQL does, and let anybody in without its end; claim to be a primary."""
    if not connection.recv(1000):
        return
    connection.sendall(message(b"R", struct.pack("!I", 10) + b"SCRAM-SHA-256\0\0"))
    connection.recv(1000)
    connection.sendall(message(b"R", struct.pack("!I", 0)) + message(b"Z", b"I"))
    while connection.recv(1000):
        row = message(b"D", struct.pack("!HI", 1, 3) + b"off")
        connection.sendall(row + message(b"C", b"SHOW\0") + message(b"Z", b"I"))


def test_a_server_that_does_not_know_the_password_never_passes_for_the_primary(
    ambassador: Make, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("secret", encoding="utf-8")
    with listening(stranger) as server:
        login = {"user": "check", "password_file": str(tmp_path / "password"), "database": "postgres"}
        running = ambassador(
            protocol="postgres",
            upstream=f"localhost:{server.port}",
            role="primary",
            check={"kind": "sql", "interval_seconds": 0.2, **login},
        ).start()
        running.until(
            lambda: "has not shown that it knows the password" in running.ask("/status")[1], "the reason in /status"
        )
