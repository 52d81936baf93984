"""Wires the log shipper: one task reads, some send, one keeps the checkpoint; and the order of the stop."""

import asyncio
from typing import Any

from sidecars.runtime import Context, Flag, Sidecar
from sidecars.runtime.clock import monotonic

from .check import elasticsearch_findings, findings
from .core import grace
from .core.batch import Batch, Payload
from .core.checkpoint import Checkpoint
from .core.choices import Lifecycle, Output
from .core.grace import StopStep
from .metrics import ShipperMetrics, every_metric
from .sending.dead_letters import DeadLetters
from .sending.delivery import Delivery, Transport
from .sending.elastic import Elastic
from .sending.outputs import NdjsonFile, Stdout
from .settings import LogShipperSettings
from .stopping import Report, take
from .tailing.checkpoint_file import StateFolder
from .tailing.discovery import Globs
from .tailing.follow import Following, allowed
from .tailing.loop import Tailing, host_name
from .tailing.reader import Reader, shape_of

_MORE = 8
"""So many batches more than `requests` may be in delivery: those that are held do not keep others from being tried."""


class Shipper:
    """All parts, and what passes between them: batches out, settlements back."""

    def __init__(self, settings: LogShipperSettings, ctx: Context) -> None:
        self._settings = settings
        self._ctx = ctx
        self._metrics = ShipperMetrics(ctx.metrics)
        self._transport = _transport(settings, ctx, self._metrics)
        self._dead_letters = DeadLetters(settings, ctx, self._metrics)
        self._delivery = Delivery(settings, ctx, self._metrics, self._transport, self._dead_letters)
        self._tailing = Tailing(settings, ctx, self._metrics, self._hand_on)
        self._report = Report(settings, ctx, self._undelivered, lambda: self._delivery.diagnosis)
        self._state = StateFolder(settings.state_dir, ctx, self._metrics)
        self._naming = asyncio.Lock()
        self._known = 0
        self._queue: asyncio.Queue[tuple[Batch, Payload]] = asyncio.Queue()  # bounded by in_flight_bytes

    async def run(self) -> None:
        """Until the stop is asked for and all is delivered, or the time is up."""
        self._begin()
        try:
            await self._work()
        finally:  # also when it crashed: among other sidecars in one process it is started again
            self._tailing.close()
            self._state.close()
            await self._transport.close()

    async def _work(self) -> None:
        """Tail, send and save at the same time; then the stop in its order."""
        async with asyncio.TaskGroup() as tasks:
            helpers = [
                tasks.create_task(self._send(), name=f"send-{n}") for n in range(self._settings.requests + _MORE)
            ]
            helpers.append(tasks.create_task(self._state.keep_saving(self._checkpoint), name="checkpoint"))
            helpers.append(tasks.create_task(self._wake_at_stop(), name="wake-at-stop"))
            while not self._ctx.stop.requested:
                await self._tailing.step()
                self._ctx.health.mark_started()
                if not self._ctx.stop.requested:
                    await self._tailing.wait()
            await self._stop(helpers)

    async def _stop(self, helpers: list[asyncio.Task[None]]) -> None:
        """The steps of the stop, each within its share of the grace."""
        stop = self._ctx.stop
        steps = grace.steps(self._settings.lifecycle, stop.grace_seconds)

        async def hang_up() -> None:
            for helper in helpers:
                helper.cancel()
            await asyncio.wait(helpers)

        async def save() -> None:
            await self._state.save(self._checkpoint())

        work = {
            StopStep.QUIET: self._until_quiet,
            StopStep.DRAIN: self._to_the_end,
            StopStep.HANG_UP: hang_up,
            StopStep.SAVE: save,
        }
        self._tailing.look()
        async with asyncio.TaskGroup() as tasks:
            report = tasks.create_task(self._report.repeat(), name="report")
            cut = await take(steps, work, stop)
            report.cancel()
        self._tailing.look()
        self._report.end(self._dead_letters.kept, cut)

    def _begin(self) -> None:
        """Take up the work where the checkpoint left it."""
        settings = self._settings
        checkpoint = self._state.load()
        self._following = Following(Globs(settings.paths, settings.exclude, settings.own_files), checkpoint, allowed())
        scope = settings.pod_uid or f"{settings.pod_namespace}/{settings.pod_name or host_name()}"
        self._reader = Reader(settings, shape_of(settings), scope, self._following.ended)
        self._tailing.begin(self._following, self._reader)
        self._metrics.watch(self._following.tails.values, self._state.age_seconds)
        self._ctx.admin.status(self._status)

    def _hand_on(self, batch: Batch) -> None:
        payload = batch.payload()
        if payload.count:
            self._queue.put_nowait((batch, self._transport.pack(payload)))
            batch.texts.clear()
        else:
            self._settle(batch, 0)

    async def _send(self) -> None:
        """Deliver one batch after the other; how many requests are under way at once is up to `delivery`."""
        while True:
            batch, payload = await self._queue.get()
            await self._make_known()
            self._settle(batch, await self._delivery.deliver(payload, batch.acknowledge))

    async def _make_known(self) -> None:
        """Before the first line of a file is sent, who the file is stands in the checkpoint: should we be killed and
        the file be copied and truncated meanwhile, its lines are recognised in the copy.
        """
        async with self._naming:
            decisions = self._reader.decisions
            if decisions > self._known:
                await self._state.save(self._checkpoint())
                self._known = decisions

    def _settle(self, batch: Batch, dead_bytes: int) -> None:
        """Every record of the batch has its outcome: move the low watermarks."""
        for part in batch.parts:
            part.ledger.settle(part.segment)
        self._tailing.in_flight_bytes -= batch.file_bytes
        self._tailing.in_flight_records -= len(batch.spans)
        self._metrics.settled(batch.file_bytes, dead_bytes)
        self._state.moved()
        self._tailing.wake.set()

    async def _wake_at_stop(self) -> None:
        await self._ctx.stop.wait()
        self._delivery.hurry()
        self._tailing.wake.set()

    async def _until_quiet(self) -> None:
        """The app got SIGTERM when we did and still writes: tail on until it is silent."""
        begun = monotonic()

        def left() -> float:
            return max(begun, self._tailing.last_growth) + self._settings.quiet_seconds - monotonic()

        while left() > 0:
            await self._tailing.step()
            await self._tailing.wait(at_most_seconds=max(0.0, left()))

    def _is_quiet(self) -> bool:
        """Whether no file grew for `quiet_seconds`."""
        return monotonic() - self._tailing.last_growth >= self._settings.quiet_seconds

    async def _to_the_end(self) -> None:
        """Scan once more, read all files to their end, half lines too, and wait until all of it is settled."""
        while True:
            any_read = await self._tailing.step(final=True)
            settled = not any_read and not self._tailing.in_flight_bytes and not self._following.postponed
            if settled and (self._is_quiet() or self._settings.lifecycle is Lifecycle.NATIVE):
                return
            if not any_read:
                await self._tailing.wait()

    def _undelivered(self) -> dict[str, int]:
        """Bytes by file that nobody took yet, by the last look at the files."""
        found: dict[str, int] = {}
        for tail in self._following.tails.values():
            if tail.undelivered_bytes:
                found[tail.place] = found.get(tail.place, 0) + tail.undelivered_bytes
        return found

    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(self._following.positions(), self._following.ended.listed())

    def _status(self) -> dict[str, Any]:
        """For /status."""
        files = [
            {
                "path": tail.path,
                "place": tail.place,
                "inode": tail.key.inode,
                "size": tail.size_bytes,
                "read_offset": tail.ledger.read.offset,
                "acknowledged_offset": tail.ledger.committed.offset,
                "lag_bytes": tail.lag_bytes,
                "listed": tail.listed,
                "open": tail.fd is not None,
                "deleted": tail.deleted,
            }
            for tail in self._following.tails.values()
        ]
        return {
            "output": self._settings.destination.value,
            "target": self._settings.target,
            "in_flight_bytes": self._tailing.in_flight_bytes,
            "delivery": self._delivery.status(),
            "dead_letters": self._dead_letters.status(),
            "files": sorted(files, key=lambda item: str(item["path"])),
        }


async def main(settings: LogShipperSettings, ctx: Context) -> None:
    """Ship until the stop."""
    await Shipper(settings, ctx).run()


async def setup(settings: LogShipperSettings, _ctx: Context) -> int:
    """`--setup`: make or update the data stream's template, once."""
    from .sending.template import set_up  # the running agent does not need it

    return await set_up(settings)


def _transport(settings: LogShipperSettings, ctx: Context, metrics: ShipperMetrics) -> Transport:
    match settings.destination:
        case Output.ELASTICSEARCH:
            return Elastic(settings, ctx.stop, metrics.hedged)
        case Output.FILE:
            return NdjsonFile(settings.output_path)
        case _:
            return Stdout()


SIDECAR = Sidecar(
    name="log-shipper",
    settings=LogShipperSettings,
    main=main,
    summary="ship the lines of log files to Elasticsearch, nothing lost, nothing doubled",
    flags=(
        Flag(
            "setup",
            "create or update the index template of the data stream in Elasticsearch, say what changed, and exit",
            unneeded=("paths",),
        ),
    ),
    oneshots={"setup": setup},
    metrics=every_metric,
    check=findings,
    check_outside=elasticsearch_findings,
)
