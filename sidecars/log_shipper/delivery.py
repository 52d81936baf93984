"""Deliver a batch: send, judge the reply, send again what is not settled, until every record has one outcome.

There is no end to trying. While sending as such is refused or unreachable, one request at a time probes, with
full-jitter pauses, and the others wait for it (`core.circuit`); what was read stays in memory and in its file.
"""

import asyncio
import random
from collections import deque
from http import HTTPStatus
from typing import Any, Protocol

import msgspec

from sidecars.runtime import Backoff, Context, State
from sidecars.runtime.stop import monotonic

from .compress import pack, unpack
from .core.batch import Payload, chosen, halves, records_of
from .core.bulk import Advice, Answer, Judgement, advice, judge, reason_of, what_it_is, whole_refusal
from .core.choices import Compression, IdMode, Output
from .core.circuit import Circuit
from .core.evidence import Evidence, Mark
from .core.trouble import Trouble, failed, refused
from .dead_letter import DeadLetters
from .metrics import ShipperMetrics
from .settings import LogShipperSettings

_BASE_SECONDS = 0.1
_CAP_SECONDS = 5.0
_OVERLOADS = 3
"""So many 429s for one request, and it goes on in halves: one that is larger than what the server takes in at once
(indexing_pressure.memory.limit) is refused for ever, however idle the server is."""
_SMALL_BYTES = 32 << 10
"""Bytes of log in a request that is not halved for that reason: then it is the load and not the size."""
_HURRIED_SECONDS = 1.0
"""No pause is longer than this once the sidecar is stopping: the backend may come back within the grace."""


class Transport(Protocol):
    """Where payloads go."""

    async def send(self, payload: Payload) -> Answer:
        """One attempt; failures are answers."""

    async def close(self) -> None:
        """Let go of connections."""


class _Suspicion(msgspec.Struct):
    """Of the records of one batch that were refused for unclear reasons: since when, and how often."""

    mark: Mark | None = None
    tries: int = 0


class Delivery:
    """Shared by all requests: what is known of the backend's state, and the counting of outcomes."""

    def __init__(
        self, settings: LogShipperSettings, ctx: Context, metrics: ShipperMetrics, transport: Transport
    ) -> None:
        self._ctx = ctx
        self._metrics = metrics
        self._transport = transport
        self._packs = settings.destination is Output.ELASTICSEARCH and settings.compression is Compression.GZIP
        self._own_ids = settings.id_mode is IdMode.DERIVED
        self.letters = DeadLetters(settings, ctx, metrics)
        self._circuit = Circuit()
        self._evidence = Evidence()
        self._probe = asyncio.Lock()
        self._slots = asyncio.Semaphore(settings.requests)
        self._backoff = new_backoff()
        self._hurry = asyncio.Event()

    def prepare(self, payload: Payload) -> Payload:
        """Compress, if so configured: done before queueing, so what waits for a dead backend is small."""
        if not self._packs or payload.packed or not payload.count:
            return payload
        return Payload(pack(payload.body), payload.count, payload.spans, packed=True)

    def hurry(self) -> None:
        """The sidecar is stopping: cut pauses short."""
        self._hurry.set()

    @property
    def trouble(self) -> Trouble | None:
        """Why nothing goes through at present."""
        return self._circuit.trouble

    def status(self) -> dict[str, Any]:
        """For /status."""
        circuit, trouble = self._circuit, self._circuit.trouble
        shown: dict[str, Any] = {"circuit": circuit.position.value, "held": bool(trouble and trouble.held)}
        if trouble:
            shown |= {"reason": trouble.reason, "message": trouble.text, "failed_attempts": circuit.attempts}
            shown["for_seconds"] = round(monotonic() - circuit.since, 1)
        return shown

    async def deliver(self, payload: Payload) -> int:
        """Settle every record of the payload; returns the file bytes that went into the dead-letter file."""
        waiting = deque([payload] if payload.count else ())
        backoff = new_backoff()
        suspicion = _Suspicion()
        dead_bytes = 0
        while waiting:
            payload = waiting.pop()
            judgement = await self._judged(payload)
            if judgement is None:
                self._suspect(suspicion, payload.count)
                waiting += [self.prepare(half) for half in halves(self._records(payload), payload.spans)]
                continue
            if judgement.unclear and not self._decide(judgement, suspicion, payload):
                self._metrics.count(judgement)
                waiting.appendleft(payload)  # the others first: one that is taken is a witness
                if self._circuit.is_closed and len(waiting) == 1:
                    await self._pause(backoff)
                continue
            if judgement.rejected:
                dead_bytes += await self._bury(payload, judgement)
            self._metrics.count(judgement)
            if judgement.retry:
                waiting.append(self._rest(payload, judgement))
                if len(judgement.retry) < payload.count:
                    backoff.reset()
                await self._pause(backoff)
        return dead_bytes

    def _suspect(self, suspicion: _Suspicion, records: int) -> None:
        """Records were refused for what may be their own fault."""
        if suspicion.mark is None:
            suspicion.mark = self._evidence.refused(records, monotonic())

    def _decide(self, judgement: Judgement, suspicion: _Suspicion, payload: Payload) -> bool:
        """Whether what was refused for unclear reasons is at fault itself, and so rejected; else it is all kept."""
        self._suspect(suspicion, payload.count)
        if suspicion.mark and self._evidence.is_about_record(suspicion.mark, monotonic()):
            judgement.rejected |= judgement.unclear
            judgement.unclear = {}
            return True
        suspicion.tries += 1
        if not self._circuit.is_closed or self._evidence.is_trouble(suspicion.tries):
            refusal = next(iter(judgement.unclear.values()))
            self._note_trouble(refused("unclear", refusal, judgement.url))
        judgement.retry |= dict.fromkeys(judgement.unclear, "unclear")
        judgement.unclear = {}
        return False

    async def _judged(self, payload: Payload) -> Judgement | None:
        """Send until there is an answer that says something about the records; None asks for smaller requests."""
        overloads = 0
        while True:
            answer, judgement = await self._sent(payload)
            if judgement is None and _step(answer) is Advice.SPLIT:
                self._clear(but_for="unclear")
                if payload.count > 1:
                    return None
                return Judgement(unclear={0: whole_refusal(answer)}, url=answer.url)
            if judgement is not None and judgement.settled:
                self._clear()
                return judgement
            if judgement is not None and judgement.unclear:
                self._clear(but_for="unclear")
                return judgement
            trouble = _trouble_of(answer, judgement, payload.count)
            if judgement is None:
                self._metrics.retries.labels(trouble.reason).inc(payload.count)
            else:
                self._metrics.count(judgement)
            self._note_trouble(trouble)
            overloads += answer.status == HTTPStatus.TOO_MANY_REQUESTS
            if overloads >= _OVERLOADS and payload.count > 1 and sum(payload.spans) > _SMALL_BYTES:
                return None

    async def _sent(self, payload: Payload) -> tuple[Answer, Judgement | None]:
        """One attempt, as soon as the circuit lets it out."""
        while not self._circuit.is_closed:
            async with self._probe:
                if not self._circuit.is_closed:
                    await self._pause(self._backoff)
                if not self._circuit.is_closed:  # a request that was under way may have been answered meanwhile
                    self._circuit.probed()
                    return await self._attempt(payload)
        return await self._attempt(payload)

    async def _attempt(self, payload: Payload) -> tuple[Answer, Judgement | None]:
        """One request, and what it says of each record if it does."""
        async with self._slots:
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
        elif _step(answer) is Advice.JUDGE:
            judgement = judge(answer.body, payload.count, own_ids=self._own_ids)
        if judgement is not None:
            judgement.url = answer.url
            if judgement.settled:
                self._evidence.was_taken(number)
        return answer, judgement

    def _rest(self, payload: Payload, judgement: Judgement) -> Payload:
        """What is to be sent again."""
        if len(judgement.retry) == payload.count:
            return payload
        return self.prepare(chosen(self._records(payload), payload.spans, list(judgement.retry)))

    def _records(self, payload: Payload) -> list[bytes]:
        return records_of(unpack(payload.body) if payload.packed else payload.body, lines_each=2)

    async def _bury(self, payload: Payload, judgement: Judgement) -> int:
        """Keep refused records; tries until that is possible. Returns their file bytes."""
        records = self._records(payload)
        refused = [(records[index], refusal) for index, refusal in judgement.rejected.items()]
        backoff = new_backoff()
        while not await self.letters.keep(refused):
            await self._pause(backoff)
        return sum(payload.spans[index] for index in judgement.rejected)

    def _note_trouble(self, trouble: Trouble) -> None:
        """Sending does not work at all: say so, loudly where a person has to act, and not at every attempt."""
        now = monotonic()
        is_to_be_said = self._circuit.failed(trouble, now)
        self._metrics.troubled(trouble)
        self._ctx.health.set("delivery", State.DEGRADED, trouble.text)
        if is_to_be_said:
            say = self._ctx.log.error if trouble.held else self._ctx.log.warning
            action = "delivery.held" if trouble.held else "delivery.failed"
            for_seconds = round(now - self._circuit.since, 1)
            attempts = self._circuit.attempts
            say(trouble.text, action=action, reason=trouble.reason, failed_attempts=attempts, for_seconds=for_seconds)

    def _clear(self, but_for: str = "") -> None:
        """A request was answered as it should be: whatever the trouble was, it is over; `but_for` one reason."""
        trouble = self._circuit.trouble
        if trouble and trouble.reason == but_for:
            return
        if not self._circuit.is_closed:
            self._backoff.reset()
            self._metrics.troubled(None)
            lasted_seconds = round(monotonic() - self._circuit.since, 1)
            if self._circuit.answered():
                self._ctx.log.info("delivering again", action="delivery.recovered", after_seconds=lasted_seconds)
        self._ctx.health.set("delivery", State.OK)

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


def new_backoff() -> Backoff:
    """Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/"""
    return Backoff(_BASE_SECONDS, _CAP_SECONDS, random.random)


def _step(answer: Answer) -> Advice:
    return advice(answer.status, answer.body) if answer.status else Advice.RETRY


def _trouble_of(answer: Answer, judgement: Judgement | None, records: int) -> Trouble:
    """Why a request settled nothing."""
    if not answer.status:
        return failed(answer.reason, answer.detail)
    if judgement is not None and judgement.cause is not None:
        return refused(judgement.cause_reason, judgement.cause, answer.url)
    if _step(answer) is Advice.JUDGE:
        return failed("unknown", f"{answer.url} answered with {what_it_is(answer, records)}")
    if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
        leads_to = answer.location or "an address that it does not name"
        return failed("redirect", f"{answer.url} answered HTTP {answer.status}, a redirect to {leads_to}")
    refusal = whole_refusal(answer)
    return refused(reason_of(refusal), refusal, answer.url)
