"""Rotation by renaming, by symlink and by deletion: every line of every generation arrives, once.

The app writes on regardless; the backend is away for a third of the generations, so that files are rotated, and
deleted, while most of what is in them has not been read.
"""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.logs import LogWriter, generation, rotate_dated, rotate_numbered, swap_symlink
from tests.support.scale import scaled
from tests.support.scene import Scene
from tests.support.sidecars import PREFIX, ShipperProcess

GENERATIONS = 20
LINES = scaled(500, 12_500)  # per generation: four kinds of rotation times 20 generations make 1,000,000 lines
AWAY = range(6, 13)  # generations during which the backend is blocked
PATIENCE_SECONDS = scaled(60, 300)
SMALL_BUFFERS = {"in_flight_bytes": 64 << 10, "batch_bytes": 16 << 10}


class App:
    """Writes generations into `log`; `rotate(number)` ends one and begins the next."""

    def __init__(self, scene: Scene, shipper: ShipperProcess, rng: random.Random) -> None:
        self.scene, self.shipper, self.rng = scene, shipper, rng
        self.log = scene.logs / "app.log"

    def run(self, writer: LogWriter, rotate: Callable[[int], None]) -> None:
        """All generations, in bursts; before most rotations the shipper has read something of the present one."""
        for number in range(GENERATIONS):
            if number == AWAY.start:
                self.scene.server.faults(blocked=True)
            if number == AWAY.stop:
                self.scene.server.faults()
            left = LINES
            while left:
                burst = min(left, self.rng.randint(1, max(1, LINES // 3)))
                writer.write(burst)
                left -= burst
            self.scene.until_followed(self.shipper, writer.path)
            rotate(number)


@pytest.fixture
def shipper(scene: Scene) -> ShipperProcess:
    return scene.shipper({"paths": f"{scene.logs}/*.log*", **SMALL_BUFFERS})


def test_numbered_generations_arrive_whole(scene: Scene, shipper: ShipperProcess, rng: random.Random) -> None:
    app, writer = App(scene, shipper.start(), rng), LogWriter(scene.logs / "app.log")

    def rotate(_number: int) -> None:
        rotate_numbered(app.log)
        writer.write(3)  # the daemon has not been told yet: this goes to app.log.1
        writer.reopen()

    app.run(writer, rotate)
    assert generation(app.log, GENERATIONS).exists()
    scene.expect(shipper, writer.written, PATIENCE_SECONDS)


def test_dated_generations_outside_the_globs_arrive_whole(scene: Scene, rng: random.Random) -> None:
    shipper = scene.shipper(SMALL_BUFFERS).start()
    app, writer = App(scene, shipper, rng), LogWriter(scene.logs / "app.log")

    def rotate(number: int) -> None:
        rotate_dated(app.log, number)
        writer.write(3)
        writer.reopen()

    app.run(writer, rotate)
    assert len(list(scene.logs.glob("app.log-*"))) == GENERATIONS
    scene.expect(shipper, writer.written, PATIENCE_SECONDS)


def test_generations_behind_a_symlink_arrive_whole(scene: Scene, rng: random.Random) -> None:
    """The name is a symlink, swapped from file to file in a folder that no glob names."""
    store = scene.folder / "store"
    store.mkdir()
    shipper = scene.shipper({"paths": f"{scene.logs}/current", **SMALL_BUFFERS}).start()
    app = App(scene, shipper, rng)
    writer = LogWriter(store / "0")
    swap_symlink(scene.logs / "current", store / "0")

    def rotate(number: int) -> None:
        writer.path = store / str(number + 1)
        writer.reopen()
        swap_symlink(scene.logs / "current", writer.path)

    app.run(writer, rotate)
    scene.expect(shipper, writer.written, PATIENCE_SECONDS)


def test_deleted_generations_with_a_backlog_arrive_whole(scene: Scene, rng: random.Random) -> None:
    """Nothing but the shipper's descriptor keeps the unread bytes; all are let go in the end."""
    shipper = scene.shipper(SMALL_BUFFERS).start()
    app, writer = App(scene, shipper, rng), LogWriter(scene.logs / "app.log")
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
    scene.expect(shipper, writer.written, PATIENCE_SECONDS)


def test_a_deleted_file_is_kept_as_long_as_the_backend_is_away(scene: Scene) -> None:
    """Longer than any timer: a file is let go when it is acknowledged, and for no other reason."""
    shipper = scene.shipper(SMALL_BUFFERS).start()
    scene.server.faults(blocked=True)
    writer = LogWriter(scene.logs / "app.log")
    writer.write(2000)
    scene.until_followed(shipper, writer.path)
    writer.path.unlink()
    writer.write(10)  # a writer may go on after the deletion
    writer.close()
    shipper.until(lambda: shipper.status()["uptime_seconds"] > 7, "the time after which resting files are let go")
    assert shipper.metric("pinned_deleted_files") == 1
    scene.server.faults()
    scene.expect(shipper, writer.written)


@pytest.mark.parametrize("head", [0, 1, 40], ids=["unlike", "same first line", "same first kilobytes"])
def test_twenty_generations_within_a_second_arrive_whole(scene: Scene, head: int) -> None:
    """Numbered out of the glob, faster than a scan: most of them are never seen under the name that is followed."""
    shipper = scene.shipper()
    log = scene.logs / "app.log"
    writer = LogWriter(log)
    writer.write(5)
    shipper.start()
    scene.until_followed(shipper, log)
    for _ in range(GENERATIONS):
        writer.write(50)
        rotate_numbered(log)
        writer.reopen()
        writer.write_lines(*["=== service checkout, version 4.2, starting ==="] * head)
    assert generation(log, GENERATIONS).exists()
    scene.expect(shipper, writer.written)


def test_several_rotations_while_the_shipper_is_down_lose_nothing(scene: Scene) -> None:
    shipper = scene.shipper()
    log = scene.logs / "app.log"
    writer = LogWriter(log)
    writer.write(100)
    shipper.start().until_shipped(log.stat().st_size)
    assert shipper.terminate() == 0
    for _ in range(3):
        writer.write(200)
        rotate_numbered(log)
        writer.reopen()
    writer.write(50)
    scene.expect(shipper.start(), writer.written)


@pytest.mark.parametrize("inside", [True, False], ids=["inside the globs", "outside the globs"])
def test_a_rename_while_the_shipper_is_down_is_followed(scene: Scene, inside: bool) -> None:
    shipper = scene.shipper()
    log = scene.logs / "app.log"
    writer = LogWriter(log)
    writer.write(300)
    shipper.start()
    scene.until_checkpointed(shipper, log)
    shipper.kill()
    writer.write(300)
    log.rename(scene.logs / ("app-1.log" if inside else "app.log.1"))
    fresh = LogWriter(log, "fresh")
    fresh.write(300)
    scene.expect(shipper.start(), writer.written + fresh.written)


def test_a_writer_with_a_stale_descriptor_is_read_after_the_rename(scene: Scene) -> None:
    """The daemon is told late: it writes to the renamed file, out of the globs, while the new one is filled as well."""
    shipper = scene.shipper().start()
    log = scene.logs / "app.log"
    stale = LogWriter(log, "stale")
    stale.write(10)
    scene.until_followed(shipper, log)
    rotate_numbered(log)
    fresh = LogWriter(log, "fresh")
    for _ in range(5):
        before = scene.count()
        stale.write(10)
        fresh.write(10)
        scene.until_documents(shipper, before + 20)
    scene.expect(shipper, stale.written + fresh.written)


def test_the_last_half_line_of_a_rotated_file_is_shipped(scene: Scene) -> None:
    """Nobody will end it: once the file has no matching name and rests, what stands there is a line."""
    shipper = scene.shipper().start()
    log = scene.logs / "app.log"
    writer = LogWriter(log)
    writer.write(10)
    writer.write_bytes(b"half a li")
    scene.until_followed(shipper, log)
    log.unlink()
    writer.reopen()
    writer.write(10)
    scene.expect(shipper, [*writer.written, "half a li"])


def test_a_rotated_file_is_in_status_until_it_is_gone(scene: Scene) -> None:
    """Renamed out of the globs it is followed on, under the name it was first seen under."""
    shipper = scene.shipper().start()
    log = scene.logs / "app.log"
    writer = LogWriter(log)
    writer.write(10)
    scene.until_followed(shipper, log)
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
    scene.expect(shipper, writer.written)
    assert {hit["_source"]["log"]["file"]["path"] for hit in scene.hits()} == {str(log)}
