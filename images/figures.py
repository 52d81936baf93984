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

MOST_MB = 60.0
MOST_CPU_SECONDS = 0.5
PATIENCE_SECONDS = 60.0
# How to start each sidecar so that it has something to do: its variables, and the port whose /startupz is asked.
STARTS: dict[str, tuple[int, list[str], dict[str, str]]] = {
    "log-shipper": (
        9101,
        [],
        {"LOG_SHIPPER_PATHS": "/var/log/*.log", "LOG_SHIPPER_ELASTICSEARCH_URL": "http://127.0.0.1:9"},
    ),
    "config-reloader": (
        9102,
        [],
        {
            "CONFIG_RELOADER_WATCH": "/etc/os-release",
            "CONFIG_RELOADER_STEPS": '[{"webhook": {"url": "http://127.0.0.1:9/reload"}}]',
        },
    ),
    "wait-for": (0, ["tcp://127.0.0.1:9", "--progress-seconds", "0.01"], {}),
}
STARTS["sidecar"] = (
    9101,
    ["log-shipper", "config-reloader"],
    {**STARTS["log-shipper"][2], **STARTS["config-reloader"][2]},
)


@dataclasses.dataclass(frozen=True)
class Figures:
    """What was measured of one image; `start_cpu_seconds` is None for what is no sidecar."""

    mb: float
    start_cpu_seconds: float | None
    digest: str
    reproducible: bool

    @property
    def good(self) -> bool:
        """Whether it keeps within all bars."""
        return self.mb <= MOST_MB and (self.start_cpu_seconds or 0) <= MOST_CPU_SECONDS and self.reproducible


def main(words: list[str]) -> int:
    """Measure, print, and return the exit status."""
    prefix, tag, folder, *names = words
    with open(f"{folder}/digests", encoding="ascii") as file:
        digests = {name: (first, second) for name, first, second in map(str.split, file)}
    figures = {name: weigh(f"{prefix}{name}:{tag}", name, digests[name]) for name in names}
    with open(f"{folder}/figures.json", "w", encoding="utf-8") as out:
        json.dump({name: dataclasses.asdict(figure) for name, figure in figures.items()}, out, indent=1)
    print(f"\n{'image':<18}{'MB':>6}{'start, CPU s':>14}  digest, twice the same")
    print(f"{'(bar)':<18}{MOST_MB:>6.1f}{MOST_CPU_SECONDS:>14.2f}  yes")
    missed = []
    for name, figure in figures.items():
        cpu = "-" if figure.start_cpu_seconds is None else f"{figure.start_cpu_seconds:.2f}"
        same = "yes" if figure.reproducible else "NO"
        print(f"{name:<18}{figure.mb:>6.1f}{cpu:>14}  {same:<4} {figure.digest[7:19]}")
        if not figure.good:
            missed.append(name)
    if missed:
        print(f"bars missed by: {', '.join(missed)}")
    return 1 if missed else 0


def weigh(image: str, name: str, digests: tuple[str, str]) -> Figures:
    """Return the figures of one image."""
    size = json.loads(docker("image", "inspect", image))[0]["Size"]
    cpu = start_cpu_seconds(image, *STARTS[name]) if name in STARTS else None
    return Figures(round(size / 1e6, 1), cpu, digests[0], digests[0] == digests[1])


def start_cpu_seconds(image: str, port: int, words: list[str], variables: dict[str, str]) -> float:
    """Start the image as a pod would, and return the CPU seconds that it took until it had started."""
    settings = [word for pair in variables.items() for word in ("--env", "=".join(pair))]
    hardened = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
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
