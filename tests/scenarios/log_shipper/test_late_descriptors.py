"""Started without stdin, stdout or stderr: their numbers must not go to the next file or socket that is opened, or what
is printed and logged goes into it.
"""

import json
import os
import socket
from pathlib import Path

import pytest

from tests.support.books import assert_balanced
from tests.support.log_stage import LogStage

CLOSED = {"all": "0<&- 1>&- 2>&-", "stdin": "0<&-", "stdout": "1>&-", "stderr": "2>&-"}
NUMBERS = {"all": (0, 1, 2), "stdin": (0,), "stdout": (1,), "stderr": (2,)}


def started_without(stage: LogStage, which: str) -> None:
    """Start the shipper with these closed. Its log may be nowhere to be read, so the port is given."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    stage.shipper.settings["admin_port"] = port
    stage.shipper.prefix = ("sh", "-c", f'exec {CLOSED[which]}; exec "$@"', "sh")
    stage.shipper.start(wait=False)
    stage.shipper._port = port
    stage.shipper.until(lambda: stage.shipper.ask("/startupz")[0] == 200, "its first scan")


def assert_nowhere(stage: LogStage, which: str) -> None:
    """What was missing leads to nothing."""
    leads = {number: os.readlink(f"/proc/{stage.shipper.pid}/fd/{number}") for number in NUMBERS[which]}
    assert leads == dict.fromkeys(NUMBERS[which], os.devnull)


@pytest.mark.parametrize("which", CLOSED)
def test_without_its_standard_descriptors_it_ships_as_usual(tmp_path: Path, which: str) -> None:
    with LogStage(tmp_path) as stage:
        stage.write(500)
        written = stage.log.read_bytes()
        started_without(stage, which)
        assert_nowhere(stage, which)
        stage.until_delivered()
        assert stage.shipper.terminate() == 0
        stage.assert_all_arrived()
        assert stage.log.read_bytes() == written
        again = stage.shipper
        again.prefix = ()
        again.start()
        assert not again.logged("checkpoint.reset"), "something got into the checkpoint"


@pytest.mark.parametrize("which", ["all", "stderr"])
def test_without_its_standard_descriptors_nothing_but_documents_gets_into_the_output(
    tmp_path: Path, which: str
) -> None:
    out = tmp_path / "documents.ndjson"
    with LogStage(tmp_path, output="file", output_path=out, elasticsearch_url="", log_level="debug") as stage:
        started_without(stage, which)
        assert_nowhere(stage, which)
        for _ in range(3):
            stage.write(200)
            stage.until_delivered()
        assert stage.shipper.terminate() == 0
        assert_balanced(stage.lines, [json.loads(line)["message"] for line in out.read_bytes().splitlines()])


def test_documents_for_a_stdout_that_is_missing_go_nowhere(tmp_path: Path) -> None:
    """Not into the connection to who asks the admin endpoint, and not into a log."""
    with LogStage(tmp_path, output="stdout", elasticsearch_url="") as stage:
        started_without(stage, "all")
        assert_nowhere(stage, "all")
        stage.write(500)
        written = stage.log.read_bytes()
        stage.until_delivered()
        assert stage.outcomes() == {"written": len(stage.lines)}
        assert stage.shipper.terminate() == 0
        assert stage.log.read_bytes() == written
