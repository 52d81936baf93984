"""The event loop's frame: an exit that nothing can hold up.

asyncio.run waits without limit for tasks that refuse to be cancelled and for threads that hang, and resets the signal
handlers to "kill" while the process is still leaving. A sidecar has a deadline from the kubelet and must exit with
the status it means.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sidecars.runtime.clock import monotonic
from sidecars.runtime.command.printing import settle_stdout

from .signals import SIGNALS

CANCEL_SECONDS = 1.0  # how long a cancelled main may take to end
TASKS_SECONDS = 1.0  # how long left-over tasks may take to end
THREADS_SECONDS = 0.3  # and then left-over threads: most often one that looks up a name, whose answer nobody awaits
THREADS = 32  # made on demand; names of many hosts are looked up at once, and one that hangs must not hold up the rest


def run_loop(main: Coroutine[Any, Any, int], abandoned: Callable[[str], None]) -> int:
    """Run `main` on a new loop and return its status. Call `abandoned` with the names of what is still busy afterwards,
    if anything is, and then end the process at once.
    """
    loop = asyncio.new_event_loop()
    executor = ThreadPoolExecutor(THREADS, "sidecar")
    loop.set_default_executor(executor)
    try:
        status = loop.run_until_complete(main)
    finally:
        SIGNALS.ignore()
        busy = loop.run_until_complete(_end_tasks())
        executor.shutdown(wait=False, cancel_futures=True)
        busy += _end_threads()
        loop.close()
    if busy:
        abandoned(", ".join(busy))
        os._exit(status)  # the interpreter's own exit would wait for them, and for a stdout that nobody reads
    settle_stdout()
    return status


async def _end_tasks() -> list[str]:
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    if rest:
        _, rest = await asyncio.wait(rest, timeout=TASKS_SECONDS)
    return [f"task {task.get_name()}" for task in rest]


def _end_threads() -> list[str]:
    threads = [
        thread for thread in threading.enumerate() if not thread.daemon and thread is not threading.main_thread()
    ]
    deadline = monotonic() + THREADS_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - monotonic()))
    return [f"thread {thread.name}" for thread in threads if thread.is_alive()]
