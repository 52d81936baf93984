"""Each sidecar as it ships: how to start one with the settings that it declares, to look at it from outside.

A sidecar runs in a virtual environment of its own locked requirements and nothing else, as in its image: some libraries
import whatever they find installed, so the development environment would weigh that too.
"""

import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sidecars.declaration import declarations
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 60.0


DECLARED = declarations()
SERVING = [name for name, declared in DECLARED.items() if declared.serves]
ENDING = [name for name in DECLARED if name not in SERVING]
TOGETHER = "log-shipper config-reloader"
"""Two in one process, as they are named on the command line; stands wherever one name does."""
TOGETHER_FACTOR = 1.4
"""What both in one process may weigh, in multiples of the heavier one alone."""


def requirements(name: str) -> Path:
    """The locked requirements of a sidecar, or of several in one file."""
    files = [Path("requirements") / f"{one}.txt" for one in name.split()]
    if len(files) == 1:
        return files[0]
    whole = Path(".cache") / f"requirements-{'-'.join(name.split())}.txt"
    (ROOT / whole).write_text("".join((ROOT / file).read_text(encoding="utf-8") for file in files), encoding="utf-8")
    return whole


def shipping_environment(name: str) -> Path:
    """The interpreter of the environment with only this sidecar's requirements; made or renewed when needed."""
    folder = Path(".cache") / f"venv-{'-'.join(name.split())}"
    made = [ROOT / "scripts" / "bootstrap", folder, requirements(name)]
    subprocess.run(made, cwd=ROOT, check=True, capture_output=True, text=True)
    python = ROOT / folder / "bin" / "python"
    # An image carries compiled bytecode; compiling at the first start would be weighed, and only then.
    subprocess.run([python, "-m", "compileall", "-q", ROOT / "sidecars"], check=True, capture_output=True)
    return python


@dataclass(frozen=True)
class Running:
    """A sidecar that runs: its process, its folder (with `app.log` and `config/app.yaml`) and its admin address."""

    process: subprocess.Popen[bytes]
    folder: Path
    url: str

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a GET on the admin endpoint; AssertionError with its log when the sidecar has ended."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except urllib.error.URLError as error:
            with suppress(subprocess.TimeoutExpired):  # refused: it is ending, or has ended
                self.process.wait(timeout=5)
            check_alive(self.process, self.folder / "stderr")
            raise AssertionError(f"cannot reach {self.url}{path}: {error}") from error

    def metric(self, name: str) -> float:
        """The sum of a metric's series; 0 when there is none."""
        lines = self.get("/metrics")[1].splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((name + " ", name + "{")))

    def resident_mib(self) -> float:
        """Resident memory now, as the kernel adds it up."""
        return kib(self.process.pid, "smaps_rollup", "Rss:") / 1024

    def peak_mib(self) -> float:
        """The highest resident memory since the start."""
        return kib(self.process.pid, "status", "VmHWM:") / 1024


def kib(pid: int, file: str, key: str) -> int:
    """A line of one of the files in /proc/PID."""
    text = Path(f"/proc/{pid}/{file}").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(key))


def libraries(pid: int) -> set[str]:
    """The shared libraries that a process has loaded, without versions."""
    maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")
    return set(re.findall(r"/(lib[^/\s.]+)\.so", maps))


def check_alive(process: subprocess.Popen[bytes], log: Path) -> None:
    """Raise AssertionError with the end of its log when the sidecar is gone."""
    assert process.poll() is None, f"the sidecar ended with {process.returncode}:\n{log.read_text()[-3000:]}"


def admin_port(log: Path, process: subprocess.Popen[bytes]) -> int:
    """The port that the sidecar says it listens on (action `admin.listening` in its log)."""
    found: list[int] = []

    def said() -> bool:
        check_alive(process, log)
        lines = [line for line in log.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("}\n")]
        records = (json.loads(line) for line in lines)
        found.extend(record["port"] for record in records if record.get("action") == "admin.listening")
        return bool(found)

    until(said, "the address of the admin endpoint in the log")
    return found[0]


@contextmanager
def started(name: str, folder: Path, elasticsearch: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a sidecar (or several: TOGETHER) in its own environment, and stop it at the end. Its stderr is in the
    folder.
    """
    python = shipping_environment(name)
    declared = [DECLARED[one] for one in name.split()]
    (folder / "config").mkdir()
    for file in (folder / "app.log", folder / "config" / "app.yaml"):
        file.touch()
    places = {"logs": f"{folder}", "config": f"{folder}/config", "state": f"{folder}/state"}
    settings = {"PATH": os.environ["PATH"], "PYTHONSAFEPATH": "1", "PYTHONPATH": str(ROOT)}
    for one in declared:
        settings |= one.variables(**places, backend=elasticsearch, server="127.0.0.1:1")
        settings |= {f"{one.prefix}ADMIN_HOST": "127.0.0.1", f"{one.prefix}ADMIN_PORT": "0"} if one.serves else {}
    command = [str(python), "-m", "sidecars", *name.split(), *words]
    with (folder / "stderr").open("wb") as errors:
        process = subprocess.Popen(command, cwd=folder, env=settings, stdout=subprocess.DEVNULL, stderr=errors)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def run(name: str, folder: Path, elasticsearch: str) -> Iterator[Running]:
    """Start a sidecar that serves, and wait until /startupz is content."""
    with started(name, folder, elasticsearch) as process:
        running = Running(process, folder, f"http://127.0.0.1:{admin_port(folder / 'stderr', process)}")
        until(lambda: running.get("/startupz")[0] == 200, "/startupz")
        yield running
