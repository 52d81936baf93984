"""The event loop's frame: signals in, and an exit that nothing can hold up.

asyncio.run waits without limit for tasks that refuse to be cancelled and for threads that hang, and resets the signal
handlers to "kill" while the process is still leaving. A sidecar has a deadline from the kubelet and must exit with
the status it means.
"""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from sidecars.runtime.clock import monotonic
from sidecars.runtime.command.printing import settle_stdout

CRASHED = 1  # exit status
CANCEL_SECONDS = 1.0  # how long a cancelled main may take to end
TASKS_SECONDS = 1.0  # how long left-over tasks may take to end
THREADS_SECONDS = 0.3  # and then left-over threads: most often one that looks up a name, whose answer nobody awaits
SIGNALS = (signal.SIGTERM, signal.SIGINT)
THREADS = 32  # made on demand; names of many hosts are looked up at once, and one that hangs must not hold up the rest


def run_loop(main: Coroutine[Any, Any, int], abandoned: Callable[[str], None]) -> int:
    """Run `main` on a new loop and return its status. What is still busy afterwards is told to `abandoned`, and the
    process ends at once.
    """
    loop = asyncio.new_event_loop()
    executor = ThreadPoolExecutor(THREADS, "sidecar")
    loop.set_default_executor(executor)
    try:
        status = loop.run_until_complete(main)
    finally:
        # From here on a signal has nothing left to say; its default action would turn our status into "killed".
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
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


@contextmanager
def signals_on_loop(heard: Callable[[int], None], early: Sequence[int]) -> Iterator[None]:
    """Call `heard(number)` on the running loop for SIGTERM and SIGINT, and for each that came `early`, before there
    was a loop.

    Not loop.add_signal_handler: closing the loop would put back the default action while the process is still
    leaving. The wake-up descriptor is what interrupts a sleeping loop even when the signal arrives just before it
    falls asleep.
    """
    loop = asyncio.get_running_loop()
    ours, wakeup = socket.socketpair()
    ours.setblocking(False)
    wakeup.setblocking(False)

    def drain() -> None:
        with suppress(BlockingIOError):
            ours.recv(4096)

    def on_signal(number: int, frame: FrameType | None) -> None:
        del frame
        loop.call_soon_threadsafe(heard, number)

    loop.add_reader(ours, drain)
    before = signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
    for number in SIGNALS:
        signal.signal(number, on_signal)
    for heard_before in early:
        heard(heard_before)
    try:
        yield
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(before)
        loop.remove_reader(ours)
        ours.close()
        wakeup.close()
