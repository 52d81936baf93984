"""Rotation by renaming, by symlink, by deletion and by copytruncate under a process that watches by inotify: every line
of every generation arrives, once, though the backend is away for a third of them. What a look makes of each case:
tests/agents/log_shipper/test_following.py, test_copies.py and test_meddling.py.
"""

import os
import random
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from tests.support.books import audit, messages
from tests.support.log_stage import LogStage
from tests.support.logs import LogWriter, copytruncate, rotate_dated, rotate_numbered, swap_symlink
from tests.support.processes import run
from tests.support.scale import scaled
from tests.support.sidecars import PREFIX, ShipperProcess

GENERATIONS = scaled(12, 20)
LINES = scaled(300, 12_500)  # per generation: four kinds of rotation times 20 generations make 1,000,000 lines
AWAY = range(4, 8)  # generations during which the backend is blocked
PATIENCE_SECONDS = scaled(60, 300)
SMALL_BUFFERS = {"in_flight_bytes": 64 << 10, "batch_bytes": 16 << 10}


class Apps:
    """Four that write their logs, each rotated in its own way; most of what is in a file is not read by then."""

    def __init__(self, stage: LogStage) -> None:
        self.store = stage.folder / "store"
        self.store.mkdir()
        names = ("numbered", "dated", "deleted")
        self.writers = {name: LogWriter(stage.logs / f"{name}.log", name) for name in names}
        self.writers["linked"] = LogWriter(self.store / "0", "linked")
        self.link = stage.logs / "current"
        swap_symlink(self.link, self.store / "0")
        logs = stage.logs
        self.paths = f"{logs}/numbered.log*,{logs}/dated.log,{logs}/deleted.log,{self.link}"

    @property
    def written(self) -> list[str]:
        return [line for writer in self.writers.values() for line in writer.written]

    def rotate(self, kind: str, number: int) -> None:
        writer = self.writers[kind]
        if kind == "linked":
            writer.path = self.store / str(number + 1)
            writer.reopen()
            swap_symlink(self.link, writer.path)
            return
        if kind == "numbered":
            rotate_numbered(writer.path)
        elif kind == "dated":
            rotate_dated(writer.path, number)
        else:
            writer.path.unlink()
        writer.write(3)  # the daemon has not been told yet
        writer.reopen()


def test_generations_of_every_kind_arrive_whole(stage: LogStage, rng: random.Random) -> None:
    """Nothing but the shipper's descriptor keeps the unread bytes of a deleted file; all are let go in the end."""
    apps = Apps(stage)
    shipper = stage.new_shipper({"paths": apps.paths, **SMALL_BUFFERS}).start()
    for number in range(GENERATIONS):
        stage.backend.faults(blocked=number in AWAY)
        for kind, writer in apps.writers.items():
            for _ in range(3):
                writer.write(rng.randint(1, LINES // 2))
            stage.until_followed(shipper, writer.path)
            apps.rotate(kind, number)
        if number == AWAY.stop - 1:
            shipper.until(lambda: shipper.metric("pinned_deleted_files") >= len(AWAY), "the files to be pinned")
    shipper.until(lambda: shipper.metric("pinned_deleted_files") == 0, "the deleted files to be let go")
    stage.expect(shipper, apps.written, PATIENCE_SECONDS)


def truncations(shipper: ShipperProcess) -> float:
    return shipper.metrics().get(PREFIX + 'file_events_total{event="truncated"}', 0)


def read_from(shipper: ShipperProcess, logs: list[Path], truncated: int) -> None:
    """Wait until all truncations were noticed and something of the present content was read: before that there is no
    telling whose copy a copy is.
    """

    def begun() -> bool:
        files = {file["inode"]: file["read_offset"] for file in shipper.status()["files"]}
        stats = [log.stat() for log in logs]
        return truncations(shipper) >= truncated and all(0 < files.get(s.st_ino, 0) <= s.st_size for s in stats)

    shipper.until(begun, "the new content to be read")


def test_copytruncate_loses_and_doubles_nothing(stage: LogStage, rng: random.Random) -> None:
    """Where the writer is still while the copy is made; copies in the globs and out of them, some truncated before they
    were read, some read before they were copied.
    """
    shipper = stage.new_shipper({"paths": f"{stage.logs}/inside.log*,{stage.logs}/outside.log"}).start()
    writers = [LogWriter(stage.logs / f"{name}.log", name) for name in ("inside", "outside")]
    for number in range(GENERATIONS):
        stage.backend.faults(blocked=number % 5 == 2)
        for writer in writers:
            writer.write(rng.randint(1, LINES))
        stage.until_followed(shipper, *(writer.path for writer in writers))
        read_from(shipper, [writer.path for writer in writers], 2 * number)
        for writer in writers:
            writer.write(rng.randint(0, LINES))
            copytruncate(writer.path, stage.logs / f"{writer.path.name}.{number}")
    for writer in writers:
        writer.write(10)
    stage.backend.faults()
    stage.expect(shipper, [line for writer in writers for line in writer.written])


def test_a_quiet_log_that_is_copied_and_truncated_is_not_doubled(stage: LogStage) -> None:
    """The new file wakes the shipper, which meets it while it is still empty; the rest is over at once."""
    shipper = stage.new_shipper({"paths": f"{stage.logs}/*.log*"}).start()
    writer = LogWriter(stage.logs / "app.log")
    for number in range(scaled(4, 100)):
        writer.write(200)
        stage.until_documents(shipper, len(writer.written))
        stage.until_followed(shipper, writer.path)
        time.sleep(1.2)  # quiet for longer than a file is looked at by itself: the scenario, not a wait
        copy = stage.logs / f"app.log.{number}"
        copy.touch()
        time.sleep(0.001 * (number % 4))
        copytruncate(writer.path, copy)
    stage.expect(shipper, writer.written)


def test_logrotate_itself_loses_no_more_than_its_own_gap(
    stage: LogStage, without_server: Callable[[str, str], NoReturn]
) -> None:
    """Debian's logrotate against a writer that never pauses. What it writes between the last read of logrotate and the
    truncation is in no file, and only that may be missing; the copies are kept and are the witness.
    """
    logrotate = shutil.which("logrotate", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if logrotate is None:
        without_server("logrotate", "the program is not there; install the package logrotate")
    shipper = stage.new_shipper({"paths": f"{stage.logs}/*.log*"}).start()
    log = stage.logs / "app.log"
    writer = LogWriter(log)
    writer.write(10)
    stage.until_followed(shipper, log)
    configuration = stage.folder / "logrotate.conf"
    configuration.write_text(f'"{log}" {{\n rotate 100\n copytruncate\n nocompress\n missingok\n}}\n', encoding="utf-8")
    configuration.chmod(0o600)
    stop = threading.Event()

    def write_on() -> None:
        while not stop.wait(0.001):  # the pace of an app; nothing depends on it
            writer.write(5)

    app = threading.Thread(target=write_on)
    app.start()
    try:
        for number in range(scaled(4, 30)):
            read_from(shipper, [log], number)
            done = run(logrotate, "--force", "--state", stage.folder / "logrotate.state", configuration)
            assert done.returncode == 0, done.stderr
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
