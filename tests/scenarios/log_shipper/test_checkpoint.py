"""The checkpoint: damaged, of another schema, on a folder that is missing, read-only or full. Never a reason to stop,
to lose or to double anything.
"""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.log_stage import LogStage

Damage = Callable[[bytes], bytes]

DAMAGES: dict[str, tuple[Damage, str]] = {
    "cut in the content": (lambda data: data[: data.index(b"\n") + 10], "truncated"),
    "without its last newline": (lambda data: b"\n".join(data.split(b"\n")[:2]), "truncated"),
    "cut in the header": (lambda data: data[:10], "garbage"),
    "empty": (lambda _: b"", "garbage"),
    "zeros, as after a power cut": (lambda data: b"\0" * len(data), "garbage"),
    "binary": (lambda _: bytes(range(256)), "garbage"),
    "a byte missing": (lambda data: data.replace(b'"positions":', b'"position":', 1), "garbage"),
    "other JSON": (lambda _: b'{"schema":2,"checksum":""}\n{"positions":7}\n', "garbage"),
    "a newer schema": (lambda data: data.replace(b'"schema":2', b'"schema":99', 1), "schema"),
    "an older schema": (lambda data: data.replace(b'"schema":2', b'"schema":0', 1), "schema"),
}


def checkpoint(stage: LogStage) -> Path:
    return stage.folder / "state" / "checkpoint.json"


def degraded(stage: LogStage) -> bool:
    return stage.shipper.metric("checkpoint_writable") == 0


def readiness(stage: LogStage) -> str:
    return stage.shipper.ask("/readyz")[1]


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of 64 KiB at `folder`; skips where mounting is not allowed."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"needs the right to mount a small tmpfs: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_damaged_checkpoint_is_said_healed_and_doubles_nothing(tmp_path: Path) -> None:
    with LogStage(tmp_path) as stage:
        stage.shipper.start()
        stage.write(300)
        stage.until_delivered()
        assert stage.shipper.terminate() == 0
        for name, (damage, reason) in DAMAGES.items():
            good = checkpoint(stage).read_bytes()
            bad = damage(good)
            assert bad != good, f"{name}: nothing was damaged"
            checkpoint(stage).write_bytes(bad)
            stage.shipper.start()
            stage.write(10)
            stage.until_delivered()
            assert stage.shipper.metric(f'checkpoint_resets_total{{reason="{reason}"}}') == 1, name
            assert stage.outcomes() == {"indexed": 10, "duplicate": len(stage.lines) - 10}, name
            assert stage.shipper.logged("checkpoint.reset"), name
            assert stage.shipper.terminate() == 0
        stage.assert_all_arrived()
        stage.shipper.start()
        stage.shipper.until(lambda: stage.shipper.status()["files"], "the file to be found")
        assert stage.shipper.metric("checkpoint_resets_total") == 0, "the last start wrote a good one"
        assert stage.shipper.metric("read_bytes_total") == 0


def test_a_checkpoint_that_is_a_folder_or_cannot_be_read_is_no_reason_to_stop(tmp_path: Path) -> None:
    checkpoint_folder = tmp_path / "state" / "checkpoint.json"
    checkpoint_folder.mkdir(parents=True)
    with LogStage(tmp_path) as stage:
        stage.shipper.start()
        stage.write(50)
        stage.until_delivered()
        assert stage.shipper.metric('checkpoint_resets_total{reason="unreadable"}') == 1
        stage.shipper.until(lambda: degraded(stage), "the failing writes to show")
        stage.assert_all_arrived()


def test_a_missing_state_folder_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there" / "yet"
    with LogStage(tmp_path, state_dir=folder) as stage:
        stage.shipper.start()
        stage.write(50)
        stage.until_delivered()
        assert stage.shipper.terminate() == 0
        assert json.loads(checkpoint_lines(folder)[0])["schema"] == 2
        assert [path.name for path in folder.iterdir()] == ["checkpoint.json"], "no temporary file may stay"


def checkpoint_lines(folder: Path) -> list[str]:
    return (folder / "checkpoint.json").read_text(encoding="utf-8").splitlines()


def test_a_state_folder_that_cannot_be_made_degrades_and_loses_nothing(tmp_path: Path) -> None:
    """Not even root makes folders below a file."""
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with LogStage(tmp_path, state_dir=tmp_path / "file" / "state") as stage:
        stage.shipper.start()
        stage.write(500)
        stage.until_delivered()
        stage.shipper.until(lambda: degraded(stage), "the metric to show it")
        assert "state_dir" in readiness(stage)
        assert stage.shipper.metric('checkpoint_writes_total{result="failed"}') > 0
        assert stage.shipper.logged("checkpoint.failed")
        stage.shipper.kill()
        stage.write(500)
        stage.shipper.start()
        stage.until_delivered()
        assert stage.outcomes() == {"indexed": 500, "duplicate": 500}
        assert stage.shipper.terminate() == 0
        stage.assert_all_arrived()


def test_a_read_only_state_folder_degrades_and_heals_when_it_is_writable_again(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk, LogStage(tmp_path, state_dir=disk) as stage:
        remount(disk, "ro")
        stage.shipper.start()
        stage.write(500)
        stage.until_delivered()
        stage.shipper.until(lambda: degraded(stage), "the metric to show it")
        assert "Read-only file system" in readiness(stage)
        remount(disk, "rw")
        stage.shipper.until(lambda: not degraded(stage), "it to heal")
        assert "state_dir" not in readiness(stage)
        stage.shipper.kill()
        stage.shipper.start()
        stage.shipper.until(lambda: stage.shipper.logged("file.resumed"), "it to go on where it was")
        stage.until_delivered()
        assert stage.outcomes() == {}, "the healed checkpoint was true"
        stage.assert_all_arrived()


def remount(disk: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", disk], check=True, capture_output=True)


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


def fill(path: Path) -> None:
    """Until the disk is full."""
    try:
        with path.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 512)
    except OSError:
        pass  # full, as wanted


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


def test_an_idle_shipper_writes_no_checkpoints(tmp_path: Path) -> None:
    with LogStage(tmp_path) as stage:
        stage.shipper.start()
        stage.write(10)
        stage.until_delivered()
        writes = 'checkpoint_writes_total{result="ok"}'
        saved = checkpoint(stage)
        wanted = f'"offset":{stage.bytes_written}'
        stage.shipper.until(lambda: saved.exists() and wanted in saved.read_text("utf-8"), "the checkpoint")
        count = stage.shipper.metric(writes)
        began = stage.shipper.status()["uptime_seconds"]
        stage.shipper.until(lambda: stage.shipper.status()["uptime_seconds"] > began + 3, "three idle seconds")
        assert stage.shipper.metric(writes) == count
        assert stage.shipper.metric("checkpoint_age_seconds") == 0, "nothing waits to be saved"
