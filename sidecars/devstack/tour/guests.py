"""The guests of the shop: they ask again and again, and remember the id of every answer. Each id has to be found."""

import asyncio
from dataclasses import dataclass
from typing import Any

import aiohttp

from .board import Board

_PAUSE_SECONDS = 0.02
_TURNED_AWAY_SECONDS = 0.1
_TIMEOUT = aiohttp.ClientTimeout(total=10)


@dataclass(frozen=True)
class Answer:
    """What a guest was told, and under which id it stands in the log."""

    request: str
    greeting: str


class Guests:
    """Everything that was ever answered."""

    def __init__(self, session: aiohttp.ClientSession, board: Board) -> None:
        self.answers: list[Answer] = []
        self.shop = ""
        self._session = session
        self._board = board

    async def ask(self) -> Answer | None:
        """One request; None when it was not answered to the end, and then nothing is promised."""
        try:
            async with self._session.get(f"{self.shop}/", timeout=_TIMEOUT) as reply:
                body: dict[str, Any] = await reply.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            self._board.turned_away += 1
            return None
        if reply.status != 200:
            self._board.turned_away += 1
            return None
        answer = Answer(reply.headers["X-Request-Id"], str(body["greeting"]))
        self.answers.append(answer)
        self._board.answered += 1
        return answer

    async def keep_asking(self, leaving: asyncio.Event) -> None:
        """One guest. Nobody leaves before the answer, so that what is logged and not answered is the app's doing."""
        while not leaving.is_set():
            answer = await self.ask()
            await asyncio.sleep(_PAUSE_SECONDS if answer else _TURNED_AWAY_SECONDS)
