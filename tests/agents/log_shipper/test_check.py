"""`check`: would anything be shipped from here, and would it be taken there? (What it makes of each answer of a server:
tests/core/log_shipper/test_preflight.py.)
"""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from sidecars.devstack.elasticsearch.errors import Access
from sidecars.devstack.elasticsearch.server import ServerOptions
from sidecars.devstack.elasticsearch.serving import Served
from sidecars.log_shipper.check import elasticsearch_findings, findings
from sidecars.runtime import Secret
from tests.support.context import settings
from tests.support.elastic import StartStandIn
from tests.support.scripted_http import DEAF, ScriptedHttp

AWAY = "http://127.0.0.1:9"


def local(folder: Path, **given: object) -> list[tuple[str, str]]:
    """What it finds without asking anybody: levels and texts."""
    usual = {"paths": (f"{folder}/*.log",), "state_dir": f"{folder}/state"}
    return [(each.level, each.text) for each in findings(settings(**{**usual, **given}))]


async def outside(url: str, **given: object) -> list[tuple[str, str]]:
    found = await elasticsearch_findings(settings(**{"elasticsearch_url": (url,), **given}))
    return [(each.level, each.text) for each in found]


def texts(found: list[tuple[str, str]], level: str) -> str:
    """Of this level, one line each."""
    return "\n".join(text for each, text in found if each == level)


def test_what_would_be_shipped_and_where_to_is_named(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number}.log").write_text("x\n", encoding="utf-8")
    found = local(tmp_path)
    assert {level for level, _ in found} == {"ok"}
    for said in (
        f"would ship {tmp_path}/0.log (2 bytes)",
        "and 2 more files",
        "keeps its checkpoint",
        "ships to logs-",
    ):
        assert said in texts(found, "ok")
    assert f"ships to {tmp_path}/out" in texts(local(tmp_path, output="file", output_path=f"{tmp_path}/out"), "ok")
    assert not (tmp_path / "state").exists()


def test_a_glob_without_a_file_is_a_warning(tmp_path: Path) -> None:
    warning = texts(local(tmp_path, paths=(f"{tmp_path}/none/*.log",)), "warning")
    assert "no file matches" in warning
    assert f"there is no folder {tmp_path}/none" in warning


def test_a_file_that_may_not_be_read_and_a_folder_that_may_not_be_written_are_said(
    tmp_path: Path, nobody: Callable[[], AbstractContextManager[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "app.log").touch(mode=0)
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)  # access(2) asks for the real user, root here
    with nobody():
        found = local(tmp_path)
    assert f"cannot read {tmp_path}/app.log" in texts(found, "error")
    assert "would run without a checkpoint" in texts(found, "warning")


@pytest.mark.parametrize("setting", ["ca_file", "api_key_file"])
def test_a_certificate_or_credential_that_cannot_be_read_is_an_error(tmp_path: Path, setting: str) -> None:
    assert "none.pem" in texts(local(tmp_path, **{setting: str(tmp_path / "none.pem")}), "error")


async def test_a_server_that_takes_everything_is_ok(stand_in: Served) -> None:
    found = await outside(stand_in.url)
    assert {level for level, _ in found} == {"ok"}
    assert "is Elasticsearch " in texts(found, "ok")
    assert "can be written to" in texts(found, "ok")


async def test_a_server_that_is_away_or_never_answers_is_an_error() -> None:
    async with ScriptedHttp(DEAF) as silent:
        for url in (AWAY, silent.url):
            assert f"cannot reach {url}" in texts(await outside(url, request_timeout_seconds=0.5), "error")
    assert await elasticsearch_findings(settings(output="stdout")) == []


@pytest.mark.parametrize(("password", "refused"), [("right", False), ("wrong", True)])
async def test_refused_credentials_are_an_error(start_stand_in: StartStandIn, password: str, refused: bool) -> None:
    served = start_stand_in(ServerOptions(access=Access(users=(("shipper", "right"),))))
    found = await outside(served.url, username="shipper", password=Secret(password))
    assert ("refuses the credentials: HTTP 401" in texts(found, "error")) is refused
