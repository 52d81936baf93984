"""One thread beside the loop for the calls that may hang: name lookups and looks at files (NFS).

Each target has its own, so a lookup that hangs takes nothing from the others; and it has one only, so attempt after
attempt does not leave hanging threads behind. It is a daemon: the threads of a pool would be waited for at the exit.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Generic, TypeVar

from sidecars.runtime import Transient

T = TypeVar("T")


class SideThread(Generic[T]):
    """Runs `call`, one at a time. The thread is made at the first call."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._asked: SimpleQueue[Future[T] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._pending: asyncio.Future[T] | None = None

    async def result(self) -> T:
        """Return what the call returned, or raise what it raised. One that is still under way from an earlier attempt
        is joined: it is as good as a new one, and cannot be ended. Raise Transient when there can be no thread now.
        """
        if self._pending is None or self._pending.done():
            self._pending = asyncio.wrap_future(self._ask())
            self._pending.add_done_callback(_seen)
        pending = self._pending
        await asyncio.wait({pending})  # leaves it running when we are cancelled
        return pending.result()

    def close(self) -> None:
        """Let the thread go; one that hangs is left to the end of the process."""
        self._asked.put(None)

    def _ask(self) -> Future[T]:
        if self._thread is None:
            thread = threading.Thread(target=self._serve, name="wait-for", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # EAGAIN of pthread_create(3): a limit of processes, which others may leave
                raise Transient("cannot start a thread: the limit of processes is reached") from None
            self._thread = thread
        asked: Future[T] = Future()
        self._asked.put(asked)
        return asked

    def _serve(self) -> None:
        while (asked := self._asked.get()) is not None:
            try:
                asked.set_result(self._call())
            except (OSError, ValueError, Transient) as error:
                asked.set_exception(error)
            except BaseException as error:  # a bug: whoever waits has to see it, or would wait for ever
                asked.set_exception(error)
                raise


def _seen(future: asyncio.Future[T]) -> None:
    """Take note of an error that nobody waited for any more, or asyncio complains about it."""
    if not future.cancelled():
        future.exception()
