"""A task that is started again when it crashes."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from .backoff import Backoff
from .clock import monotonic
from .sidecar import Context

BASE_SECONDS = 1.0
CAP_SECONDS = 60.0


async def supervise(
    name: str, work: Callable[[], Awaitable[object]], ctx: Context, backoff: Backoff | None = None
) -> None:
    """Run `work()` until it returns or the stop is requested; when it raises, log, count and start it again after a
    back-off.

    Each crash counts in `task_restarts_total{task}`. The back-off starts anew when a run lasted longer than
    CAP_SECONDS. Cancellation passes; a CancelledError that nobody asked for is a crash like any other.
    """
    restarts = ctx.metrics.counter("task_restarts", "Crashed tasks that were started again.", ("task",)).labels(name)
    delays = backoff or Backoff(BASE_SECONDS, CAP_SECONDS, random.random)
    while True:
        began = monotonic()
        try:
            await work()
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                raise
            ctx.log.error("a task crashed", action="task.crashed", task=name, error=error)
        else:
            return
        if monotonic() - began > CAP_SECONDS:
            delays.reset()
        delay_seconds = delays.next()
        if await ctx.stop.sleep(delay_seconds):
            return
        restarts.inc()
        ctx.log.info(
            "starting the task again", action="task.restarted", task=name, after_seconds=round(delay_seconds, 3)
        )


def _is_cancelled() -> bool:
    """Return whether somebody cancelled this task. A future that was cancelled raises the same error in its waiter."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
