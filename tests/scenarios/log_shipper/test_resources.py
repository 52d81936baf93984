"""Many files, few descriptors, no inotify, little memory, a disk that is read-only or full. Slower is allowed, losing
is not. (Files at rest and the checkpoint's own file: tests/agents/log_shipper/test_at_rest.py, test_descriptors.py,
test_state.py; 10,000 files: tests/bench/many_files.py.)
"""

import json
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import GiveUp
from tests.support.log_stage import LogStage
from tests.support.logs import LogWriter
from tests.support.processes import can_run, run
from tests.support.scale import scaled

MEMORY_LIMIT_BYTES = 100 << 20
MIB = 1 << 20
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


def test_more_files_than_are_held_open_are_all_shipped_in_little_memory(stage: LogStage) -> None:
    shipper = stage.new_shipper()
    count = scaled(500, 2000)  # 256 are held open
    written = write_all(stage.logs, count, 0, 3)
    shipper.start()
    stage.until_documents(shipper, len(written))
    written += write_all(stage.logs, count, 3, 3)
    stage.until_documents(shipper, len(written))
    assert shipper.memory_bytes("VmHWM") < MEMORY_LIMIT_BYTES
    stage.expect(shipper, written)


def test_a_descriptor_limit_of_64_abandons_nothing(stage: LogStage, rng: random.Random) -> None:
    """The files take turns, also when all of them grow, and some are renamed. While nothing is acknowledged none may be
    closed for another; the others wait.
    """
    if shutil.which(FEW_DESCRIPTORS[0]) is None:
        pytest.skip("needs prlimit (util-linux) to limit a process")
    shipper = stage.new_shipper(prefix=FEW_DESCRIPTORS)
    count = scaled(100, 1000)
    stage.backend.faults(blocked=True)
    written = write_all(stage.logs, count, 0, 10)
    shipper.start()
    shipper.until(lambda: shipper.logged("file.descriptors"), "the limit to be reached")
    assert shipper.ask("/livez")[0] == 200  # the admin endpoint has kept descriptors for itself
    stage.backend.faults()
    for first in (10, 15):
        stage.until_documents(shipper, len(written))
        assert len(os.listdir(f"/proc/{shipper.pid}/fd")) <= 64
        for number in rng.sample(range(count), 20):
            (stage.logs / f"{number}.log").rename(stage.logs / f"{number}-{first}.log")
        written += write_all(stage.logs, count, first, 5)
    stage.until_documents(shipper, len(written))
    assert not shipper.logged("checkpoint.failed")
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


def test_whatever_stands_in_a_log_arrives_as_it_is_meant_in_little_memory(stage: LogStage, rng: random.Random) -> None:
    """Whatever JSON has to escape, whatever could be taken for the end of a bulk line, bytes that are no text, a line
    of 80 MiB; nothing of that holds up the line behind it.
    """
    shipper = stage.new_shipper().start()
    odd = [chr(code) * 2 for code in range(1, 0x250) if chr(code) not in "\r\n"]
    odd += ['","', '\\","', '"}', '{"create":{}}', "\u2028\u2029\u0085", "\U0001f600", '\\u0000\\"', "\x7f\x1b[31m"]
    LogWriter(stage.logs / "odd.log").write_lines(*odd)
    (stage.logs / "marks.log").write_bytes(b"\xef\xbb\xbffirst\r\n\xc3\xbcth\xff\r\nthree\0half\n")
    (stage.logs / "wide.log").write_bytes("\ufeffone\r\ntw\u00f6\r\n".encode("utf-16-le"))
    garbage = stage.logs / "garbage.bin.log"
    garbage.write_bytes(rng.randbytes(MIB) + b"\nthe good line\n")
    long = LogWriter(stage.logs / "long.log")
    for _ in range(80):  # no newline for a long time
        long.write_bytes(b"x" * MIB)
    long.write_bytes(b"\nafter\n")
    expected = {*odd, "first", "\u00fcth\ufffd", "three\0half", "one", "tw\u00f6", "the good line", "x" * MIB, "after"}
    shipper.until_shipped(sum(path.stat().st_size for path in stage.logs.iterdir()))
    shipper.until_caught_up()
    assert shipper.memory_bytes("VmHWM") < MEMORY_LIMIT_BYTES
    assert shipper.metric("cut_lines_total") >= 1
    assert shipper.metric("invalid_utf8_lines_total") > 1
    assert shipper.terminate() == 0
    assert not shipper.logged("stop.undelivered")
    arrived = [
        hit["_source"]["message"] for hit in stage.hits() if hit["_source"]["log"]["file"]["path"] != str(garbage)
    ]
    assert sorted([*arrived, "the good line"]) == sorted(expected)
    assert stage.arrived().count("the good line") == 1


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of 64 KiB at `folder`; skips where mounting is not allowed."""
    folder.mkdir()
    mounted = run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder)
    if mounted.returncode != 0:
        pytest.skip(f"needs the right to mount a small tmpfs: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        run("umount", "--lazy", folder, check=True)


def degraded(stage: LogStage) -> bool:
    return stage.shipper.metric("checkpoint_writable") == 0


def readiness(stage: LogStage) -> str:
    return stage.shipper.ask("/readyz")[1]


def test_a_read_only_state_folder_degrades_and_heals_when_it_is_writable_again(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk, LogStage(tmp_path, state_dir=disk) as stage:
        run("mount", "-o", "remount,ro", disk, check=True)
        stage.shipper.start()
        stage.write(500)
        stage.until_delivered()
        stage.shipper.until(lambda: degraded(stage), "the metric to show it")
        assert "Read-only file system" in readiness(stage)
        run("mount", "-o", "remount,rw", disk, check=True)
        stage.shipper.until(lambda: not degraded(stage), "it to heal")
        assert "state_dir" not in readiness(stage)
        stage.shipper.kill()
        stage.shipper.start()
        stage.shipper.until(lambda: stage.shipper.logged("file.resumed"), "it to go on where it was")
        stage.until_delivered()
        assert stage.outcomes() == {}, "the healed checkpoint was true"
        stage.assert_all_arrived()


def fill(path: Path) -> None:
    """Until the disk is full."""
    try:
        with path.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 512)
    except OSError:
        pass  # full, as wanted


def test_a_full_disk_degrades_keeps_what_is_in_the_checkpoint_and_loses_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk, LogStage(tmp_path, state_dir=disk) as stage:
        stage.shipper.start()
        stage.write(500)
        stage.until_delivered()
        saved = disk / "checkpoint.json"
        wanted = f'"offset":{stage.bytes_written}'
        stage.shipper.until(lambda: saved.exists() and wanted in saved.read_text("utf-8"), "a good checkpoint")
        before = saved.read_bytes()
        fill(disk / "filler")

        def written_on() -> bool:
            stage.write(50)  # the last block of the file may have room for some changes
            return degraded(stage)

        stage.shipper.until(written_on, "the metric to show it")
        stage.until_delivered()
        assert "No space left" in readiness(stage)
        assert saved.read_bytes().startswith(before), "a change is appended whole or not at all"
        assert saved.read_bytes().endswith(b"\n")
        stage.shipper.kill()
        stage.shipper.start()
        stage.until_delivered()
        assert stage.outcomes().keys() <= {"duplicate"}, "known again by the ids"
        (disk / "filler").unlink()
        stage.shipper.until(lambda: not degraded(stage), "it to heal")
        assert stage.shipper.terminate() == 0
        stage.assert_all_arrived()


def test_refused_records_wait_for_room_in_the_dead_letter_file(tmp_path: Path) -> None:
    """They count as done only when they are on the disk."""
    with small_disk(tmp_path / "disk") as disk, LogStage(tmp_path, dead_letter_path=disk / "dead.ndjson") as stage:
        fill(disk / "filler")
        stage.backend.faults(item_rules=[{"match": "line 0000003", "status": 400}])
        stage.shipper.start()
        stage.write(10)
        reason = 'retried_records_total{reason="dead_letter"}'
        stage.shipper.until(lambda: stage.shipper.metric(reason) > 0, "the failing write to be counted")
        assert stage.shipper.metric("dead_letter_bytes_total") == 0
        assert stage.shipper.metric("in_flight_bytes") > 0
        assert "dead_letter_path" in readiness(stage)
        (disk / "filler").unlink()
        stage.until_delivered()
        (letter,) = (disk / "dead.ndjson").read_text(encoding="utf-8").splitlines()
        assert json.loads(letter)["document"]["message"] == stage.lines[3]
        assert "dead_letter_path" not in readiness(stage)
        assert stage.outcomes() == {"indexed": 9, "rejected": 1}
