"""Each sidecar as it ships: how to start one with the settings that it declares, to look at it from outside.

A sidecar runs in a virtual environment of its own locked requirements and nothing else, as in its image: some libraries
import whatever they find installed, so the development environment would weigh that too.
"""

import re
from pathlib import Path
from typing import Self

from sidecars.declaration import declarations
from tests.support import sidecars
from tests.support.processes import ROOT, run

DECLARED = declarations()
SERVING = [name for name, declared in DECLARED.items() if declared.serves]
ENDING = [name for name in DECLARED if name not in SERVING]
TOGETHER = " ".join(sidecars.TOGETHER)
"""Two in one process, as they are named on the command line; stands wherever one name does."""
TOGETHER_FACTOR = 1.4
"""What both in one process may weigh, in multiples of the heavier one alone."""


def requirements(name: str) -> Path:
    """Return the locked requirements of a sidecar, or of several in one file."""
    files = [Path("requirements") / f"{one}.txt" for one in name.split()]
    if len(files) == 1:
        return files[0]
    whole = Path(".cache") / f"requirements-{'-'.join(name.split())}.txt"
    (ROOT / whole).write_text("".join((ROOT / file).read_text(encoding="utf-8") for file in files), encoding="utf-8")
    return whole


def shipping_environment(name: str) -> Path:
    """Return the interpreter of the environment with only this sidecar's requirements; made or renewed when needed."""
    folder = Path(".cache") / f"venv-{'-'.join(name.split())}"
    run(ROOT / "scripts" / "bootstrap", folder, requirements(name), env=None, check=True, timeout=600)
    python = ROOT / folder / "bin" / "python"
    # An image carries compiled bytecode; compiling at the first start would be weighed, and only then.
    run(python, "-m", "compileall", "-q", ROOT / "sidecars", check=True)
    return python


class Shipped(sidecars.SidecarProcess):
    """A sidecar (or several: TOGETHER) with the least that it works with: `app.log` and `config/app.yaml` are in its
    folder. It has an admin endpoint, unless it gets words of its own.
    """

    def __init__(self, name: str, folder: Path, elasticsearch: str, *words: str) -> None:
        super().__init__(folder, {})
        self.name, self.flags = name, words
        (folder / "config").mkdir()
        for file in (folder / "app.log", folder / "config" / "app.yaml"):
            file.touch()
        places = {"logs": f"{folder}", "config": f"{folder}/config", "state": f"{folder}/state"}
        self.environment = {"PYTHONSAFEPATH": "1"}
        for one in map(DECLARED.__getitem__, name.split()):
            self.environment |= one.variables(**places, backend=elasticsearch, server="127.0.0.1:1")
            if one.serves:
                self.environment |= {f"{one.prefix}ADMIN_HOST": "127.0.0.1", f"{one.prefix}ADMIN_PORT": "0"}

    def start(self, *, wait: bool = True) -> Self:
        """Run it in its environment; with `wait` until it has started."""
        self.program = (shipping_environment(self.name), "-m", "sidecars", *self.name.split())
        return super().start(wait=wait)

    def variables(self) -> dict[str, str]:
        return self.environment

    def metric(self, name: str) -> float:
        """Return the sum of a metric's series, by its full name; 0 when there is none."""
        return sum(value for key, value in self.metrics().items() if key.partition("{")[0] == name)

    def resident_mib(self) -> float:
        """Return the resident memory, as the kernel adds it up."""
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text(encoding="ascii")
        return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Rss:")) / 1024

    def libraries(self) -> set[str]:
        """Return the shared libraries that it has loaded, without versions."""
        return set(re.findall(r"/(lib[^/\s.]+)\.so", Path(f"/proc/{self.pid}/maps").read_text(encoding="utf-8")))
