"""What comes while a generation is published: the thread that does it cannot be stopped, so it keeps its folder."""

import asyncio
import threading
from contextlib import suppress
from pathlib import Path

import msgspec

from sidecars.config_reloader.core.plan import Done, Plan, Verdict, items_of
from sidecars.config_reloader.journey import Journey
from sidecars.config_reloader.mailbox import Order
from sidecars.config_reloader.metrics import ReloaderMetrics
from sidecars.config_reloader.notifying.notifier import Notifier
from sidecars.config_reloader.settings import ConfigReloaderSettings
from sidecars.config_reloader.surroundings import Surroundings
from sidecars.config_reloader.watching.detection import Detection
from sidecars.kit.generations import Generations
from tests.support.context import context

PATIENCE_SECONDS = 30.0


class SlowGenerations(Generations):
    """Publishes when it is let go."""

    def __init__(self, output: str) -> None:
        super().__init__(output, 0o644)
        self.begun, self.go, self.over = threading.Event(), threading.Event(), threading.Event()

    def publish(self, path: str) -> None:
        self.begun.set()
        self.go.wait(PATIENCE_SECONDS)
        super().publish(path)
        self.over.set()


async def publishing(folder: Path) -> tuple[SlowGenerations, Surroundings, asyncio.Task[Done]]:
    """A journey whose publication has begun."""
    (folder / "config").mkdir()
    (folder / "config" / "app.yaml").write_text("new")
    output = folder / "output"
    given = {"watch": [str(folder / "config")], "render": {"output": str(output)}}
    settings = msgspec.convert(given, ConfigReloaderSettings)
    ctx = context(name="config-reloader")
    metrics = ReloaderMetrics(ctx.metrics)
    detection = Detection(settings, ctx, metrics)
    shared = Surroundings(ctx, metrics, detection, Notifier(), settings.render)
    slow = shared.generations = SlowGenerations(str(output))
    digest, _ = await detection.contents()
    journey = Journey(shared, Order(digest, 0.0, 0.0), Plan(items_of((), renders=True)))

    async def run() -> Done:
        async with asyncio.TaskGroup() as tasks:
            return await journey.run(tasks)

    task = asyncio.get_running_loop().create_task(run())
    assert await asyncio.to_thread(slow.begun.wait, PATIENCE_SECONDS)
    return slow, shared, task


async def test_newer_content_waits_for_it(tmp_path: Path) -> None:
    slow, shared, task = await publishing(tmp_path)
    shared.mailbox.put(Order("newer", 0.0, 0.0))
    slow.go.set()
    assert (await task).verdict in {Verdict.APPLIED, Verdict.SUPERSEDED}
    assert (tmp_path / "output" / "app.yaml").read_text() == "new"
    assert shared.touched, "the app may read the new generation"


async def test_a_stop_leaves_it_alone(tmp_path: Path) -> None:
    slow, _, task = await publishing(tmp_path)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    slow.go.set()
    assert await asyncio.to_thread(slow.over.wait, PATIENCE_SECONDS)
    assert (tmp_path / "output" / "app.yaml").read_text() == "new"
