"""The app of compose.yaml: what it answers stands in its log, what it tells a validator it keeps, and it ends well."""

import json
import os
import re
import resource
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from sidecars.devstack.shop.__main__ import Journal, UnusableMenuError, parse
from tests.support.processes import Process, run
from tests.support.waiting import until

DEADLINE_SECONDS = 60.0
MENU = {"greeting": "Good morning", "currency": "EUR", "prices": {"espresso": 2.2}}
SHIPPED_MENU = Path(__file__).resolve().parents[2] / "images" / "shop" / "shop.json"

Answer = tuple[int, dict[str, str], Any]


class Shop(Process):
    """A running shop in a folder of its own."""

    name = "shop"

    def __init__(self, folder: Path) -> None:
        self.config, self.log = folder / "config", folder / "app.log"
        self.config.mkdir(exist_ok=True)
        self.secret = folder / "coupon"
        arguments = ("--config", self.config, "--secret", self.secret, "--log", self.log, "--port", "0")
        super().__init__(folder, (sys.executable, "-m", "sidecars.devstack", "shop", *arguments))
        self.start()
        where = r"^listening on (\S+)\n"
        self.url = f"http://{self.until(lambda: re.search(where, self.stdout, re.MULTILINE), 'the shop to open')[1]}"

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

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def actions(self) -> list[str]:
        return [line["event"]["action"] for line in self.lines() if "event" in line]

    def reload(self, menu: object) -> None:
        self.put(menu)
        self.signal(signal.SIGHUP)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """An open shop with a menu."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "shop.json").write_text(json.dumps(MENU))
    return Shop(tmp_path)


def test_each_answer_has_its_line_in_the_log_before_it_comes_and_the_end_has_the_last(shop: Shop) -> None:
    for _ in range(20):
        status, headers, body = shop.ask("/")
        assert (status, body) == (200, MENU)
        last = shop.lines()[-1]
        assert last["http"]["request"]["id"] == headers["X-Request-Id"]
        assert last["labels"]["menu"] == headers["X-Config-Version"]
    names = [line["http"]["request"]["id"] for line in shop.lines() if "http" in line]
    assert len(set(names)) == 20
    assert shop.terminate() == 0
    assert shop.actions()[-1] == "shop.closed"


def test_a_new_menu_is_in_effect_after_sighup(shop: Shop) -> None:
    before = shop.ask("/config")[2]
    assert shop.ask("/validate", json.dumps({**MENU, "greeting": "Hello"}).encode())[0] == 200
    assert shop.ask("/")[2] == MENU, "to validate changes nothing"
    shop.reload({**MENU, "greeting": "Good evening"})
    until(lambda: shop.ask("/config")[2]["loads"] == before["loads"] + 1, "the second load")
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
    until(lambda: "config.refused" in shop.actions(), "the refusal")
    assert shop.ask("/")[2] == MENU
    assert shop.ask("/config")[2]["loads"] == 1
    assert shop.ask("/readyz")[0] == 200


def test_a_new_secret_is_read_at_sighup_and_never_shown(shop: Shop) -> None:
    assert shop.ask("/config")[2]["secret"] == ""
    shop.secret.write_text("free-espresso")
    shop.signal(signal.SIGHUP)
    until(lambda: shop.ask("/config")[2]["secret"], "the secret to be read")
    assert "free-espresso" not in shop.stdout + shop.log.read_text() + str(shop.ask("/config"))


def test_a_shop_without_a_menu_is_alive_and_not_ready_until_one_comes(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    try:
        assert [shop.ask(page)[0] for page in ("/livez", "/readyz", "/startupz", "/")] == [200, 503, 503, 503]
        shop.reload(MENU)
        until(lambda: shop.ask("/readyz")[0] == 200, "readiness")
        assert shop.ask("/")[0] == 200
    finally:
        assert shop.terminate() == 0


def test_what_is_answered_is_in_the_file_after_a_kill_9(shop: Shop) -> None:
    names = {shop.ask("/")[1]["X-Request-Id"] for _ in range(10)}
    shop.kill()
    assert names == {line["http"]["request"]["id"] for line in shop.lines() if "http" in line}


def test_on_a_full_disk_it_answers_503_instead_of_losing_a_line(shop: Shop) -> None:
    resource.prlimit(shop.pid, resource.RLIMIT_FSIZE, (2048, resource.RLIM_INFINITY))
    answers = [shop.ask("/") for _ in range(30)]
    answered = {headers["X-Request-Id"] for status, headers, _ in answers if status == 200}
    assert {status for status, _, _ in answers} == {200, 503}
    assert "cannot write the log: File too large" in answers[-1][2]["error"]
    resource.prlimit(shop.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    answered.add(shop.ask("/")[1]["X-Request-Id"])
    whole = [line for line in shop.log.read_text().splitlines() if line.endswith("}")]
    assert answered <= {json.loads(line).get("http", {}).get("request", {}).get("id") for line in whole}
    assert shop.terminate() == 0


def test_after_a_torn_line_the_next_begins_on_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_text('{"message": "cut sho')
    journal = Journal(str(path))
    journal.write("one", {})
    journal.write("two", {})
    journal.close()
    assert [json.loads(line)["message"] for line in path.read_text().splitlines()[1:]] == ["one", "two"]


def test_a_log_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    ended = run(sys.executable, "-m", "sidecars.devstack", "shop", "--log", tmp_path / "no" / "app.log")
    assert ended.returncode == 1
    assert ended.stdout.startswith(f"cannot open the log {tmp_path}/no/app.log: No such file or directory; ")


def test_the_menu_that_comes_with_compose_can_be_used() -> None:
    assert parse(SHIPPED_MENU.read_bytes()).greeting
    assert os.access(SHIPPED_MENU, os.R_OK)
    with pytest.raises(UnusableMenuError, match=r"^cannot use shop\.json: "):
        parse(b"[]")
