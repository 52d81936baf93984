"""Log lines: one JSON object each, for people at a terminal only."""

import json
import logging
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from sidecars.runtime import Log
from sidecars.runtime.observe.logs import JsonFormatter, PeopleFormatter, configure, encode_json


@pytest.fixture(autouse=True)
def json_logs() -> None:
    configure()


def lines(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capfd.readouterr().err.splitlines()]


def test_a_line_has_its_fields_in_order_and_the_extra_ones(capfd: pytest.CaptureFixture[str]) -> None:
    Log("log-shipper").info("shipped the batch", action="bulk.done", records=5)
    (line,) = lines(capfd)
    assert list(line) == ["time", "level", "sidecar", "action", "message", "records"]
    assert line["time"].endswith("Z")
    assert len(line["time"]) == len("2026-01-01T00:00:00.000Z")
    assert (line["level"], line["action"], line["records"]) == ("info", "bulk.done", 5)


def test_an_error_is_one_line_with_its_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="cannot read") as caught:
        raise ValueError("cannot read\nthis")
    Log("toy").error("failed", action="x.failed", error=caught.value)
    (line,) = lines(capfd)
    assert line["error"] == "ValueError: cannot read\nthis"
    assert "test_logs.py" in line["traceback"]


def test_a_field_cannot_take_the_place_of_a_fixed_one(capfd: pytest.CaptureFixture[str]) -> None:
    Log("toy").info("text", action="x.done", time="never", level=3)
    (line,) = lines(capfd)
    assert (line["field_time"], line["field_level"], line["level"]) == ("never", 3, "info")


def test_the_level_of_one_sidecar_is_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    quiet, loud = Log("quiet", "error"), Log("loud", "info")
    quiet.warning("no", action="x")
    loud.info("yes", action="x")
    assert [line["sidecar"] for line in lines(capfd)] == ["loud"]


def test_a_library_warning_has_the_same_shape_and_its_info_is_left_out(capfd: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("some.library").info("chatter")
    logging.getLogger("some.library").warning("slow %s", "node")
    (line,) = lines(capfd)
    assert (line["action"], line["message"], line["level"]) == ("library.some.library", "slow node", "warning")


def test_a_repeated_line_is_held_back_and_counted(capfd: pytest.CaptureFixture[str]) -> None:
    at = 0.0
    log = Log("toy", clock=lambda: at)
    for at in (0.0, 1.0, 29.0, 30.0, 31.0):
        log.warning("still away", action="remote.away", every_seconds=30)
        log.warning("another", action=f"other.{at}", every_seconds=30)
    found = [line for line in lines(capfd) if line["action"] == "remote.away"]
    assert [line.get("held_back") for line in found] == [None, 2]


@pytest.mark.parametrize("value", [{"path": "caf\udce9"}, {"x": object()}, {"n": float("nan")}, {1: {2: b"x"}}])
def test_anything_can_be_logged(value: dict[Any, Any]) -> None:
    assert json.loads(encode_json(value)) is not None
    record = logging.LogRecord("x", logging.INFO, "", 0, "m\udce9", (), None)
    record.fields = value
    assert json.loads(JsonFormatter().format(record))["level"] == "info"


def told(level: int, message: str, **fields: object) -> str:
    record = logging.LogRecord("x", level, "", 0, message, (), None)
    record.fields = fields
    record.action = "toy.done"
    return PeopleFormatter().format(record)


def test_a_line_for_people_is_short_and_cannot_steer_the_terminal() -> None:
    line = told(logging.INFO, "done\x1b[2J", records=5, path="/a b", name="x\ny", odd="caf\udce9")
    assert re.fullmatch(r"\d\d:\d\d:\d\d info .*", line)
    assert line[9:] == r"info done\x1b[2J (toy.done records=5 path='/a b' name='x\ny' odd='caf\udce9')"


LOUD = """
from sidecars.runtime import Log
from sidecars.runtime.observe.logs import configure
configure()
try:
    raise ValueError("cannot read this")
except ValueError as error:
    Log("toy").error("failed", action="toy.failed", error=error)
"""


def test_lines_are_for_people_at_a_terminal_only() -> None:
    ours, theirs = os.openpty()
    try:
        subprocess.run([sys.executable, "-c", LOUD], stderr=theirs, check=True)
        shown = os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert "error failed (toy.failed error='ValueError: cannot read this')\r\nTraceback" in shown
    piped = subprocess.run([sys.executable, "-c", LOUD], stderr=subprocess.PIPE, check=True)
    assert json.loads(piped.stderr)["action"] == "toy.failed"


def test_what_must_not_be_seen_is_hidden_in_every_text_of_every_line(capfd: pytest.CaptureFixture[str]) -> None:
    def crash(secret: str) -> None:
        raise ValueError(f"cannot use {secret}")

    log = Log("secretive")
    log.redact(lambda text: text.replace("c4nary", "[redacted]"))
    try:
        with pytest.raises(ValueError, match="c4nary") as caught:
            crash("c4nary")
        log.error("failed with c4nary", action="x.failed", error=caught.value, deep={"a": [("c4nary", 1)]})
        logging.getLogger("some.library").warning("slow %s", ["c4nary"], exc_info=caught.value)
        people = PeopleFormatter()
        record = logging.LogRecord("some.library", logging.ERROR, "", 0, "%s", ("c4nary",), caught._excinfo)
        people_line = people.format(record)
    finally:
        log.redact(str)
    found = lines(capfd)
    assert "c4nary" not in json.dumps(found) + people_line
    assert [line["message"] for line in found] == ["failed with [redacted]", "slow ['[redacted]']"]
    assert found[0]["deep"] == {"a": [["[redacted]", 1]]}
