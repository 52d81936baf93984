"""Credentials are read again at every call, and appear nowhere: no log, metric, status page, argument or error text."""

import base64
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from tests.support.config_stage import ConfigStage
from tests.support.processes import Done, sidecar
from tests.support.reload_app import OK, Answer, App, Asked
from tests.support.scripted_http import Tls
from tests.support.sidecars import ReloaderProcess

MARK = "planted"
"""In every secret here, and in nothing else."""


@pytest.fixture
def app() -> Iterator[App]:
    """Gives away what it was sent, as a page for debugging may."""
    with App() as one:
        yield one


def echoing(status: int) -> Callable[[Asked], Answer]:
    return lambda asked: Answer(status, f"you sent {dict(asked.headers)}", {"X-Echo": str(asked.headers)})


def write(stage: ConfigStage, text: str) -> None:
    stage.config.write({"app.yaml": text.encode()})


def assert_hidden(reloader: ReloaderProcess) -> None:
    """Neither a secret nor its usual form in the header is to be seen from outside."""
    shown = {page: reloader.ask(page)[1] for page in ("/status", "/metrics", "/readyz", "/startupz")}
    shown["log"] = reloader.stderr
    shown["argv"] = Path(f"/proc/{reloader.pid}/cmdline").read_text()
    for place, text in shown.items():
        for decoded in (text, *decodings(text)):
            assert MARK not in decoded, place


def decodings(text: str) -> Iterator[str]:
    """What looks like base64."""
    for word in re.findall(r"[A-Za-z0-9+/]{16,}={0,2}", text):
        yield base64.b64decode(word[: len(word) // 4 * 4]).decode(errors="replace")


def credentials(stage: ConfigStage) -> dict[str, tuple[dict[str, object], str]]:
    """Options of a webhook, and the header that follows."""
    token, password = stage.folder / "token", stage.folder / "password"
    token.write_text(f"{MARK}-token\n")
    password.write_text(f"{MARK}-password\n")
    basic = base64.b64encode(f"{MARK}-user:{MARK}-password".encode()).decode()
    return {
        "token": ({"bearer_token_file": str(token)}, f"Bearer {MARK}-token"),
        "password": ({"username": f"{MARK}-user", "password_file": str(password)}, f"Basic {basic}"),
        "header": ({"headers": {"Authorization": f"Key {MARK}-key"}}, f"Key {MARK}-key"),
    }


@pytest.mark.parametrize("kind", ["token", "password", "header"])
def test_a_target_that_echoes_credentials_gives_none_away(stage: ConfigStage, app: App, kind: str) -> None:
    options, header = credentials(stage)[kind]
    validate = {"validate": {"url": f"{app.url}/v", **options}}
    confirm = {"confirm": {"url": f"{app.url}/c?key={MARK}", "text": "(sent)", "timeout_seconds": 0.6, "retries": 0}}
    confirm["confirm"].update(options)
    for path in ("/v", "/a"):
        app.answers[path] = echoing(503)
    app.answers[f"/c?key={MARK}"] = echoing(200)
    reloader = stage.reloader(log_level="debug").steps(validate, app.webhook("/a", **options), confirm).start()
    app.wait_for("/v", 3)
    assert_hidden(reloader)
    app.answers["/v"] = echoing(200)
    reloader.until_settled()
    write(stage, "1")
    app.wait_for("/a", 3)
    assert_hidden(reloader)
    app.answers["/a"] = echoing(200)
    reloader.until(lambda: reloader.status()["refused"], "it not to be confirmed")
    assert_hidden(reloader)
    assert {asked.headers["authorization"] for asked in app.requests} == {header}


@pytest.mark.parametrize("url", [f"http://{MARK}-user:{MARK}%2Fword@", f"http://{MARK}-user:@", f"http://:{MARK}@"])
def test_credentials_in_a_url_are_not_shown(stage: ConfigStage, app: App, url: str) -> None:
    app.answers[f"/a?token={MARK}"] = Answer(302, headers={"Location": f"/{MARK}"})
    where = app.url.replace("http://", url) + f"/a?token={MARK}"
    reloader = stage.reloader(log_level="debug").steps({"webhook": {"url": where}})
    stage.begin(reloader)
    write(stage, "1")
    app.wait_for(f"/a?token={MARK}", 3)
    assert_hidden(reloader)
    assert MARK in base64.b64decode(app.requests[0].headers["authorization"].removeprefix("Basic ")).decode()


BROKEN: dict[str, Callable[[Path], object]] = {
    "two lines": lambda path: path.write_text(f"{MARK}-one\n{MARK}-two\n"),
    "not text": lambda path: path.write_bytes(f"{MARK}".encode() + b"\xff\xfe"),
    "control characters": lambda path: path.write_text(f"{MARK}\x00{MARK}"),
    "too large": lambda path: path.write_text(MARK * 20_000),
    "empty": lambda path: path.write_text("\n"),
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "missing": lambda path: None,
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_file_that_cannot_be_used_is_named_and_not_shown(stage: ConfigStage, app: App, how: str) -> None:
    """And the change is told once the file is good."""
    token = stage.folder / "token"
    BROKEN[how](token)
    reloader = stage.reloader(log_level="debug").steps(app.webhook("/a", bearer_token_file=str(token)))
    stage.begin(reloader)
    write(stage, "1")
    denied = 'attempts_total{outcome="denied",step="webhook"}'
    reloader.until(lambda: reloader.metric(denied) >= 2, "it to be tried")
    assert f"cannot use bearer_token_file {token}: " in reloader.status()["pending"]["waiting_for"]
    assert_hidden(reloader)
    assert app.requests == []
    if token.is_dir():
        token.rmdir()
    replace(token, f"{MARK}-good")
    reloader.until_settled()
    assert [asked.headers["authorization"] for asked in app.requests] == [f"Bearer {MARK}-good"]
    assert_hidden(reloader)


def replace(file: Path, text: str) -> None:
    new = file.with_suffix(".new")
    new.write_text(text)
    new.rename(file)


def test_rotated_credentials_are_used_at_the_next_call(stage: ConfigStage, app: App) -> None:
    """Also while it is tried again: a refused token is read anew each time."""
    token = stage.folder / "token"
    token.write_text(f"{MARK}-1")
    app.answers["/a"] = lambda asked: OK if asked.headers["authorization"] == f"Bearer {MARK}-2" else Answer(401)
    reloader = stage.reloader().steps(app.webhook("/a", bearer_token_file=str(token)))
    stage.begin(reloader)
    write(stage, "1")
    app.wait_for("/a", 2)
    replace(token, f"{MARK}-2")
    reloader.until_settled()
    assert app.requests[-1].headers["authorization"] == f"Bearer {MARK}-2"
    assert_hidden(reloader)


def test_rotated_certificates_are_used_at_the_next_call(stage: ConfigStage) -> None:
    """First our authority and key are another's, then those of the server; the key is in no text."""
    tls = Tls(stage.folder)
    with App(tls=tls.server(clients=True)) as app:
        strange = trustme.CA()
        ca_file, key_file = stage.folder / "our-ca.pem", stage.folder / "our.pem"
        ca_file.write_bytes(strange.cert_pem.bytes())
        strange.issue_cert("client").private_key_and_cert_chain_pem.write_to_path(key_file)
        reloader = stage.reloader(log_level="debug").steps(
            app.webhook("/a", ca_file=str(ca_file), client_certificate_file=str(key_file))
        )
        stage.begin(reloader)
        write(stage, "1")

        def waiting(words: str) -> None:
            def told() -> bool:
                pending = reloader.status()["pending"]
                return pending is not None and words in pending["waiting_for"]

            reloader.until(told, words)
            assert_no_key(reloader, key_file)

        waiting("cannot trust https://127.0.0.1")
        replace(ca_file, tls.ca_file.read_text())
        waiting(f"{app.url}/a")
        replace(key_file, "-----BEGIN PRIVATE KEY-----\nplanted\n-----END PRIVATE KEY-----\n")
        waiting("cannot use client_certificate_file")
        assert_hidden(reloader)
        replace(key_file, tls.key_file.read_text() + tls.client_file.read_text())
        reloader.until_settled()
        assert app.bodies("/a") == [reloader.applied]
        assert_no_key(reloader, key_file)


def assert_no_key(reloader: ReloaderProcess, key_file: Path) -> None:
    lines = [line for line in key_file.read_text().splitlines() if not line.startswith("-")]
    shown = reloader.stderr + reloader.ask("/status")[1] + reloader.ask("/metrics")[1]
    assert not [line for line in lines if line and line in shown]
    assert "PRIVATE KEY" not in shown


def test_no_child_gets_a_secret_as_an_argument(stage: ConfigStage, app: App) -> None:
    """And none in its environment that the sidecar was not started with."""
    seen = stage.folder / "seen"
    options, _ = credentials(stage)["token"]
    script = f"cat /proc/$$/cmdline /proc/$$/environ > {seen}"
    reloader = stage.reloader().steps({"exec": {"command": ["sh", "-c", script]}}, app.webhook("/a", **options))
    stage.begin(reloader)
    write(stage, "1")
    app.wait_for("/a")
    reloader.until_settled()
    assert MARK not in seen.read_text()
    assert f"CONFIG_RELOADER_HASH={reloader.applied}" in seen.read_text()


WRONG: dict[str, dict[str, object]] = {
    "no url": {"url": f"{MARK}://{MARK}:{MARK}@host"},
    "port": {"url": f"http://user:{MARK}@host:port/{MARK}?{MARK}"},
    "two ways": {"url": f"http://user:{MARK}@host", "username": f"{MARK}", "password_file": "/x"},
    "header": {"url": "http://host", "headers": {"Authorization": f"Bearer {MARK}\n"}},
    "unknown option": {"url": "http://host", "token": MARK},
    "wrong type": {"url": "http://host", "bearer_token_file": [MARK]},
}


@pytest.mark.parametrize("verb", [(), ("check",)])
@pytest.mark.parametrize("what", WRONG)
def test_settings_that_cannot_be_used_are_refused_without_their_secrets(
    stage: ConfigStage, what: str, verb: tuple[str, ...]
) -> None:
    done = asked(stage, {"webhook": WRONG[what]}, *verb)
    assert done.returncode == 2
    assert "steps[0].webhook" in done.stderr
    assert MARK not in done.stdout + done.stderr


def test_a_password_with_a_slash_is_not_shown(stage: ConfigStage) -> None:
    """It is a valid address then, of another place: its beginning is the port, its end the path."""
    done = asked(stage, {"webhook": {"url": f"http://user:12/{MARK}@host/"}}, "check")
    assert "would webhook POST http://..." in done.stdout
    assert MARK not in done.stdout + done.stderr


def asked(stage: ConfigStage, step: dict[str, object], *verb: str) -> Done:
    """Run the command with one step."""
    settings = {"steps": json.dumps([step]), "watch": stage.config.folder, "admin_port": 0}
    return sidecar(*verb, "config-reloader", settings=settings)
