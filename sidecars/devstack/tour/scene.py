"""What the steps of the tour act on and look at: the folder with the shop's configuration, the guests who ask the shop,
the search for what arrived, and all of it together.
"""

import asyncio
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from sidecars.devstack.compose.pod import Events, Happening, Pod, TourError

from .view import Board, StepError


class ConfigFolder:
    """A folder of this machine that is mounted into the pod. Everybody may read it: the pod runs as another user."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)

    def write(self, files: Mapping[str, bytes]) -> None:
        """Makes these the files."""
        new = Path(tempfile.mkdtemp(prefix="..", dir=self.folder))
        new.chmod(0o755)
        for name, content in files.items():
            (new / name).write_bytes(content)
            (new / name).chmod(0o644)
        data = self.folder / "..data"
        old = self.folder / os.readlink(data) if data.is_symlink() else None
        (self.folder / "..data_tmp").symlink_to(new.name)
        (self.folder / "..data_tmp").rename(data)
        for name in files:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")
        if old is not None:
            shutil.rmtree(old)


_ID = "http.request.id"
_PAGE = 10_000
_SEARCH_TIMEOUT = aiohttp.ClientTimeout(total=60)


class Search:
    """The shop's log in Elasticsearch."""

    def __init__(self, session: aiohttp.ClientSession, pattern: str = "shop*") -> None:
        self.url = ""
        self._pattern = pattern  # of the index: while it is not there, the answer is empty and no error
        self._session = session

    async def find(self, request: str) -> list[dict[str, Any]]:
        """The documents of a request, by its id."""
        question = {"query": {"term": {f"{_ID}.keyword": request}}}
        hits = (await self._ask("_search", question))["hits"]["hits"]
        return [hit["_source"] for hit in hits]

    async def count(self) -> int:
        """How many documents of requests can be found at this moment."""
        return int((await self._ask("_count", {"query": {"exists": {"field": _ID}}}))["count"])

    async def all_requests(self) -> Counter[str]:
        """How often each request is there."""
        await self._ask("_refresh", {})
        found: Counter[str] = Counter()
        question: dict[str, Any] = {"size": _PAGE, "sort": [{"_seq_no": "asc"}], "query": {"exists": {"field": _ID}}}
        while hits := (await self._ask("_search", question))["hits"]["hits"]:
            found.update(hit["_source"]["http"]["request"]["id"] for hit in hits)
            question["search_after"] = hits[-1]["sort"]
        return found

    async def _ask(self, what: str, question: dict[str, Any]) -> dict[str, Any]:
        url = f"{self.url}/{self._pattern}/{what}"
        try:
            async with self._session.post(url, json=question or None, timeout=_SEARCH_TIMEOUT) as reply:
                answer: dict[str, Any] = await reply.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise TourError(f"cannot ask Elasticsearch at {url}: {str(error) or type(error).__name__}") from None
        if reply.status >= 300:
            raise TourError(f"cannot ask Elasticsearch at {url}: it answers {reply.status}: {str(answer)[:300]}")
        return answer


_PAUSE_SECONDS = 0.02
_TURNED_AWAY_SECONDS = 0.1
_GUEST_TIMEOUT = aiohttp.ClientTimeout(total=10)


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
            async with self._session.get(f"{self.shop}/", timeout=_GUEST_TIMEOUT) as reply:
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
    vault: str = ""
    greeting: str = str(MENU["greeting"])

    def put_menu(self, greeting: str) -> None:
        """Changes the configuration."""
        self.config.write({"shop.json": msgspec.json.encode({**MENU, "greeting": greeting})})

    async def put_coupon(self, coupon: str) -> None:
        """Puts another value into Vault. Raises: TourError."""
        url, root = f"{self.vault}/v1/kv/data/shop", {"X-Vault-Token": "root"}
        try:
            async with self.session.post(url, json={"data": {"coupon": coupon}}, headers=root) as reply:
                if reply.status != 200:
                    raise TourError(f"cannot write to Vault at {url}: it answers {reply.status}")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TourError(f"cannot write to Vault at {url}: {str(error) or type(error).__name__}") from None

    async def shop_config(self) -> dict[str, Any]:
        """What the shop says of its configuration; nothing while it does not answer."""
        try:
            async with self.session.get(f"{self.guests.shop}/config") as reply:
                found: dict[str, Any] = await reply.json(content_type=None)
                return found
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return {}

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
