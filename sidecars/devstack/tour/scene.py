"""What the steps of the tour have at hand: ways to change something in the pod, and to wait until it shows."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

from .board import Board, StepError, TourError
from .config import ConfigFolder
from .docker import Pod
from .events import Events, Happening
from .guests import Answer, Guests
from .search import Search

_PATIENCE_SECONDS = 90.0
_PACE_SECONDS = 0.05
_LOAD_SECONDS = 2.0
_GUESTS = 4
_SHOWN_EVENTS = 5
MENU = {"greeting": "Good morning", "currency": "EUR", "prices": {"espresso": 2.2, "cinnamon roll": 3.1}}


@dataclass
class Scene:
    """Everything that the steps work with. Addresses are empty until the pod is up."""

    board: Board
    pod: Pod
    events: Events
    config: ConfigFolder
    session: aiohttp.ClientSession
    guests: Guests
    search: Search
    reloader: str = ""
    greeting: str = str(MENU["greeting"])

    def put_menu(self, greeting: str) -> None:
        """Changes the configuration."""
        self.config.write({"shop.json": msgspec.json.encode({**MENU, "greeting": greeting})})

    async def until(self, look: Callable[[], Awaitable[str | None]], expected: str) -> None:
        """Looks until `look` returns None; what it returns else is what was seen. Raises: StepError."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (seen := await look()) is not None:
            if time.monotonic() > deadline:
                raise StepError(f"{expected} within {_PATIENCE_SECONDS:.0f} s", seen)
            await asyncio.sleep(_PACE_SECONDS)

    async def happening(self, service: str, what: str, after: float = 0.0) -> Happening:
        """Waits for docker to say so."""

        async def look() -> str | None:
            heard = [f"{one.service} {one.what}" for one in self.events.all[-_SHOWN_EVENTS:]]
            return None if self.events.first(service, what, after) else ", ".join(heard) or "nothing"

        await self.until(look, f"{service}: {what}")
        found = self.events.first(service, what, after)
        if found is None:
            raise RuntimeError("cannot forget what happened")
        return found

    async def answered(self, greeting: str) -> Answer:
        """Asks until the shop greets so."""
        answers: list[Answer] = []

        async def look() -> str | None:
            answer = await self.guests.ask()
            if answer is None:
                return "no answer"
            answers.append(answer)
            return None if answer.greeting == greeting else f'"{answer.greeting}"'

        await self.until(look, f'the answer "{greeting}"')
        return answers[-1]

    async def found(self, request: str) -> dict[str, Any]:
        """Searches until the request is there; it has to be there once."""
        documents: list[dict[str, Any]] = []

        async def look() -> str | None:
            documents[:] = await self.search.find(request)
            return None if documents else "no document"

        await self.until(look, f"a document of request {request}")
        if len(documents) != 1:
            raise StepError(f"one document of request {request}", f"{len(documents)}")
        return documents[0]

    async def reloader_status(self) -> dict[str, Any]:
        """What the config-reloader says of itself."""
        try:
            async with self.session.get(f"{self.reloader}/status") as reply:
                status: dict[str, Any] = await reply.json(content_type=None)
                return status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return {"refused": None, "error": str(error) or type(error).__name__}

    @asynccontextmanager
    async def load(self) -> AsyncIterator[None]:
        """Guests who ask all the time, while the block runs. What went wrong in it is raised once they have left."""
        leaving = asyncio.Event()
        wrong: StepError | TourError | None = None
        async with asyncio.TaskGroup() as guests:
            for _ in range(_GUESTS):
                guests.create_task(self.guests.keep_asking(leaving))
            try:
                yield
            except (StepError, TourError) as error:
                wrong = error  # out of here it would be an ExceptionGroup, which nobody who looks for it catches
            leaving.set()
        if wrong is not None:
            raise wrong

    async def under_load(self) -> None:
        """Guests are answered for a while."""
        before, began = self.board.answered, time.monotonic()

        async def look() -> str | None:
            if self.board.answered == before:
                return "no answer"
            return None if time.monotonic() - began > _LOAD_SECONDS else "answers, for a moment"

        await self.until(look, f"guests to be answered for {_LOAD_SECONDS:.0f} s")
