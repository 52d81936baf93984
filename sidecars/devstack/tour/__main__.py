"""`python -m sidecars.devstack tour`: drives the pod of compose.yaml through its life, and checks each step.

Exit status: 0 when every step was as it has to be, 1 when one was not, 2 when the tour cannot be shown.
"""

import argparse
import asyncio
import secrets
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from sidecars.devstack.compose.pod import ROOT, Choice, Happening, Pod, TourError, choose, watching

from .scene import MENU, ConfigFolder, Guests, Scene, Search
from .steps import STEPS
from .view import Board, Line, LineKind, StepError, View, view_for

_CANNOT = 2
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_FRAME_SECONDS, _COUNT_SECONDS = 0.2, 1.0
_LAST_LINES = 8
_PORTS = ("SHOP", "LOG_SHIPPER", "CONFIG_RELOADER", "SECRET_SYNC", "VAULT", "ELASTICSEARCH")
_ANY_FREE_PORT = {f"{name}_PORT": "" for name in _PORTS}
_STATES = {"start": "running", "healthy": "healthy", "unhealthy": "unhealthy"}


@dataclass(frozen=True)
class TourOptions:
    """What the command line says."""

    local: bool
    keep: bool
    project: str


def main(arguments: list[str]) -> int:
    """Shows the tour and returns the exit status; 128 + the signal's number when a signal ended it early."""
    try:
        return asyncio.run(_show(_options(arguments)))
    except* TourError as errors:
        first: BaseException = errors
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        print(first, file=sys.stderr)
    return _CANNOT


def _options(arguments: list[str]) -> TourOptions:
    parser = argparse.ArgumentParser(
        prog="python -m sidecars.devstack tour",
        description="Starts the pod of compose.yaml on free ports, in a project of its own, drives it through its life "
        "and checks each step; removes everything at the end.",
    )
    parser.add_argument("--local", action="store_true", help="the embedded stand-in, also where Elasticsearch is there")
    parser.add_argument("--keep", action="store_true", help="leave everything as it is at the end")
    parser.add_argument("--project", default=f"sidecars-tour-{secrets.token_hex(3)}", help="name (default: a new one)")
    parsed = parser.parse_args(arguments)
    return TourOptions(parsed.local, parsed.keep, parsed.project)


async def _show(options: TourOptions) -> int:
    """Until the end or the first signal; later signals find the tidying up under way and do not disturb it."""
    showing = asyncio.current_task()
    heard: list[int] = []

    def hear(number: int) -> None:
        heard.append(number)
        if len(heard) == 1 and showing is not None:
            showing.cancel()

    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, hear, number)
    try:
        return await _tour(options)
    except asyncio.CancelledError:
        if not heard:
            raise
        print("interrupted", flush=True)
        return 128 + heard[0]


async def _tour(options: TourOptions) -> int:
    choice = await choose(lambda text: print(text, flush=True), local=options.local)
    board = Board()
    board.title(f"sidecars tour: the pod of compose.yaml, as project {options.project}; search: {choice.backend}")
    async with AsyncExitStack() as props:
        folder = ROOT / ".cache" / "compose" / options.project  # not /tmp: some engines may not mount from there
        if not options.keep:
            props.callback(shutil.rmtree, folder, ignore_errors=True)
        view = view_for(board, sys.stdout)
        props.callback(view.close)
        scene = await props.enter_async_context(_scene(options, choice, folder, board))
        return await _watched(scene, view)


@asynccontextmanager
async def _scene(options: TourOptions, choice: Choice, folder: Path, board: Board) -> AsyncIterator[Scene]:
    """All that the steps need; whatever ends the block, nothing stays behind, unless it is to be kept."""
    config = ConfigFolder(folder / "config")
    environment = {**_ANY_FREE_PORT, "SHOP_CONFIG": str(config.folder)}
    pod = Pod(options.project, choice.files, environment)

    def hear(happening: Happening) -> None:
        state = _STATES.get(happening.what) or f"ended with {happening.status}"
        board.services[happening.service] = state

    async with watching(options.project, time.time(), hear) as events, aiohttp.ClientSession() as session:
        scene = Scene(board, pod, events, config, session, Guests(session, board), Search(session))
        scene.put_menu(str(MENU["greeting"]))
        try:
            yield scene
        finally:
            if options.keep:
                board.title(f"it stays; remove it with: docker compose --project-name {options.project} down --volumes")
            else:
                began = time.monotonic()
                await pod.down()
                board.title(f"everything is removed, {time.monotonic() - began:.1f} s")


async def _watched(scene: Scene, view: View) -> int:
    """The steps, while the view is drawn."""
    async with asyncio.TaskGroup() as group:
        watchers = [group.create_task(_draw(view)), group.create_task(_count(scene))]
        status = await _walk(scene)
        for watcher in watchers:
            watcher.cancel()
    return status


async def _walk(scene: Scene) -> int:
    board = scene.board
    began = time.monotonic()
    for name, step in STEPS:
        board.begin(name)
        try:
            await step(scene)
        except (StepError, TourError) as error:
            board.end(error if isinstance(error, StepError) else StepError("to be able to look", str(error)))
            board.lines.append(Line(LineKind.BAD, "    the services said last:"))
            board.quote(await scene.pod.last_lines(_LAST_LINES))
            return 1
        board.end()
    board.title(f"all {len(STEPS)} steps as they have to be, {time.monotonic() - began:.1f} s")
    return 0


async def _draw(view: View) -> None:
    while True:
        view.draw()
        await asyncio.sleep(_FRAME_SECONDS)


async def _count(scene: Scene) -> None:
    """For the view only: a search that cannot be asked yet is no news."""
    while True:
        await asyncio.sleep(_COUNT_SECONDS)
        if scene.search.url:
            with suppress(TourError):
                scene.board.found = await scene.search.count()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
