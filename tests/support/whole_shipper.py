"""The whole log shipper in this process, on virtual time: real files, and a backend that is a dictionary.

    async with stage.running(batch_seconds=0) as ctx:       # the fixture `stage` of tests/agents/log_shipper
        stage.write(100)
        await passes(1)
        stage.assert_all_arrived()

Whoever leaves the block has asked the shipper to stop; it ends by itself, and its books have to balance.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sidecars.log_shipper.agent import Shipper
from sidecars.log_shipper.core.batch import Payload, records_of
from sidecars.log_shipper.core.bulk import Answer
from sidecars.log_shipper.metrics import ShipperMetrics
from sidecars.log_shipper.sending.outputs import PlainTransport
from sidecars.runtime import Context
from tests.support.context import context, metric, passes, settings
from tests.support.reading import write

FOREVER_SECONDS = 1e6


def clock() -> float:
    """The virtual time, in seconds."""
    return asyncio.get_running_loop().time()


class Memory(PlainTransport):
    """Keeps documents by their id. While it is `down` it refuses, while it `hangs` it never answers; `busy` says which
    messages are refused with a 429 for now, and `spoilt` which for good.
    """

    def __init__(self) -> None:
        self.documents: dict[str, str] = {}
        self.down = False
        self.hangs = False
        self.busy: Callable[[str], bool] = lambda _: False
        self.spoilt: Callable[[str], bool] = lambda _: False
        self.requests = 0
        self.before_answer: Callable[[Payload], None] = lambda _: None
        self.closed = False

    async def send(self, payload: Payload) -> Answer:
        self.requests += 1
        self.before_answer(payload)
        await passes(FOREVER_SECONDS if self.hangs else 0.01)
        if self.down:
            return Answer(503)
        return Answer(200, json.dumps({"items": [self._take(record) for record in self.records(payload)]}).encode())

    async def close(self) -> None:
        self.closed = True

    @property
    def messages(self) -> list[str]:
        return sorted(self.documents.values())

    @staticmethod
    def records(payload: Payload) -> list[tuple[str, str]]:
        """The id and the message of each."""
        pairs = [record.split(b"\n") for record in records_of(payload.body, lines_each=2)]
        return [(json.loads(action)["create"]["_id"], json.loads(text)["message"]) for action, text, _ in pairs]

    def _take(self, record: tuple[str, str]) -> dict[str, Any]:
        name, message = record
        if self.busy(message):
            return {"create": {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "busy"}}}
        if self.spoilt(message):
            return {"create": {"status": 400, "error": {"type": "document_parsing_exception", "reason": "no"}}}
        status = 409 if name in self.documents else 201
        self.documents[name] = message
        return {"create": {"status": status}}


class WholeShipper:
    """A folder with one log, the backend, and the shipper's log lines."""

    def __init__(self, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
        self.folder, self.backend, self._caplog = folder, Memory(), caplog
        self.log = folder / "logs" / "app.log"
        self.log.parent.mkdir()
        self.checkpoint = folder / "state" / "checkpoint.json"
        self.lines: list[str] = []
        self.ctx: Context = context()

    def write(self, count: int) -> None:
        """So many lines more."""
        self.append(*[f"line {number:06d}" for number in range(len(self.lines), len(self.lines) + count)])

    def append(self, *lines: str, end: str = "\n") -> None:
        """These lines; without `end` the last one is a half one."""
        write(self.log, *lines, end=end)
        self.lines += lines

    @asynccontextmanager
    async def running(self, grace_seconds: float = 30.0, **given: object) -> AsyncIterator[Context]:
        """One life of a shipper with these settings."""
        self.ctx = ctx = context(grace_seconds)
        usual = {"paths": (f"{self.log.parent}/*.log",), "state_dir": str(self.checkpoint.parent), "pod_uid": "4ba0"}
        metrics = ShipperMetrics(ctx.metrics)
        shipper = Shipper(settings(**{**usual, **given}), ctx, metrics, self.backend)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(shipper.run())
            yield ctx
            self.ctx.stop.request("SIGTERM")
        self.assert_law()

    def files(self) -> list[dict[str, Any]]:
        """The files that /status shows."""
        shown: list[dict[str, Any]] = self.ctx.admin.shown()["files"]
        return shown

    def lag(self) -> tuple[float, float]:
        """Of the log, in bytes and in seconds."""
        return metric(self.ctx, "lag_bytes", file=str(self.log)), metric(self.ctx, "lag_seconds", file=str(self.log))

    def said(self, action: str) -> list[dict[str, Any]]:
        """The fields of the log lines with this action, in all lives."""
        lines = [line for line in self._caplog.records if getattr(line, "action", "") == action]
        return [line.fields for line in lines]  # type: ignore[attr-defined]

    def assert_all_arrived(self) -> None:
        """Each line once, and nothing else."""
        assert self.backend.messages == sorted(self.lines)

    def assert_law(self) -> None:
        """Bytes read = acknowledged + dead-lettered + in flight."""
        read, *ways = (metric(self.ctx, f"{name}_bytes_total") for name in ("read", "acknowledged", "dead_letter"))
        assert read == sum(ways) + metric(self.ctx, "in_flight_bytes")
