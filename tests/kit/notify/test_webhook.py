"""Notify and ask by HTTP, against real sockets."""

import asyncio
import base64
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from sidecars.config_reloader.core.steps import Confirm, Validate
from sidecars.kit.notify import webhook
from sidecars.kit.notify.core.change import Change
from sidecars.kit.notify.core.options import Call, Http, Webhook
from sidecars.kit.notify.core.outcome import Outcome, Result
from tests.support.names import LOCALHOST
from tests.support.scripted_http import CUTS, DEAF, HANGS, RESETS, Play, ScriptedHttp, Tls, answer

CHANGE = Change("0a1b", "/content/..data 1")
SECRET = "hunter2-planted"
BRIEF_SECONDS, LONG_SECONDS = 0.5, 60.0


async def told(target: ScriptedHttp, path: str = "/reload", **options: Any) -> Outcome:
    return await webhook.call(Call(url=target.url + path, **({"timeout_seconds": LONG_SECONDS} | options)), CHANGE)


@pytest.mark.parametrize(
    ("status", "expected", "result", "words"),
    [
        (200, ("2xx",), Result.OK, "answered 200"),
        (204, ("2xx",), Result.OK, "answered 204"),
        (204, ("200", "204"), Result.OK, "answered 204"),
        (500, ("200", "204"), Result.FAILED, "answered 500, expected 200 or 204"),
        (401, ("2xx",), Result.FAILED, "answered 401, expected 2xx"),
        (302, ("2xx",), Result.FAILED, "answered 302, expected 2xx; redirects are not followed"),
        (302, ("3xx",), Result.OK, "answered 302"),
        # who answers for an app that starts is not the app
        *(
            (status, ("2xx",), Result.UNREACHABLE, f"answered {status}, expected 2xx")
            for status in (429, 502, 503, 504)
        ),
    ],
)
async def test_the_status_decides(status: int, expected: tuple[str, ...], result: Result, words: str) -> None:
    async with ScriptedHttp(answer(status, b"" if status == 204 else b"body", Location="/elsewhere")) as target:
        outcome = await told(target, expect_status=expected)
        assert outcome == Outcome(result, f"{target.url}/reload {words}")
        assert len(target.requests) == 1
        await target.alone()


async def test_a_request_is_sent_as_it_is_written_with_placeholders_filled(tmp_path: Path) -> None:
    (tmp_path / "0a1b").write_bytes(b"\x00 file")
    async with ScriptedHttp() as target:
        await told(target, "/-/{hash}?from={candidate}&q=a+b%26#x", method="put", headers={"X-Hash": "is {hash} {x}"})
        await told(target, body='{"hash": "{hash}", "at": "{candidate}"}')
        await told(target, body_file=f"{tmp_path}/{{hash}}", headers={"content-type": "text/yaml"})
    first, second, third = target.requests
    assert (first.method, first.target, first.body) == ("PUT", "/-/0a1b?from=/content/..data%201&q=a+b%26", b"")
    assert first.headers["x-hash"] == "is 0a1b {x}"
    assert first.headers["host"] == f"127.0.0.1:{target.port}"
    assert "cookie" not in first.headers
    assert (second.method, second.body) == ("POST", b'{"hash": "0a1b", "at": "/content/..data 1"}')
    assert (third.body, third.headers["content-type"]) == (b"\x00 file", "text/yaml")


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ScriptedHttp() as proxy, ScriptedHttp() as target:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert (await told(target)).ok
    assert (proxy.connections, target.connections) == (0, 1)


@pytest.mark.parametrize("play", [HANGS, DEAF, Play(b"HTTP/1.1 200 OK\r\nX-A: b\r\n", holds=True)])
async def test_a_target_that_never_answers_is_a_timeout_and_nothing_stays_open(play: Play) -> None:
    async with ScriptedHttp(play) as target:
        outcome = await told(target, timeout_seconds=BRIEF_SECONDS)
        assert outcome == Outcome(Result.TIMEOUT, f"{target.url}/reload did not answer within 0.5 s")
        if play is not DEAF:
            await target.alone()


async def test_a_body_that_nobody_takes_does_not_keep_the_connection(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(16 << 20))
    before = len(os.listdir("/proc/self/fd"))
    async with ScriptedHttp(DEAF) as target:
        for _ in range(3):
            outcome = await told(target, body_file=str(tmp_path / "large"), timeout_seconds=BRIEF_SECONDS)
            assert outcome.result is Result.TIMEOUT
        ours = len(os.listdir("/proc/self/fd")) - before - target.open - 1
        assert ours == 0, "connections of ours are left open"


@pytest.mark.parametrize(
    "play",
    [
        Play(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
        Play(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", reset=True),
        Play(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n", endless=True),
        Play(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
    ],
)
async def test_once_the_status_is_known_the_body_does_not_matter(play: Play) -> None:
    async with ScriptedHttp(play) as target:
        assert (await told(target)).ok
    assert target.streamed_bytes < 64 << 20


async def test_a_body_that_does_not_end_holds_up_nobody_and_is_read_on() -> None:
    """The server may give up what it is at when the client hangs up: the connection stays, in the background."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nworking"
    unfinished = [Play(head, holds=True), Play(head.replace(b"200", b"500"), holds=True)]
    async with ScriptedHttp(*unfinished) as target:
        async with asyncio.TaskGroup() as tasks:
            began = time.monotonic()
            calls = [webhook.call(Webhook(url=target.url, timeout_seconds=5.0), CHANGE, tasks) for _ in unfinished]
            outcomes = await asyncio.gather(*calls)
            assert time.monotonic() - began < 4.5, "one second, not the whole time"
            assert target.open == 2
        assert time.monotonic() - began >= 4.9, "it is read on until the time is up"
        await target.alone()
    assert sorted(outcome.ok for outcome in outcomes) == [False, True]


async def test_what_a_validator_says_at_length_is_shown_as_far_as_it_came() -> None:
    unfinished = Play(b"HTTP/1.1 422 No\r\nContent-Length: 99\r\n\r\nline 3: unknown key", holds=True)
    async with ScriptedHttp(unfinished) as target:
        outcome = await webhook.ask(Validate(url=target.url, timeout_seconds=LONG_SECONDS), CHANGE)
        await target.alone()
    assert outcome.result is Result.REJECTED
    assert outcome.detail.endswith(": line 3: unknown key")


@pytest.mark.parametrize("play", [CUTS, RESETS])
async def test_a_connection_cut_before_an_answer_is_unreachable_and_one_request(play: Play) -> None:
    async with ScriptedHttp(play) as target:
        for count, method in enumerate(("POST", "PUT", "GET"), 1):
            assert (await told(target, method=method)).result is Result.UNREACHABLE
            assert target.connections == count


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "cannot reach http://127.0.0.1:1/reload: Connection refused"),
        pytest.param(
            {"url": "http://localhost:1/reload"},
            "cannot reach http://localhost:1/reload: Connection refused",
            marks=LOCALHOST,
        ),
        ({"url": "http://nobody.invalid/reload"}, "cannot reach http://nobody.invalid/reload: "),
        ({"unix_socket": "/nowhere/app.sock"}, "(socket /nowhere/app.sock): No such file or directory"),
        ({"unix_socket": "/dev/null"}, "(socket /dev/null): Connection refused"),
    ],
)
async def test_where_nobody_listens_is_unreachable(options: dict[str, str], words: str) -> None:
    given: dict[str, Any] = {"url": "http://127.0.0.1:1/reload", **options}
    step = Call(**given, timeout_seconds=LONG_SECONDS)
    outcome = await webhook.call(step, CHANGE)
    assert outcome.result is Result.UNREACHABLE
    assert words in outcome.detail
    assert not await webhook.listening(step)
    assert (await webhook.ask(Validate(**given), CHANGE)).result is Result.UNREACHABLE


@pytest.mark.parametrize(
    "sends", [b"SSH-2.0-x " + SECRET.encode() + b"\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\x00" * 99999]
)
async def test_what_is_no_http_has_failed_and_is_not_quoted(sends: bytes) -> None:
    async with ScriptedHttp(Play(sends)) as target:
        outcome = await told(target)
    assert outcome == Outcome(
        Result.FAILED, f"cannot understand {target.url}/reload: its answer is not valid HTTP, or broke off"
    )


async def test_a_unix_socket_is_connected_to_and_the_host_is_a_name(tmp_path: Path) -> None:
    async with ScriptedHttp(socket=str(tmp_path / "s")) as target:
        outcome = await told(target, unix_socket=str(tmp_path / "s"))
        assert outcome == Outcome(Result.OK, f"http://localhost/reload (socket {tmp_path}/s) answered 200")
        assert await webhook.listening(Http(url=target.url, unix_socket=str(tmp_path / "s")))
        await target.alone(after=2)
    assert target.requests[0].headers["host"] == "localhost"


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


async def test_credentials_are_read_at_every_request_and_stripped(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    async with ScriptedHttp() as target:
        for text in ("first\n", "  sécond \r\n"):
            file.write_text(text, encoding="utf-8")
            await told(target, bearer_token_file=str(file))
            await told(target, username="me", password_file=str(file))
        await told(target, username="me")
    assert [request.headers["authorization"] for request in target.requests] == [
        "Bearer first", basic("me", "first"), "Bearer sécond", basic("me", "sécond"), basic("me", "")
    ]  # fmt: skip


async def test_the_user_of_an_address_is_sent_and_never_shown() -> None:
    for play, result in ((answer(200), "ok"), (answer(500), "failed"), (CUTS, "unreachable"), (HANGS, "timeout")):
        async with ScriptedHttp(play) as target:
            url = target.url.replace("//", f"//me:{SECRET}%40x@") + f"/reload?token={SECRET}#{SECRET}"
            seconds = BRIEF_SECONDS if play is HANGS else LONG_SECONDS
            outcome = await webhook.call(Call(url=url, timeout_seconds=seconds), CHANGE)
        assert outcome.result == result
        assert SECRET not in outcome.detail
        assert f"{target.url}/reload" in outcome.detail
        if play is not HANGS:  # the brief time may have been over before
            assert target.requests[0].headers["authorization"] == basic("me", f"{SECRET}@x")
            assert "@" not in target.requests[0].headers["host"]


@pytest.mark.parametrize(
    "setting", ["bearer_token_file", "password_file", "ca_file", "client_certificate_file", "body_file"]
)
async def test_a_file_of_ours_that_cannot_be_used_is_denied_by_name(tmp_path: Path, setting: str) -> None:
    path = tmp_path / "file"
    os.mkfifo(path)  # tests/kit/test_files.py has all that a file cannot be
    step = Call(url="https://127.0.0.1:1", username="me" if setting == "password_file" else "", **{setting: str(path)})  # type: ignore[arg-type]
    outcome = await webhook.call(step, CHANGE)
    assert outcome == Outcome(Result.DENIED, f"cannot use {setting} {path}: it is not a regular file")


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    return Tls(tmp_path)


async def test_a_server_is_verified_by_ca_file_and_name(tls: Tls) -> None:
    async with ScriptedHttp(tls=tls.server()) as target:
        assert (await told(target, ca_file=str(tls.ca_file))).ok
        untrusted = await told(target)
        misnamed = await told(target, ca_file=str(tls.ca_file), server_name="app.test")
    assert (untrusted.result, misnamed.result) == (Result.FAILED, Result.FAILED)
    assert untrusted.detail.startswith(f"cannot trust {target.url}/reload: unable to get local issuer certificate")
    assert "app.test" in misnamed.detail
    assert len(target.requests) == 1
    async with ScriptedHttp(tls=tls.server("app.test")) as target:
        for name in ("app.test", "app.test."):  # the dot of an absolute name is in no certificate
            assert (await told(target, ca_file=str(tls.ca_file), server_name=name)).ok


async def test_certificates_are_read_at_every_request(tls: Tls) -> None:
    right = tls.ca_file.read_bytes()
    async with ScriptedHttp(tls=tls.server()) as target:
        tls.ca_file.write_bytes(bytes(trustme.CA().cert_pem.bytes()))
        assert (await told(target, ca_file=str(tls.ca_file))).result is Result.FAILED
        tls.ca_file.write_bytes("# Zürich\n".encode() + right)
        assert (await told(target, ca_file=str(tls.ca_file))).ok


async def test_a_client_certificate_is_presented(tls: Tls) -> None:
    ours = {"client_certificate_file": str(tls.client_file), "client_key_file": str(tls.key_file)}
    async with ScriptedHttp(tls=tls.server(clients=True)) as target:
        assert (await told(target, ca_file=str(tls.ca_file), **ours)).ok
        without = await told(target, ca_file=str(tls.ca_file))
    assert without.result in {Result.FAILED, Result.UNREACHABLE}  # as the server says it, or only hangs up
    assert without.result is Result.FAILED or without.detail.endswith("(it may want a client certificate)")
    assert len(target.requests) == 1


@pytest.mark.parametrize("key", ["another", "encrypted", "none"])
async def test_a_key_that_does_not_fit_is_denied_and_nobody_is_asked_for_a_password(tls: Tls, key: str) -> None:
    if key == "another":
        trustme.CA().issue_cert("x").private_key_pem.write_to_path(tls.key_file)
    elif key == "encrypted":
        loaded = serialization.load_pem_private_key(tls.key_file.read_bytes(), None)
        form = serialization.PrivateFormat.TraditionalOpenSSL
        sealed = serialization.BestAvailableEncryption(b"secret")
        tls.key_file.write_bytes(loaded.private_bytes(serialization.Encoding.PEM, form, sealed))
    key_file = "" if key == "none" else str(tls.key_file)
    step = Call(url="https://127.0.0.1:1", client_certificate_file=str(tls.client_file), client_key_file=key_file)
    outcome = await webhook.call(step, CHANGE)
    assert outcome.result is Result.DENIED
    assert outcome.detail.startswith(f"cannot use client_certificate_file {tls.client_file}")


async def test_a_server_without_tls_is_no_tls_server(tls: Tls) -> None:
    async with ScriptedHttp(Play(b"HTTP/1.1 400 no\r\n\r\n", reads=False)) as target:
        step = Call(url=target.url.replace("http:", "https:"), ca_file=str(tls.ca_file), timeout_seconds=LONG_SECONDS)
        outcome = await webhook.call(step, CHANGE)
    assert outcome.result is Result.FAILED
    assert outcome.detail.startswith("cannot speak TLS with https://127.0.0.1:")


async def test_a_server_that_hangs_up_on_tls_is_unreachable() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        outcome = await webhook.call(Call(url=url, timeout_seconds=LONG_SECONDS), CHANGE)
    words = f"{url} closed the connection before it answered (it may want a client certificate)"
    assert outcome == Outcome(Result.UNREACHABLE, words)


async def test_https_over_a_unix_socket_is_encrypted_and_verified(tls: Tls, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    async with ScriptedHttp(tls=tls.server("localhost"), socket=path) as target:
        assert (await told(target, unix_socket=path, ca_file=str(tls.ca_file))).ok
        assert (await told(target, unix_socket=path, ca_file=str(tls.ca_file), server_name="localhost.")).ok
        assert (await told(target, unix_socket=path)).detail.startswith("cannot trust https://localhost/reload")


async def test_a_socket_that_we_may_not_use_is_denied(tmp_path: Path) -> None:
    path, us = tmp_path / "s", os.geteuid()
    async with ScriptedHttp(socket=str(path)) as target:
        path.chmod(stat.S_IRUSR)
        if us == 0:
            os.seteuid(65534)  # root may use every socket
        try:
            assert (await told(target, unix_socket=str(path))).result is Result.DENIED
        finally:
            os.seteuid(us)


@pytest.mark.parametrize(
    ("status", "result"),
    [(200, Result.OK), (422, Result.REJECTED), (400, Result.REJECTED), (500, Result.REJECTED), (501, Result.REJECTED)]
    + [(status, Result.FAILED) for status in (302, 401, 403, 404, 408, 425, 429, 502, 503, 504)],
)
async def test_a_validator_rejects_unless_it_could_not_say(status: int, result: Result) -> None:
    async with ScriptedHttp(answer(status)) as target:
        assert (await webhook.ask(Validate(url=target.url), CHANGE)).result is result
        expecting = Validate(url=target.url, expect_status=(str(status),))
        assert (await webhook.ask(expecting, CHANGE)).ok


async def test_the_answer_of_a_validator_that_says_no_is_shown_on_one_bounded_line() -> None:
    body = b'{"error":\r\n "line 3: \x1b[31munknown \xff key"}' + b"x" * 1000
    async with ScriptedHttp(answer(422, body)) as target:
        outcome = await webhook.ask(Validate(url=target.url), CHANGE)
        said = outcome.detail.removeprefix(f"{target.url} answered 422, expected 2xx: ")
        assert said.startswith('{"error": "line 3: [31munknown \ufffd key"}xxx')
        assert len(said) == 400


async def test_what_was_sent_as_a_secret_is_not_shown_though_the_validator_repeats_it(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SECRET)
    body = f"no {SECRET}, not {base64.b64encode(f'me:{SECRET}'.encode()).decode()} either, nor key-planted".encode()
    ways: list[dict[str, Any]] = [
        {"bearer_token_file": str(tmp_path / "token")},
        {"username": "me", "password_file": str(tmp_path / "token")},
    ]
    async with ScriptedHttp(answer(400, body)) as target:
        for way in ways:
            options = {"url": target.url + "/?token=key-planted", "headers": {"X-Token": f"Token {SECRET}"}, **way}
            outcome = await webhook.ask(Validate(**options), CHANGE)
            assert "answered 400, expected 2xx: no ..." in outcome.detail
            assert "planted" not in outcome.detail


async def test_fetch_gives_the_whole_body_or_none() -> None:
    plays = [answer(200, b"x" * (4 << 20)), answer(200, b"x" * ((4 << 20) + 1)), answer(500, b"oh")]
    cut = Play(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
    async with ScriptedHttp(*plays, cut) as target:
        fetched = [await webhook.fetch(Confirm(url=target.url), CHANGE, LONG_SECONDS) for _ in range(4)]
    assert [(outcome.result, len(body)) for outcome, body in fetched] == [
        (Result.OK, 4 << 20), (Result.FAILED, 0), (Result.FAILED, 0), (Result.FAILED, 0)
    ]  # fmt: skip
    assert {request.method for request in target.requests} == {"GET"}
    assert target.requests[0].headers["accept-encoding"] == "identity"


async def test_somebody_listens_even_when_nobody_answers() -> None:
    async with ScriptedHttp(HANGS) as target:
        assert await webhook.listening(Http(url=target.url))
        await target.alone()
