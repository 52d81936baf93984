"""One thread beside the loop for the calls that may hang: name lookups and looks at files (NFS).

Each target has its own, so a lookup that hangs takes nothing from the others; and it has one only, so attempt after
attempt does not leave hanging threads behind.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Aside(Generic[T]):
    """Runs `call`, one at a time. The thread is made at the first call."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="wait-for")
        self._pending: asyncio.Future[T] | None = None

    async def result(self) -> T:
        """Return what the call returned, or raise what it raised. One that is still under way from an earlier attempt
        is joined: it is as good as a new one, and cannot be ended.
        """
        if self._pending is None or self._pending.done():
            self._pending = asyncio.get_running_loop().run_in_executor(self._pool, self._call)
            self._pending.add_done_callback(_seen)
        pending = self._pending
        await asyncio.wait({pending})  # leaves it running when we are cancelled
        return pending.result()

    def close(self) -> None:
        """Let the thread go; one that hangs is left to the end of the process."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _seen(future: asyncio.Future[T]) -> None:
    """Take note of an error that nobody waited for any more, or asyncio complains about it."""
    if not future.cancelled():
        future.exception()
