"""`python -m sidecars.devstack demo`: an app's log is shipped, things break, and nothing is lost.

Exit status: 0 when every line arrived exactly once, 1 when any is lost or doubled, 2 when the demo cannot be shown.
"""

import argparse
import asyncio
import io
import os
import signal
import sys
from contextlib import AsyncExitStack, suppress

import msgspec

from sidecars.devstack.elasticsearch.faults import Faults
from sidecars.devstack.terminal import ink_for

from .app import lines_until
from .backend import Address
from .play import WRITING_SHARE, Ending, Play, Script
from .stage import DemoError, Stage
from .verdict import found_line, sentence, table
from .view import view_for

_CANNOT = 2
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_EPILOG = """
environment:
  ELASTICSEARCH_URL       show it on this server, in an index of its own that is deleted at the end; else on the
                          embedded stand-in. Also: ELASTICSEARCH_USERNAME, ELASTICSEARCH_PASSWORD, ELASTICSEARCH_API_KEY
  NO_COLOR                no colours

Exit status: 0 every line arrived exactly once, 1 lines are lost or doubled, 2 the demo cannot be shown.
"""


def main(arguments: list[str]) -> int:
    """Shows the demo and returns the exit status; 128 + the signal's number when a signal ended it early."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without box characters gets question marks, not a crash
    try:
        return asyncio.run(_show(_script(arguments)))
    except* DemoError as errors:
        first: BaseException = errors
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        print(first, file=sys.stderr)
    except* BrokenPipeError:  # the reader of a pipe has seen enough
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _CANNOT


def _script(arguments: list[str]) -> Script:
    parser = argparse.ArgumentParser(
        prog="python -m sidecars.devstack demo",
        description="An app writes numbered lines; its log is rotated, the backend goes away, the log shipper is\n"
        "killed with -9 and started again. At the end every line is looked for.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=30, help="how long, about (default %(default)s)")
    parser.add_argument("--lines-per-second", type=float, default=2000, help="on average (default %(default)s)")
    parser.add_argument(
        "--faults",
        metavar="JSON",
        help="what shall go wrong besides in the stand-in, such as '{\"item_429_odds\": 0.3}'; "
        "with '{\"swallow_odds\": 0.001}' it loses lines, and the demo has to notice",
    )
    parsed = parser.parse_args(arguments)
    if parsed.seconds < 1 or parsed.lines_per_second < 1:
        parser.error("cannot show less than 1 second or 1 line per second")
    url = os.environ.get("ELASTICSEARCH_URL", "").partition(",")[0].strip()
    if url and parsed.faults:
        parser.error("cannot make a real server misbehave: unset ELASTICSEARCH_URL or leave out --faults")
    try:
        msgspec.json.decode(parsed.faults or "{}", type=Faults)
    except msgspec.DecodeError as error:
        parser.error(f"cannot use --faults: {error}")
    address = Address.parse(url, os.environ) if url else None
    return Script(parsed.seconds, parsed.lines_per_second, address, parsed.faults or "{}")


async def _show(script: Script) -> int:
    """Plays until the end or the first signal; later signals find the cleaning up under way and do not disturb it."""
    playing = asyncio.current_task()
    heard: list[int] = []

    def hear(number: int) -> None:
        heard.append(number)
        if len(heard) == 1 and playing is not None:
            playing.cancel()

    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, hear, number)
    try:
        ending = await _play(script)
    except asyncio.CancelledError:
        if not heard:
            raise
        print("  interrupted; everything is cleaned up", flush=True)
        return 128 + heard[0]
    return _report(ending)


async def _play(script: Script) -> Ending:
    name = script.address.url if script.address else "embedded stand-in"
    expected = lines_until(script.seconds * WRITING_SHARE, script.lines_per_second)
    stage = Stage(script.seconds, expected, name)
    view = view_for(stage, sys.stdout)
    async with AsyncExitStack() as props:
        props.callback(view.close)
        return await Play(script, stage, view, props).run()


def _report(ending: Ending) -> int:
    """Prints how it ended; returns the exit status."""
    ink = ink_for(sys.stdout)
    lines = [*table(ending.verdict, ink), "", *found_line(ending.words, ending.document, ink), ""]
    print(*lines, sentence(ending.verdict, ink), "", sep="\n", flush=True)
    return 0 if ending.verdict.ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
