"""What the tests of the compose pod share: an engine with our images, or the reason why there is none."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.conftest import GiveUp
from tests.pods.compose.running import DEADLINE_SECONDS, Tours, leftovers
from tests.support.engine import missing, run_docker
from tests.support.processes import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
IN_THE_POD = {name: service for name, service in COMPOSE["services"].items() if "build" in service}
"""What of it is ours, in the order of the file."""
OURS = [one["build"]["args"].get("SIDECAR", one["build"]["target"]) for one in IN_THE_POD.values()]
"""Their images."""


@pytest.fixture(scope="session")
def engine(without_server: GiveUp) -> None:
    """A container engine with compose and our images."""
    if reason := missing(OURS):
        without_server("docker", reason)
    if run_docker("compose", "version").returncode:
        without_server("docker", "docker has no compose plugin")


@pytest.fixture
def tours(engine: None) -> Iterator[Tours]:
    """Starts tours; nothing of them may be there afterwards."""
    running = Tours()
    yield running
    left = [line for project in running.projects for line in leftovers(project)]
    for project in running.projects:
        run_docker(
            "compose", "--project-name", project, "down", "--volumes", "--timeout", "0", seconds=DEADLINE_SECONDS
        )
    assert left == []
