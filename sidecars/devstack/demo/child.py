"""A child process of the demo, and the promise that none outlives it."""

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress

from .stage import DemoError

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
