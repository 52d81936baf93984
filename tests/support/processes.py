"""The one way to run a program in a test: to its end (`run`, `sidecar`), or as long as the test wants (`Process`).

    done = sidecar("check", "log-shipper", settings={"paths": "/logs/*.log"})
    toy = Process(tmp_path, [sys.executable, "-m", "toy"]).start()

Nothing of the environment of the tests reaches a program but PATH, and PYTHONPATH so that our modules are found. What a
test started and left running is killed after it, and what that said is shown when the test failed (a pytest plugin).
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import pytest

from tests.support.waiting import PATIENCE_SECONDS, until

ROOT = Path(__file__).resolve().parents[2]
SIDECARS = (sys.executable, "-m", "sidecars")
_SHOWN_CHARACTERS = 6000
_TERM = signal.SIGTERM  # a process has a method of the module's name

Done = subprocess.CompletedProcess[str]
Word = str | Path
T = TypeVar("T")

_started: list["Process"] = []


def environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what a program gets: PATH, PYTHONPATH and these variables."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **(variables or {})}


def variables_of(name: str, settings: Mapping[str, object]) -> dict[str, str]:
    """Return settings (lower case, without prefix) as the variables of this sidecar."""
    own = name.replace("-", "_").upper()
    return {f"{own}_{key.upper()}": str(value) for key, value in settings.items()}


def run(*command: Word, variables: Mapping[str, str] | None = None, **options: Any) -> Done:
    """Run a command to its end, with what it says as text. `options` are those of `subprocess.run`."""
    usual: dict[str, Any] = {
        "env": environment(variables),
        "cwd": ROOT,
        "text": True,
        "timeout": PATIENCE_SECONDS,
        "check": False,
    }
    if not options.keys() & {"stdout", "stderr"}:
        usual["capture_output"] = True
    if "input" not in options:
        usual["stdin"] = subprocess.DEVNULL
    done: Done = subprocess.run(list(command), **(usual | options))  # noqa: PLW1510 -- `check` is among them
    return done


def sidecar(
    *words: Word, settings: Mapping[str, object] | None = None, prefix: Sequence[str] = (), **options: Any
) -> Done:
    """Run `python -m sidecars WORDS` to its end. `settings` are those of the sidecar that is named last in the words;
    `prefix` is a command that runs it; `options` are those of `run`.
    """
    names = [str(word) for word in words if word in {"log-shipper", "config-reloader", "wait-for"}]
    variables = variables_of(names[-1], settings) if settings else {}
    given: Mapping[str, str] = options.pop("variables", None) or {}
    return run(*prefix, *SIDECARS, *words, variables={**given, **variables}, **options)


def can_run(*command: Word) -> bool:
    """Tell whether a command can be run here and ends well, such as `unshare --mount true`."""
    try:
        return run(*command).returncode == 0
    except FileNotFoundError:
        return False


def catches(pid: int, number: int = signal.SIGTERM) -> bool:
    """Tell whether the process has a handler for this signal by now."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    mask = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(mask, 16) & 1 << (number - 1))


class Process:
    """A program in a process of its own, which may be started again after it ended. Its stdout and stderr go to files
    in `folder`, those of every start one after the other, so that it never stops because nobody reads.

    `environment`: variables beside PATH and PYTHONPATH. `prefix`: a command that runs it, such as `prlimit`.
    """

    name = "program"

    def __init__(
        self,
        folder: Path,
        command: Sequence[Word] = (),
        *,
        name: str = "",
        environment: Mapping[str, str] | None = None,
        prefix: tuple[str, ...] = (),
    ) -> None:
        self.name = name or self.name
        self.folder = folder
        self.command: Sequence[Word] = command
        self.environment = dict(environment or {})
        self.prefix = prefix
        self.process: subprocess.Popen[bytes] | None = None
        self.stdout_to: int | None = None
        """A descriptor for its stdout, instead of the file."""
        self.options: dict[str, Any] = {}
        """More options of Popen."""
        self.outlives_the_test = False
        """It is killed when the last test is done, and not before."""
        self._begin = (0, 0)

    def start(self) -> Self:
        """Run it."""
        assert not self.running, f"{self.name} is running"
        with self._file("stdout").open("ab") as out, self._file("stderr").open("ab") as errors:
            self._begin = (out.tell(), errors.tell())
            streams = {"stdout": out if self.stdout_to is None else self.stdout_to, "stderr": errors}
            usual: dict[str, Any] = {
                "env": environment(self.variables()),
                "cwd": ROOT,
                "stdin": subprocess.DEVNULL,
                **streams,
            }
            command = [*self.prefix, *self.command]
            self.process = subprocess.Popen(command, **(usual | self.options))
        if self not in _started:
            _started.append(self)
        return self

    def variables(self) -> dict[str, str]:
        """Return what it is given beside PATH and PYTHONPATH."""
        return self.environment

    @property
    def pid(self) -> int:
        assert self.process is not None, f"{self.name} was never started"
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> Self:
        assert self.process is not None, f"{self.name} was never started"
        self.process.send_signal(number)
        return self

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Return the exit status, once it has ended."""
        assert self.process is not None, f"{self.name} was never started"
        return self.process.wait(seconds)

    def terminate(self) -> int:
        """Send SIGTERM; return the exit status."""
        return self.signal(signal.SIGTERM).wait()

    def kill(self) -> None:
        """Send SIGKILL, and wait until it is gone. Nothing happens when it is not running."""
        if self.running:
            self.signal(signal.SIGKILL).wait()

    def until(self, condition: Callable[[], T | None], what: str, within_seconds: float = PATIENCE_SECONDS) -> T:
        """Wait for a condition as long as the process lives."""

        def met() -> T | None:
            assert self.running, f"{self.name} ended while waiting for {what}:\n{self.stderr[-3000:]}"
            return condition()

        return until(met, what, within_seconds)

    def catches(self, number: int = _TERM) -> bool:
        """Tell whether it has a handler for this signal by now."""
        return catches(self.pid, number)

    @property
    def stdout(self) -> str:
        """What this start has printed so far."""
        return self._said("stdout", self._begin[0])

    @property
    def stderr(self) -> str:
        """What this start has said so far."""
        return self._said("stderr", self._begin[1])

    @property
    def logs(self) -> list[dict[str, Any]]:
        """The whole log lines of this start."""
        return [json.loads(line) for line in self.stderr.splitlines(keepends=True) if line.endswith("}\n")]

    def logged(self, action: str) -> list[dict[str, Any]]:
        """The log lines of this start with this `action`."""
        return [line for line in self.logs if line.get("action") == action]

    def _file(self, stream: str) -> Path:
        return self.folder / f"{self.name}.{stream}"

    def _said(self, stream: str, begin: int) -> str:
        file = self._file(stream)
        return file.read_bytes()[begin:].decode(errors="replace") if file.exists() else ""


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Kill what the test started and did not end, and print the end of what it said: pytest shows that when it failed.
    What fixtures of a wider scope started before is theirs.
    """
    before = len(_started)
    yield
    mine = [one for one in _started[before:] if not one.outlives_the_test]
    _started[before:] = [one for one in _started[before:] if one.outlives_the_test]
    for one in mine:
        one.kill()
    for one in mine:
        print(f"--- stderr of {one.name}:\n{one.stderr[-_SHOWN_CHARACTERS:]}")


def pytest_sessionfinish() -> None:
    """Kill what was to outlive its test."""
    for one in _started:
        one.kill()
