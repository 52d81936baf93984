"""copytruncate: the file keeps its inode and loses its content, which lives on in a copy that may match the globs.

Where the writer is still while the copy is made nothing may be lost at all. Where it is not, logrotate itself drops
what was written between its last read and the truncation: those bytes are in no file, and only they may be missing.
"""

import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from sidecars.log_shipper.tailing.files import born_ns
from tests.support.books import audit, messages
from tests.support.log_stage import LogStage
from tests.support.logs import LogWriter, copytruncate, generation
from tests.support.scale import scaled
from tests.support.sidecars import PREFIX, ShipperProcess

GENERATIONS = 20
LINES = scaled(400, 10_000)
SMALL_BUFFERS = {"in_flight_bytes": 64 << 10, "batch_bytes": 16 << 10}
BANNER = "=== service checkout, version 4.2, starting " + "=" * 40


def both_globs(stage: LogStage) -> dict[str, object]:
    """Settings under which the copies match as well."""
    return {"paths": f"{stage.logs}/*.log*"}


@pytest.mark.parametrize("copies", ["inside", "outside"])
def test_copytruncate_loses_and_doubles_nothing(stage: LogStage, rng: random.Random, copies: str) -> None:
    """Twenty generations, some truncated before they were read, some read before they were copied."""
    settings = both_globs(stage) if copies == "inside" else {}
    shipper = stage.new_shipper(settings).start()  # room enough to go on reading while the backend is away
    log = stage.logs / "app.log"
    writer = LogWriter(log)
    for number in range(GENERATIONS):
        stage.backend.faults(blocked=number % 5 == 2)
        writer.write(rng.randint(1, LINES))
        stage.until_followed(shipper, log)
        read_from(shipper, log, number)
        writer.write(rng.randint(0, LINES))
        copytruncate(log, stage.logs / f"app.log.{number}")
    writer.write(10)
    stage.backend.faults()
    stage.expect(shipper, writer.written)


def read_from(shipper: ShipperProcess, log: Path, truncations: int) -> None:
    """Wait until all truncations were noticed and something of the present content was read: before that there is no
    telling whose copy a copy is.
    """
    noticed = PREFIX + 'file_events_total{event="truncated"}'

    def begun() -> bool:
        if shipper.metrics().get(noticed, 0) < truncations:
            return False
        files = [file for file in shipper.status()["files"] if file["inode"] == log.stat().st_ino]
        return any(0 < file["read_offset"] <= log.stat().st_size for file in files)

    shipper.until(begun, "the new content to be read")


def test_a_quiet_log_that_is_copied_and_truncated_is_not_doubled(stage: LogStage) -> None:
    """The new file wakes the shipper, which meets it while it is still empty; the rest is over at once."""
    shipper = stage.new_shipper(both_globs(stage)).start()
    log = stage.logs / "app.log"
    writer = LogWriter(log)
    for number in range(scaled(12, 100)):
        writer.write(200)
        stage.until_documents(shipper, len(writer.written))
        stage.until_followed(shipper, log)
        time.sleep(1.2)  # quiet for longer than a file is looked at by itself: the scenario, not a wait
        copy = stage.logs / f"app.log.{number}"
        copy.touch()
        time.sleep(0.001 * (number % 4))
        copytruncate(log, copy)
    stage.expect(shipper, writer.written)


def test_a_file_that_regrew_past_the_old_offset_is_read_from_its_start(stage: LogStage) -> None:
    """Between two looks: truncated, and longer than before, with the same head."""
    shipper = stage.new_shipper(SMALL_BUFFERS).start()
    log = stage.logs / "app.log"
    writer = LogWriter(log)
    for round_number in range(5):
        writer.write_lines(BANNER + str(round_number % 2), *[BANNER] * 30)
        writer.write(20)
        shipper.until_caught_up()
        stage.until_followed(shipper, log)
        stage.until_documents(shipper, len(writer.written))
        os.truncate(log, 0)
        writer.write_lines(BANNER + str(round_number % 2), *[BANNER] * 30)
        writer.write(200)
        stage.until_documents(shipper, len(writer.written))
        os.truncate(log, 0)
        shipper.until(lambda: shipper.status()["files"][0]["read_offset"] == 0, "the truncation to be noticed")
    stage.expect(shipper, writer.written)


def test_many_truncations_with_equal_first_lines_lose_nothing(stage: LogStage) -> None:
    """The ids of a file are made of its inode and first line, which are the same each time."""
    shipper = stage.new_shipper().start()
    writer = LogWriter(stage.logs / "app.log")
    for _ in range(scaled(15, 1000)):
        writer.write_lines(BANNER)
        stage.until_documents(shipper, len(writer.written))
        os.truncate(writer.path, 0)
        shipper.until(lambda: shipper.status()["files"][0]["read_offset"] == 0, "the truncation to be noticed")
    stage.expect(shipper, writer.written)


@pytest.mark.parametrize("copies", ["inside", "outside"])
def test_copytruncate_while_the_shipper_is_down_loses_nothing(stage: LogStage, copies: str) -> None:
    shipper = stage.new_shipper(both_globs(stage) if copies == "inside" else {})
    log = stage.logs / "app.log"
    writer = LogWriter(log)
    writer.write(500)
    shipper.start().until_shipped(log.stat().st_size)
    shipper.until_caught_up()
    assert shipper.terminate() == 0
    writer.write(500)
    copytruncate(log, generation(log, 1))
    writer.write(1500)  # longer than before: only the content tells
    stage.expect(shipper.start(), writer.written)


def test_a_writer_without_o_append_leaves_a_hole_that_is_skipped(stage: LogStage) -> None:
    """It goes on at its old offset in the emptied file; what lies before is zeros that nobody wrote."""
    shipper = stage.new_shipper().start()
    log = stage.logs / "app.log"
    writer = LogWriter(log, append=False)
    writer.write(1000)
    stage.until_documents(shipper, 1000)
    hole_bytes = log.stat().st_size
    copytruncate(log, stage.logs / "app.log.1")
    shipper.until(lambda: 0 in [file["size"] for file in shipper.status()["files"]], "the truncation to be seen")
    writer.write(1000)
    assert log.read_bytes()[:hole_bytes] == bytes(hole_bytes)
    stage.until_documents(shipper, 2000)
    assert shipper.metric("skipped_nul_bytes_total") == hole_bytes
    stage.expect(shipper, writer.written)
    offsets = [hit["_source"]["log"]["offset"] for hit in stage.hits()]
    assert max(offsets) > hole_bytes  # offsets stay true


def test_logrotate_itself_loses_no_more_than_its_own_gap(
    stage: LogStage, without_server: Callable[[str, str], NoReturn]
) -> None:
    """Debian's logrotate against a writer that never pauses; its copies are kept and are the witness of its gap."""
    logrotate = shutil.which("logrotate", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if logrotate is None:
        without_server("logrotate", "the program is not there; install the package logrotate")
    shipper = stage.new_shipper(both_globs(stage)).start()
    log = stage.logs / "app.log"
    writer = LogWriter(log)
    writer.write(10)
    stage.until_followed(shipper, log)
    stop = threading.Event()

    def write_on() -> None:
        while not stop.wait(0.001):  # the pace of an app; nothing depends on it
            writer.write(5)

    app = threading.Thread(target=write_on)
    app.start()
    try:
        for number in range(scaled(6, 30)):
            read_from(shipper, log, number)
            rotate_with(logrotate, stage, log)
    finally:
        stop.set()
        app.join()
    in_files = [line for path in stage.logs.iterdir() for line in path.read_text(encoding="utf-8").splitlines()]
    shipper.until_caught_up()
    shipper.until(lambda: set(in_files) <= set(messages(stage.hits())), "every line that is in a file")
    assert shipper.terminate() == 0
    result = audit(writer.written, messages(stage.hits()))
    assert not result.doubled
    assert not result.strange
    assert set(result.lost) <= set(writer.written) - set(in_files)


def rotate_with(logrotate: str, stage: LogStage, log: Path) -> None:
    """One forced run with a configuration and a state file of our own."""
    configuration = stage.folder / "logrotate.conf"
    configuration.write_text(f'"{log}" {{\n rotate 100\n copytruncate\n nocompress\n missingok\n}}\n', encoding="utf-8")
    configuration.chmod(0o600)
    command = [logrotate, "--force", "--state", str(stage.folder / "logrotate.state"), str(configuration)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr


def test_a_lost_state_doubles_no_generation_that_was_copied(stage: LogStage) -> None:
    """All is delivered; then kill -9, and the state folder is gone."""
    log = stage.logs / "app.log"
    if born_ns_of(stage.logs) is None:
        pytest.skip("the file system does not tell when a file was made")
    shipper = stage.new_shipper(both_globs(stage)).start()
    writer = LogWriter(log)
    for number in range(3):
        writer.write(1000)
        stage.until_documents(shipper, len(writer.written))
        if number < 2:
            copytruncate(log, stage.logs / f"app.log.{number}")
            read_from_start(shipper)
    shipper.until_caught_up()
    shipper.kill()
    shutil.rmtree(stage.folder / "state")
    shipper.start().until_shipped(sum(path.stat().st_size for path in stage.logs.iterdir()))
    stage.expect(shipper, writer.written)


def read_from_start(shipper: ShipperProcess) -> None:
    """Wait until a truncation was noticed."""
    shipper.until(lambda: 0 in [file["read_offset"] for file in shipper.status()["files"]], "the truncation")


def born_ns_of(folder: Path) -> int | None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        return born_ns(fd)
    finally:
        os.close(fd)
