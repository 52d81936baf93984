"""HTTP targets, and TLS of HTTP and PostgreSQL, against real listeners."""

import asyncio
import contextlib
import gzip
import os
import re
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme

from sidecars.wait_for.core.parse import parse
from sidecars.wait_for.core.target import HttpTarget, Postgres
from sidecars.wait_for.probing import http, postgres
from sidecars.wait_for.probing.dial import Lookup
from sidecars.wait_for.probing.http import TooLong, _reason, within
from sidecars.wait_for.probing.reasons import reason
from sidecars.wait_for.settings import WaitForSettings
from tests.agents.wait_for.attempt import outcome
from tests.support.listeners import (
    Listener,
    Script,
    answering,
    closing,
    greeting,
    listening,
    response,
    saying,
    silent,
)
from tests.support.names import LOCALHOST
from tests.support.scripted_http import Tls
from tests.support.waiting import PATIENCE_SECONDS

ENDLESS = b"HTTP/1.1 200 OK\r\n\r\n"


def endless(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(ENDLESS)
    while True:
        connection.sendall(b"x" * 65536)


def streaming(text: bytes, *, drip: bool = False) -> Script:
    """An answer that has said something and does not end; with `drip` it goes on saying a little."""

    def script(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(ENDLESS + text)
        connection.settimeout(0.05)
        with contextlib.suppress(OSError):
            while True:
                try:
                    if not connection.recv(4096):
                        return
                except TimeoutError:
                    if drip:
                        connection.sendall(b".")

    return script


def cut(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")


def long_json(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(response(200, b'{"a": "' + b"x" * (1 << 20) + b'"}'))


ZIPPED = "its answer is compressed, though we asked for a plain one"
ENDLESS_MATCH = "the pattern takes too long with this answer; write one that repeats no repetition"


def zipped(text: bytes) -> Script:
    return answering(200, gzip.compress(text), "Content-Encoding: gzip")


CASES: list[tuple[str, Script, str, str]] = [
    ("an answer", answering(200), "", "ready"),
    ("no content", answering(204), "", "ready"),
    ("an error", answering(503), "", "answered 503, expected 2xx"),
    ("a refusal", answering(403), "", "answered 403, expected 2xx"),
    ("a redirect", answering(302, b"", "Location: /there"), "", "answered 302, expected 2xx"),
    ("a redirect that is wanted", answering(302, b"", "Location: /there"), "?status=302", "ready"),
    ("a body that fits", answering(200, b"status: up"), "?body=up$", "ready"),
    ("a body that does not", answering(200, b"status: down"), "?body=up$", "answered 200, and its body does not match"),
    ("a zipped body that nobody reads", zipped(b"status: up"), "", "ready"),
    ("a packing that we do not know", answering(200, b"?", "Content-Encoding: br"), "", "ready"),
    ("a zip bomb", zipped(b"x" * (64 << 20)), "?body=up$", ZIPPED),
    ("a pattern that does not end", answering(200, b"a" * 40 + b"!"), "?body=^(a%2B)%2B$", ENDLESS_MATCH),
    ("JSON that fits", answering(200, b'{"a": {"b": true}}'), "?json=a.b=true", "ready"),
    ("an endless body that nobody reads", endless, "", "ready"),
    ("an endless body", endless, "?body=up", "answered 200, and its body does not match"),
    ("a stream that holds the text", streaming(b"event: up\n\n"), "?body=up", "ready"),
    ("a stream that never rests", streaming(b"event: up\n\n", drip=True), "?body=up", "ready"),
    (
        "a stream without it",
        streaming(b": down\n\n"),
        "?body=up&status=200",
        "answered 200, and its body does not match",
    ),
    ("JSON that does not end", streaming(b'{"a": 1'), "?json=a", "its JSON does not end"),
    ("JSON that is too long", long_json, "?json=a", "answered 200, and its JSON is longer than 1048576 bytes"),
    ("HEAD", answering(200), "?method=HEAD", "ready"),
    ("not HTTP", greeting(b"SSH-2.0-OpenSSH_9.6\r\n"), "", "it answered something that is not HTTP"),
    ("closed at once", closing, "", "closed"),
    ("cut", cut, "?body=x", "its answer was cut short"),
    ("a head without an end", saying(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 9), "", "no answer within 0.5 s"),
    ("silence", silent, "", "no answer within 0.5 s"),
]


@pytest.mark.parametrize(("script", "options", "said"), [row[1:] for row in CASES], ids=[row[0] for row in CASES])
async def test_answers(script: Script, options: str, said: str) -> None:
    with listening(script) as server:
        short = said.startswith("no answer") or "does not end" in said or "status=200" in options
        found = await outcome(f"http://{server.place}/{options}", 0.5 if short else 30.0)
        assert (found == said) if said != "closed" else found in {RESET, CLOSED}, found


RESET, CLOSED = "connection reset by peer", "it closed the connection before an answer"


@LOCALHOST
async def test_nobody_there() -> None:
    with Listener() as nobody, Listener() as hole:
        assert await outcome(f"http://{nobody.place}") == "connection refused"
        assert await outcome(f"http://localhost:{nobody.port}") == "connection refused"
        assert await outcome(f"http://{hole.swallow().place}", 0.2) == "no answer within 0.2 s"
    assert "name" in await outcome("http://nosuch.invalid")


async def test_what_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One request, straight to the server (a proxy is for the app), with what stands nearest to the target."""
    heard: list[bytes] = []

    def server(connection: socket.socket) -> None:
        heard.append(connection.recv(65536))
        connection.sendall(response(200))

    token = tmp_path / "token"
    token.write_text("s3cret\n", encoding="utf-8")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with listening(server) as there:
        place = there.place
        settings: dict[str, Any] = {"bearer_token_file": str(token), "headers": {"x-a": "global", "X-B": "global"}}
        assert await outcome(f"http://{place}/p%2Fq?a=1&status=200&b=%20#", **settings) == "ready"
        assert await outcome(f"http://{place}/?header=X-A:own&header=Host:shop", **settings) == "ready"
        assert await outcome(f"http://u:p@{place}/", **settings) == "ready"
    lines = [request.decode().split("\r\n") for request in heard]
    assert lines[0][0] == "GET /p%2Fq?a=1&status=200&b=%20 HTTP/1.1"
    assert {
        "Accept-Encoding: identity",
        "Authorization: Bearer s3cret",
        "x-a: global",
        "X-B: global",
        f"Host: {place}",
    } <= set(lines[0])
    assert {"X-A: own", "X-B: global", "Host: shop"} <= set(lines[1])
    assert "Authorization: Basic dTpw" in lines[2]
    assert not any("Bearer" in line for line in lines[2])


async def test_our_own_files_may_come_late_but_not_be_something_else(tmp_path: Path) -> None:
    """And nothing is sent then; tests/kit/test_files.py has all that a token cannot be."""
    path, setting = tmp_path / "token", f"cannot use bearer_token_file {tmp_path}/token"
    with listening(answering(200)) as server:
        where = f"http://{server.place}"
        found = await outcome(where, bearer_token_file=str(path))
        assert found.startswith(f"{setting}: No such file or directory")
        path.write_bytes(b"a\nb")
        found = await outcome(where, bearer_token_file=str(path))
        assert found.startswith(f"{setting}: it holds more than one line")
        path.unlink()
        os.mkfifo(path)
        assert await outcome(where, bearer_token_file=str(path)) == f"never: {setting}: it is not a regular file"
        assert server.accepted == 0


@pytest.fixture
def pki(tmp_path: Path) -> Tls:
    return Tls(tmp_path)


@contextlib.contextmanager
def https(context: ssl.SSLContext) -> Iterator[str]:
    with listening(answering(200), context) as server:
        yield f"https://{server.place}/"


async def test_a_certificate_that_is_refused_is_refused_for_good(pki: Tls) -> None:
    with https(pki.server()) as url:
        assert await outcome(url, ca_file=str(pki.ca_file)) == "ready"
        assert (await outcome(url)).startswith("never: its certificate is refused: unable to get local issuer")
    with https(pki.server("elsewhere")) as url:
        found = await outcome(url, ca_file=str(pki.ca_file))
        assert found.startswith("never: its certificate is refused: IP address mismatch")


async def test_a_certificate_that_is_not_valid_yet_is_waited_for(pki: Tls) -> None:
    """The clocks of two machines differ; of an expired one it is never."""
    now, hour = datetime.now(UTC), timedelta(hours=1)
    early, late = pki.server(valid=(now + hour, now + 2 * hour)), pki.server(valid=(now - 2 * hour, now - hour))
    # OpenSSL 3.6 adds "or the system clock is incorrect"
    refused, clock = "its certificate is refused", "is this machine's clock, or the other one's, slow"
    not_yet = rf"{refused}: certificate is not yet valid.*; {clock}\?"
    with https(early) as url:
        assert re.fullmatch(not_yet, await outcome(url, ca_file=str(pki.ca_file)))
    with listening(postgres_with_tls(early)) as server:
        assert re.fullmatch(not_yet, await outcome(f"postgres://{server.place}", ca_file=str(pki.ca_file)))
    with https(late) as url:
        assert (await outcome(url, ca_file=str(pki.ca_file))).startswith(
            "never: its certificate is refused: certificate has expired"
        )


@LOCALHOST
async def test_the_dot_of_an_absolute_name_does_not_reach_verification(pki: Tls) -> None:
    settings = WaitForSettings(targets=("db:1",), ca_file=str(pki.ca_file))
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    with listening(answering(200), pki.server("localhost")) as server:
        target = parse(f"https://localhost.:{server.port}/")
        assert isinstance(target, HttpTarget)
        await http.ask(target, settings, Lookup("localhost", 0), deadline)
    with listening(postgres_with_tls(pki.server("localhost"))) as server:
        database = parse(f"postgres://localhost.:{server.port}")
        assert isinstance(database, Postgres)
        await postgres.ask(database, settings, Lookup("localhost", server.port), deadline)


async def test_no_tls_where_it_is_expected_may_change(pki: Tls) -> None:
    with listening(answering(200)) as server:
        found = await outcome(f"https://{server.place}/", ca_file=str(pki.ca_file))
        assert found in {"no TLS: wrong version number", "no TLS: record layer failure"}, (
            found
        )  # OpenSSL up to 3.1; from 3.2
    with listening(closing) as server:
        found = await outcome(f"https://{server.place}/", ca_file=str(pki.ca_file))
        assert found in {RESET, CLOSED, "the connection was closed"} or found.startswith("no TLS"), found


async def test_a_client_certificate_is_shown(pki: Tls) -> None:
    with https(pki.server(clients=True)) as url:
        given: dict[str, Any] = {"ca_file": str(pki.ca_file), "client_certificate_file": str(pki.pair_file)}
        assert await outcome(url, **given) == "ready"
        refused = await outcome(url, ca_file=str(pki.ca_file))
        assert refused in {RESET, CLOSED} or refused.startswith("no TLS: "), refused


def test_a_refusal_after_the_handshake_is_one_of_tls() -> None:
    """Of it aiohttp makes an error of its own, with OpenSSL's number, which is another error of the system."""
    error = aiohttp.ClientOSError(1, "alert")
    error.__cause__ = ssl.SSLError(1, "alert")
    assert _reason(error) == "no TLS: the handshake failed"


def test_an_alarm_is_over_with_its_call() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(TooLong):
        within(0.05, lambda: re.search("^(a+)+$", "a" * 40 + "!"))
    assert within(PATIENCE_SECONDS, lambda: 7) == 7
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) == before


def test_an_error_in_words() -> None:
    assert reason(ssl.SSLError(1, "[SSL: NO_SUITABLE] no")) == "no TLS: the handshake failed"
    assert reason(ConnectionRefusedError(111, "Connect call failed ('::1', 1)")) == "connection refused"


async def test_certificates_that_are_none_are_named(pki: Tls, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("no PEM", encoding="utf-8")
    with https(pki.server()) as url:
        assert await outcome(url, ca_file=str(bad)) == f"cannot use ca_file {bad}: it holds no certificates in PEM"
        found = await outcome(url, ca_file=str(pki.ca_file), client_certificate_file=str(bad))
        assert found.startswith(f"cannot use client_certificate_file {bad}: certificate and key are not PEM")


def postgres_with_tls(context: ssl.SSLContext) -> Script:
    def script(connection: socket.socket) -> None:
        connection.recv(8)
        connection.sendall(b"S")
        with context.wrap_socket(connection, server_side=True) as secured:
            saying(b"R\0\0\0\x08\0\0\0\x03")(secured)

    return script


async def test_postgres_is_encrypted_and_verified_only_on_demand(pki: Tls, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    with listening(postgres_with_tls(pki.server())) as server:
        url = f"postgres://{server.place}"
        began = time.monotonic()
        assert await outcome(url) == "ready"
        assert await outcome(url, ca_file=str(pki.ca_file)) == "ready"
        assert time.monotonic() - began < 25  # not by running into the limit of 30 s
        assert (await outcome(url, ca_file=str(other))).startswith("never: its certificate is refused")
