"""How many may do something at once, and who is next: the oldest that waits, whenever it came."""

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """A semaphore that is passed on in the order of ages: asyncio's own lets in who waits longest."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._tickets = itertools.count()

    @asynccontextmanager
    async def turn(self, age: int) -> AsyncIterator[None]:
        """Have one of the turns; the smallest `age` that waits is next."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(age)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, age: int) -> None:
        mine = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (age, next(self._tickets), mine))
        try:
            await mine
        except asyncio.CancelledError:
            if not mine.cancelled():  # it had just been passed on
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            mine = heapq.heappop(self._waiting)[2]
            if not mine.done():
                mine.set_result(None)
                return
        self._free += 1
