"""Deliver a batch: send, judge the reply, send again what is not settled, until every record has one outcome.

There is no end to trying. While sending as such is refused or unreachable, one request at a time probes, with
full-jitter pauses, and the others wait for it (`core.circuit`); what was read stays in memory and in its file.
"""

import asyncio
import heapq
import itertools
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Protocol

from sidecars.log_shipper.core.batch import Payload, chosen, halves, records_of
from sidecars.log_shipper.core.bulk import SMALL_BYTES, Advice, Answer, Judgement, advice, judge, judge_single
from sidecars.log_shipper.core.choices import IdMode
from sidecars.log_shipper.core.circuit import Circuit
from sidecars.log_shipper.core.diagnosis import Diagnosis, of_request
from sidecars.log_shipper.core.evidence import BatchHistory, Blame, Evidence
from sidecars.log_shipper.metrics import ShipperMetrics
from sidecars.log_shipper.settings import LogShipperSettings
from sidecars.runtime import Backoff, Context, State
from sidecars.runtime.clock import monotonic

from .dead_letters import DeadLetters

_BASE_SECONDS = 0.1
_CAP_SECONDS = 5.0
_OVERLOADS = 3
"""So many 429s for one request, and it goes on in halves: one that is larger than what the server takes in at once
(indexing_pressure.memory.limit) is refused for ever, however idle the server is."""
_HURRIED_SECONDS = 1.0
"""No pause is longer than this once the sidecar is stopping: the backend may come back within the grace."""


class Transport(Protocol):
    """Where payloads go."""

    def pack(self, pieces: Iterable[bytes]) -> bytes:
        """Return these pieces as a body that is sent: compressed, perhaps."""

    def unpack(self, body: bytes) -> bytes:
        """Return what `pack` was given, in one piece."""

    async def send(self, payload: Payload) -> Answer:
        """Make one attempt; failures are answers."""

    async def close(self) -> None:
        """Let go of connections."""


class Delivery:
    """Shared by all requests: what is known of the backend's state, and the counting of outcomes."""

    def __init__(
        self,
        settings: LogShipperSettings,
        ctx: Context,
        metrics: ShipperMetrics,
        transport: Transport,
        dead_letters: DeadLetters,
    ) -> None:
        self._ctx = ctx
        self._metrics = metrics
        self._transport = transport
        self._dead_letters = dead_letters
        self._own_ids = settings.id_mode is IdMode.DERIVED
        self._condition = _DeliveryCondition(ctx, metrics)
        self._circuit = self._condition.circuit
        self._evidence = Evidence()
        self._probe = asyncio.Lock()
        self._probe_backoff = new_backoff()
        self._requests = OldestFirst(settings.requests)
        self._ages = itertools.count()
        self._hurry = asyncio.Event()

    def hurry(self) -> None:
        """Cut pauses short: the sidecar is stopping."""
        self._hurry.set()

    @property
    def diagnosis(self) -> Diagnosis | None:
        """Why nothing goes through at present, or why a part does not."""
        return self._condition.diagnosis

    def status(self) -> dict[str, Any]:
        """Return what /status shows."""
        return self._condition.status()

    async def deliver(self, payload: Payload, acknowledged: Callable[[Sequence[int]], None] = lambda _: None) -> int:
        """Settle every record of the payload. Return the file bytes that went into the dead-letter file. The numbers of
        records that are settled before others go to `acknowledged`.
        """
        payload.age = next(self._ages)
        waiting = deque([payload] if payload.count else ())
        batch, backoff, dead_bytes = BatchHistory(), new_backoff(), 0
        while waiting:
            payload = waiting.pop()
            judgement = await self._judged(payload)
            if judgement is None:
                self._evidence.suspect(batch, payload.count, monotonic())
                waiting += halves(self._records(payload), payload, self._transport.pack)
                continue
            if not judgement.settled:
                judgement = self._ruled(batch, judgement, payload.count)
            if judgement.rejected:
                dead_bytes += await self._keep_rejected(payload, judgement)
            self._metrics.count(judgement)
            if not judgement.settled:
                waiting.appendleft(payload)  # the others first: one that is taken is a witness
                if self._circuit.is_closed and len(waiting) == 1:
                    await self._pause(backoff)
                continue
            if judgement.retry:
                batch.taken_in_part = True
                waiting.append(self._rest(payload, judgement))
            if waiting:
                acknowledged([payload.number(at) for at in range(payload.count) if at not in judgement.retry])
            if judgement.retry:
                backoff.reset()
                await self._pause(backoff)
        self._condition.release(batch)
        return dead_bytes

    def _ruled(self, batch: BatchHistory, judgement: Judgement, records: int) -> Judgement:
        """Find out whose fault it is that nothing of a request was taken, and say it."""
        ruling = self._evidence.rule(batch, judgement, records, monotonic(), others_taken=self._circuit.is_closed)
        if ruling.diagnosis and ruling.blame is Blame.TARGET:
            self._condition.fail(ruling.diagnosis)
        elif ruling.diagnosis and ruling.blame is Blame.PART:
            self._condition.hold(batch, ruling.diagnosis)
        return ruling.judgement

    async def _judged(self, payload: Payload) -> Judgement | None:
        """Send until there is an answer that says something about the records; None asks for smaller requests."""
        overloads = 0
        while True:
            answer, judgement = await self._sent(payload)
            if judgement is None and advice(answer) is Advice.SPLIT:
                self._answered(unclear=True)
                return None if payload.count > 1 else judge_single(answer, sum(payload.spans))
            if judgement is not None:
                if judgement.settled or judgement.unclear:
                    self._answered(unclear=not judgement.settled)
                return judgement
            diagnosis = of_request(answer, payload.count)
            self._metrics.retries.labels(diagnosis.reason).inc(payload.count)
            self._condition.fail(diagnosis)
            overloads += answer.status == HTTPStatus.TOO_MANY_REQUESTS
            if overloads >= _OVERLOADS and payload.count > 1 and sum(payload.spans) > SMALL_BYTES:
                return None

    def _answered(self, *, unclear: bool) -> None:
        if self._condition.recover(unclear=unclear):
            self._probe_backoff.reset()

    async def _sent(self, payload: Payload) -> tuple[Answer, Judgement | None]:
        """Make one attempt, as soon as the circuit lets it out."""
        while not self._circuit.is_closed:
            async with self._probe:
                if not self._circuit.is_closed:
                    await self._pause(self._probe_backoff)
                if not self._circuit.is_closed:  # a request that was under way may have been answered meanwhile
                    self._circuit.probed()
                    return await self._attempt(payload)
        return await self._attempt(payload)

    async def _attempt(self, payload: Payload) -> tuple[Answer, Judgement | None]:
        """Send one request. Return the answer, and what it says of each record if it does."""
        async with self._requests.turn(payload.age):
            number = self._evidence.begin()
            with self._metrics.request_seconds.time(), self._ctx.tracer.start_as_current_span("bulk") as span:
                span.set_attribute("records", payload.count)
                answer = await self._transport.send(payload)
                span.set_attribute("http.response.status_code", answer.status)
        for reason in answer.failovers:
            self._metrics.retries.labels(reason).inc(payload.count)
        judgement = None
        if answer.accepted:
            judgement = Judgement(written=payload.count)
        elif advice(answer) is Advice.JUDGE:
            judgement = judge(answer.body, payload.count, own_ids=self._own_ids)
        if judgement is not None:
            judgement.url = answer.url
            if judgement.settled:
                self._evidence.was_taken(number)
        return answer, judgement

    def _rest(self, payload: Payload, judgement: Judgement) -> Payload:
        """Return what is to be sent again."""
        if len(judgement.retry) == payload.count:
            return payload
        return chosen(self._records(payload), payload, list(judgement.retry), self._transport.pack)

    def _records(self, payload: Payload) -> list[bytes]:
        return records_of(self._transport.unpack(payload.body), lines_each=2)

    async def _keep_rejected(self, payload: Payload, judgement: Judgement) -> int:
        """Write rejected records to the dead-letter file, as often as that takes. Return their file bytes."""
        records = self._records(payload)
        rejected = [(records[index], refusal) for index, refusal in judgement.rejected.items()]
        backoff = new_backoff()
        while not await self._dead_letters.keep(rejected):
            await self._pause(backoff)
        return sum(payload.spans[index] for index in judgement.rejected)

    async def _pause(self, backoff: Backoff) -> None:
        """Wait before the next attempt; once the sidecar is stopping, not for long."""
        delay = backoff.next()
        if self._hurry.is_set():
            await self._ctx.stop.pause(min(delay, _HURRIED_SECONDS))
            return
        try:
            async with asyncio.timeout(delay):
                await self._hurry.wait()
        except TimeoutError:
            pass  # waited to the end


class _DeliveryCondition:
    """The circuit, and the batches of which records are held: shown in health, metrics and log."""

    def __init__(self, ctx: Context, metrics: ShipperMetrics) -> None:
        self.circuit = Circuit()
        self._ctx = ctx
        self._metrics = metrics
        self._held: dict[BatchHistory, Diagnosis] = {}

    @property
    def diagnosis(self) -> Diagnosis | None:
        """Why nothing goes through at present, or why a part does not."""
        return self.circuit.diagnosis or next(iter(self._held.values()), None)

    def status(self) -> dict[str, Any]:
        """Return what /status shows."""
        diagnosis = self.diagnosis
        shown: dict[str, Any] = {"circuit": self.circuit.state.value, "held": bool(diagnosis and diagnosis.held)}
        if diagnosis:
            shown |= {"reason": diagnosis.reason, "message": diagnosis.text}
        return shown | self.circuit.lasts(monotonic())

    def fail(self, diagnosis: Diagnosis) -> None:
        """Note that sending does not work at all."""
        is_to_be_said = self.circuit.failed(diagnosis, monotonic())
        self._show(diagnosis, is_to_be_said=is_to_be_said)

    def hold(self, batch: BatchHistory, diagnosis: Diagnosis) -> None:
        """Note that records of this batch are held, while others go through."""
        self._held[batch] = diagnosis
        self._show(diagnosis, is_to_be_said=self.circuit.is_to_be_said(diagnosis.kind, monotonic()))

    def release(self, batch: BatchHistory) -> None:
        """Note that the batch is settled."""
        if self._held.pop(batch, None):
            self._show(self.diagnosis)

    def recover(self, *, unclear: bool) -> bool:
        """Close the circuit, since a request was answered as it should be, unless it opened for unclear refusals and
        this is another one. Return whether it closed.
        """
        diagnosis, lasted = self.circuit.diagnosis, self.circuit.lasts(monotonic())
        if diagnosis and diagnosis.reason == "unclear" and unclear:
            return False
        if not lasted:
            if not self._held:
                self._ctx.health.set("delivery", State.OK)
            return False
        if self.circuit.answered():
            after = {"after_seconds": lasted["for_seconds"]}
            self._ctx.log.info("delivering again", action="delivery.recovered", **after)
        self._show(self.diagnosis)
        return True

    def _show(self, diagnosis: Diagnosis | None, *, is_to_be_said: bool = False) -> None:
        """Show it in health and metrics; in the log not at every attempt, and loudly where a person has to act."""
        self._metrics.diagnosed(diagnosis)
        if diagnosis is None:
            self._ctx.health.set("delivery", State.OK)
            return
        self._ctx.health.set("delivery", State.DEGRADED, diagnosis.text)
        if is_to_be_said:
            say = self._ctx.log.error if diagnosis.held else self._ctx.log.warning
            action = "delivery.held" if diagnosis.held else "delivery.failed"
            say(diagnosis.text, action=action, reason=diagnosis.reason, **self.circuit.lasts(monotonic()))


class OldestFirst:
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


def new_backoff() -> Backoff:
    """Return one with full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/"""
    return Backoff(_BASE_SECONDS, _CAP_SECONDS, random.random)
