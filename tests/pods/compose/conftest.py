"""What the tests of the compose pod share: an engine with our images, or the reason why there is none."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import GiveUp
from tests.pods.compose.running import DEADLINE_SECONDS, Tours, leftovers

OURS = ("pause", "log-shipper", "config-reloader", "wait-for", "devstack")


def succeeds(*command: str) -> bool:
    """Whether the command is there, ends in time and is content."""
    try:
        return not subprocess.run(command, capture_output=True, timeout=DEADLINE_SECONDS, check=False).returncode
    except (OSError, subprocess.TimeoutExpired):
        return False


@pytest.fixture(scope="session")
def engine(without_server: GiveUp) -> None:
    """A container engine with compose and our images."""
    if shutil.which("docker") is None:
        without_server("docker", "no container engine (docker) on PATH")
    if not succeeds("docker", "info"):
        without_server("docker", "the container engine does not answer")
    if not succeeds("docker", "compose", "version"):
        without_server("docker", "docker has no compose plugin")
    prefix, tag = os.environ.get("SIDECAR_IMAGE_PREFIX", "sidecars/"), os.environ.get("SIDECAR_IMAGE_TAG", "dev")
    missing = [
        f"{prefix}{one}:{tag}" for one in OURS if not succeeds("docker", "image", "inspect", f"{prefix}{one}:{tag}")
    ]
    if missing:
        without_server("docker", f"no {', '.join(missing)}: make them with `make images`")


@pytest.fixture
def tours(engine: None, tmp_path: Path) -> Iterator[Tours]:
    """Starts tours; nothing of them may be there afterwards."""
    running = Tours(tmp_path)
    yield running
    left = [line for project in running.projects for line in leftovers(project)]
    for project in running.projects:
        subprocess.run(
            ["docker", "compose", "--project-name", project, "down", "--volumes", "--timeout", "0"],
            capture_output=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
    assert left == []
