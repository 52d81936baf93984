"""Deliver a batch: send, judge the reply, send again what is not settled, until every record has one outcome.

There is no end to trying. While sending as such is refused or unreachable, one request at a time probes, with
full-jitter pauses, and the others wait for it (`core.circuit`); what was read stays in memory and in its file.
"""

import asyncio
import itertools
import random
from collections import deque
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Protocol

import msgspec

from sidecars.log_shipper.core.batch import Payload, chosen, halves, records_of
from sidecars.log_shipper.core.bulk import (
    Advice,
    Answer,
    Judgement,
    advice,
    judge,
    reason_of,
    what_it_is,
    whole_refusal,
)
from sidecars.log_shipper.core.choices import Compression, IdMode, Output
from sidecars.log_shipper.core.circuit import Circuit
from sidecars.log_shipper.core.evidence import Evidence, FirstRefusal
from sidecars.log_shipper.core.trouble import Trouble, failed, refused
from sidecars.log_shipper.metrics import ShipperMetrics
from sidecars.log_shipper.settings import LogShipperSettings
from sidecars.runtime import Backoff, Context, State
from sidecars.runtime.clock import monotonic

from .compress import pack, unpack
from .dead_letters import DeadLetters
from .turns import Turns

_BASE_SECONDS = 0.1
_CAP_SECONDS = 5.0
_OVERLOADS = 3
"""So many 429s for one request, and it goes on in halves: one that is larger than what the server takes in at once
(indexing_pressure.memory.limit) is refused for ever, however idle the server is."""
_SMALL_BYTES = 32 << 10
"""Bytes of log in a request that is not called too large: then it is the load or a limit, and not the size."""
_STUCK_SECONDS = 10.0
"""When records of a batch have not been taken for so long while others were, that is said."""
_HURRIED_SECONDS = 1.0
"""No pause is longer than this once the sidecar is stopping: the backend may come back within the grace."""


class Transport(Protocol):
    """Where payloads go."""

    async def send(self, payload: Payload) -> Answer:
        """One attempt; failures are answers."""

    async def close(self) -> None:
        """Let go of connections."""


class _Case:
    """What is known of one batch while it is delivered."""

    def __init__(self) -> None:
        self.backoff = new_backoff()
        self.mark: FirstRefusal | None = None
        """When nothing of what was left of it was taken for the first time."""
        self.taken_in_part = False
        self.tries = 0
        """Refusals for unclear reasons."""


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
        self._stuck: dict[_Case, Trouble] = {}
        """Batches of which some records are held while others go through."""
        self._probe = asyncio.Lock()
        self._slots = Turns(settings.requests)
        self._ages = itertools.count()
        self._backoff = new_backoff()
        self._hurry = asyncio.Event()

    def prepare(self, payload: Payload) -> Payload:
        """Compress, if so configured: done before queueing, so what waits for a dead backend is small."""
        if not self._packs or payload.packed or not payload.count:
            return payload
        return msgspec.structs.replace(payload, body=pack(payload.body), packed=True)

    def hurry(self) -> None:
        """The sidecar is stopping: cut pauses short."""
        self._hurry.set()

    @property
    def trouble(self) -> Trouble | None:
        """Why nothing goes through at present, or why a part does not."""
        return self._circuit.trouble or next(iter(self._stuck.values()), None)

    def status(self) -> dict[str, Any]:
        """For /status."""
        circuit, trouble = self._circuit, self.trouble
        shown: dict[str, Any] = {"circuit": circuit.state.value, "held": bool(trouble and trouble.held)}
        if trouble:
            shown |= {"reason": trouble.reason, "message": trouble.text}
        if not circuit.is_closed:
            shown |= {"failed_attempts": circuit.attempts, "for_seconds": round(monotonic() - circuit.since, 1)}
        return shown

    async def deliver(self, payload: Payload, acknowledged: Callable[[Sequence[int]], None] = lambda _: None) -> int:
        """Settle every record of the payload; returns the file bytes that went into the dead-letter file. Records that
        are settled before others are told to `acknowledged`, by their numbers.
        """
        payload.age = next(self._ages)
        waiting = deque([payload] if payload.count else ())
        case = _Case()
        dead_bytes = 0
        while waiting:
            payload = waiting.pop()
            judgement = await self._judged(payload)
            if judgement is None:
                self._suspect(case, payload.count)
                waiting += [self.prepare(half) for half in halves(self._records(payload), payload)]
                continue
            if not judgement.settled:
                self._find_fault(judgement, case, payload.count)
            if judgement.rejected:
                dead_bytes += await self._bury(payload, judgement)
            self._metrics.count(judgement)
            if not judgement.settled:
                waiting.appendleft(payload)  # the others first: one that is taken is a witness
                if self._circuit.is_closed and len(waiting) == 1:
                    await self._pause(case.backoff)
                continue
            if judgement.retry:
                case.taken_in_part = True
                waiting.append(self._rest(payload, judgement))
            if waiting:
                acknowledged([payload.number(at) for at in range(payload.count) if at not in judgement.retry])
            if judgement.retry:
                case.backoff.reset()
                await self._pause(case.backoff)
        self._forget(case)
        return dead_bytes

    def _suspect(self, case: _Case, records: int) -> FirstRefusal:
        """Records were refused for what may be their own fault."""
        if case.mark is None:
            case.mark = self._evidence.mark(monotonic())
            self._evidence.refused(records)
        return case.mark

    def _find_fault(self, judgement: Judgement, case: _Case, records: int) -> None:
        """Nothing of a request was taken. If that is about its records they are rejected; if it is about the target the
        circuit opens; and if it is about the target of these records only, that is said.
        """
        now = monotonic()
        if judgement.unclear:
            mark = self._suspect(case, records)
            if self._evidence.is_about_record(mark, now, needs_witness=judgement.whole):
                judgement.rejected, judgement.unclear = judgement.unclear, {}
                return
            case.tries += 1
            trouble = refused("unclear", next(iter(judgement.unclear.values())), judgement.url)
            judgement.retry |= dict.fromkeys(judgement.unclear, "unclear")
            judgement.unclear = {}
            if not self._circuit.is_closed or self._evidence.is_trouble(case.tries):
                self._note_trouble(trouble)
            return
        mark = case.mark = case.mark or self._evidence.mark(now)
        if judgement.broke and self._evidence.is_poison(mark, now):
            judgement.rejected = judgement.broke
            judgement.retry = {index: why for index, why in judgement.retry.items() if index not in judgement.broke}
            return
        trouble = _trouble_of_items(judgement)
        if not (case.taken_in_part or self._evidence.was_taken_since(mark)):
            self._note_trouble(trouble)
        elif now - mark.at >= _STUCK_SECONDS:
            self._stuck[case] = trouble
            self._show(trouble, is_to_be_said=self._circuit.is_to_be_said(trouble.kind, now))

    def _forget(self, case: _Case) -> None:
        """The batch is settled."""
        if self._stuck.pop(case, None):
            self._show(self.trouble, is_to_be_said=False)

    async def _judged(self, payload: Payload) -> Judgement | None:
        """Send until there is an answer that says something about the records; None asks for smaller requests."""
        overloads = 0
        while True:
            answer, judgement = await self._sent(payload)
            if judgement is None and _step(answer) is Advice.SPLIT:
                self._clear(but_for="unclear")
                return None if payload.count > 1 else _of_one(answer, payload)
            if judgement is not None:
                if judgement.settled:
                    self._clear()
                elif judgement.unclear:
                    self._clear(but_for="unclear")
                return judgement
            trouble = _trouble_of(answer, payload.count)
            self._metrics.retries.labels(trouble.reason).inc(payload.count)
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
        async with self._slots.turn(payload.age):
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
        return self.prepare(chosen(self._records(payload), payload, list(judgement.retry)))

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
        """Sending does not work at all."""
        self._show(trouble, is_to_be_said=self._circuit.failed(trouble, monotonic()))

    def _show(self, trouble: Trouble | None, *, is_to_be_said: bool) -> None:
        """Health and metrics; the log not at every attempt, and loudly where a person has to act."""
        self._metrics.troubled(trouble)
        if trouble is None:
            self._ctx.health.set("delivery", State.OK)
            return
        self._ctx.health.set("delivery", State.DEGRADED, trouble.text)
        if is_to_be_said:
            say = self._ctx.log.error if trouble.held else self._ctx.log.warning
            action = "delivery.held" if trouble.held else "delivery.failed"
            circuit = self._circuit
            lasts: dict[str, object] = {}
            if not circuit.is_closed:
                lasts = {"failed_attempts": circuit.attempts, "for_seconds": round(monotonic() - circuit.since, 1)}
            say(trouble.text, action=action, reason=trouble.reason, **lasts)

    def _clear(self, but_for: str = "") -> None:
        """A request was answered as it should be: whatever the trouble was, it is over; `but_for` one reason."""
        trouble = self._circuit.trouble
        if trouble and trouble.reason == but_for:
            return
        if not self._circuit.is_closed:
            self._backoff.reset()
            lasted_seconds = round(monotonic() - self._circuit.since, 1)
            if self._circuit.answered():
                self._ctx.log.info("delivering again", action="delivery.recovered", after_seconds=lasted_seconds)
            self._show(self.trouble, is_to_be_said=False)
        elif not self._stuck:
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


def _of_one(answer: Answer, payload: Payload) -> Judgement:
    """A request of one record was refused as a whole: too large is its own fault if it is large at all."""
    refusal = whole_refusal(answer)
    if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and sum(payload.spans) > _SMALL_BYTES:
        return Judgement(rejected={0: refusal}, url=answer.url)
    return Judgement(unclear={0: refusal}, url=answer.url, whole=True)


def _trouble_of(answer: Answer, records: int) -> Trouble:
    """Why a request as a whole came to nothing."""
    if not answer.status:
        return failed(answer.reason, answer.detail)
    if _step(answer) is Advice.JUDGE:
        return failed("unknown", f"{answer.url} answered with {what_it_is(answer, records)}")
    if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
        leads_to = answer.location or "an address that it does not name"
        return failed("redirect", f"{answer.url} answered HTTP {answer.status}, a redirect to {leads_to}")
    refusal = whole_refusal(answer)
    return refused(reason_of(refusal), refusal, answer.url)


def _trouble_of_items(judgement: Judgement) -> Trouble:
    """Why no record of a request was taken."""
    if judgement.cause is None:
        return failed("unknown", f"{judgement.url} answered without a result for each record")
    return refused(judgement.cause_reason, judgement.cause, judgement.url)
