"""One slot between who sees changes and who tells them: the newest content wins (as git-sync's hook runner does)."""

import asyncio
from dataclasses import dataclass, field

from sidecars.runtime.clock import seconds_until

from .core.plan import Done


@dataclass(frozen=True, eq=False)
class Order:
    """Tell this content. `seen_at`: when it was first seen; `since`: since when the app is behind (both monotonic)."""

    digest: str
    seen_at: float
    since: float
    tells: bool = True
    """Whether the app is told; otherwise the content is only rendered, validated and published."""
    when_ready: bool = False
    """Wait, without trying, until somebody is there to be told."""
    forced: bool = False
    """Also when the app was told this content before, and without splay."""
    ended: asyncio.Future[Done] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Mailbox:
    """Holds the newest order that nobody has taken."""

    def __init__(self) -> None:
        self._order: Order | None = None
        self._arrived = asyncio.Event()

    @property
    def arrived(self) -> asyncio.Event:
        """Set while an order lies here: whatever waits for something else should stop waiting."""
        return self._arrived

    def put(self, order: Order) -> Order | None:
        """Leave an order; the one that it replaces is returned."""
        replaced, self._order = self._order, order
        self._arrived.set()
        return replaced

    async def get(self) -> Order:
        """Take the order, once there is one."""
        await self._arrived.wait()
        order, self._order = self._order, None
        self._arrived.clear()
        assert order is not None  # noqa: S101 (set and cleared together)
        return order

    async def wait(self, until: float) -> bool:
        """Wait until this time (monotonic), or until an order arrives: True."""
        try:
            async with asyncio.timeout(seconds_until(until)):
                await self._arrived.wait()
        except TimeoutError:
            pass  # waited to the end
        return self._arrived.is_set()
