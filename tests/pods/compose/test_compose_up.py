"""`make compose-demo` from a person's side: what it says to try works as pasted, and what is edited takes effect."""

import json
import re
import secrets
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator

import pytest

from tests.pods.compose.running import DEADLINE_SECONDS, devstack, leftovers
from tests.support.processes import ROOT
from tests.support.waiting import until

FREE_PORTS = dict.fromkeys(("SHOP_PORT", "LOG_SHIPPER_PORT", "CONFIG_RELOADER_PORT", "ELASTICSEARCH_PORT"), "")
PACE_SECONDS = 0.1


def compose(action: str, project: str) -> str:
    ended = devstack("compose", action, "--local", "--project", project, **FREE_PORTS)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture
def project(engine: None) -> Iterator[str]:
    """A name that nobody else uses; nothing stays but the folder with the menu."""
    name = f"sidecars-test-{secrets.token_hex(4)}"
    folder = ROOT / ".cache" / "compose" / name
    yield name
    try:
        compose("down", name)
        assert leftovers(name) == [str(folder)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def get(url: str) -> tuple[dict[str, str], str]:
    with urllib.request.urlopen(url, timeout=DEADLINE_SECONDS) as reply:
        return dict(reply.headers), reply.read().decode()


def test_what_it_says_to_try_works_as_it_is_pasted(project: str) -> None:
    said = compose("up", project)
    addresses = re.findall(r"\$ curl (?:-i )?'?(http://127\.0\.0\.1:[^\s']+)", said)
    shop, search, reloader, config, shipper = addresses
    headers, body = get(shop)
    assert json.loads(body)["greeting"].startswith("Good morning")
    asked = search.replace("ID", headers["X-Request-Id"])
    until(lambda: json.loads(get(asked)[1])["hits"]["total"]["value"] == 1, "the request in the search")
    assert json.loads(get(shipper)[1])["name"] == "log-shipper"
    until(lambda: json.loads(get(config)[1])["secret"], "the shop to have read its secret")
    coupon = re.search(r"\$ (curl -H .*)", said)
    assert coupon is not None
    first = json.loads(get(config)[1])["secret"]
    subprocess.run(["sh", "-c", coupon[1]], check=True, capture_output=True, timeout=DEADLINE_SECONDS)
    until(lambda: json.loads(get(config)[1])["secret"] != first, "the new secret")
    edited = re.search(r"\$ \$EDITOR (\S+)", said)
    assert edited is not None
    menu = ROOT / edited[1]
    menu.write_text(menu.read_text().replace("Good morning", "Good evening"))  # in place, as some editors do
    until(lambda: json.loads(get(shop)[1])["greeting"].startswith("Good evening"), "the new menu")
    menu.write_text(menu.read_text().replace("2.2", "-1"))
    until(lambda: json.loads(get(reloader)[1])["refused"] is not None, "the refusal")
    again = compose("up", project)
    assert "$ curl" in again, "a second call finds it running, and says the same"
    assert json.loads(get(shop)[1])["prices"]["espresso"] == 2.2
    assert "-1" in menu.read_text(), "what a person has written stays"
