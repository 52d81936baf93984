"""The pod of compose.yaml, driven through the `docker` command in a project of its own: the images that it is made of,
the pod itself, and what the engine tells of it.
"""

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).resolve().parents[3]
IN_THE_POD = ("pause", "log-shipper", "config-reloader", "secret-sync", "app")
_UP_SECONDS, _STOP_SECONDS, _DOWN_SECONDS, _SHORT_SECONDS = 300.0, 120.0, 120.0, 60.0
_LET_GO_SECONDS = 20.0
_DOWN_ATTEMPTS = 3
_KINDS = (["ps", "--all"], ["network", "ls"], ["volume", "ls"])
_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")  # Compose 2.26 writes some with --ansi never, too
# Finds a process by its command line and kills it with -9, from within the process namespace of the pod.
_KILL = """
import os, sys
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        words = open(f"/proc/{pid}/cmdline").read().replace(chr(0), " ")
    except OSError:
        continue
    if int(pid) != os.getpid() and sys.argv[1] in words:
        os.kill(int(pid), 9)
        print(pid)
"""


class TourError(Exception):
    """The tour cannot be shown; the text begins "cannot", and says what to do."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    output: str
    errors: str

    @property
    def complaint(self) -> str:
        """The last lines of what it said."""
        return "\n".join((self.errors or self.output).strip().splitlines()[-8:]) or f"exit status {self.status}"


async def docker(
    arguments: Sequence[str], environment: Mapping[str, str] | None = None, deadline_seconds: float = _SHORT_SECONDS
) -> Ended:
    """Runs `docker ARGUMENTS`. In a session of its own: Ctrl-C reaches the tour alone. Raises: TourError."""
    try:
        process = await asyncio.create_subprocess_exec(
            "docker",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **(environment or {})},
            cwd=ROOT,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise TourError("cannot find docker: install Docker Engine and its compose plugin") from None
    try:
        async with asyncio.timeout(deadline_seconds):
            output, errors = await process.communicate()
    except TimeoutError:
        words = " ".join(arguments)
        raise TourError(f"cannot wait any longer for `docker {words}`: not in {deadline_seconds:.0f} s") from None
    finally:
        await _let_go(process)
    return Ended(process.returncode or 0, output.decode(errors="replace"), errors.decode(errors="replace"))


async def _let_go(process: asyncio.subprocess.Process) -> None:
    """A command that is cut short may finish its present request; so nothing appears behind the tidying up."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        process.send_signal(number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LET_GO_SECONDS):
                await process.communicate()


class Pod:
    """One running copy of compose.yaml. `environment` goes to its variables."""

    def __init__(self, project: str, files: Sequence[Path], environment: Mapping[str, str]) -> None:
        self.project = project
        self._files = [word for file in files for word in ("--file", str(file))]
        self._environment = environment

    async def exists(self) -> bool:
        """Whether there is any container of it."""
        ended = await docker(["ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={self.project}"])
        return bool(ended.output.strip())

    async def up(self) -> None:
        """Starts everything in its order; returns once the app has been started."""
        await self.compose("up", "--detach", "--no-build", "--quiet-pull", deadline_seconds=_UP_SECONDS)

    async def stop(self) -> None:
        """Stops the pod and leaves Elasticsearch alone. The order is for compose to find."""
        await self.compose("stop", *IN_THE_POD, deadline_seconds=_STOP_SECONDS)

    async def down(self) -> None:
        """Removes every container, network and volume. Raises: TourError when something is left."""
        for _ in range(_DOWN_ATTEMPTS):
            with contextlib.suppress(TourError):
                await self.compose("down", "--volumes", "--remove-orphans", deadline_seconds=_DOWN_SECONDS)
            if not await self._left():
                return
        raise TourError(f"cannot remove everything: run `docker compose --project-name {self.project} down --volumes`")

    async def _left(self) -> bool:
        """Whether anything is there; also networks and volumes, which are made before the first container."""
        mine = f"label=com.docker.compose.project={self.project}"
        asked = [await docker([*words, "--quiet", "--filter", mine]) for words in _KINDS]
        return any(ended.status or ended.output.strip() for ended in asked)

    async def kill_9(self, words: str) -> None:
        """Kills the process in the pod that has these words in its command line, as its neighbour.

        Not `docker kill`: a container that was killed so counts as stopped by hand, and is not started again.
        """
        killed = await self.compose("exec", "-T", "config-reloader", "/usr/bin/python3", "-I", "-c", _KILL, words)
        if not killed.strip():
            raise TourError(f"cannot kill {words!r}: no such process in the pod")

    async def run_in(self, service: str, *command: str) -> str:
        """The output of a command in a running container."""
        return await self.compose("exec", "-T", service, *command)

    async def address(self, service: str, port: int) -> str:
        """Where a published port is on this machine."""
        where = await self.compose("port", service, str(port))
        return f"http://{where.strip()}"

    async def last_lines(self, lines: int, *services: str) -> list[str]:
        """What the services said last."""
        ended = await docker(self._words("logs", "--tail", str(lines), *services), self._environment)
        return _TERMINAL_CODES.sub("", ended.output or ended.errors).splitlines()

    async def compose(self, *arguments: str, deadline_seconds: float = _SHORT_SECONDS) -> str:
        """Runs `docker compose` on this project and returns its output. Raises: TourError."""
        ended = await docker(self._words(*arguments), self._environment, deadline_seconds)
        if ended.status:
            words = f"docker compose --project-name {self.project} {arguments[0]}"
            raise TourError(f"cannot go on: `{words}` gave {ended.status} and says\n{ended.complaint}")
        return ended.output

    def _words(self, *arguments: str) -> list[str]:
        return ["compose", "--ansi", "never", "--project-name", self.project, *self._files, *arguments]


_COMPOSE = ROOT / "compose.yaml"
_LOCAL = ROOT / "images" / "compose.local.yaml"
_PULL_SECONDS = 600.0
_OLDEST_ENGINE, _OLDEST_API = "25", (1, 44)
"""Before it a health check has no `start_interval`."""
_OLDEST_COMPOSE = (2, 20)


@dataclass(frozen=True)
class Choice:
    """The compose files to use, and what answers for Elasticsearch."""

    files: tuple[Path, ...]
    backend: str


async def choose(say: Callable[[str], None], *, local: bool) -> Choice:
    """Raises: TourError when there is no engine or an image of ours is missing."""
    if not _COMPOSE.is_file():
        raise TourError(f"cannot find {_COMPOSE}: run this from a clone of the project")
    await _check_engine()
    services = await _services()
    ours = sorted({service["image"] for service in services.values() if "build" in service})
    if missing := [name for name in ours if not await _is_here(name)]:
        raise TourError(f"cannot find {', '.join(missing)}: make them with `make images`")
    if not local:
        official = services["elasticsearch"]["image"]
        if await _is_here(official) or await _pulled(official, say):
            return Choice((_COMPOSE,), official)
    return Choice((_COMPOSE, _LOCAL), "the embedded stand-in")


async def _check_engine() -> None:
    ended = await docker(["version", "--format", "{{.Server.APIVersion}} {{.Server.Version}}"])
    if ended.status:
        raise TourError(f"cannot talk to the container engine: {ended.complaint}")
    api, _, version = ended.output.strip().partition(" ")
    if _version(api) < _OLDEST_API:
        needed = f"{_OLDEST_ENGINE} or newer is needed (https://docs.docker.com/engine/install/)"
        raise TourError(f"cannot use Docker Engine {version}: {needed}; `make images` says what to do on Debian")
    if (ended := await docker(["compose", "version", "--short"])).status:
        raise TourError("cannot find docker compose: install the compose plugin (docker-compose-plugin)")
    if _version(ended.output.strip().removeprefix("v")) < _OLDEST_COMPOSE:
        raise TourError(f"cannot use Docker Compose {ended.output.strip()}: install 2.20 or newer of its plugin")


def _version(text: str) -> tuple[int, ...]:
    """Its numbers; what is no version is older than any."""
    found = re.match(r"\d+(\.\d+)*", text)
    return tuple(map(int, found[0].split("."))) if found else ()


async def _services() -> dict[str, Any]:
    """The services of compose.yaml, with the variables filled in."""
    ended = await docker(["compose", "--file", str(_COMPOSE), "config", "--format", "json"])
    if ended.status:
        raise TourError(f"cannot read {_COMPOSE}: {ended.complaint}")
    found: dict[str, Any] = msgspec.json.decode(ended.output)["services"]
    return found


async def _is_here(image: str) -> bool:
    return not (await docker(["image", "inspect", image])).status


async def _pulled(image: str, say: Callable[[str], None]) -> bool:
    say(f"pulling {image}, which may take minutes")
    try:
        ended = await docker(["pull", "--quiet", image], deadline_seconds=_PULL_SECONDS)
    except TourError as error:
        say(f"{error}; the embedded stand-in takes its place")
        return False
    if ended.status:
        say(f"cannot pull it ({ended.complaint}); the embedded stand-in takes its place")
    return not ended.status


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
