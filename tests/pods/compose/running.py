"""A running `python -m sidecars.devstack tour`, and what is left of one."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.engine import docker
from tests.support.processes import ROOT, Done, run

DEADLINE_SECONDS = 600.0


def devstack(*words: str, **variables: str) -> Done:
    """Run `python -m sidecars.devstack WORDS` to its end, with these variables beside the machine's own."""
    command = (sys.executable, "-m", "sidecars.devstack", *words)
    return run(*command, env={**os.environ, **variables}, timeout=DEADLINE_SECONDS)


def leftovers(project: str) -> list[str]:
    """Containers, volumes, networks and folders of a project."""
    mine = f"label=com.docker.compose.project={project}"
    found = [str(path) for path in (ROOT / ".cache" / "compose").glob(project)]
    for words in (["ps", "--all"], ["volume", "ls"], ["network", "ls"]):
        found += [f"{words[0]} {name}" for name in docker(*words, "--filter", mine, "--quiet").split()]
    return found


class Tours:
    """Starts tours, each in a project of its own, all on free ports and with the stand-in."""

    def __init__(self) -> None:
        self.projects: list[str] = []

    @contextmanager
    def start(self, **environment: str) -> Iterator[subprocess.Popen[str]]:
        """What it prints can be read from stdout while it runs."""
        project = f"sidecars-test-{secrets.token_hex(4)}"
        self.projects.append(project)
        command = [sys.executable, "-m", "sidecars.devstack", "tour", "--local", "--project", project]
        with subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as running:
            try:
                yield running
            finally:
                running.terminate()
                running.communicate(timeout=DEADLINE_SECONDS)

    def search_address(self) -> str:
        """Where the stand-in of the last tour listens."""
        return docker("compose", "--project-name", self.projects[-1], "port", "elasticsearch", "9200")
