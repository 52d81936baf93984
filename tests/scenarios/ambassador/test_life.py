"""Waiting in place of being refused, and the stop: what the app sees while upstreams and the ambassador come and go."""

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.listeners import Listener, echoing
from tests.support.sidecars import AmbassadorProcess

Make = Callable[..., AmbassadorProcess]


@pytest.fixture
def echo() -> Iterator[Listener]:
    """A server that is bound, and does not listen yet."""
    with Listener() as listener:
        yield listener


def spoken(port: int, timeout_seconds: float = 30.0) -> bytes:
    """What comes back of a word; empty when the connection is ended, an OSError when it is reset or refused."""
    with socket.create_connection(("127.0.0.1", port), timeout_seconds) as connection:
        connection.sendall(b"word")
        return connection.recv(10)


def many(count: int, port: int) -> list[object]:
    """What so many connections at once get: the word, or the error."""
    found: list[object] = []

    def speak() -> None:
        try:
            found.append(spoken(port))
        except OSError as error:
            found.append(type(error))

    threads = [threading.Thread(target=speak) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


def test_a_hundred_connections_wait_for_an_upstream_that_is_away_and_then_all_are_served(
    ambassador: Make, echo: Listener
) -> None:
    running = ambassador(upstream=echo.place, park={"seconds": 30, "connections": 100}).start()
    running.until(lambda: running.logged("upstreams.none"), "the upstream to be missed")
    found: list[object] = []
    waiting = threading.Thread(target=lambda: found.extend(many(100, running.port())))
    waiting.start()
    running.until(lambda: running.metric("parked_connections") == 100, "all to be parked")
    with pytest.raises(ConnectionResetError):
        spoken(running.port())
    assert running.until(running.closed, "the line of the one too many")[0]["cause"] == "room_full"
    echo.listen(echoing)
    waiting.join(60)
    assert found == [b"word"] * 100
    assert running.metric("parked_connections") == 0


def test_who_has_waited_long_enough_gets_an_error_of_its_protocol(ambassador: Make, echo: Listener) -> None:
    listeners = [
        {"listen": ["127.0.0.1:0"], "protocol": protocol, "name": protocol} for protocol in ("redis", "mysql", "tcp")
    ]
    upstream = echo.place
    running = ambassador(upstream=upstream, park={"seconds": 0.3}, listeners=listeners).start()
    assert spoken_whole(running.port(0)).startswith(b"-ERR ambassador: no upstream is usable: ")
    packet = spoken_whole(running.port(1))
    assert packet[3:7] == b"\0\xff\xd3\x07", "an ERR packet, number 2003"
    assert b"ambassador: no upstream is usable" in packet
    with pytest.raises(ConnectionResetError):
        spoken_whole(running.port(2))


def spoken_whole(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        return connection.recv(1000)


def test_connections_beyond_the_limit_wait_for_one_that_ends(ambassador: Make, echo: Listener) -> None:
    echo.listen(echoing)
    limits, park = {"connections": 2}, {"seconds": 20}
    running = ambassador(upstream=echo.place, limits=limits, park=park).start().until_usable()
    held = [socket.create_connection(("127.0.0.1", running.port())) for _ in range(2)]
    running.until(lambda: running.metric("sessions") == 2, "two to be served")
    found: list[object] = []
    waiting = threading.Thread(target=lambda: found.append(spoken(running.port())))
    waiting.start()
    running.until(lambda: running.metric("parked_connections") == 1, "the third to wait")
    held.pop().close()
    waiting.join(30)
    assert found == [b"word"]
    for connection in held:
        connection.close()


@pytest.mark.parametrize("lifecycle", ["native", "ordinary"])
def test_after_sigterm_it_serves_on_until_the_clients_are_gone(
    ambassador: Make, echo: Listener, lifecycle: str
) -> None:
    echo.listen(echoing)
    settings = {"lifecycle": lifecycle, "quiet_seconds": 1.0, "grace_seconds": 60}
    running = ambassador(upstream=echo.place, **settings).start().until_usable()
    with socket.create_connection(("127.0.0.1", running.port())) as kept:
        kept.sendall(b"x")
        assert kept.recv(1) == b"x"
        running.signal(signal.SIGTERM)
        for _ in range(30):
            assert spoken(running.port()) == b"word"
            time.sleep(0.05)
        kept.sendall(b"y")
        assert kept.recv(1) == b"y"
    ended = time.monotonic()
    assert running.wait() == 0
    assert time.monotonic() - ended <= 3.0, "an exit soon after the last client"


def test_two_seconds_before_the_grace_is_over_what_is_left_is_ended(ambassador: Make, echo: Listener) -> None:
    echo.listen(echoing)
    running = ambassador(upstream=echo.place, grace_seconds=4).start().until_usable()
    with socket.create_connection(("127.0.0.1", running.port())) as kept:
        kept.sendall(b"x")
        assert kept.recv(1) == b"x"
        began = time.monotonic()
        running.signal(signal.SIGTERM)
        kept.settimeout(30)
        with pytest.raises(ConnectionResetError):  # of bytes that it does not read it knows no clean end
            kept.recv(1)
        assert 1.5 <= time.monotonic() - began <= 4.0
        assert running.wait() == 0
    (line,) = running.closed()
    assert (line["side"], line["cause"]) == ("sidecar", "stopped")
    assert running.logged("stop.hard")


def test_the_second_upstream_is_used_when_the_first_is_gone_and_failover_goes_away_from_one(
    ambassador: Make, echo: Listener
) -> None:
    other = Listener().listen(echoing)
    echo.listen(echoing)
    names = [echo.place, other.place]
    running = ambassador(upstream=",".join(names), drain_seconds=0).start().until_usable()
    running.until(lambda: all(node["health"] == "up" for node in running.nodes().values()), "both to be up")
    kept = socket.create_connection(("127.0.0.1", running.port()))
    running.until(lambda: running.nodes()[names[0]]["sessions"] == 1, "a session on the first")
    status, text = running.ask(f"/failover?upstream={names[0]}", "POST")
    assert (status, names[0] in text) == (200, True)
    kept.settimeout(30)
    assert kept.recv(1) == b"", "its session is drained"
    assert running.until(running.closed, "the line")[0]["cause"] == "drained"
    assert spoken(running.port()) == b"word"
    assert running.until(lambda: running.closed()[1:], "the second line")[0]["upstream"] == names[1]
    assert running.ask(f"/failover?upstream={names[1]}", "POST")[0] == 200
    other.close()
    running.until(lambda: running.nodes()[names[1]]["health"] == "down", "the second to be gone")
    assert spoken(running.port()) == b"word", "what is left is used rather than nothing"
    status, text = running.ask("/failover", "POST")
    assert (status, "no other usable" in text) == (503, True)
    assert running.ask("/drain?upstream=nobody:1", "POST")[0] == 500
    assert running.ask("/drain?host=nobody:1", "POST")[0] == 400
    assert "127.0.0.1" in running.ask("/status?format=table")[1]
    kept.close()


def test_without_open_files_left_the_next_connections_wait_and_the_others_go_on(
    ambassador: Make, echo: Listener
) -> None:
    echo.listen(echoing)
    running = ambassador(upstream=echo.place)
    running.prefix = ("prlimit", "--nofile=64")
    running.start().until_usable()
    with socket.create_connection(("127.0.0.1", running.port()), 30) as kept:
        held = [socket.create_connection(("127.0.0.1", running.port()), 30) for _ in range(40)]
        running.until(lambda: running.logged("listener.full"), "the ambassador to say so")
        kept.sendall(b"x")
        assert kept.recv(1) == b"x"
        running.until(lambda: running.nodes()[echo.place]["health"] == "up", "checks that have their files")
        for connection in held:
            connection.close()
        assert spoken(running.port()) == b"word"
    assert not running.logged("listener.exhausted")


def test_certificates_that_are_not_there_yet_hold_up_their_own_listener_only_and_are_named(
    ambassador: Make, echo: Listener, tmp_path: Path
) -> None:
    echo.listen(echoing)
    secured = {"listen": ["127.0.0.1:0"], "protocol": "redis", "name": "secured", "tls": {"ca_file": f"{tmp_path}/ca"}}
    plain = {"listen": ["127.0.0.1:0"], "name": "plain"}
    running = ambassador(upstream=echo.place, park={"seconds": 1}, listeners=[secured, plain]).start(wait=False)
    running.until(lambda: running.logged("certificates.unusable"), "the missing file to be named")
    assert spoken(running.port(1)) == b"word"
    assert f"tls.ca_file {tmp_path}/ca" in spoken_whole(running.port(0)).decode()
    assert running.ask("/readyz")[0] == 503
