"""`sidecar check log-shipper`: would anything be shipped from here, and would it be taken there?"""

import asyncio
import secrets
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

from sidecars.devstack.elasticsearch.errors import Access
from sidecars.devstack.elasticsearch.server import ServerOptions
from sidecars.devstack.elasticsearch.serving import Served
from tests.services.elasticsearch_server import Server
from tests.support.elastic import StartStandIn
from tests.support.processes import sidecar
from tests.support.scripted_http import DEAF, ScriptedHttp

PASSWORD = "planted-password-1"


def check(folder: Path, url: str, *flags: str, **variables: str) -> tuple[int, list[str]]:
    """Exit status and the lines that say something."""
    (folder / "app.log").touch()
    given = {"PATHS": f"{folder}/*.log", "STATE_DIR": f"{folder}/state", "ELASTICSEARCH_URL": url, **variables}
    done = sidecar("check", "log-shipper", *flags, settings=given)
    assert PASSWORD not in done.stdout + done.stderr
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout.splitlines()


def about(lines: list[str], word: str) -> list[str]:
    return [line for line in lines if word in line]


def test_a_server_that_takes_everything_is_ok(tmp_path: Path, stand_in: Served) -> None:
    status, lines = check(tmp_path, stand_in.url)
    assert status == 0
    assert about(lines, "is Elasticsearch ")
    assert about(lines, "can be written to")


def test_a_server_that_is_away_is_an_error_unless_offline(tmp_path: Path) -> None:
    status, lines = check(tmp_path, "http://127.0.0.1:9")
    assert status == 1
    assert about(lines, "error: cannot reach http://127.0.0.1:9")
    status, lines = check(tmp_path, "http://127.0.0.1:9", "--offline")
    assert (status, about(lines, "reach")) == (0, [])


async def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    async with ScriptedHttp(DEAF) as silent:
        status, lines = await asyncio.to_thread(check, tmp_path, silent.url)
    assert status == 1
    assert about(lines, f"error: cannot reach {silent.url}")


@pytest.mark.parametrize(("password", "expected"), [(PASSWORD, 0), ("other", 1)])
def test_refused_credentials_are_an_error(
    tmp_path: Path, start_stand_in: StartStandIn, password: str, expected: int
) -> None:
    served = start_stand_in(ServerOptions(access=Access(users=(("shipper", PASSWORD),))))
    status, lines = check(tmp_path, served.url, USERNAME="shipper", PASSWORD=password)
    assert status == expected
    assert bool(about(lines, "refuses the credentials: HTTP 401")) == bool(expected)


def test_a_certificate_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    status, lines = check(tmp_path, "https://127.0.0.1:9", CA_FILE=str(tmp_path / "none.pem"))
    assert status == 1
    assert about(lines, "none.pem")


def test_a_glob_without_a_file_is_a_warning(tmp_path: Path) -> None:
    status, lines = check(tmp_path, "http://127.0.0.1:9", "--offline", PATHS=f"{tmp_path}/none/*.log")
    assert status == 0
    (line,) = about(lines, "warning: no file matches")
    assert f"there is no folder {tmp_path}/none" in line


def test_a_real_server_tells_what_it_is_and_what_is_blocked(tmp_path: Path, elasticsearch_server: Server) -> None:
    url, stream = elasticsearch_server.url, f"logs-checked-{secrets.token_hex(6)}"
    status, lines = check(tmp_path, url, DATA_STREAM=stream)
    assert (status, about(lines, "error: ")) == (0, [])  # a node without the module for GET / keeps its version
    assert about(lines, f"{stream} is not there yet")
    index = stream.replace("logs-", "plain-")
    with Elasticsearch(url) as client:
        client.indices.create(index=index)
        client.indices.add_block(index=index, block="write")
        status, lines = check(tmp_path, url, INDEX=index)
        client.indices.delete(index=index)
    assert status == 1
    assert about(lines, f"error: {index} cannot be written to: {index} has index.blocks.write")
