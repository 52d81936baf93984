"""Stopping, and the project's only sleeps: every wait in a sidecar must end when a stop is asked for, so sleeping
belongs to the stop.
"""

import asyncio
import math

from .clock import at_least_a_moment, monotonic, now


class Stop:
    """The request to stop: made once, seen by all, with a deadline `grace_seconds` later (on the loop's clock)."""

    def __init__(self, grace_seconds: float = 30.0) -> None:
        self.grace_seconds = grace_seconds
        self.reason = ""
        self.since = 0.0  # wall clock of the request
        self._event = asyncio.Event()
        self._deadline = math.inf

    @property
    def requested(self) -> bool:
        """Whether somebody asked for the stop."""
        return self._event.is_set()

    def request(self, reason: str, grace_seconds: float | None = None) -> None:
        """Ask for the stop and start the grace, another one if that is given. Later requests change nothing: the first
        deadline stands.
        """
        if self.requested:
            return
        if grace_seconds is not None:
            self.grace_seconds = grace_seconds
        self.reason = reason
        self.since = now()
        self._deadline = monotonic() + self.grace_seconds
        self._event.set()

    def remaining(self) -> float:
        """Return the seconds of grace left: infinity before the request, never below zero."""
        return max(0.0, self._deadline - monotonic())

    async def wait(self) -> None:
        """Return when the stop is requested."""
        await self._event.wait()

    async def sleep(self, seconds: float) -> bool:
        """Sleep, or less when the stop is requested. Return whether it is requested."""
        try:
            async with asyncio.timeout(at_least_a_moment(seconds)):
                await self._event.wait()
        except TimeoutError:
            pass  # slept to the end
        return self.requested

    async def pause(self, seconds: float) -> None:
        """Sleep to the end, stop or no stop: for the pauses of what a stopping sidecar still tries."""
        await asyncio.sleep(at_least_a_moment(seconds))
