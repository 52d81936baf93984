"""`python -m tests.bench [NAME ...]`: run all benchmarks, or the named ones; then the summary: bar, measured, met."""

import importlib
import sys
import time

from tests.bench.figures import Broken, Outcome, Row, say, table

BENCHMARKS = ("throughput", "steady", "idle", "many_files", "latency", "outage", "full", "reload", "ambassador")


def title(name: str) -> str:
    """What a benchmark measures: the first line of its docstring."""
    text = importlib.import_module(f"tests.bench.{name}").__doc__ or ""
    return text.strip().splitlines()[0]


def run(name: str) -> Outcome:
    """One benchmark; what does not work at all becomes part of the outcome."""
    began = time.monotonic()
    say(f"\n{title(name)}")
    try:
        outcome: Outcome = importlib.import_module(f"tests.bench.{name}").measure()
    except (Broken, RuntimeError, OSError) as error:
        say(f"  broken: {error}")
        outcome = Outcome((Row(name, "broken"),), (f"{name}: {str(error).splitlines()[0]}",))
    say(f"  ({time.monotonic() - began:.0f} s)")
    return outcome


def summary(outcomes: list[Outcome]) -> int:
    """The last table, and the exit status: 1 when something was broken."""
    words = {True: "met", False: "NOT MET", None: "-"}
    rows = [(row.what, row.bar or "-", row.measured, words[row.met]) for outcome in outcomes for row in outcome.rows]
    say("\nSummary")
    table(("what", "bar", "measured", "met"), rows)
    broken = [text for outcome in outcomes for text in outcome.broken]
    for text in broken:
        say(f"broken: {text}")
    return 1 if broken else 0


def main(names: list[str]) -> int:
    """Run what is named, or everything."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        say(f"cannot run {', '.join(unknown)}: the benchmarks are {', '.join(BENCHMARKS)}")
        return 2
    return summary([run(name) for name in names or BENCHMARKS])


if __name__ == "__main__":
    try:
        status = main(sys.argv[1:])
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)
