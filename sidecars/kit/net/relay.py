"""Pass bytes through between two legs until both have ended, or something ends them."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from .core.causes import EndCause
from .leg import NOTHING, Leg, LegBroken, broken
from .pipe import Pipe
from .poller import Poller

_LARGE_BYTES, _LARGE_IN_A_ROW = 64 << 10, 4
"""After so many reads of so many bytes it is a long transfer, and spliced."""
_SMALL_BYTES, _SMALL_IN_A_ROW = 8 << 10, 4
"""After so many moves of less it is copied again."""

_LOOKS = 0.25
"""So long a part of a silence is the pause between two looks: it is noticed late by as much at most."""

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
        self.poller = poller
        self._limits = limits
        self._ended: asyncio.Future[tuple[Side, str, str]] = poller.loop.create_future()
        self._first: Side | None = None
        self._up = _Direction(self, Side.CLIENT, client, upstream, taps.to_upstream)
        self._down = _Direction(self, Side.UPSTREAM, upstream, client, taps.to_client)
        self._legs = (client, upstream)
        self._began = poller.loop.time()
        self._seen_bytes, self._silent_since = -1, self._began
        self._timer: asyncio.TimerHandle | None = None

    @property
    def counts(self) -> tuple[int, int]:
        """Return how many bytes went to the upstream and to the client so far."""
        return self._up.count, self._down.count

    @property
    def first_to_end(self) -> Side | None:
        """Return who has said first that nothing more comes; None: nobody yet."""
        return self._first

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
        client = self._legs[0]
        if last_words and not reset and not client.has_unsent:
            with contextlib.suppress(LegBroken):
                client.put(last_words)
                client.part()
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
        for direction in (self._up, self._down):
            direction.stop_splicing()
        for leg in self._legs:
            if reset:
                leg.reset()
            elif not leg.is_parting:
                leg.close()
        self._ended.set_result((side, cause, detail))

    def _look_at_the_time(self) -> None:
        """End what was silent for too long, or is too old; and look again when that could be next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._ended.done():
            return
        now, limits = self.poller.loop.time(), self._limits
        total = self._up.count + self._down.count
        if total != self._seen_bytes:
            self._seen_bytes, self._silent_since = total, now
        waits = []
        if limits.age_seconds:
            waits.append((self._began + limits.age_seconds, EndCause.AGE))
        silences = [(limits.idle_seconds, EndCause.IDLE)]
        if self._first is not None:
            silences.append((limits.half_closed_seconds, EndCause.HALF_CLOSED))
        waits += [(self._silent_since + seconds, cause) for seconds, cause in silences if seconds]
        if not waits:
            return
        at, cause = min(waits)
        if at <= now:
            self._end(Side.SIDECAR, cause, "", reset=False)
            return
        step_seconds = _LOOKS * min((seconds for seconds, _ in silences if seconds), default=at - now)
        self._timer = self.poller.loop.call_at(min(at, now + step_seconds), self._look_at_the_time)


class _Direction:
    """From one leg to the other."""

    __slots__ = (
        "_buffer", "_in_a_row", "_pipe", "_relay", "_side", "_sink", "_source", "_tap", "count", "is_ending", "is_over",
    )  # fmt: skip

    def __init__(self, relay: Relay, side: Side, source: Leg, sink: Leg, tap: Tap | None) -> None:
        self._relay = relay
        self._side = side
        self._source = source
        self._sink = sink
        self._tap = tap
        self._buffer = relay.poller.buffer
        self._pipe: Pipe | None = None
        self._in_a_row = 0
        self.count = 0
        self.is_ending = False
        self.is_over = False

    def carry(self) -> None:
        """Take what has come and pass it on."""
        if self._pipe is not None:
            self._splice(self._pipe)
            return
        try:
            count = self._source.read_into(self._buffer)
        except LegBroken as error:
            self._relay.broke(self._side, error)
            return
        if count > 0:
            self._pass_on(self._buffer[:count])
            if count < _LARGE_BYTES:
                self._in_a_row = 0
            else:
                self._look_at_length()
        elif count != NOTHING:
            self._end()

    def go_on(self) -> None:
        """The sink has taken everything, or takes more of what is spliced."""
        if self._pipe is not None and self._pipe.held:
            self._drain(self._pipe)
        elif self.is_ending:
            self._pass_end_on()
        else:
            self._source.resume()

    def stop_splicing(self) -> None:
        """Copy from now on. What the pipe holds is lost, so it is empty, or the connection over."""
        if self._pipe is not None:
            self._relay.poller.pipes.take_back(self._pipe)
            self._pipe, self._in_a_row = None, 0

    def _pass_on(self, data: memoryview) -> None:
        """Put it into the sink; when that does not take all, the source waits until it has (back-pressure)."""
        self.count += len(data)
        passed: bytes | memoryview = data
        if self._tap is not None and (changed := self._tap(data)) is not None:
            passed = changed
        try:
            if not self._sink.put(passed):
                self._source.pause()
        except LegBroken as error:
            self._relay.broke(_other(self._side), error)

    def _end(self) -> None:
        """The source has ended: so does the sink, once it has everything (half-close)."""
        if self.is_ending:
            return
        self._source.pause()
        self.is_ending = True
        self.stop_splicing()
        if not self._sink.has_unsent:
            self._pass_end_on()

    def _pass_end_on(self) -> None:
        if self.is_over:
            return
        self.is_over = True
        try:
            self._sink.finish()
        except LegBroken as error:
            self._relay.broke(_other(self._side), error)
            return
        self._relay.source_ended(self._side)

    def _look_at_length(self) -> None:
        """Begin to splice in a long transfer, where nobody has to see the bytes."""
        self._in_a_row += 1
        if self._in_a_row < _LARGE_IN_A_ROW or self._tap is not None or self._sink.has_unsent:
            return
        if self._source.is_plain and self._sink.is_plain:
            self._pipe, self._in_a_row = self._relay.poller.pipes.lend(), 0

    def _splice(self, pipe: Pipe) -> None:
        try:
            count = pipe.fill(self._source.descriptor)
        except BlockingIOError:
            return
        except OSError as error:
            self._relay.broke(self._side, broken(error))
            return
        if not count:
            self._end()
            return
        self.count += count
        self._in_a_row = self._in_a_row + 1 if count < _SMALL_BYTES else 0
        self._drain(pipe)

    def _drain(self, pipe: Pipe) -> None:
        try:
            pipe.drain(self._sink.descriptor)
        except BlockingIOError:
            self._source.pause()
            self._sink.call_when_writable()
            return
        except OSError as error:
            self._relay.broke(_other(self._side), broken(error))
            return
        if self._in_a_row >= _SMALL_IN_A_ROW:
            self.stop_splicing()
        self._source.resume()


def _other(side: Side) -> Side:
    return Side.UPSTREAM if side is Side.CLIENT else Side.CLIENT
