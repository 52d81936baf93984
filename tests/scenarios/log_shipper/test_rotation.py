"""Rotation by renaming, by symlink and by deletion: every line of every generation arrives, once.

The app writes on regardless; the backend is away for a third of the generations, so that files are rotated, and
deleted, while most of what is in them has not been read.
"""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.log_stage import LogStage
from tests.support.logs import LogWriter, generation, rotate_dated, rotate_numbered, swap_symlink
from tests.support.scale import scaled
from tests.support.sidecars import PREFIX, ShipperProcess

GENERATIONS = 20
LINES = scaled(500, 12_500)  # per generation: four kinds of rotation times 20 generations make 1,000,000 lines
AWAY = range(6, 13)  # generations during which the backend is blocked
PATIENCE_SECONDS = scaled(60, 300)
SMALL_BUFFERS = {"in_flight_bytes": 64 << 10, "batch_bytes": 16 << 10}


class App:
    """Writes generations into `log`; `rotate(number)` ends one and begins the next."""

    def __init__(self, stage: LogStage, shipper: ShipperProcess, rng: random.Random) -> None:
        self.stage, self.shipper, self.rng = stage, shipper, rng
        self.log = stage.logs / "app.log"

    def run(self, writer: LogWriter, rotate: Callable[[int], None]) -> None:
        """All generations, in bursts; before most rotations the shipper has read something of the present one."""
        for number in range(GENERATIONS):
            if number == AWAY.start:
                self.stage.backend.faults(blocked=True)
            if number == AWAY.stop:
                self.stage.backend.faults()
            left = LINES
            while left:
                burst = min(left, self.rng.randint(1, max(1, LINES // 3)))
                writer.write(burst)
                left -= burst
            self.stage.until_followed(self.shipper, writer.path)
            rotate(number)


@pytest.fixture
def shipper(stage: LogStage) -> ShipperProcess:
    return stage.new_shipper({"paths": f"{stage.logs}/*.log*", **SMALL_BUFFERS})


def test_numbered_generations_arrive_whole(stage: LogStage, shipper: ShipperProcess, rng: random.Random) -> None:
    app, writer = App(stage, shipper.start(), rng), LogWriter(stage.logs / "app.log")

    def rotate(_number: int) -> None:
        rotate_numbered(app.log)
        writer.write(3)  # the daemon has not been told yet: this goes to app.log.1
        writer.reopen()

    app.run(writer, rotate)
    assert generation(app.log, GENERATIONS).exists()
    stage.expect(shipper, writer.written, PATIENCE_SECONDS)


def test_dated_generations_outside_the_globs_arrive_whole(stage: LogStage, rng: random.Random) -> None:
    shipper = stage.new_shipper(SMALL_BUFFERS).start()
    app, writer = App(stage, shipper, rng), LogWriter(stage.logs / "app.log")

    def rotate(number: int) -> None:
        rotate_dated(app.log, number)
        writer.write(3)
        writer.reopen()

    app.run(writer, rotate)
    assert len(list(stage.logs.glob("app.log-*"))) == GENERATIONS
    stage.expect(shipper, writer.written, PATIENCE_SECONDS)


def test_generations_behind_a_symlink_arrive_whole(stage: LogStage, rng: random.Random) -> None:
    """The name is a symlink, swapped from file to file in a folder that no glob names."""
    store = stage.folder / "store"
    store.mkdir()
    shipper = stage.new_shipper({"paths": f"{stage.logs}/current", **SMALL_BUFFERS}).start()
    app = App(stage, shipper, rng)
    writer = LogWriter(store / "0")
    swap_symlink(stage.logs / "current", store / "0")

    def rotate(number: int) -> None:
        writer.path = store / str(number + 1)
        writer.reopen()
        swap_symlink(stage.logs / "current", writer.path)

    app.run(writer, rotate)
    stage.expect(shipper, writer.written, PATIENCE_SECONDS)


def test_deleted_generations_with_a_backlog_arrive_whole(stage: LogStage, rng: random.Random) -> None:
    """Nothing but the shipper's descriptor keeps the unread bytes; all are let go in the end."""
    shipper = stage.new_shipper(SMALL_BUFFERS).start()
    app, writer = App(stage, shipper, rng), LogWriter(stage.logs / "app.log")
    pinned: list[float] = []

    def rotate(number: int) -> None:
        app.log.unlink()
        writer.reopen()
        if number == AWAY.stop - 1:
            shipper.until(lambda: shipper.metric("pinned_deleted_files") >= len(AWAY), "the files to be pinned")
            pinned.append(shipper.metric("pinned_deleted_bytes"))

    app.run(writer, rotate)
    assert pinned[0] >= len(AWAY) * LINES * 40
    shipper.until(lambda: shipper.metric("pinned_deleted_files") == 0, "the deleted files to be let go")
    stage.expect(shipper, writer.written, PATIENCE_SECONDS)


def test_a_deleted_file_is_kept_as_long_as_the_backend_is_away(stage: LogStage) -> None:
    """Longer than any timer: a file is let go when it is acknowledged, and for no other reason."""
    shipper = stage.new_shipper(SMALL_BUFFERS).start()
    stage.backend.faults(blocked=True)
    writer = LogWriter(stage.logs / "app.log")
    writer.write(2000)
    stage.until_followed(shipper, writer.path)
    writer.path.unlink()
    writer.write(10)  # a writer may go on after the deletion
    writer.close()
    shipper.until(lambda: shipper.status()["uptime_seconds"] > 7, "the time after which resting files are let go")
    assert shipper.metric("pinned_deleted_files") == 1
    stage.backend.faults()
    stage.expect(shipper, writer.written)


@pytest.mark.parametrize("head", [0, 1, 40], ids=["unlike", "same first line", "same first kilobytes"])
def test_twenty_generations_within_a_second_arrive_whole(stage: LogStage, head: int) -> None:
    """Numbered out of the glob, faster than a scan: most of them are never seen under the name that is followed."""
    shipper = stage.new_shipper()
    log = stage.logs / "app.log"
    writer = LogWriter(log)
    writer.write(5)
    shipper.start()
    stage.until_followed(shipper, log)
    for _ in range(GENERATIONS):
        writer.write(50)
        rotate_numbered(log)
        writer.reopen()
        writer.write_lines(*["=== service checkout, version 4.2, starting ==="] * head)
    assert generation(log, GENERATIONS).exists()
    stage.expect(shipper, writer.written)


def test_several_rotations_while_the_shipper_is_down_lose_nothing(stage: LogStage) -> None:
    shipper = stage.new_shipper()
    log = stage.logs / "app.log"
    writer = LogWriter(log)
    writer.write(100)
    shipper.start().until_shipped(log.stat().st_size)
    assert shipper.terminate() == 0
    for _ in range(3):
        writer.write(200)
        rotate_numbered(log)
        writer.reopen()
    writer.write(50)
    stage.expect(shipper.start(), writer.written)


@pytest.mark.parametrize("inside", [True, False], ids=["inside the globs", "outside the globs"])
def test_a_rename_while_the_shipper_is_down_is_followed(stage: LogStage, inside: bool) -> None:
    shipper = stage.new_shipper()
    log = stage.logs / "app.log"
    writer = LogWriter(log)
    writer.write(300)
    shipper.start()
    stage.until_checkpointed(shipper, log)
    shipper.kill()
    writer.write(300)
    log.rename(stage.logs / ("app-1.log" if inside else "app.log.1"))
    fresh = LogWriter(log, "fresh")
    fresh.write(300)
    stage.expect(shipper.start(), writer.written + fresh.written)


def test_a_writer_with_a_stale_descriptor_is_read_after_the_rename(stage: LogStage) -> None:
    """The daemon is told late: it writes to the renamed file, out of the globs, while the new one is filled as well."""
    shipper = stage.new_shipper().start()
    log = stage.logs / "app.log"
    stale = LogWriter(log, "stale")
    stale.write(10)
    stage.until_followed(shipper, log)
    rotate_numbered(log)
    fresh = LogWriter(log, "fresh")
    for _ in range(5):
        before = stage.arrived_count()
        stale.write(10)
        fresh.write(10)
        stage.until_documents(shipper, before + 20)
    stage.expect(shipper, stale.written + fresh.written)


def test_the_last_half_line_of_a_rotated_file_is_shipped(stage: LogStage) -> None:
    """Nobody will end it: once the file has no matching name and rests, what stands there is a line."""
    shipper = stage.new_shipper().start()
    log = stage.logs / "app.log"
    writer = LogWriter(log)
    writer.write(10)
    writer.write_bytes(b"half a li")
    stage.until_followed(shipper, log)
    log.unlink()
    writer.reopen()
    writer.write(10)
    stage.expect(shipper, [*writer.written, "half a li"])


def test_a_rotated_file_is_in_status_until_it_is_gone(stage: LogStage) -> None:
    """Renamed out of the globs it is followed on, under the name it was first seen under."""
    shipper = stage.new_shipper().start()
    log = stage.logs / "app.log"
    writer = LogWriter(log)
    writer.write(10)
    stage.until_followed(shipper, log)
    os.rename(log, generation(log, 1))
    writer.write(10)

    def place() -> list[tuple[str, str, bool]]:
        return [(file["path"], file["place"], file["listed"]) for file in shipper.status()["files"]]

    shipper.until(lambda: place() == [(str(log), f"{log}.1", False)], "the new name to be noticed")
    shipper.until_shipped(Path(f"{log}.1").stat().st_size)
    writer.close()
    generation(log, 1).unlink()
    shipper.until(lambda: not place(), "the file to be let go")
    assert shipper.metrics()[PREFIX + "open_files"] == 0
    stage.expect(shipper, writer.written)
    assert {hit["_source"]["log"]["file"]["path"] for hit in stage.hits()} == {str(log)}
