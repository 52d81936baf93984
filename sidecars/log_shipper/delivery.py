"""Deliver a batch: send, judge the reply, send again what is not settled, until every record has one outcome.

There is no end to trying. While sending as such is refused or unreachable, one request at a time probes, with
full-jitter pauses, and the others wait for it; what was read stays in memory and in its file.
"""

import asyncio
import random
from http import HTTPStatus
from typing import Protocol

from sidecars.runtime import Backoff, Context, State

from .compress import pack, unpack
from .core.batch import Payload, chosen, halves, records_of
from .core.bulk import Advice, Answer, Judgement, advice, judge, request_reason, whole_refusal
from .core.choices import Compression, IdMode, Output
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
        self._letters = DeadLetters(settings, ctx, metrics)
        self._probe = asyncio.Lock()
        self._trouble = ""
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

    async def deliver(self, payload: Payload) -> int:
        """Settle every record of the payload; returns the file bytes that went into the dead-letter file."""
        waiting = [payload] if payload.count else []
        backoff = new_backoff()
        dead_bytes = 0
        while waiting:
            payload = waiting.pop()
            judgement = await self._judged(payload)
            if judgement is None:
                waiting += [self.prepare(half) for half in halves(self._records(payload), payload.spans)]
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

    async def _judged(self, payload: Payload) -> Judgement | None:
        """Send until there is an answer that says something about the records; None asks for smaller requests."""
        overloads = 0
        while True:
            if not self._trouble:
                answer, judgement = await self._attempt(payload)
            else:
                async with self._probe:
                    if self._trouble:
                        await self._pause(self._backoff)
                    answer, judgement = await self._attempt(payload)
            step = _step(answer)
            if judgement is not None and not (judgement.forbidden and len(judgement.retry) == payload.count):
                self._clear()
                return judgement
            if step is Advice.SPLIT:
                self._clear()
                return None if payload.count > 1 else Judgement(rejected={0: whole_refusal(answer)})
            self._note_trouble(answer if judgement is None else Answer(403, answer.body), payload)
            overloads += answer.status == HTTPStatus.TOO_MANY_REQUESTS
            if overloads >= _OVERLOADS and payload.count > 1 and sum(payload.spans) > _SMALL_BYTES:
                return None

    async def _attempt(self, payload: Payload) -> tuple[Answer, Judgement | None]:
        """One request, and what it says of each record if it does."""
        with self._metrics.request_seconds.time(), self._ctx.tracer.start_as_current_span("bulk") as span:
            span.set_attribute("records", payload.count)
            answer = await self._transport.send(payload)
            span.set_attribute("http.response.status_code", answer.status)
        for reason in answer.failovers:
            self._metrics.retries.labels(reason).inc(payload.count)
        if answer.accepted:
            return answer, Judgement(written=payload.count)
        if _step(answer) is not Advice.JUDGE:
            return answer, None
        judgement = judge(answer.body, payload.count, own_ids=self._own_ids)
        return (answer if judgement else _UNREADABLE), judgement

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
        while not await self._letters.keep(refused):
            await self._pause(backoff)
        return sum(payload.spans[index] for index in judgement.rejected)

    def _note_trouble(self, answer: Answer, payload: Payload) -> None:
        """Sending does not work at all: say so, loudly where a person has to act, and not at every attempt."""
        reason = answer.reason or request_reason(answer.status)
        refusal = whole_refusal(answer)
        detail = answer.detail or f"HTTP {answer.status}: {refusal.reason or refusal.type}"
        self._metrics.retries.labels(reason).inc(payload.count)
        held = _step(answer) is Advice.HOLD or reason in ("credentials", "tls")
        self._metrics.held.set(held)
        text = f"cannot deliver: {detail}. {_REMEDIES.get(reason, 'It is tried again.')} Nothing is lost meanwhile."
        if held:
            self._ctx.log.error(text, action="delivery.held", every_seconds=30, reason=reason)
        else:
            self._ctx.log.warning(text, action="delivery.failed", every_seconds=30, reason=reason)
        self._trouble = reason
        self._ctx.health.set("delivery", State.DEGRADED, text)

    def _clear(self) -> None:
        """A request was answered as it should be."""
        if self._trouble:
            self._trouble = ""
            self._backoff.reset()
            self._metrics.held.set(0)
            self._ctx.log.info("delivering again", action="delivery.recovered")
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


_UNREADABLE = Answer(HTTPStatus.OK, reason="unknown", detail="the reply to the bulk request is none")
"""Cut, garbled, or the page of somebody else: nobody knows what became of the records."""
_REMEDIES = {
    "forbidden": "Check the credentials (api_key_file, or username and password_file) and their privileges.",
    "credentials": "Check that the file exists and can be read.",
    "status_4xx": "Check elasticsearch_url, and that the target exists (--setup makes the data stream's template).",
    "tls": "Check ca_file, and the host name in elasticsearch_url.",
    "output": "Make room, or correct the path.",
    "unknown": "Check that elasticsearch_url leads to Elasticsearch.",
}
