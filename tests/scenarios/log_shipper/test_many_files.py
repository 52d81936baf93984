"""Many files and few resources: two thousand logs, 64 descriptors, no inotify. Slower is allowed, losing is not."""

import os
import random
import shutil
from pathlib import Path

import pytest

from tests.conftest import GiveUp
from tests.support.log_stage import LogStage
from tests.support.logs import LogWriter
from tests.support.processes import can_run
from tests.support.scale import scaled

MEMORY_LIMIT_BYTES = 100 << 20
FEW_DESCRIPTORS = ("prlimit", "--nofile=64:64")
NO_INOTIFY = ("unshare", "--user", "--map-root-user", "sh", "-c")
_FORBID = 'echo 0 > /proc/sys/user/max_inotify_instances && exec "$@"'


def write_all(folder: Path, count: int, first: int, lines: int) -> list[str]:
    """Append numbered lines to each of so many files; what was written."""
    written: list[str] = []
    for number in range(count):
        added = [f"file {number} line {line}" for line in range(first, first + lines)]
        with (folder / f"{number}.log").open("a", encoding="ascii") as file:
            file.write("".join(line + "\n" for line in added))
        written += added
    return written


def test_two_thousand_files_are_all_shipped(stage: LogStage) -> None:
    shipper = stage.new_shipper()
    count = scaled(2000, 2000)
    written = write_all(stage.logs, count, 0, 3)
    shipper.start()
    stage.until_documents(shipper, len(written))
    written += write_all(stage.logs, count, 3, 3)
    stage.until_documents(shipper, len(written))
    assert shipper.memory_bytes("VmHWM") < MEMORY_LIMIT_BYTES
    stage.expect(shipper, written)


def test_a_descriptor_limit_of_64_abandons_nothing(stage: LogStage, rng: random.Random) -> None:
    """More files than may be open: they take turns, also when all of them grow, and some are renamed or removed."""
    if shutil.which(FEW_DESCRIPTORS[0]) is None:
        pytest.skip("needs prlimit (util-linux) to limit a process")
    shipper = stage.new_shipper(prefix=FEW_DESCRIPTORS)
    count = scaled(200, 1000)
    written = write_all(stage.logs, count, 0, 5)
    shipper.start()
    for first in (5, 10):
        stage.until_documents(shipper, len(written))
        assert len(os.listdir(f"/proc/{shipper.pid}/fd")) <= 64
        for number in rng.sample(range(count), 20):
            (stage.logs / f"{number}.log").rename(stage.logs / f"{number}-{first}.log")
        written += write_all(stage.logs, count, first, 5)
    stage.until_documents(shipper, len(written))
    shipper.until(lambda: not shipper.logged("checkpoint.failed"), "the checkpoint")
    stage.expect(shipper, written)


def test_a_descriptor_limit_of_64_survives_an_outage(stage: LogStage) -> None:
    """While nothing is acknowledged no file may be closed for another; the others wait, and none is forgotten."""
    if shutil.which(FEW_DESCRIPTORS[0]) is None:
        pytest.skip("needs prlimit (util-linux) to limit a process")
    shipper = stage.new_shipper(prefix=FEW_DESCRIPTORS)
    count = 100
    stage.backend.faults(blocked=True)
    written = write_all(stage.logs, count, 0, 20)
    shipper.start()
    shipper.until(lambda: shipper.logged("file.descriptors"), "the limit to be reached")
    assert shipper.ask("/livez")[0] == 200  # the admin endpoint has kept descriptors for itself
    stage.backend.faults()
    stage.expect(shipper, written)


def test_without_inotify_files_are_found_by_looking(stage: LogStage, without_server: GiveUp) -> None:
    """All instances of the user are taken (the limit is 128): the shipper polls, says so, and ships."""
    shipper = stage.new_shipper({"paths": f"{stage.logs}/**/*.log"}, no_inotify(without_server)).start()
    shipper.until(lambda: shipper.metric("watch_polling") == 1, "the polling to be said")
    writer = LogWriter(stage.logs / "app.log")
    writer.write(10)
    stage.until_documents(shipper, 10)
    (stage.logs / "new").mkdir()
    other = LogWriter(stage.logs / "new" / "other.log", "other")
    other.write(10)
    stage.until_documents(shipper, 20)
    writer.write(10)
    writer.path.rename(stage.logs / "app.log.1")
    writer.write(10)
    writer.reopen()
    writer.write(10)
    stage.expect(shipper, writer.written + other.written)


def no_inotify(without_server: GiveUp) -> tuple[str, ...]:
    """A command prefix under which there is no inotify instance to be had: in a user namespace of its own. Taking all
    that are left would do it too, and leave none to the tests beside.
    """
    prefix = (*NO_INOTIFY, _FORBID, "sh")
    if not can_run(*prefix, "true"):
        without_server("user namespace", "unshare --user is not allowed here")
    return prefix
