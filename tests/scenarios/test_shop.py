"""The app of compose.yaml: what it answers stands in its log, what it tells a validator it keeps, and it ends well."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecars.devstack.shop.log import Journal
from sidecars.devstack.shop.menu import UnusableMenuError, parse

DEADLINE_SECONDS = 60.0
PACE_SECONDS = 0.02
MENU = {"greeting": "Good morning", "currency": "EUR", "prices": {"espresso": 2.2}}
SHIPPED_MENU = Path(__file__).resolve().parents[2] / "images" / "shop" / "shop.json"

Answer = tuple[int, dict[str, str], Any]


class Shop:
    """A running shop in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.config, self.log = folder / "config", folder / "app.log"
        self.config.mkdir(exist_ok=True)
        arguments = ["shop", "--config", str(self.config), "--log", str(self.log), "--port", "0"]

        self.process = subprocess.Popen(
            [sys.executable, "-m", "sidecars.devstack", *arguments], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        said = next(line for line in self.process.stdout if line.startswith("listening on "))
        self.url = f"http://{said.removeprefix('listening on ').strip()}"

    def put(self, menu: object) -> None:
        text = menu if isinstance(menu, str) else json.dumps(menu)
        (self.config / "new").write_text(text)
        (self.config / "new").rename(self.config / "shop.json")

    def ask(self, path: str, body: bytes | None = None) -> Answer:
        try:
            with urllib.request.urlopen(self.url + path, data=body, timeout=DEADLINE_SECONDS) as reply:
                return reply.status, dict(reply.headers), json.loads(reply.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), json.loads(error.read() or b"null")

    def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"never saw {what}"
            time.sleep(PACE_SECONDS)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def actions(self) -> list[str]:
        return [line["event"]["action"] for line in self.lines() if "event" in line]

    def reload(self, menu: object) -> None:
        self.put(menu)
        self.process.send_signal(signal.SIGHUP)

    def end(self) -> int:
        self.process.terminate()
        status = self.process.wait(DEADLINE_SECONDS)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return status


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """An open shop with a menu."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "shop.json").write_text(json.dumps(MENU))
    running = Shop(tmp_path)
    yield running
    running.process.kill()
    running.end()


def test_each_answer_has_its_line_in_the_log_before_it_comes(shop: Shop) -> None:
    for _ in range(20):
        status, headers, body = shop.ask("/")
        assert (status, body) == (200, MENU)
        last = shop.lines()[-1]
        assert last["http"]["request"]["id"] == headers["X-Request-Id"]
        assert last["labels"]["menu"] == headers["X-Config-Version"]
    names = [line["http"]["request"]["id"] for line in shop.lines() if "http" in line]
    assert len(set(names)) == 20


def test_a_new_menu_is_in_effect_after_sighup(shop: Shop) -> None:
    before = shop.ask("/config")[2]
    shop.reload({**MENU, "greeting": "Good evening"})
    shop.until(lambda: shop.ask("/config")[2]["loads"] == before["loads"] + 1, "the second load")
    assert shop.ask("/")[2]["greeting"] == "Good evening"
    assert shop.ask("/config")[2]["version"] != before["version"]


@pytest.mark.parametrize(
    ("menu", "reason"),
    [
        ("{", "truncated"),
        ({**MENU, "greetign": "Hi"}, "unknown field `greetign`"),
        ({**MENU, "prices": {"espresso": -1}}, "> 0.0"),
        ({**MENU, "prices": {}}, "length >= 1"),
        ("x" * 100_000, "100000 bytes"),
    ],
)
def test_a_broken_menu_is_refused_by_the_validator_and_by_the_app_alike(shop: Shop, menu: object, reason: str) -> None:
    content = menu if isinstance(menu, str) else json.dumps(menu)
    status, _, body = shop.ask("/validate", content.encode())
    assert status == 422
    assert body["error"].startswith("cannot use shop.json: ")
    assert reason in body["error"]
    shop.reload(menu)
    shop.until(lambda: "config.refused" in shop.actions(), "the refusal")
    assert shop.ask("/")[2] == MENU
    assert shop.ask("/config")[2]["loads"] == 1
    assert shop.ask("/readyz")[0] == 200


def test_to_validate_changes_nothing(shop: Shop) -> None:
    other = json.dumps({**MENU, "greeting": "Hello"}).encode()
    assert shop.ask("/validate", other)[0] == 200
    assert shop.ask("/")[2] == MENU


def test_a_shop_without_a_menu_is_alive_and_not_ready_until_one_comes(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    try:
        assert [shop.ask(page)[0] for page in ("/livez", "/readyz", "/startupz", "/")] == [200, 503, 503, 503]
        shop.reload(MENU)
        shop.until(lambda: shop.ask("/readyz")[0] == 200, "readiness")
        assert shop.ask("/")[0] == 200
    finally:
        assert shop.end() == 0


def test_sigterm_ends_it_with_0_and_a_last_line(shop: Shop) -> None:
    shop.ask("/")
    assert shop.end() == 0
    assert shop.actions()[-1] == "shop.closed"


def test_what_is_answered_is_in_the_file_after_a_kill_9(shop: Shop) -> None:
    names = {shop.ask("/")[1]["X-Request-Id"] for _ in range(10)}
    shop.process.kill()
    shop.process.wait(DEADLINE_SECONDS)
    assert names == {line["http"]["request"]["id"] for line in shop.lines() if "http" in line}


def test_on_a_full_disk_it_answers_503_instead_of_losing_a_line(shop: Shop) -> None:
    resource.prlimit(shop.process.pid, resource.RLIMIT_FSIZE, (2048, resource.RLIM_INFINITY))
    answers = [shop.ask("/") for _ in range(30)]
    answered = {headers["X-Request-Id"] for status, headers, _ in answers if status == 200}
    assert {status for status, _, _ in answers} == {200, 503}
    assert "cannot write the log: File too large" in answers[-1][2]["error"]
    resource.prlimit(shop.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    answered.add(shop.ask("/")[1]["X-Request-Id"])
    whole = [line for line in shop.log.read_text().splitlines() if line.endswith("}")]
    assert answered <= {json.loads(line).get("http", {}).get("request", {}).get("id") for line in whole}
    assert shop.end() == 0


def test_after_a_torn_line_the_next_begins_on_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_text('{"message": "cut sho')
    journal = Journal(str(path))
    journal.write("one", {})
    journal.write("two", {})
    journal.close()
    assert [json.loads(line)["message"] for line in path.read_text().splitlines()[1:]] == ["one", "two"]


def test_a_log_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sidecars.devstack", "shop", "--log", str(tmp_path / "no" / "app.log")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False)
    assert ended.returncode == 1
    assert ended.stdout.startswith(f"cannot open the log {tmp_path}/no/app.log: No such file or directory; ")


def test_the_menu_that_comes_with_compose_can_be_used() -> None:
    assert parse(SHIPPED_MENU.read_bytes()).greeting
    assert os.access(SHIPPED_MENU, os.R_OK)
    with pytest.raises(UnusableMenuError, match=r"^cannot use shop\.json: "):
        parse(b"[]")
