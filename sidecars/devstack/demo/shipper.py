"""The child processes of the demo, of which none outlives it, and among them the shipper: a process like in a pod, told
what to do by variables, watched through its admin endpoint.

The shipper has several lives. The counters of a process die with it, so those of a life that is over are added up here.
"""

import asyncio
import json
import os
import re
import signal
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import aiohttp

from .backend import Address
from .stage import ActorState, DemoError, Shipped, Stage

_KEPT_LINES = 12
_LONGEST_LINE_BYTES = 1 << 20
# What other people's environments would tell a sidecar to do; the demo says all that it needs itself.
_FOREIGN = ("LOG_SHIPPER_", "ELASTICSEARCH_", "POD_", "NODE_NAME", "CONTAINER_NAME", "OTEL_")


class Child:
    """A running Python module; `hear` gets each line that it prints, on stdout or stderr."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, hear: Callable[[str], None]) -> None:
        self.name = name
        self.process = process
        self._last_lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._reading = asyncio.get_running_loop().create_task(self._read(hear), name=f"output of {name}")

    @property
    def ended(self) -> bool:
        """Whether the process is over."""
        return self.process.returncode is not None

    def send(self, number: signal.Signals) -> None:
        """Sends a signal; a process that is over gets none."""
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def wait(self, deadline_seconds: float) -> int:
        """The exit status, with all output heard. Raises: DemoError when the deadline passes."""
        try:
            async with asyncio.timeout(deadline_seconds):
                await self._reading
                return await self.process.wait()
        except TimeoutError:
            raise DemoError(
                f"cannot wait any longer for {self.name}: still there after {deadline_seconds:.0f} s"
            ) from None

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.send(signal.SIGKILL)
        await self.process.wait()
        await self._reading

    async def check(self) -> None:
        """Raises: DemoError when the process is over although nobody ended it."""
        if self.ended:
            await self._reading
            said = "".join(f"\n    {line}" for line in self._last_lines) or " nothing"
            status = self.process.returncode
            raise DemoError(f"cannot go on: {self.name} ended by itself with status {status}; its last words:{said}")

    async def _read(self, hear: Callable[[str], None]) -> None:
        output = self.process.stdout
        if output is None:
            raise RuntimeError(f"cannot hear {self.name}: it was started without a pipe")
        async for raw in output:
            line = raw.decode(errors="replace").rstrip("\n")
            self._last_lines.append(line)
            hear(line)


@asynccontextmanager
async def child(
    name: str, arguments: list[str], hear: Callable[[str], None], environment: Mapping[str, str] | None = None
) -> AsyncIterator[Child]:
    """Runs `python -m ARGUMENTS` until the block ends, whatever ends it; then it is killed if it is still there.

    In a session of its own, so that Ctrl-C reaches the demo alone, which ends its children in order.
    """
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**inherited, **(environment or {})},
        limit=_LONGEST_LINE_BYTES,
        start_new_session=True,
    )
    running = Child(name, process, hear)
    try:
        yield running
    finally:
        await running.kill()


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
        stage.shipper = ActorState.STARTING
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
        stage.shipper = ActorState.SHIPPING

    async def kill(self) -> None:
        """Kill -9, right after a last look at its counters."""
        await self.scrape()
        if self._child is not None:
            await self._child.kill()
        self._child, self._port = None, 0
        self._stage.shipper = ActorState.KILLED

    async def drain(self) -> int:
        """SIGTERM; returns the exit status when all is delivered. Raises: DemoError when that never happens."""
        draining, self._child = self._child, None
        if draining is None:
            raise RuntimeError("cannot drain the shipper: it is not running")
        await self.scrape()
        self._stage.shipper = ActorState.DRAINING
        draining.send(signal.SIGTERM)
        waiting = asyncio.create_task(draining.wait(_GRACE_SECONDS), name="wait for the shipper")
        while not waiting.done():  # often, to see its last counts before they go with it
            await self.scrape()
            await asyncio.wait({waiting}, timeout=_LAST_LOOKS_SECONDS)
        status = await waiting
        self._port = 0
        self._stage.shipper = ActorState.ENDED
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
        if self._stage.shipper in (ActorState.SHIPPING, ActorState.RETRYING):
            if seen.acknowledged > self._present.acknowledged:
                self._stage.shipper = ActorState.SHIPPING
            elif seen.retried > self._present.retried:
                self._stage.shipper = ActorState.RETRYING
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
