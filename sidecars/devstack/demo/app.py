"""The app of the demo: a coffee shop that writes one numbered line per order into its log.

A process of its own, so that what it writes owes nothing to the shipper: `python -m sidecars.devstack.demo.app PATH`.
SIGHUP makes it open its log anew, as after logrotate; SIGTERM ends it. On stdout it says how many lines it has written.
"""

import argparse
import contextlib
import math
import os
import random
import signal
import sys
import time
from collections.abc import Iterator

_TICK_SECONDS = 0.05
_TICKS_PER_REPORT = 4
_WAVE_SECONDS = 9.0
_WAVE_SHARE = 0.6
_DRINKS = ("espresso", "flat white", "filter coffee", "cortado", "cocoa", "green tea")
_CAKES = ("croissant", "cinnamon roll", "carrot cake", "banana bread", "cheesecake")


class Shop:
    """The open log and how many lines it got; signals only set flags, which the loop looks at between two writes."""

    def __init__(self, path: str) -> None:
        self.written = 0
        self._path = path
        self._log = self._opened()
        self._reopen = self._closing = False
        signal.signal(signal.SIGHUP, self._hear)
        signal.signal(signal.SIGTERM, self._hear)

    def run(self, lines_per_second: float) -> None:
        """Writes until SIGTERM; the rate rises and falls around the given one, as that of a real app does."""
        began = time.monotonic()
        orders = _orders()
        for tick in range(sys.maxsize):
            if self._closing:
                return
            due = lines_until(time.monotonic() - began, lines_per_second)
            self._write([next(orders) for _ in range(due - self.written)])
            if tick % _TICKS_PER_REPORT == 0:
                print(self.written, flush=True)
            time.sleep(_TICK_SECONDS)

    def _write(self, lines: list[str]) -> None:
        if self._reopen:
            self._reopen = False
            os.close(self._log)
            self._log = self._opened()
        if lines:
            left = memoryview("".join(lines).encode())
            while left:
                left = left[os.write(self._log, left) :]
            self.written += len(lines)

    def _opened(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def _hear(self, number: int, _frame: object) -> None:
        if number == signal.SIGHUP:
            self._reopen = True
        else:
            self._closing = True


def lines_until(seconds: float, mean: float) -> int:
    """The integral of a rate that swings by 60 % around its mean."""
    wave = _WAVE_SECONDS / (2 * math.pi)
    return int(mean * (seconds + _WAVE_SHARE * wave * (1 - math.cos(seconds / wave))))


def _orders() -> Iterator[str]:
    chance = random.Random(1)
    for number in range(1, sys.maxsize):
        what = f"{chance.randint(1, 4)} x {chance.choice(_DRINKS)}, {chance.choice(_CAKES)}"
        yield f"order {number}: {what}, {chance.choice(('card', 'cash'))}\n"


def main() -> int:
    """Returns 0 after SIGTERM; 1 when the log cannot be written. The last line of stdout is the number of lines."""
    parser = argparse.ArgumentParser(prog="python -m sidecars.devstack.demo.app", description="An app that writes.")
    parser.add_argument("path", help="the log to append to")
    parser.add_argument("--lines-per-second", type=float, default=2000, help="on average (default %(default)s)")
    parsed = parser.parse_args()
    try:
        shop = Shop(parsed.path)
        shop.run(parsed.lines_per_second)
        print(shop.written, flush=True)
    except BrokenPipeError:  # whoever started this is gone: end, and do not complain into the closed pipe
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        print(f"cannot write {parsed.path}: {error.strerror}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
