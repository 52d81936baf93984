"""The lines that are shipped: like those of a web shop's back end, 150 to 190 bytes, each with its number.

Also a writer of so many lines a second, run as a process of its own: `python -m tests.bench.lines FILE FIRST RATE
SECONDS`. It writes what is due every 10 ms, and catches up when the machine held it back, so the count is exact.
"""

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_VARIANTS = 4096
_BLOCK_LINES = 20_000
_TICK_SECONDS = 0.01
_WHAT = (
    "order {a:08x} of customer {b} paid, total={c}.{d:02d} EUR items={e} method=card region=eu-west-1 in {f} ms",
    "GET /api/v1/products/{b}?page={e}&sort=price 200 {a:08x} {c} bytes in {f} ms user_agent=okhttp/4.{e}.0",
    'cache miss for key "product:{b}:{a:08x}", replica {e} of shard {d}, took {f} ms',
    "retrying call to inventory-service attempt {e} of 5 after {f} ms, correlation={a:08x} status=503",
)
_LEVELS = ("INFO ", "INFO ", "INFO ", "DEBUG", "WARN ")
_LOGGERS = ("c.e.shop.CheckoutService", "c.e.shop.web.AccessLog", "c.e.shop.cache.ProductCache", "c.e.shop.Inventory")


def _variant(chance: random.Random) -> str:
    kind = chance.randrange(len(_WHAT))
    r = chance.randrange
    what = _WHAT[kind].format(a=r(1 << 32), b=r(10**6), c=r(9999), d=r(100), e=r(1, 6), f=r(2500))
    time_of_day = f"{r(24):02d}:{r(60):02d}:{r(60):02d}.{r(1000):03d}"
    return f"2026-11-22T{time_of_day}Z {chance.choice(_LEVELS)} [exec-{r(32):02d}] {_LOGGERS[kind]} line=%09d {what}\n"


_TEXTS = [_variant(random.Random(number)) for number in range(_VARIANTS)]


AVERAGE_BYTES = sum(len(text % 0) for text in _TEXTS) / _VARIANTS


def block(first: int, count: int) -> bytes:
    """`count` lines, numbered from `first`."""
    return "".join([_TEXTS[number % _VARIANTS] % number for number in range(first, first + count)]).encode()


def write(path: Path, first: int, count: int) -> int:
    """Append lines to a file; returns their bytes."""
    written = 0
    with path.open("ab") as file:
        for start in range(first, first + count, _BLOCK_LINES):
            written += file.write(block(start, min(_BLOCK_LINES, first + count - start)))
    return written


def write_at_rate(path: Path, first: int, lines_per_second: int, seconds: float) -> None:
    """Append `lines_per_second * seconds` lines, spread evenly."""
    total, done, began = round(lines_per_second * seconds), 0, time.monotonic()
    with path.open("ab", buffering=0) as file:
        while done < total:
            due = min(total, int((time.monotonic() - began) * lines_per_second))
            if due > done:
                file.write(block(first + done, due - done))
                done = due
            time.sleep(_TICK_SECONDS)


@contextmanager
def writer(path: Path, first: int, lines_per_second: int, seconds: float) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that does `write_at_rate`; ended when the block is left before it is done."""
    what = [str(path), str(first), str(lines_per_second), str(seconds)]
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.lines", *what])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def written(path: Path) -> int:
    """About how many lines a file has: they repeat, so the error is below one in a thousand."""
    return round(path.stat().st_size / AVERAGE_BYTES)


if __name__ == "__main__":
    write_at_rate(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
