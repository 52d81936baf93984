"""`lab` starts containers of our images on the engine of this machine, and removes them; without one, or without the
images, the tests are skipped with the reason.
"""

import itertools
import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests.pods.images.rows import ROWS, Folders, Row
from tests.support.engine import HARDENED, IMAGES_LABEL, Container, EngineError, docker, image, missing, run_docker
from tests.support.processes import ROOT
from tests.support.rest import call
from tests.support.waiting import until

GiveUp = Callable[[str, str], NoReturn]
Figure = Callable[[str, str, float], None]


class Lab:
    """Containers of one test run, in a network of its own."""

    def __init__(self, folder: Path) -> None:
        self.word = f"{IMAGES_LABEL}-{secrets.token_hex(3)}"
        self._folder = folder
        self._numbers = itertools.count(1)
        self.network = docker("network", "create", "--label", IMAGES_LABEL, self.word)
        self._backend = ""

    def create(self, name: str, *words: str, options: tuple[str, ...] = (), port: int = 0) -> Container:
        """A container of an image of ours, not started yet. No network, unless an option says otherwise."""
        own = ("--label", IMAGES_LABEL, "--name", f"{self.word}-{next(self._numbers)}")
        network = () if any("--network" in option for option in options) else ("--network=none",)
        return Container(docker("create", *own, *HARDENED, *network, *options, image(name), *words), port)

    def start(self, name: str, *words: str, options: tuple[str, ...] = (), port: int = 0) -> Container:
        """Run an image of ours."""
        return self.create(name, *words, options=options, port=port).start()

    def once(self, name: str, *words: str, options: tuple[str, ...] = ()) -> tuple[int, str]:
        """Run it to its end: its status, and what it said."""
        container = self.start(name, *words, options=options)
        try:
            return container.wait(), container.log
        finally:
            container.remove()

    def backend(self) -> str:
        """Address of the stand-in for Elasticsearch, which is started at the first call."""
        if not self._backend:
            words = ("elasticsearch", "--host", "0.0.0.0", "--port", "9200")
            server = self.start("devstack", *words, options=(f"--network={self.network}", "--tmpfs=/tmp"))
            self._backend = f"http://{server.address}:9200"
            until(lambda: answers(self._backend), "the stand-in")
        return self._backend

    def sidecar(self, row: Row, *options: str) -> tuple[Container, Folders]:
        """Run a sidecar with what it works on."""
        container, folders = self.prepared(row, *options)
        return container.start(), folders

    def prepared(self, row: Row, *options: str) -> tuple[Container, Folders]:
        """A sidecar with what it works on, not started yet."""
        number = next(self._numbers)
        logs, config = self._folder / f"{number}-logs", self._folder / f"{number}-config"
        for path in (logs, config):
            path.mkdir()
            path.chmod(0o755)  # the user in the image is nobody here
        (config / "app.yaml").write_text("begun", encoding="ascii")
        awaited = f"{self.word}-awaited-{number}"
        given = row.variables(logs="/logs", config="/config", backend=self.backend(), server=f"{awaited}:9200")
        variables = [f"--env={key}={text}" for key, text in given.items()]
        mounts = [f"--volume={logs}:/logs:ro", f"--volume={config}:/config:ro", "--tmpfs=/tmp", *row.volumes]
        network = () if any("--network" in option for option in options) else (f"--network={self.network}",)
        container = self.create(row.name, *row.words, options=(*variables, *mounts, *network, *options), port=row.port)
        return container, Folders(logs, config, lambda: self._arrive(awaited))

    def _arrive(self, name: str) -> None:
        words = ("elasticsearch", "--host", "0.0.0.0", "--port", "9200")
        self.start("devstack", *words, options=(f"--network={self.network}", f"--network-alias={name}"))

    def close(self) -> None:
        """Remove everything."""
        if left := docker("ps", "--all", "--quiet", "--filter", f"name={self.word}-").split():
            run_docker("rm", "--force", "--volumes", *left)
        run_docker("network", "rm", self.network)


def answers(url: str) -> bool:
    """Whether somebody answers there."""
    try:
        return call(url, "GET", "/").status == 200
    except OSError:
        return False


@pytest.fixture(scope="session")
def lab(without_server: GiveUp, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if reason := missing([row.name for row in ROWS] + ["devstack"]):
        without_server("docker", reason)
    try:
        lab = Lab(tmp_path_factory.mktemp("images"))
    except EngineError as error:
        without_server("docker", str(error))
    yield lab
    lab.close()


@pytest.fixture(scope="session")
def figure() -> Iterator[Figure]:
    """`figure(image, what, value)` keeps a measured figure in .cache/figures/images.json, for the README's table."""
    measured: dict[str, dict[str, float]] = {}

    def keep(name: str, what: str, value: float) -> None:
        measured.setdefault(name, {})[what] = round(value, 3)

    yield keep
    path = ROOT / ".cache" / "figures" / "images.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    merged = {name: {**known.get(name, {}), **measured.get(name, {})} for name in sorted({*known, *measured})}
    path.write_text(json.dumps(merged, indent=2) + "\n", encoding="utf-8")
