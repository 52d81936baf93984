"""Pass bytes through between two legs until both have ended, or something ends them."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from .core.causes import EndCause
from .leg import NOTHING, Leg, LegBroken
from .poller import Poller

Tap = Callable[[memoryview], bytes | None]
"""Sees all bytes of a direction, in any pieces, before they are passed on; it must copy what it keeps. What it returns
is passed on in their place; None: they pass as they are.
"""


class Side(StrEnum):
    """Who ended a connection: the first of them."""

    CLIENT = "client"
    UPSTREAM = "upstream"
    SIDECAR = "sidecar"


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """In seconds; 0: none. `half_closed_seconds`: the longest silence after one side has ended."""

    idle_seconds: float = 0.0
    age_seconds: float = 0.0
    half_closed_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Taps:
    """Who sees the bytes on their way. A direction with a tap is never spliced."""

    to_upstream: Tap | None = None
    to_client: Tap | None = None


@dataclass(frozen=True, slots=True)
class RelayEnd:
    """How it ended. `cause`: an EndCause, or what `Relay.close` was given."""

    side: Side
    cause: str
    to_upstream_bytes: int
    to_client_bytes: int
    detail: str = ""


class Relay:
    """A connection that is passed through. `run` returns once both legs are closed."""

    def __init__(
        self, poller: Poller, client: Leg, upstream: Leg, limits: RelayLimits = RelayLimits(), taps: Taps = Taps()
    ) -> None:
        self._poller = poller
        self._limits = limits
        self._ended: asyncio.Future[tuple[Side, str, str]] = poller.loop.create_future()
        self._first: Side | None = None
        self._up = _Direction(self, Side.CLIENT, client, upstream, taps.to_upstream)
        self._down = _Direction(self, Side.UPSTREAM, upstream, client, taps.to_client)
        self._legs = (client, upstream)
        self._began = poller.loop.time()
        self._seen_bytes = -1
        self._timer: asyncio.TimerHandle | None = None

    @property
    def counts(self) -> tuple[int, int]:
        """Return how many bytes went to the upstream and to the client so far."""
        return self._up.count, self._down.count

    async def run(self) -> RelayEnd:
        """Pass bytes through to the end. When it is cancelled both legs are reset."""
        client, upstream = self._legs
        client.watch(self._up.carry, self._down.go_on)
        upstream.watch(self._down.carry, self._up.go_on)
        self._look_at_the_time()
        try:
            side, cause, detail = await self._ended
        except asyncio.CancelledError:
            client.reset()
            upstream.reset()
            raise
        finally:
            if self._timer is not None:
                self._timer.cancel()
        return RelayEnd(side, cause, self._up.count, self._down.count, detail)

    def close(self, cause: str, last_words: bytes = b"", *, reset: bool = False) -> None:
        """End it from outside, with this cause. `last_words` are for the client, if it takes them at once; `reset`: no
        side must take it for a clean end.
        """
        if self._ended.done():
            return
        if last_words and not reset:
            with contextlib.suppress(LegBroken):
                self._legs[0].put(last_words)
        self._end(Side.SIDECAR, cause, "", reset=reset)

    # For the two directions

    def source_ended(self, side: Side) -> None:
        """One direction is finished; the other one goes on."""
        self._first = self._first or side
        if self._up.is_over and self._down.is_over:
            self._end(self._first, EndCause.FINISHED, "", reset=False)
        else:
            self._look_at_the_time()

    def broke(self, side: Side, error: LegBroken) -> None:
        """A leg is of no use any more: what was said last may not have arrived, so the other one is reset."""
        self._end(side, error.cause, str(error), reset=True)

    def _end(self, side: Side, cause: str, detail: str, *, reset: bool) -> None:
        if self._ended.done():
            return
        for leg in self._legs:
            if reset:
                leg.reset()
            else:
                leg.close()
        self._ended.set_result((side, cause, detail))

    def _look_at_the_time(self) -> None:
        """End what was silent for too long, or is too old; and look again when that could be next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._ended.done():
            return
        now, limits = self._poller.loop.time(), self._limits
        total = self._up.count + self._down.count
        if total != self._seen_bytes:
            self._seen_bytes, self._silent_since = total, now
        waits = []
        if limits.age_seconds:
            waits.append((self._began + limits.age_seconds, EndCause.AGE))
        if limits.idle_seconds:
            waits.append((self._silent_since + limits.idle_seconds, EndCause.IDLE))
        if limits.half_closed_seconds and self._first is not None:
            waits.append((self._silent_since + limits.half_closed_seconds, EndCause.HALF_CLOSED))
        if not waits:
            return
        at, cause = min(waits)
        if at <= now:
            self._end(Side.SIDECAR, cause, "", reset=False)
        else:
            self._timer = self._poller.loop.call_at(at, self._look_at_the_time)


class _Direction:
    """From one leg to the other."""

    __slots__ = ("_buffer", "_relay", "_side", "_sink", "_source", "_tap", "count", "is_ending", "is_over")

    def __init__(self, relay: Relay, side: Side, source: Leg, sink: Leg, tap: Tap | None) -> None:
        self._relay = relay
        self._side = side
        self._source = source
        self._sink = sink
        self._tap = tap
        self._buffer = relay._poller.buffer
        self.count = 0
        self.is_ending = False
        self.is_over = False

    def carry(self) -> None:
        """Take what has come and pass it on."""
        try:
            count = self._source.read_into(self._buffer)
        except LegBroken as error:
            self._relay.broke(self._side, error)
            return
        if count > 0:
            data = self._buffer[:count]
            self.count += count
            passed: bytes | memoryview = data
            if self._tap is not None and (changed := self._tap(data)) is not None:
                passed = changed
            try:
                if not self._sink.put(passed):
                    self._source.pause()
            except LegBroken as error:
                self._relay.broke(_other(self._side), error)
        elif count != NOTHING:
            self._source.pause()
            self.is_ending = True
            if not self._sink.has_unsent:
                self._pass_end_on()

    def go_on(self) -> None:
        """The sink has taken everything."""
        if self.is_ending:
            self._pass_end_on()
        else:
            self._source.resume()

    def _pass_end_on(self) -> None:
        self.is_over = True
        try:
            self._sink.finish()
        except LegBroken as error:
            self._relay.broke(_other(self._side), error)
            return
        self._relay.source_ended(self._side)


def _other(side: Side) -> Side:
    return Side.UPSTREAM if side is Side.CLIENT else Side.CLIENT
