"""Credentials are read again at every call, and appear nowhere: no log, metric, status page, argument or error text."""

import base64
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from tests.support.config_stage import ConfigStage
from tests.support.reload_app import OK, Answer, App, Asked
from tests.support.scripted_http import Tls
from tests.support.sidecars import ReloaderProcess

MARK = "planted"
"""In every secret here, and in nothing else."""


def echoing(status: int) -> Callable[[Asked], Answer]:
    """Gives away what it was sent, as a page for debugging may."""
    return lambda asked: Answer(status, f"you sent {dict(asked.headers)}", {"X-Echo": str(asked.headers)})


def assert_hidden(reloader: ReloaderProcess) -> None:
    """Neither a secret nor its usual form in the header is to be seen from outside."""
    shown = {page: reloader.ask(page)[1] for page in ("/status", "/metrics", "/readyz", "/startupz")}
    shown["log"] = reloader.stderr
    shown["argv"] = Path(f"/proc/{reloader.pid}/cmdline").read_text()
    for place, text in shown.items():
        for decoded in (text, *decodings(text)):
            assert MARK not in decoded, place
            assert "PRIVATE KEY" not in decoded, place


def decodings(text: str) -> Iterator[str]:
    """What looks like base64."""
    for word in re.findall(r"[A-Za-z0-9+/]{16,}={0,2}", text):
        yield base64.b64decode(word[: len(word) // 4 * 4]).decode(errors="replace")


def replace(file: Path, text: str) -> None:
    new = file.with_suffix(".new")
    new.write_text(text)
    new.rename(file)


def waits_for(reloader: ReloaderProcess, words: str) -> None:
    """Until it says that it is held up by this, and no secret."""
    reloader.until(lambda: words in str(reloader.status()["pending"]), words)
    assert_hidden(reloader)


BASIC = base64.b64encode(f"{MARK}-user:{MARK}/word".encode()).decode()
CREDENTIALS = {
    # the user in the address, options, what is sent
    "token": ("", {"bearer_token_file": "secret"}, f"Bearer {MARK}/word"),
    "password": ("", {"username": f"{MARK}-user", "password_file": "secret"}, f"Basic {BASIC}"),
    "header": ("", {"headers": {"Authorization": f"Key {MARK}-key"}}, f"Key {MARK}-key"),
    "address": (f"{MARK}-user:{MARK}%2Fword@", {}, f"Basic {BASIC}"),
}


@pytest.mark.parametrize(("user", "options", "header"), CREDENTIALS.values(), ids=CREDENTIALS.keys())
def test_a_target_that_echoes_credentials_gives_none_away(
    stage: ConfigStage, user: str, options: dict[str, object], header: str
) -> None:
    app, secret = stage.target, stage.folder / "secret"
    secret.write_text(f"{MARK}/word\n")
    options = {name: str(secret) if value == "secret" else value for name, value in options.items()}
    url, query = app.url.replace("http://", f"http://{user}"), f"?key={MARK}"
    app.answers.update({"/v": echoing(503), f"/a{query}": echoing(503), f"/c{query}": echoing(200)})
    reloader = stage.reloader(log_level="debug").steps(
        {"validate": {"url": f"{url}/v", **options}},
        {"webhook": {"url": f"{url}/a{query}", **options}},
        {"confirm": {"url": f"{url}/c{query}", "text": "(sent)", "timeout_seconds": 0.6, "retries": 0, **options}},
    )
    reloader.start()
    waits_for(reloader, f"{app.url}/v answered 503")
    app.answers["/v"] = echoing(200)
    reloader.until_settled()
    stage.write("1")
    waits_for(reloader, f"{app.url}/a answered 503")
    app.answers[f"/a{query}"] = echoing(200)
    reloader.until(lambda: reloader.status()["refused"], "it not to be confirmed")
    assert_hidden(reloader)
    assert {asked.headers["authorization"] for asked in app.requests} == {header}


def test_a_token_that_cannot_be_used_or_is_refused_is_read_anew_each_time(stage: ConfigStage) -> None:
    """Also while the request is tried again; tests/kit/test_files.py has all that a file cannot be."""
    app, token = stage.target, stage.folder / "token"
    os.mkfifo(token)
    app.answers["/a"] = lambda asked: OK if asked.headers["authorization"] == f"Bearer {MARK}-2" else Answer(401)
    reloader = stage.reloader(log_level="debug").steps(app.webhook("/a", bearer_token_file=str(token)))
    stage.begin(reloader)
    stage.write("1")
    waits_for(reloader, f"cannot use bearer_token_file {token}: it is not a regular file")
    assert app.requests == []
    replace(token, f"{MARK}-1\n{MARK}")
    waits_for(reloader, f"cannot use bearer_token_file {token}: it holds more than one line")
    replace(token, f"{MARK}-1")
    waits_for(reloader, "answered 401")
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
        stage.write("1")
        waits_for(reloader, "cannot trust https://127.0.0.1")
        replace(ca_file, tls.ca_file.read_text())
        waits_for(reloader, f"{app.url}/a")
        replace(key_file, "-----BEGIN PRIVATE KEY-----\nplanted\n-----END PRIVATE KEY-----\n")
        waits_for(reloader, "cannot use client_certificate_file")
        replace(key_file, tls.key_file.read_text() + tls.client_file.read_text())
        reloader.until_settled()
        assert app.bodies("/a") == [reloader.applied]
        assert_hidden(reloader)
        lines = [line for line in tls.key_file.read_text().splitlines() if not line.startswith("-")]
        shown = reloader.stderr + reloader.ask("/status")[1]
        assert not [line for line in lines if line in shown]


def test_no_child_gets_a_secret_as_an_argument(stage: ConfigStage) -> None:
    """And none in its environment that the sidecar was not started with."""
    seen, token = stage.folder / "seen", stage.folder / "token"
    token.write_text(f"{MARK}-token")
    script = f"cat /proc/$$/cmdline /proc/$$/environ > {seen}"
    webhook = stage.target.webhook("/a", bearer_token_file=str(token))
    reloader = stage.reloader().steps({"exec": {"command": ["sh", "-c", script]}}, webhook)
    stage.begin(reloader)
    stage.write("1")
    stage.target.wait_for("/a")
    reloader.until_settled()
    assert MARK not in seen.read_text()
    assert f"CONFIG_RELOADER_HASH={reloader.applied}" in seen.read_text()
