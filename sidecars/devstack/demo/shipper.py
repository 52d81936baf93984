"""The shipper of the demo: a process like in a pod, told what to do by variables, watched through its admin endpoint.

It has several lives. The counters of a process die with it, so those of a life that is over are added up here.
"""

import asyncio
import json
import os
import re
import signal
import time
from contextlib import AsyncExitStack

import aiohttp

from .backend import Address
from .child import Child, child
from .stage import DemoError, Shipped, Stage, State

_START_SECONDS = 60.0
_GRACE_SECONDS = 120.0
_PACE_SECONDS = 0.05
_LAST_LOOKS_SECONDS = 0.01
_SCRAPE = aiohttp.ClientTimeout(total=2)
_SAMPLE = re.compile(
    r'^sidecar_log_shipper_(records|retried_records)_total\{(?:outcome|reason)="(\w+)"\} (\S+)$', re.MULTILINE
)


class Shipper:
    """Starts, kills, ends and scrapes the shipper; keeps `Stage.shipper` and `Stage.shipped` true."""

    def __init__(self, stage: Stage, folder: str, environment: dict[str, str], lives: AsyncExitStack) -> None:
        self._stage = stage
        self._lives = lives
        self._session = aiohttp.ClientSession(timeout=_SCRAPE)
        lives.push_async_callback(self._session.close)
        self._past = self._present = Shipped()
        self._port = 0
        self._child: Child | None = None
        self._environment = {
            "LOG_SHIPPER_PATHS": os.path.join(folder, "log", "app.log*"),
            "LOG_SHIPPER_STATE_DIR": os.path.join(folder, "state"),
            "LOG_SHIPPER_ADMIN_HOST": "127.0.0.1",
            "LOG_SHIPPER_ADMIN_PORT": "0",
            "LOG_SHIPPER_GRACE_SECONDS": str(_GRACE_SECONDS),
            "LOG_SHIPPER_FIELDS": "service.name=coffee-shop",
            **environment,
        }

    async def start(self) -> None:
        """Begins a life; ready for SIGTERM and scrapes when this returns. Raises: DemoError."""
        stage = self._stage
        self._past, self._present, self._port = self._past + self._present, Shipped(), 0
        stage.shipper = State.STARTING
        running = child("the shipper", ["sidecars", "log-shipper"], self._hear, self._environment)
        self._child = await self._lives.enter_async_context(running)
        stage.shipper_pid = self._child.process.pid
        stage.shipper_lives += 1
        deadline = time.monotonic() + _START_SECONDS
        while not self._port:
            await self._child.check()
            if time.monotonic() > deadline:
                raise DemoError(f"cannot start the shipper: no admin endpoint after {_START_SECONDS:.0f} s")
            await asyncio.sleep(_PACE_SECONDS)
        stage.shipper = State.SHIPPING

    async def kill(self) -> None:
        """Kill -9, right after a last look at its counters."""
        await self.scrape()
        if self._child is not None:
            await self._child.kill()
        self._child, self._port = None, 0
        self._stage.shipper = State.KILLED

    async def drain(self) -> int:
        """SIGTERM; returns the exit status when all is delivered. Raises: DemoError when that never happens."""
        draining, self._child = self._child, None
        if draining is None:
            raise RuntimeError("cannot drain the shipper: it is not running")
        await self.scrape()
        self._stage.shipper = State.DRAINING
        draining.send(signal.SIGTERM)
        waiting = asyncio.create_task(draining.wait(_GRACE_SECONDS), name="wait for the shipper")
        while not waiting.done():  # often, to see its last counts before they go with it
            await self.scrape()
            await asyncio.wait({waiting}, timeout=_LAST_LOOKS_SECONDS)
        status = await waiting
        self._port = 0
        self._stage.shipper = State.ENDED
        return status

    async def watch(self) -> None:
        """Looks after it for ever. Raises: DemoError when it ends by itself."""
        while True:
            if self._child is not None:
                await self._child.check()
            await self.scrape()
            await asyncio.sleep(_PACE_SECONDS * 6)

    async def scrape(self) -> None:
        """Reads its metrics; what cannot be read now (it is busy, starting or dead) is read next time."""
        port = self._port
        if not port:
            return
        try:
            async with self._session.get(f"http://127.0.0.1:{port}/metrics") as reply:
                text = await reply.text()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return
        if port == self._port:
            self._take(text)

    def _take(self, text: str) -> None:
        counts = {(kind, label): int(float(value)) for kind, label, value in _SAMPLE.findall(text)}
        retried = sum(count for (kind, _), count in counts.items() if kind == "retried_records")
        seen = Shipped(counts.get(("records", "indexed"), 0), counts.get(("records", "duplicate"), 0), retried)
        if self._stage.shipper in (State.SHIPPING, State.RETRYING):
            if seen.acknowledged > self._present.acknowledged:
                self._stage.shipper = State.SHIPPING
            elif seen.retried > self._present.retried:
                self._stage.shipper = State.RETRYING
        self._present = seen
        self._stage.shipped = self._past + seen

    def _hear(self, line: str) -> None:
        """One line of its log: only the port of the admin endpoint is of interest."""
        if self._port or '"admin.listening"' not in line:
            return
        try:
            self._port = int(json.loads(line)["port"])
        except (ValueError, KeyError, TypeError):
            raise DemoError(f"cannot read the port of the admin endpoint in the shipper's log line {line}") from None


def environment_for(address: Address, index: str, relay_port: int) -> dict[str, str]:
    """What the shipper must know to reach this index through the relay."""
    known = {
        "LOG_SHIPPER_ELASTICSEARCH_URL": f"http://127.0.0.1:{relay_port}{address.prefix}",
        "LOG_SHIPPER_INDEX": index,
        "LOG_SHIPPER_API_KEY": address.api_key,
    }
    if not address.api_key:
        known |= {"LOG_SHIPPER_USERNAME": address.username, "LOG_SHIPPER_PASSWORD": address.password}
    return {name: value for name, value in known.items() if value}
