"""A step of the tour that is not good: it ends with what was expected and what was seen, also while guests ask."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import pytest

from sidecars.devstack.compose.pod import Events, Pod, TourError
from sidecars.devstack.tour import __main__ as tour
from sidecars.devstack.tour.scene import ConfigFolder, Guests, Scene, Search
from sidecars.devstack.tour.view import Board, StepError

NOBODY = "http://127.0.0.1:1"


class NoEngine(Pod):
    """A pod whose services have nothing more to say than this."""

    async def last_lines(self, lines: int, *services: str) -> list[str]:
        return ["app-1 | these were my last words"]


async def played(folder: Path, wrong: Exception, monkeypatch: pytest.MonkeyPatch) -> tuple[int, Board]:
    """A tour of one step, which goes wrong so while guests ask: its status, and the board."""

    async def step(scene: Scene) -> None:
        async with scene.load():
            while not scene.board.turned_away:  # the guests are there
                await asyncio.sleep(0)
            raise wrong

    steps: Sequence[tuple[str, object]] = (("bread is asked for", step),)
    monkeypatch.setattr(tour, "STEPS", steps)
    board = Board()
    async with aiohttp.ClientSession() as session:
        guests = Guests(session, board)
        guests.shop = NOBODY
        pod, events = NoEngine("nobody", (), {}), Events(lambda happening: None)
        scene = Scene(board, pod, events, ConfigFolder(folder), session, guests, Search(session))
        status = await tour._walk(scene)
        assert asyncio.all_tasks() == {asyncio.current_task()}, "guests are still there"
    return status, board


@pytest.mark.parametrize(
    ("wrong", "expected", "seen"),
    [
        (StepError("bread", "cake"), "bread", "cake"),
        (TourError("cannot find the oven"), "to be able to look", "cannot find the oven"),
    ],
)
async def test_what_goes_wrong_while_guests_ask_is_on_the_board_and_in_the_status(
    wrong: Exception, expected: str, seen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, board = await played(tmp_path, wrong, monkeypatch)
    assert status == 1
    texts = [line.text.strip() for line in board.lines]
    assert texts[1].startswith("NOT GOOD after ")
    assert texts[2:4] == [f"expected: {expected}", f"seen:     {seen}"]
    assert texts[-1] == "app-1 | these were my last words"
