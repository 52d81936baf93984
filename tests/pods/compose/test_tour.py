"""The tour of compose.yaml, end to end: a pod on this machine's container engine is driven through its whole life."""

import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecars.devstack.tour.steps import STEPS
from tests.pods.compose.running import DEADLINE_SECONDS, Tours, devstack
from tests.support.rest import call


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
        assert call(f"http://{tours.search_address()}", "PUT", "/_faults", {"swallow_odds": 1}).status == 200
        rest = rest_of(running)
        status = running.wait(DEADLINE_SECONDS)
    assert status == 1, said + rest
    assert "expected: nothing lost, nothing doubled" in rest
    assert re.search(r"seen: +lost: \['\w+", rest)
    assert "the services said last:" in rest
    assert re.search(r"elasticsearch-1 +\| ", rest)


@pytest.mark.parametrize(
    ("number", "moment"),
    [(signal.SIGINT, "the pod starts"), (signal.SIGTERM, "the app is killed")],
)
def test_an_interrupted_tour_leaves_nothing_behind(tours: Tours, number: signal.Signals, moment: str) -> None:
    with tours.start() as running:
        read_until(running, moment)
        running.send_signal(number)
        said = rest_of(running)
        assert running.wait(DEADLINE_SECONDS) == 128 + number
    assert "everything is removed" in said


def test_an_engine_that_cannot_be_used_is_named_with_the_remedy(tmp_path: Path) -> None:
    ended = devstack("tour", "--local", PATH=str(tmp_path))
    assert (ended.returncode, ended.stderr[:36]) == (2, "cannot find docker: install Docker E")
    if shutil.which("docker"):
        ended = devstack("tour", "--local", DOCKER_HOST=f"unix://{tmp_path}/none.sock")
        assert (ended.returncode, ended.stderr[:37]) == (2, "cannot talk to the container engine: ")


def test_missing_images_are_named(engine: None) -> None:
    ended = devstack("tour", "--local", SIDECAR_IMAGE_PREFIX="nobody/has/")
    assert ended.returncode == 2
    assert ended.stderr.startswith("cannot find nobody/has/")
    assert [words for words in ("nobody/has/pause:", "`make images`") if words not in ended.stderr] == []
