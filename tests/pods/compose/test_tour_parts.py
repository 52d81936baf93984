"""What the tour is made of, without an engine: its folder of configuration, its view, its search, its events."""

import io
import json
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from sidecars.devstack.compose.pod import Events, Happening, TourError
from sidecars.devstack.elasticsearch.serving import Served
from sidecars.devstack.terminal import Ink, Redrawn
from sidecars.devstack.tour.scene import ConfigFolder, Guests, Search
from sidecars.devstack.tour.view import Board, LiveView, PlainView, StepError, moment
from tests.services.elasticsearch_server import Server
from tests.support.kubelet import Volume
from tests.support.rest import call, creates

NOBODY = "http://127.0.0.1:1"


def shape(folder: Path) -> set[tuple[str, bool]]:
    """The names, without the time in that of the data folder, and whether each is a link."""
    return {(re.sub(r"^\.\.(?!data).*", "..DATA", name), (folder / name).is_symlink()) for name in os.listdir(folder)}


def test_the_folder_has_the_shape_that_a_kubelet_gives_a_volume(tmp_path: Path) -> None:
    ours, kubelets = ConfigFolder(tmp_path / "ours"), Volume(tmp_path / "kubelets")
    for content in (b"1", b"2", b"3"):
        ours.write({"shop.json": content})
        kubelets.write({"shop.json": content})
        assert shape(ours.folder) == shape(kubelets.folder)
        assert os.readlink(ours.folder / "shop.json") == "..data/shop.json"
        assert (ours.folder / "shop.json").read_bytes() == content


def test_another_user_may_read_the_folder_whatever_the_umask_is(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        folder = ConfigFolder(tmp_path / "config")
        folder.write({"shop.json": b"1"})
    finally:
        os.umask(before)
    data = (folder.folder / "..data").resolve()
    modes = [path.stat().st_mode & 0o777 for path in (folder.folder, data, data / "shop.json")]
    assert modes == [0o755, 0o755, 0o644]


@pytest.fixture(params=["a real server", "the stand-in"])
def backend(request: pytest.FixtureRequest) -> str:
    """Both must answer the tour's questions alike."""
    server: Server | Served = request.getfixturevalue(
        "elasticsearch_server" if request.param == "a real server" else "stand_in"
    )
    return server.url


@pytest.fixture
def index(backend: str) -> Iterator[str]:
    """A name that nobody else uses."""
    name = f"tour-{secrets.token_hex(6)}"
    yield name
    call(backend, "DELETE", f"/{name}")


def line(request: str) -> dict[str, object]:
    return {"@timestamp": "2026-11-22T10:00:00.123Z", "message": "GET / 200", "http": {"request": {"id": request}}}


async def test_the_search_finds_a_request_and_counts_each(backend: str, index: str) -> None:
    async with aiohttp.ClientSession() as session:
        search = Search(session, f"{index}*")
        search.url = backend
        assert await search.find("a1") == []
        assert await search.all_requests() == {}
        documents = {str(number): line(f"a{number}") for number in range(50)}
        documents["again"] = line("a7")
        documents["other"] = {"@timestamp": "2026-11-22T10:00:00Z", "message": "the shop is closed"}
        call(backend, "POST", f"/{index}/_bulk", creates(documents))
        found = await search.all_requests()
        assert found == {f"a{number}": 2 if number == 7 else 1 for number in range(50)}
        assert await search.count() == 51
        assert [hit["message"] for hit in await search.find("a1")] == ["GET / 200"]
        assert len(await search.find("a7")) == 2


async def test_a_search_that_nobody_answers_is_named() -> None:
    async with aiohttp.ClientSession() as session:
        search = Search(session)
        search.url = NOBODY
        with pytest.raises(TourError, match=f"^cannot ask Elasticsearch at {NOBODY}/shop"):
            await search.count()


async def test_a_guest_who_gets_no_answer_is_turned_away_and_promised_nothing() -> None:
    board = Board()
    async with aiohttp.ClientSession() as session:
        guests = Guests(session, board)
        guests.shop = NOBODY
        assert await guests.ask() is None
    assert (guests.answers, board.turned_away) == ([], 1)


def test_what_docker_says_becomes_happenings() -> None:
    heard: list[Happening] = []
    events = Events(heard.append)
    for action, more in (("start", {}), ("health_status: healthy", {}), ("die", {"exitCode": "137"})):
        attributes = {"com.docker.compose.service": "app", **more}
        said = {"Action": action, "timeNano": 1_500_000_000 + len(heard), "Actor": {"Attributes": attributes}}
        events.take(json.dumps(said).encode())
    assert [(one.what, one.status) for one in heard] == [("start", None), ("healthy", None), ("die", 137)]
    assert events.first("app", "die") is heard[2]
    assert events.first("app", "start", heard[0].at) is None
    assert events.first("pause", "start") is None


def played() -> Board:
    board = Board()
    board.title("a tour")
    board.begin("the first step")
    board.fact("a long fact " * 20)
    board.end()
    board.begin("the second step")
    board.end(StepError("bread", "cake"))
    return board


def test_the_plain_view_prints_each_line_once_and_no_codes() -> None:
    out = io.StringIO()
    view = PlainView(played(), out)
    for _ in range(3):
        view.draw()
    view.close()
    printed = out.getvalue()
    assert printed.count("the first step") == printed.count("expected: bread") == printed.count("seen:     cake") == 1
    assert "\x1b" not in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_no_line_of_the_moment_is_wider_than_80_columns() -> None:
    board = played()
    board.begin("everything stops under load, in reverse order")
    board.services = {"config-reloader": "ended with 137", "app": "healthy"}
    board.answered = board.turned_away = board.found = 9_999_999
    lines = moment(board, Ink(colored=False), "⠋")
    assert max(map(len, lines)) <= 80
    assert any("config-reloader" in line and "ended with 137" in line for line in lines)


def test_the_live_view_keeps_every_line_once_and_takes_the_moment_away() -> None:
    board, out = Board(), io.StringIO()
    view = LiveView(board, out, Ink(colored=False))
    board.begin("bread is asked for")
    view.draw()
    board.fact("it is there")
    view.draw()
    board.end()
    view.close()
    text = out.getvalue()
    assert [text.count(line) for line in (" 1  bread is asked for\x1b[K\n", "      it is there\x1b[K\n")] == [1, 1]
    assert text.count("bread is asked for") == 3, "once to stay, and in the two moments that were drawn"
    assert "guests" in text
    assert "guests" not in text.rpartition("ok, ")[2]


def test_what_stays_is_never_drawn_over() -> None:
    out = io.StringIO()
    drawn = Redrawn(out)
    drawn.put(["a", "b"], staying=["kept"])
    drawn.put(["c"])
    drawn.close()
    after = out.getvalue().partition("kept")[2]
    assert re.findall(r"\x1b\[(\d+)A", after) == ["2"], "up to the two lines of the moment, not further"
