"""Wires the log shipper: one task reads, some send, one keeps the checkpoint; and the order of the stop."""

import asyncio
from typing import Any

from sidecars.runtime import Context, OneShot, Sidecar
from sidecars.runtime.clock import monotonic

from .check import elasticsearch_findings, findings, refuse_start
from .core.batch import Batch, Payload
from .core.choices import Lifecycle, Output
from .core.grace import StopStep
from .metrics import ShipperMetrics, every_metric
from .sending.dead_letters import DeadLetters
from .sending.delivery import Delivery, Transport
from .sending.elastic import Elastic
from .sending.outputs import NdjsonFile, Stdout
from .settings import LogShipperSettings
from .stopping import DeliveryProgress, Stopping
from .tailing.checkpoint_file import StateFolder
from .tailing.loop import Tailing

_HELD_BATCHES = 8
"""So many batches more than `requests` may be in delivery: those that are held do not keep others from being tried."""


class Shipper:
    """All parts, and what passes between them: batches out, settlements back."""

    def __init__(
        self, settings: LogShipperSettings, ctx: Context, metrics: ShipperMetrics, transport: Transport
    ) -> None:
        """Take up the work where the checkpoint left it."""
        self._settings = settings
        self._ctx = ctx
        self._metrics = metrics
        self._transport = transport
        self._dead_letters = DeadLetters(settings, ctx, metrics)
        self._delivery = Delivery(settings, ctx, metrics, transport, self._dead_letters)
        self._state = StateFolder(settings.state_dir, ctx, metrics)
        self._tailing = Tailing(settings, ctx, metrics, self._state.load(), self._hand_on)
        self._stopping = Stopping(settings, ctx, self._progress)
        self._queue: asyncio.Queue[tuple[Batch, Payload]] = asyncio.Queue()  # bounded by in_flight_bytes
        self._naming = asyncio.Lock()
        self._saved_decisions = 0
        metrics.watch(self._tailing.figures, self._tailing.closed_files, self._state.age_seconds)
        ctx.admin.status(self._status)

    async def run(self) -> None:
        """Tail, send and save at the same time, until the stop is asked for; then the stop in its order."""
        try:
            async with asyncio.TaskGroup() as tasks:
                senders = range(self._settings.requests + _HELD_BATCHES)
                workers = [tasks.create_task(self._send(), name=f"send-{number}") for number in senders]
                workers.append(tasks.create_task(self._state.keep_saving(self._tailing.checkpoint), name="checkpoint"))
                workers.append(tasks.create_task(self._notice_stop(), name="notice-stop"))
                await self._tail()
                await self._stop(workers)
        finally:  # also when it crashed: among other sidecars in one process it is started again
            self._tailing.close()
            self._state.close()
            await self._transport.close()

    async def _tail(self) -> None:
        while not self._ctx.stop.requested:
            await self._tailing.step()
            self._ctx.health.mark_started()
            if not self._ctx.stop.requested:
                await self._tailing.wait()

    async def _stop(self, workers: list[asyncio.Task[None]]) -> None:
        """Do the steps of the stop, each within its share of the grace."""

        async def hang_up() -> None:
            for worker in workers:
                worker.cancel()
            await asyncio.wait(workers)

        async def save() -> None:
            await self._state.save(self._tailing.checkpoint())

        self._tailing.look()
        cut = await self._stopping.run(
            {
                StopStep.QUIET: self._until_quiet,
                StopStep.DRAIN: self._drain,
                StopStep.HANG_UP: hang_up,
                StopStep.SAVE: save,
            }
        )
        self._tailing.look()
        self._stopping.conclude(cut)

    async def _until_quiet(self) -> None:
        """Tail on until the app is silent, which got SIGTERM when we did and still writes."""
        began = monotonic()

        def left_seconds() -> float:
            return max(began, self._tailing.last_growth) + self._settings.quiet_seconds - monotonic()

        while left_seconds() > 0:
            await self._tailing.step()
            await self._tailing.wait(at_most_seconds=max(0.0, left_seconds()))

    async def _drain(self) -> None:
        """Scan once more, read all files to their end, half lines too, and wait until all of it is settled."""
        while True:
            any_read = await self._tailing.step(final=True)
            if not any_read and self._tailing.is_settled and (self._is_quiet() or self._is_native):
                return
            if not any_read:
                await self._tailing.wait()

    @property
    def _is_native(self) -> bool:
        return self._settings.lifecycle is Lifecycle.NATIVE

    def _is_quiet(self) -> bool:
        """Return whether no file grew for `quiet_seconds`."""
        return monotonic() - self._tailing.last_growth >= self._settings.quiet_seconds

    async def _notice_stop(self) -> None:
        await self._ctx.stop.wait()
        self._delivery.hurry()
        self._tailing.wake()

    def _hand_on(self, batch: Batch) -> None:
        if batch.spans:
            self._queue.put_nowait((batch, batch.take_payload(self._transport.pack)))
        else:
            self._settle(batch, 0)

    async def _send(self) -> None:
        """Deliver one batch after the other; how many requests are under way at once is up to `delivery`."""
        while True:
            await self._deliver(*await self._queue.get())  # nothing here holds a batch while the next one is waited for

    async def _deliver(self, batch: Batch, payload: Payload) -> None:
        await self._save_decisions()
        self._settle(batch, await self._delivery.deliver(payload, batch.acknowledge))

    async def _save_decisions(self) -> None:
        """Save who a file is before its first line is sent: should we be killed and the file be copied and truncated
        meanwhile, its lines are recognised in the copy.
        """
        async with self._naming:
            decisions = self._tailing.decisions
            if decisions > self._saved_decisions:
                await self._state.save(self._tailing.checkpoint())
                self._saved_decisions = decisions

    def _settle(self, batch: Batch, dead_bytes: int) -> None:
        """Move the low watermarks: every record of the batch has its outcome."""
        self._metrics.settled(batch.file_bytes, dead_bytes)
        self._state.moved()
        self._tailing.settle(batch)

    def _progress(self) -> DeliveryProgress:
        return DeliveryProgress(self._tailing.undelivered(), self._delivery.diagnosis, self._dead_letters.kept)

    def _status(self) -> dict[str, Any]:
        """Return what /status shows."""
        return {
            "output": self._settings.destination.value,
            "target": self._settings.target,
            "in_flight_bytes": self._tailing.in_flight_bytes,
            "delivery": self._delivery.status(),
            "dead_letters": self._dead_letters.status(),
            "closed_files": self._tailing.closed_files(),
            "files": self._tailing.status(),
        }


async def main(settings: LogShipperSettings, ctx: Context) -> None:
    """Ship until the stop."""
    metrics = ShipperMetrics(ctx.metrics)
    await Shipper(settings, ctx, metrics, transport_of(settings, ctx, metrics)).run()


def transport_of(settings: LogShipperSettings, ctx: Context, metrics: ShipperMetrics) -> Transport:
    """Return what the settings say that payloads go to."""
    match settings.destination:
        case Output.ELASTICSEARCH:
            return Elastic(settings, ctx.stop, metrics.hedged)
        case Output.FILE:
            return NdjsonFile(settings.output_path)
        case _:
            return Stdout()


async def setup(settings: LogShipperSettings, _ctx: Context) -> int:
    """Make or update the data stream's template, once."""
    from .sending.template import set_up  # the running agent does not need it

    return await set_up(settings)


SIDECAR = Sidecar(
    name="log-shipper",
    settings=LogShipperSettings,
    main=main,
    oneshots=(
        OneShot(
            "setup",
            "create or update the index template of the data stream in Elasticsearch, say what changed, and exit",
            setup,
            unneeded=("paths",),
        ),
    ),
    refuse_start=refuse_start,
    metrics=every_metric,
    check=findings,
    check_outside=elasticsearch_findings,
)
