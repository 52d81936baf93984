"""The container engine, through the docker command: everything of one lab carries its word as a label, by which its
events are followed and all of it is removed.

If the test run itself is killed, `docker rm -f $(docker ps -aq --filter label=podlab)` removes what it left.
"""

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

LABEL = "podlab"
_PATIENCE_SECONDS = 120.0


class EngineError(Exception):
    """The engine refused; its own words."""


@dataclass(frozen=True)
class Death:
    """How a run ended, as the engine saw it."""

    exit_code: int
    out_of_memory: bool
    started_at: float
    ended_at: float


class Engine:
    """One lab's part of the engine."""

    def __init__(self, word: str) -> None:
        self.word = word
        self.network = f"{LABEL}-{word}"
        self._follower: subprocess.Popen[str] | None = None

    def call(self, *arguments: str, seconds: float = _PATIENCE_SECONDS) -> str:
        """One docker command: its stdout. Raises EngineError."""
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=seconds, check=False)
        if done.returncode:
            raise EngineError(f"docker {' '.join(arguments[:3])} ...: {done.stderr.strip()}")
        return done.stdout

    def open(self) -> None:
        """Make the network that the pods share."""
        self.call("network", "create", "--label", f"{LABEL}={self.word}", self.network)

    def close(self) -> None:
        """Remove everything of this lab."""
        if self._follower is not None:
            self._follower.terminate()
            self._follower.wait(_PATIENCE_SECONDS)
        mine = f"label={LABEL}={self.word}"
        if left := self.call("ps", "--all", "--quiet", "--filter", mine).split():
            self.call("rm", "--force", "--volumes", *left)
        if volumes := self.call("volume", "ls", "--quiet", "--filter", mine).split():
            self.call("volume", "rm", *volumes)
        self.call("network", "rm", self.network)

    def follow(self, on_death: Callable[[str], None]) -> None:
        """From now on, tell the name of every container of ours that dies."""
        wanted = ["--filter", f"label={LABEL}={self.word}", "--filter", "event=die"]
        wanted += ["--since", str(time.time())]  # what happens before the command has connected is told too
        self._follower = subprocess.Popen(
            ["docker", "events", *wanted, "--format", "{{.Actor.Attributes.name}}"], stdout=subprocess.PIPE, text=True
        )
        threading.Thread(target=self._read_events, args=[self._follower, on_death], daemon=True).start()

    def _read_events(self, follower: "subprocess.Popen[str]", on_death: Callable[[str], None]) -> None:
        assert follower.stdout is not None
        with follower.stdout:
            for line in follower.stdout:
                on_death(line.strip())

    def start(self, name: str, arguments: Sequence[str]) -> None:
        """Run a container of this name; `arguments` as of `docker run`."""
        self.call("run", "--detach", "--name", name, "--label", f"{LABEL}={self.word}", *arguments)

    def signal(self, name: str, signal: str) -> None:
        """Send a signal; a container that has ended meanwhile is what it is for."""
        with contextlib.suppress(EngineError):
            self.call("kill", "--signal", signal, name)

    def address(self, name: str) -> str:
        """The container's address in the lab's network."""
        template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return self.call("inspect", "--format", template, name).strip()

    def started_at(self, name: str) -> float:
        return _seconds(self.call("inspect", "--format", "{{.State.StartedAt}}", name).strip())

    def death(self, name: str) -> Death | None:
        """How it ended; None while it runs."""
        state = json.loads(self.call("inspect", "--format", "{{json .State}}", name))
        if state["Status"] not in {"exited", "dead"}:
            return None
        begun, ended = _seconds(state["StartedAt"]), _seconds(state["FinishedAt"])
        return Death(int(state["ExitCode"]), bool(state["OOMKilled"]), begun, ended)

    def log(self, name: str) -> str:
        """Its stdout and stderr."""
        done = subprocess.run(
            ["docker", "logs", name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        return done.stdout

    def run_inside(self, name: str, command: Sequence[str], seconds: float = _PATIENCE_SECONDS) -> str:
        """Run a program in a running container: its stdout. Raises EngineError, also when it takes too long."""
        try:
            return self.call("exec", name, *command, seconds=seconds)
        except subprocess.TimeoutExpired:
            raise EngineError(f"docker exec {name}: no end within {seconds} s") from None

    def remove(self, names: Sequence[str]) -> None:
        self.call("rm", "--force", "--volumes", *names)

    def make_memory_volume(self, name: str, size_bytes: int) -> None:
        """A tmpfs that several containers can mount; it lasts as long as one of them runs."""
        options = f"mode=0777,size={size_bytes}" if size_bytes else "mode=0777"
        made = ["--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", f"o={options}"]
        self.call("volume", "create", "--label", f"{LABEL}={self.word}", *made, name)

    def remove_volume(self, name: str) -> None:
        self.call("volume", "rm", name)


def _seconds(stamp: str) -> float:
    """The engine's nanosecond times; Python reads microseconds."""
    whole, _, fraction = stamp.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction or 0}")


def missing(images: Sequence[str]) -> str:
    """Why pods cannot be run here, or nothing."""
    try:
        engine = Engine("")
        engine.call("version", seconds=30)
    except (OSError, EngineError, subprocess.TimeoutExpired) as error:
        return f"no engine answers ({error})"
    for image in images:
        try:
            engine.call("image", "inspect", image)
        except EngineError:
            return f"the image {image} is not there; make images builds it"
    return ""
