"""The one place where a process hears signals: from its first moment on, then on its loop, and no more once it leaves
or another program takes its place.

A process has one handler for each signal, so this module has one state, `SIGNALS`. It imports nothing heavy: as process
1 of a container Python ignores SIGTERM until a handler is set, so this comes before everything else.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

STOPS = (signal.SIGTERM, signal.SIGINT)
_IGNORED = (signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ)
"""SIGHUP by us: when both share a process namespace, it is meant for the app. The others by Python. What is ignored
stays so across exec (signal(7)), and then `cmd | head` would not end.
"""


class Signals:
    """The signals that ask this process to stop. `heard`: their numbers, in the order in which they came."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        self._ignored_at_start: frozenset[int] = frozenset()  # as by nohup

    def listen(self) -> None:
        """Remember SIGTERM and SIGINT from now on."""
        self._ignored_at_start = frozenset(n for n in (*STOPS, *_IGNORED[:1]) if signal.getsignal(n) is signal.SIG_IGN)

        def remember(number: int, frame: FrameType | None) -> None:
            del frame
            self.heard.append(number)

        for number in STOPS:
            signal.signal(number, remember)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def unblock(self) -> None:
        """Let SIGTERM come. The entry points of our images block it: as process 1 we would lose what comes before there
        is a handler.
        """
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    @contextmanager
    def on_loop(self, act: Callable[[int], None]) -> Iterator[None]:
        """Call `act(number)` on the running loop for each request to stop, also for those that came before there was a
        loop. Afterwards they are ignored.

        Not loop.add_signal_handler: closing the loop would put back the default action while the process is still
        leaving. The wake-up descriptor interrupts a sleeping loop even when the signal arrives just before it falls
        asleep.
        """
        import asyncio  # with socket: there is a loop, so it has been paid for
        import socket

        loop = asyncio.get_running_loop()
        ours, wakeup = socket.socketpair()
        ours.setblocking(False)
        wakeup.setblocking(False)
        acted = 0

        def catch_up() -> None:
            nonlocal acted
            while acted < len(self.heard):
                acted += 1
                act(self.heard[acted - 1])

        def on_signal(number: int, frame: FrameType | None) -> None:
            del frame
            self.heard.append(number)
            loop.call_soon_threadsafe(catch_up)

        def drain() -> None:
            with suppress(BlockingIOError):
                ours.recv(4096)

        loop.add_reader(ours, drain)
        before = signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
        for number in STOPS:
            signal.signal(number, on_signal)
        catch_up()
        try:
            yield
        finally:
            self.ignore()
            signal.set_wakeup_fd(before)
            loop.remove_reader(ours)
            ours.close()
            wakeup.close()

    def ignore(self) -> None:
        """Hear nothing more: the process is leaving, and the default action would turn its status into "killed"."""
        for number in STOPS:
            signal.signal(number, signal.SIG_IGN)

    @contextmanager
    def given_back(self) -> Iterator[int | None]:
        """Let signals act as they did when this process was started, for a program that takes its place.

        Yield the number of a request to stop that came before, else None; the program must not be started after one,
        since as process 1 it would not learn of it.
        """
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # what comes from here on stays pending
        for number in (*STOPS, *_IGNORED):
            signal.signal(number, signal.SIG_IGN if number in self._ignored_at_start else signal.SIG_DFL)
        came = [*self.heard, *sorted(signal.sigpending() & set(STOPS))]
        if not came:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        try:
            yield came[0] if came else None
        finally:  # it was not started: a log that nobody reads must not kill us before we have said why
            self.ignore()
            for number in _IGNORED:
                signal.signal(number, signal.SIG_IGN)


SIGNALS = Signals()
"""The only one of this process."""
