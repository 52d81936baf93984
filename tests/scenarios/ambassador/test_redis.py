"""A real Redis with TLS, its replica, and a client that speaks plain text to the ambassador."""

import socket
from collections.abc import Callable
from pathlib import Path

from sidecars.ambassador.core.redis import command, reply
from tests.scenarios.ambassador.conftest import Authority
from tests.support.redis_server import RedisServer, binary
from tests.support.sidecars import AmbassadorProcess


def asked(port: int, *commands: tuple[str, ...]) -> list[object]:
    """The replies to commands on one connection."""
    found, received = [], b""
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        for words in commands:
            connection.sendall(command(*words))
            while (one := reply(received)) is None:
                data = connection.recv(4096)
                assert data, "it has ended the connection"
                received += data
            answer, received = one
            found.append(answer)
    return found


LOGIN = ("AUTH", "secret")


def test_writes_go_to_the_master_reads_to_the_replica_and_both_follow_a_failover(
    authority: Authority,
    ambassador: Callable[..., AmbassadorProcess],
    tmp_path: Path,
    without_server: Callable[..., object],
) -> None:
    if binary() is None:
        without_server("redis-server", "it is not installed")
    servers = []
    for number in range(2):
        folder = tmp_path / f"redis-{number}"
        folder.mkdir()
        servers.append(RedisServer(folder, authority.server("localhost", "127.0.0.1"), authority.ca_file))
    master, replica = servers[0].start(), servers[1].replica_of(servers[0]).start()
    password = tmp_path / "password"
    password.write_text("secret\n")
    running = ambassador(
        protocol="redis",
        ca_file=authority.ca_file,
        upstream=f"localhost:{master.port},localhost:{replica.port}",
        check={"kind": "redis", "password_file": str(password), "interval_seconds": 0.2, "fall": 1},
        listeners=[
            {"name": "writes", "listen": ["127.0.0.1:0"], "role": "primary"},
            {"name": "reads", "listen": ["127.0.0.1:0"], "role": "replica"},
        ],
    ).start()
    running.until_usable()
    assert asked(running.port(0), LOGIN, ("SET", "key", "one"), ("GET", "key")) == ["OK", "OK", "one"]
    assert asked(running.port(1), LOGIN, ("ROLE",))[1][0] == "slave"  # type: ignore[index]
    master.terminate()
    asked_directly = running.until(lambda: not running.status()["listeners"][0]["usable"], "the master to be missed")
    assert asked_directly
    reads = running.port(1)
    assert asked(reads, LOGIN, ("REPLICAOF", "NO", "ONE"))[1] == "OK"
    running.until(lambda: running.status()["listeners"][0]["usable"], "the new master")
    assert asked(running.port(0), LOGIN, ("SET", "key", "two"), ("GET", "key")) == ["OK", "OK", "two"]
    assert running.nodes()[f"localhost:{replica.port}"]["role"] == "primary"
    assert {line["cause"] for line in running.closed()} <= {"finished", "role_changed"}


def test_a_wrong_password_of_the_check_is_told_and_not_shown(
    authority: Authority,
    ambassador: Callable[..., AmbassadorProcess],
    tmp_path: Path,
    without_server: Callable[..., object],
) -> None:
    if binary() is None:
        without_server("redis-server", "it is not installed")
    server = RedisServer(tmp_path, authority.server("localhost"), authority.ca_file).start()
    password = tmp_path / "password"
    password.write_text("not-the-password\n")
    check = {"kind": "redis", "password_file": str(password), "interval_seconds": 0.2}
    running = ambassador(
        protocol="redis", ca_file=authority.ca_file, upstream=f"localhost:{server.port}", check=check
    ).start()
    name = f"localhost:{server.port}"
    running.until(lambda: "login" in (running.nodes()[name]["detail"] or ""), "the reason")
    assert "not-the-password" not in running.stderr + running.ask("/status")[1]
    password.write_text("secret\n")
    running.until_usable()
