"""What docker says about the pod's containers, with docker's own timestamps: started, healthy, ended."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

_SERVICE = "com.docker.compose.service"
_LONGEST_LINE_BYTES = 1 << 20


@dataclass(frozen=True)
class Happening:
    """Something that happened to a container. `what`: start, healthy, unhealthy or die; `status`: of a die."""

    at: float
    service: str
    what: str
    status: int | None = None


class Events:
    """Everything that happened so far, in docker's order."""

    def __init__(self, hear: Callable[[Happening], None]) -> None:
        self.all: list[Happening] = []
        self._hear = hear

    def first(self, service: str, what: str, after: float = 0.0) -> Happening | None:
        """The first such happening after this time."""
        return next(
            (one for one in self.all if one.service == service and one.what == what and one.at > after),
            None,
        )

    def take(self, line: bytes) -> None:
        """One line of `docker events --format json`."""
        said: dict[str, Any] = msgspec.json.decode(line)
        attributes = said["Actor"]["Attributes"]
        what = said["Action"].removeprefix("health_status: ")
        status = int(attributes["exitCode"]) if what == "die" else None
        happening = Happening(said["timeNano"] / 1e9, attributes.get(_SERVICE, ""), what, status)
        self.all.append(happening)
        self._hear(happening)


@asynccontextmanager
async def watching(project: str, since: float, hear: Callable[[Happening], None]) -> AsyncIterator[Events]:
    """Listens until the block ends; `since`: seconds since the epoch, so that nothing is missed."""
    filters = ["type=container", f"label=com.docker.compose.project={project}"]
    filters += [f"event={event}" for event in ("start", "die", "health_status")]
    process = await asyncio.create_subprocess_exec(
        "docker",
        "events",
        "--since",
        f"{since:.3f}",
        "--format",
        "{{json .}}",
        *(word for one in filters for word in ("--filter", one)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=_LONGEST_LINE_BYTES,
        start_new_session=True,
    )
    events = Events(hear)

    async def read() -> None:
        if process.stdout is not None:
            async for line in process.stdout:
                events.take(line)

    reading = asyncio.get_running_loop().create_task(read(), name="docker events")
    try:
        yield events
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await reading
