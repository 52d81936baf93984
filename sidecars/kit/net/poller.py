"""One epoll for all legs, which itself is one descriptor of the event loop.

Exists because a wake-up of asyncio's loop costs more than to pass a small message on: with many busy connections the
loop is woken once for all that are ready.
"""

import asyncio
import select
from collections.abc import Callable
from typing import Self

from sidecars.kit.memory import give_back

from .pipe import Pipes
from .secured import Aside

READABLE, WRITABLE = select.EPOLLIN, select.EPOLLOUT
EPOLLERR = select.EPOLLERR
BROKEN = select.EPOLLERR | select.EPOLLHUP
"""Is reported whether asked for or not."""
BUFFER_BYTES = 128 << 10
_EVENTS = 256
_ROUNDS = 8
"""So often it looks again at once before the loop has its turn, while something happens, and it is not much."""
_TRIM_AFTER, _TRIM_SECONDS = 128, 5.0
"""When so many connections came or went, the heap is trimmed once, so long after."""

Handler = Callable[[int], None]


class Poller:
    """Calls the handler of a descriptor with what it is ready for (epoll events, level-triggered).

    A handler must expect to be called when there is nothing to do. `buffer` is the one receive buffer: what is in it
    is gone when the next handler runs.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.buffer = memoryview(bytearray(BUFFER_BYTES))
        self.parting: dict[int, Callable[[], None]] = {}
        """How to close what is about to close by itself."""
        self.pipes = Pipes()
        self.aside = Aside()
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._trimmed_at = 0
        self._trim: asyncio.TimerHandle | None = None
        self.loop.add_reader(self._epoll.fileno(), self._ready)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Watch nothing any more. What was registered stays open, but for what was parting."""
        for close in list(self.parting.values()):
            close()
        if not self._epoll.closed:
            self.loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._handlers.clear()
            if self._trim is not None:
                self._trim.cancel()
            self.pipes.close()
            self.aside.close()

    def register(self, descriptor: int, events: int, handler: Handler) -> None:
        """Call the handler when a descriptor is ready for one of these events."""
        self._epoll.register(descriptor, events)
        self._handlers[descriptor] = handler
        self._count()

    def modify(self, descriptor: int, events: int) -> None:
        """Watch a registered descriptor for other events."""
        self._epoll.modify(descriptor, events)

    def forget(self, descriptor: int) -> None:
        """Watch a descriptor no longer, before it is closed."""
        if self._handlers.pop(descriptor, None) is not None and not self._epoll.closed:
            self._epoll.unregister(descriptor)
            self._count()

    def _count(self) -> None:
        """After a burst, give back the memory that it leaves behind."""
        if self._trim is None and abs(len(self._handlers) - self._trimmed_at) >= _TRIM_AFTER:
            self._trim = self.loop.call_later(_TRIM_SECONDS, self._trim_heap)

    def _trim_heap(self) -> None:
        self._trim, self._trimmed_at = None, len(self._handlers)
        give_back()

    def _ready(self) -> None:
        handlers, handled = self._handlers, 0
        for _ in range(_ROUNDS):
            happened = self._epoll.poll(0, _EVENTS)
            for descriptor, events in happened:
                handler = handlers.get(descriptor)
                if handler is not None:  # an earlier handler of this round may have closed it
                    handler(events)
            handled += len(happened)
            if not happened or handled > _EVENTS or self._epoll.closed:
                return
