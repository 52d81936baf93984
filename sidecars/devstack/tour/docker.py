"""The pod of compose.yaml, driven through the `docker` command, in a project of its own."""

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .board import TourError

ROOT = Path(__file__).resolve().parents[2]
IN_THE_POD = ("pause", "log-shipper", "config-reloader", "app")
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


@dataclass(frozen=True)
class Outcome:
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
) -> Outcome:
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
    return Outcome(process.returncode or 0, output.decode(errors="replace"), errors.decode(errors="replace"))


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
