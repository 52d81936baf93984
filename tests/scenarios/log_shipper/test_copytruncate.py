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
from tests.support.logs import LogWriter, copytruncate, generation
from tests.support.scale import scaled
from tests.support.scene import Scene
from tests.support.sidecars import PREFIX, ShipperProcess

GENERATIONS = 20
LINES = scaled(400, 10_000)
SMALL_BUFFERS = {"in_flight_bytes": 64 << 10, "batch_bytes": 16 << 10}
BANNER = "=== service checkout, version 4.2, starting " + "=" * 40


def both_globs(scene: Scene) -> dict[str, object]:
    """Settings under which the copies match as well."""
    return {"paths": f"{scene.logs}/*.log*"}


@pytest.mark.parametrize("copies", ["inside", "outside"])
def test_copytruncate_loses_and_doubles_nothing(scene: Scene, rng: random.Random, copies: str) -> None:
    """Twenty generations, some truncated before they were read, some read before they were copied."""
    settings = both_globs(scene) if copies == "inside" else {}
    shipper = scene.shipper(settings).start()  # room enough to go on reading while the backend is away
    log = scene.logs / "app.log"
    writer = LogWriter(log)
    for number in range(GENERATIONS):
        scene.server.faults(blocked=number % 5 == 2)
        writer.write(rng.randint(1, LINES))
        scene.until_followed(shipper, log)
        read_from(shipper, log, number)
        writer.write(rng.randint(0, LINES))
        copytruncate(log, scene.logs / f"app.log.{number}")
    writer.write(10)
    scene.server.faults()
    scene.expect(shipper, writer.written)


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


def test_a_quiet_log_that_is_copied_and_truncated_is_not_doubled(scene: Scene) -> None:
    """The new file wakes the shipper, which meets it while it is still empty; the rest is over at once."""
    shipper = scene.shipper(both_globs(scene)).start()
    log = scene.logs / "app.log"
    writer = LogWriter(log)
    for number in range(scaled(12, 100)):
        writer.write(200)
        scene.until_documents(shipper, len(writer.written))
        scene.until_followed(shipper, log)
        time.sleep(1.2)  # quiet for longer than a file is looked at by itself: the scenario, not a wait
        copy = scene.logs / f"app.log.{number}"
        copy.touch()
        time.sleep(0.001 * (number % 4))
        copytruncate(log, copy)
    scene.expect(shipper, writer.written)


def test_a_file_that_regrew_past_the_old_offset_is_read_from_its_start(scene: Scene) -> None:
    """Between two looks: truncated, and longer than before, with the same head."""
    shipper = scene.shipper(SMALL_BUFFERS).start()
    log = scene.logs / "app.log"
    writer = LogWriter(log)
    for round_number in range(5):
        writer.write_lines(BANNER + str(round_number % 2), *[BANNER] * 30)
        writer.write(20)
        shipper.until_caught_up()
        scene.until_followed(shipper, log)
        scene.until_documents(shipper, len(writer.written))
        os.truncate(log, 0)
        writer.write_lines(BANNER + str(round_number % 2), *[BANNER] * 30)
        writer.write(200)
        scene.until_documents(shipper, len(writer.written))
        os.truncate(log, 0)
        shipper.until(lambda: shipper.status()["files"][0]["read_offset"] == 0, "the truncation to be noticed")
    scene.expect(shipper, writer.written)


def test_many_truncations_with_equal_first_lines_lose_nothing(scene: Scene) -> None:
    """The ids of a file are made of its inode and first line, which are the same each time."""
    shipper = scene.shipper().start()
    writer = LogWriter(scene.logs / "app.log")
    for _ in range(scaled(15, 1000)):
        writer.write_lines(BANNER)
        scene.until_documents(shipper, len(writer.written))
        os.truncate(writer.path, 0)
        shipper.until(lambda: shipper.status()["files"][0]["read_offset"] == 0, "the truncation to be noticed")
    scene.expect(shipper, writer.written)


@pytest.mark.parametrize("copies", ["inside", "outside"])
def test_copytruncate_while_the_shipper_is_down_loses_nothing(scene: Scene, copies: str) -> None:
    shipper = scene.shipper(both_globs(scene) if copies == "inside" else {})
    log = scene.logs / "app.log"
    writer = LogWriter(log)
    writer.write(500)
    shipper.start().until_shipped(log.stat().st_size)
    shipper.until_caught_up()
    assert shipper.terminate() == 0
    writer.write(500)
    copytruncate(log, generation(log, 1))
    writer.write(1500)  # longer than before: only the content tells
    scene.expect(shipper.start(), writer.written)


def test_a_writer_without_o_append_leaves_a_hole_that_is_skipped(scene: Scene) -> None:
    """It goes on at its old offset in the emptied file; what lies before is zeros that nobody wrote."""
    shipper = scene.shipper().start()
    log = scene.logs / "app.log"
    writer = LogWriter(log, append=False)
    writer.write(1000)
    scene.until_documents(shipper, 1000)
    hole_bytes = log.stat().st_size
    copytruncate(log, scene.logs / "app.log.1")
    shipper.until(lambda: 0 in [file["size"] for file in shipper.status()["files"]], "the truncation to be seen")
    writer.write(1000)
    assert log.read_bytes()[:hole_bytes] == bytes(hole_bytes)
    scene.until_documents(shipper, 2000)
    assert shipper.metric("skipped_nul_bytes_total") == hole_bytes
    scene.expect(shipper, writer.written)
    offsets = [hit["_source"]["log"]["offset"] for hit in scene.hits()]
    assert max(offsets) > hole_bytes  # offsets stay true


def test_logrotate_itself_loses_no_more_than_its_own_gap(
    scene: Scene, without_server: Callable[[str, str], NoReturn]
) -> None:
    """Debian's logrotate against a writer that never pauses; its copies are kept and are the witness of its gap."""
    logrotate = shutil.which("logrotate", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if logrotate is None:
        without_server("logrotate", "the program is not there; install the package logrotate")
    shipper = scene.shipper(both_globs(scene)).start()
    log = scene.logs / "app.log"
    writer = LogWriter(log)
    writer.write(10)
    scene.until_followed(shipper, log)
    stop = threading.Event()

    def write_on() -> None:
        while not stop.wait(0.001):  # the pace of an app; nothing depends on it
            writer.write(5)

    app = threading.Thread(target=write_on)
    app.start()
    try:
        for number in range(scaled(6, 30)):
            read_from(shipper, log, number)
            rotate_with(logrotate, scene, log)
    finally:
        stop.set()
        app.join()
    in_files = [line for path in scene.logs.iterdir() for line in path.read_text(encoding="utf-8").splitlines()]
    shipper.until_caught_up()
    shipper.until(lambda: set(in_files) <= set(messages(scene.hits())), "every line that is in a file")
    assert shipper.terminate() == 0
    result = audit(writer.written, messages(scene.hits()))
    assert not result.doubled
    assert not result.strange
    assert set(result.lost) <= set(writer.written) - set(in_files)


def rotate_with(logrotate: str, scene: Scene, log: Path) -> None:
    """One forced run with a configuration and a state file of our own."""
    configuration = scene.folder / "logrotate.conf"
    configuration.write_text(f'"{log}" {{\n rotate 100\n copytruncate\n nocompress\n missingok\n}}\n', encoding="utf-8")
    configuration.chmod(0o600)
    command = [logrotate, "--force", "--state", str(scene.folder / "logrotate.state"), str(configuration)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr


def test_a_lost_state_doubles_no_generation_that_was_copied(scene: Scene) -> None:
    """All is delivered; then kill -9, and the state folder is gone."""
    log = scene.logs / "app.log"
    if born_ns_of(scene.logs) is None:
        pytest.skip("the file system does not tell when a file was made")
    shipper = scene.shipper(both_globs(scene)).start()
    writer = LogWriter(log)
    for number in range(3):
        writer.write(1000)
        scene.until_documents(shipper, len(writer.written))
        if number < 2:
            copytruncate(log, scene.logs / f"app.log.{number}")
            read_from_start(shipper)
    shipper.until_caught_up()
    shipper.kill()
    shutil.rmtree(scene.folder / "state")
    shipper.start().until_shipped(sum(path.stat().st_size for path in scene.logs.iterdir()))
    scene.expect(shipper, writer.written)


def read_from_start(shipper: ShipperProcess) -> None:
    """Wait until a truncation was noticed."""
    shipper.until(lambda: 0 in [file["read_offset"] for file in shipper.status()["files"]], "the truncation")


def born_ns_of(folder: Path) -> int | None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        return born_ns(fd)
    finally:
        os.close(fd)
