"""The tour of compose.yaml, end to end: a pod on this machine's container engine is driven through its whole life."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecars.devstack.tour.steps import STEPS
from tests.pods.compose.running import DEADLINE_SECONDS, Tours, put
from tests.support.processes import ROOT

TOUR = [sys.executable, "-m", "sidecars.devstack", "tour"]


def rest_of(running: subprocess.Popen[str]) -> str:
    assert running.stdout is not None
    return running.stdout.read()


def read_until(running: subprocess.Popen[str], words: str) -> str:
    """What was printed until the first line with these words."""
    assert running.stdout is not None
    said = ""
    for line in running.stdout:
        said += line
        if words in line:
            return said
    pytest.fail(f"the tour ended before it said {words!r}:\n{said}")


def test_the_tour_with_the_limits_of_the_tutorials(tours: Tours, table: Callable[[str, str], None]) -> None:
    """A tenth of a core and 100 MiB for each container."""
    with tours.start(POD_CPUS="0.1") as running:
        said = rest_of(running)
        status = running.wait(DEADLINE_SECONDS)
    assert status == 0, said
    assert [name for name, _ in STEPS if name in said] == [name for name, _ in STEPS]
    assert said.count("    ok, ") == len(STEPS)
    assert "\x1b" not in said, "a log file wants no terminal codes"
    answered = re.search(r"([\d,]+) requests answered", said)
    assert answered is not None
    assert int(answered[1].replace(",", "")) > 100
    assert re.search(r"^ +0 lost, 0 doubled, ", said, re.MULTILINE)
    for line in re.findall(r"^ {6}(?:\S+ +(?:started|ended) at|kill -9).*$", said, re.MULTILINE):
        table("the pod of compose.yaml, each container with 0.1 CPU and 100 MiB", line.strip())


def test_a_tour_whose_backend_loses_documents_says_so_and_exits_1(tours: Tours) -> None:
    with tours.start() as running:
        said = read_until(running, "everything stops under load")
        faults = b'{"swallow_odds": 1}'
        assert put(f"http://{tours.search_address()}/_faults", faults, {"Content-Type": "application/json"}) == 200
        rest = rest_of(running)
        status = running.wait(DEADLINE_SECONDS)
    assert status == 1, said + rest
    assert "expected: nothing lost, nothing doubled" in rest
    assert re.search(r"seen: +lost: \['\w+", rest)
    assert "the services said last:" in rest
    assert re.search(r"elasticsearch-1 +\| ", rest)


@pytest.mark.parametrize(
    ("number", "moment"),
    [(signal.SIGINT, "the pod starts"), (signal.SIGTERM, "the app is killed"), (signal.SIGHUP, "everything stops")],
)
def test_an_interrupted_tour_leaves_nothing_behind(tours: Tours, number: signal.Signals, moment: str) -> None:
    with tours.start() as running:
        read_until(running, moment)
        running.send_signal(number)
        said = rest_of(running)
        assert running.wait(DEADLINE_SECONDS) == 128 + number
    assert "everything is removed" in said


def cannot(environment: dict[str, str]) -> str:
    ended = subprocess.run(
        [*TOUR, "--local"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert ended.returncode == 2, ended.stdout
    return ended.stderr


def test_missing_images_are_named(engine: None) -> None:
    said = cannot({"SIDECAR_IMAGE_PREFIX": "nobody/has/"})
    assert said.startswith("cannot find nobody/has/pause:")
    assert "`make images`" in said


def test_without_docker_the_tour_says_what_to_install(tmp_path: Path) -> None:
    assert cannot({"PATH": str(tmp_path)}).startswith("cannot find docker: install ")


@pytest.mark.skipif(shutil.which("docker") is None, reason="needs the docker command")
def test_an_engine_that_does_not_answer_is_named(tmp_path: Path) -> None:
    assert cannot({"DOCKER_HOST": f"unix://{tmp_path}/none.sock"}).startswith("cannot talk to the container engine: ")
