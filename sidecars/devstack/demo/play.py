"""The play: who enters when, what goes wrong, and how it ends. `Play.perform` reads like the timeline on the screen."""

import asyncio
import os
import secrets
import signal
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from sidecars.devstack.elasticsearch.errors import JsonObject

from .backend import Address, Backend, Relay
from .shipper import Child, Shipper, child, environment_for
from .stage import ActorState, DemoError, Stage
from .verdict import Verdict, count_numbers, judge
from .view import View

WRITING_SHARE = 0.93
"""The app ends after this part of the time; the rest is for draining and reading back."""
_PACE_SECONDS = 0.05
_FRAME_SECONDS = 0.2
_COUNT_SECONDS = 0.4
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Script:
    """How long, how much, and on which server; without an address the stand-in is started, with these faults."""

    seconds: float
    lines_per_second: float
    address: Address | None
    faults: str


@dataclass(frozen=True)
class Ending:
    """How the play ended: the verdict, and a search with what it found."""

    verdict: Verdict
    words: str
    document: JsonObject | None


class Play:
    """Everybody on the stage. Whoever enters is seen out by `props`, the last one first."""

    def __init__(self, script: Script, stage: Stage, view: View, props: AsyncExitStack) -> None:
        self._script = script
        self._stage = stage
        self._view = view
        self._props = props

    async def run(self) -> Ending:
        """Performs; leaves no process, no folder and no index behind once `props` are closed. Raises: DemoError."""
        await self._set_up()
        self._stage.begin()
        async with asyncio.TaskGroup() as group:
            watchers = [group.create_task(watch()) for watch in (self._shipper.watch, self._count, self._draw)]
            await self._perform()
            ending = await self._read_back()
            for watcher in watchers:
                watcher.cancel()
        return ending

    async def _set_up(self) -> None:
        """Folder, backend, relay and shipper; the app enters when the play begins."""
        folder = self._props.enter_context(TemporaryDirectory(prefix="sidecars-demo-", ignore_cleanup_errors=True))
        os.mkdir(os.path.join(folder, "log"))
        self._log = os.path.join(folder, "log", "app.log")
        address = self._script.address or await self._stand_in()
        index = f"sidecars-demo-{secrets.token_hex(6)}"
        self._backend = await self._props.enter_async_context(Backend.open(address, index))
        self._relay = await self._props.enter_async_context(Relay.open(address.host, address.port, address.tls))
        environment = environment_for(address, index, self._relay.port)
        self._shipper = Shipper(self._stage, folder, environment, self._props)
        await self._shipper.start()

    async def _stand_in(self) -> Address:
        said: list[str] = []
        arguments = ["sidecars.devstack", "elasticsearch", "--port", "0", "--faults", self._script.faults]
        server = await self._props.enter_async_context(child("the stand-in", arguments, said.append))
        await self._until(lambda: bool(said) or server.ended, "the stand-in to listen")
        await server.check()
        return Address.parse(said[0], {})

    async def _perform(self) -> None:
        """The timeline, in parts of the whole time."""
        app = await self._open_shop()
        await self._at(0.12)
        await self._rotate(app, "app.log is rotated (renamed); the app opens a new one")
        await self._at(0.25)
        self._take_backend_away()
        await self._at(0.34)
        await self._rotate(app, "app.log is rotated while nothing can be shipped")
        await self._at(0.42)
        await self._bring_backend_back()
        await self._at(0.64)
        await self._until(lambda: self._stage.shipper is ActorState.SHIPPING, "the shipper to ship again")
        await self._kill_shipper()
        await self._at(0.70)
        await self._rotate(app, "app.log is rotated while nobody reads it")
        self._witness = self._stage.written
        await self._at(0.76)
        await self._start_shipper_again()
        await self._at(WRITING_SHARE)
        await self._close_shop(app)

    async def _open_shop(self) -> Child:
        arguments = ["sidecars.devstack.demo.app", self._log, "--lines-per-second", str(self._script.lines_per_second)]
        app = await self._props.enter_async_context(child("the app", arguments, self._hear_app))
        await self._until(lambda: self._stage.app is ActorState.WRITING or app.ended, "the app to write")
        await app.check()
        self._stage.tell("an app writes numbered lines into app.log; the shipper follows")
        return app

    def _hear_app(self, line: str) -> None:
        if line.isdecimal():
            self._stage.app = ActorState.WRITING
            self._stage.written = int(line)

    async def _rotate(self, app: Child, text: str) -> None:
        """As logrotate does it: rename all generations, then tell the app."""
        await app.check()
        for generation in range(self._stage.rotations, 0, -1):
            os.rename(f"{self._log}.{generation}", f"{self._log}.{generation + 1}")
        os.rename(self._log, f"{self._log}.1")
        app.send(signal.SIGHUP)
        self._stage.rotations += 1
        self._stage.tell(text)
        await self._until(lambda: os.path.exists(self._log), "the app to open its log anew")

    def _take_backend_away(self) -> None:
        self._relay.down()
        self._stage.backend = ActorState.AWAY
        self._stage.tell("the backend is away: connections break, new ones are refused")

    async def _bring_backend_back(self) -> None:
        await self._relay.up()
        self._stage.backend = ActorState.ANSWERING
        self._stage.tell("the backend is back; the shipper will notice at its next attempt")

    async def _kill_shipper(self) -> None:
        await self._shipper.kill()
        self._stage.tell("kill -9: the shipper is dead in full flight, the app writes on")

    async def _start_shipper_again(self) -> None:
        self._stage.tell("the shipper starts again, from its last checkpoint")
        await self._shipper.start()

    async def _close_shop(self, app: Child) -> None:
        """The app ends, the shipper gets SIGTERM at once, as a native sidecar does, and has to deliver the rest."""
        await app.check()
        app.send(signal.SIGTERM)
        status = await app.wait(_PATIENCE_SECONDS)
        self._stage.app = ActorState.ENDED
        if status:
            raise DemoError(f"cannot go on: the app ended with status {status}")
        self._stage.tell("the app ends; SIGTERM to the shipper, which has to deliver the rest")
        began = time.monotonic()
        status = await self._shipper.drain()
        seconds = time.monotonic() - began
        if status:
            raise DemoError(f"cannot trust this run: the shipper ended with status {status} instead of 0")
        self._stage.tell(f"the shipper has drained and ended, {seconds:.1f} s after SIGTERM")

    async def _read_back(self) -> Ending:
        """Reads every document, by way of the server and not of the relay, and looks one up as a person would."""
        await self._backend.refresh()
        self._stage.found = await self._backend.count()
        numbers = await count_numbers(self._backend.messages())
        if numbers.total() != self._stage.found:
            counted = f"{self._stage.found} documents are counted and {numbers.total()} were read"
            raise DemoError(f"cannot read the index {self._backend.index} back: {counted}")
        words = f"order {self._witness}"
        verdict = judge(self._stage.written, numbers, self._stage.shipped.duplicates)
        return Ending(verdict, words, await self._backend.search(words))

    async def _count(self) -> None:
        while True:
            self._stage.found = await self._backend.count()
            await asyncio.sleep(_COUNT_SECONDS)

    async def _draw(self) -> None:
        while True:
            self._stage.sample()
            self._view.draw()
            await asyncio.sleep(_FRAME_SECONDS)

    async def _at(self, part: float) -> None:
        """Until this part of the whole time has passed."""
        await asyncio.sleep(max(0.0, part * self._script.seconds - self._stage.seconds))

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise DemoError(f"cannot wait any longer for {what}: not in {_PATIENCE_SECONDS:.0f} s")
            await asyncio.sleep(_PACE_SECONDS)
