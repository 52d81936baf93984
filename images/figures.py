"""Weighs the images that were just built, and holds them against their bars: `figures.py PREFIX TAG FOLDER NAME...`.

Measured: the unpacked size; the CPU time from exec to a passing start-up probe (for wait-for, which has none: to its
first look at what it waits for); and whether a second build without cache came to the same digest. Prints a table and
leaves the figures in FOLDER/figures.json. Exit status 1 when a bar is missed.
"""

import dataclasses
import http.client
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

from sidecars.declaration import Bars, Declaration, declarations, image_bars

PATIENCE_SECONDS = 60.0
TOGETHER = ("log-shipper", "config-reloader")
"""What the image of all sidecars is started as."""
PLACES = {
    "logs": "/var/log",
    "config": "/usr/share/sbom",
    "state": "/tmp/state",
    "backend": "http://127.0.0.1:9",
    "server": "127.0.0.1:9",
}
"""Folders that every image has, and a server that is nowhere."""


@dataclasses.dataclass(frozen=True)
class Figures:
    """What was measured of one image; `start_cpu_seconds` is None for what is no sidecar."""

    mb: float
    start_cpu_seconds: float | None
    digest: str
    reproducible: bool

    def good(self, bars: Bars) -> bool:
        """Whether it keeps within all bars."""
        quick = (self.start_cpu_seconds or 0) <= bars.start_cpu_seconds
        return quick and self.mb <= bars.image_mb and self.reproducible


def main(words: list[str]) -> int:
    """Measure, print, and return the exit status."""
    prefix, tag, folder, *names = words
    with open(f"{folder}/digests", encoding="ascii") as file:
        digests = {name: (first, second) for name, first, second in map(str.split, file)}
    figures = {name: weigh(f"{prefix}{name}:{tag}", name, digests[name]) for name in names}
    with open(f"{folder}/figures.json", "w", encoding="utf-8") as out:
        json.dump({name: dataclasses.asdict(figure) for name, figure in figures.items()}, out, indent=1)
    print(f"\n{'image':<18}{'MB':>6} {'(bar)':<8}{'start, CPU s':>12} {'(bar)':<8} digest, twice the same")
    missed = []
    for name, figure in figures.items():
        bars = bars_of(name)
        cpu = "-" if figure.start_cpu_seconds is None else f"{figure.start_cpu_seconds:.2f}"
        same = "yes" if figure.reproducible else "NO"
        most = f"{f'({bars.image_mb:.0f})':<8}", f"{f'({bars.start_cpu_seconds})':<8}"
        print(f"{name:<18}{figure.mb:>6.1f} {most[0]}{cpu:>12} {most[1]} {same:<4} {figure.digest[7:19]}")
        if not figure.good(bars):
            missed.append(name)
    if missed:
        print(f"bars missed by: {', '.join(missed)}")
    return 1 if missed else 0


def bars_of(name: str) -> Bars:
    """Return the bars of an image: of its sidecar, or those that hold for all."""
    return image_bars(name, declarations())


def weigh(image: str, name: str, digests: tuple[str, str]) -> Figures:
    """Return the figures of one image."""
    size = json.loads(docker("image", "inspect", image))[0]["Size"]
    declared = declarations()
    words = list(TOGETHER) if name == "sidecar" else []
    started = [declared[one] for one in words or [name] if one in declared]
    cpu = start_cpu_seconds(image, started, words) if started else None
    return Figures(round(size / 1e6, 1), cpu, digests[0], digests[0] == digests[1])


def start_cpu_seconds(image: str, started: list[Declaration], words: list[str]) -> float:
    """Start the image as a pod would, and return the CPU seconds that it took until it had started."""
    variables = {key: text for declared in started for key, text in declared.variables(**PLACES).items()}
    settings = [word for pair in variables.items() for word in ("--env", "=".join(pair))]
    port = started[0].port
    hardened = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    publish = ["--publish", f"127.0.0.1::{port}"] if port else []
    container = docker("run", "--detach", *hardened, *publish, *settings, image, *words).strip()
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not has_started(container, port):
            if time.monotonic() > deadline:
                raise SystemExit(f"cannot measure {image}: it does not start; it said:\n{said(container)}")
            time.sleep(0.02)
        return round(cpu_seconds(container), 2)
    finally:
        docker("rm", "--force", container)


def has_started(container: str, port: int) -> bool:
    """Whether /startupz answers 200; without a port: whether it logged something."""
    if not port:
        return bool(said(container))
    address = docker("port", container, str(port)).split()
    if not address:
        raise SystemExit(f"cannot measure {container}: it ended:\n{said(container)}")
    try:
        with urllib.request.urlopen(f"http://{address[0]}/startupz", timeout=5) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def said(container: str) -> str:
    """Return what it wrote to stdout and stderr so far."""
    return subprocess.run(["docker", "logs", container], stdout=-1, stderr=-2, text=True, check=True).stdout


def cpu_seconds(container: str) -> float:
    """Return the CPU time of all its processes, which only the engine's API tells (`docker stats` shows a share)."""

    class Engine(http.client.HTTPConnection):
        def connect(self) -> None:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(engine_socket())

    engine = Engine("localhost")
    engine.request("GET", f"/containers/{container}/stats?stream=false&one-shot=true")
    stats = json.loads(engine.getresponse().read())
    engine.close()
    return float(stats["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9


def engine_socket() -> str:
    """Return the path of the engine's socket: of the context that the docker command uses, unless DOCKER_HOST says."""
    address = os.environ.get("DOCKER_HOST") or docker("context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
    scheme, _, path = address.strip().partition("://")
    if scheme != "unix":
        raise SystemExit(f"cannot measure CPU time over {address.strip()}: QUICK=1 leaves the measuring out")
    return path


def docker(*words: str) -> str:
    """Run a docker command and return its stdout."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"cannot run docker {words[0]}: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
