"""The whole shipper in one process, on virtual time: real files, and a backend that is a dictionary."""

import json
import os
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from sidecars.log_shipper.core.batch import Payload
from sidecars.log_shipper.core.checkpoint import load
from sidecars.runtime import State
from tests.support.context import condition, metric, passes
from tests.support.reading import write
from tests.support.records import cri
from tests.support.whole_shipper import Memory, WholeShipper

pytestmark = pytest.mark.looptime


async def test_lines_are_delivered_as_they_are_written_and_once_over_restarts(stage: WholeShipper) -> None:
    for _ in range(3):
        async with stage.running() as ctx:
            stage.write(100)
            await passes(1)
            stage.write(100)
            await passes(1)
            stage.assert_all_arrived()
            assert ctx.health.started
            await passes(2)
            saved = load(stage.checkpoint.read_bytes()).checkpoint.positions
            assert [each.mark.offset for each in saved] == [stage.log.stat().st_size], "a kill now would repeat nothing"
    assert stage.backend.closed
    assert metric(stage.ctx, "read_bytes_total") == metric(stage.ctx, "acknowledged_bytes_total") == 200 * 12


async def test_who_a_file_is_stands_in_the_checkpoint_before_its_first_line_is_sent(stage: WholeShipper) -> None:
    """Ids begin with it: should the file be copied, truncated and the shipper killed, its lines are found again."""
    begun: list[bool] = []

    def look(payload: Payload) -> None:
        known = load(stage.checkpoint.read_bytes()).checkpoint.positions
        first, _ = Memory.records(payload)[0]
        begun.append(any(each.identity.prefix and first.startswith(each.identity.prefix) for each in known))

    async with stage.running(batch_seconds=0):
        await passes(3)
        stage.backend.before_answer = look
        stage.write(10)
        await passes(3)
    assert begun == [True]


async def test_a_refused_record_is_kept_once_and_not_sent_again_by_the_next_life(stage: WholeShipper) -> None:
    stage.backend.spoilt = lambda message: message == "line 000003"
    for _ in range(2):
        async with stage.running():
            stage.write(10)
            await passes(1)
    (kept,) = (stage.folder / "state" / "dead-letter.ndjson").read_text(encoding="utf-8").splitlines()
    assert json.loads(kept)["document"]["message"] == stage.lines.pop(3)
    stage.assert_all_arrived()


async def test_while_nothing_can_be_sent_reading_stops_at_the_limit_and_it_shows(stage: WholeShipper) -> None:
    """Back-pressure is "stop reading, keep the file open"; one more block than the limit may be taken."""
    limit = 64 << 10
    stage.backend.down = True
    async with stage.running(in_flight_bytes=limit, batch_bytes=16 << 10) as ctx:
        stage.write(12_000)
        await passes(30)
        assert limit <= metric(ctx, "in_flight_bytes") < 2 * limit
        assert condition(ctx, "delivery").state is State.DEGRADED
        requests = stage.backend.requests
        await passes(60)
        assert stage.backend.requests - requests < 60, "one at a time, with pauses"
        stage.backend.down = False
        await passes(20)
        assert condition(ctx, "delivery").state is State.OK
        stage.assert_all_arrived()


async def test_a_rotated_and_deleted_file_is_kept_open_through_an_outage(stage: WholeShipper) -> None:
    async with stage.running(in_flight_bytes=64 << 10, batch_bytes=16 << 10) as ctx:
        stage.write(100)
        await passes(1)
        stage.backend.down = True
        stage.write(10_000)
        await passes(10)
        stage.log.unlink()
        stage.write(10)
        await passes(60)
        assert metric(ctx, "pinned_deleted_files") == 1
        stage.backend.down = False
        await passes(20)
        stage.assert_all_arrived()


async def test_the_books_keep_their_law_whatever_the_backend_does(stage: WholeShipper, rng: random.Random) -> None:
    stage.backend.busy = lambda _: rng.random() < 0.1
    stage.backend.spoilt = lambda message: message.startswith("line 0007")
    async with stage.running(in_flight_bytes=64 << 10, batch_bytes=16 << 10):
        for number in range(100):
            stage.backend.down = number % 20 > 15
            stage.write(rng.randint(1, 60))
            await passes(0.1)
            stage.assert_law()
    refused = [line for line in stage.lines if line.startswith("line 0007")]
    assert metric(stage.ctx, "dead_letter_bytes_total") == sum(len(line) + 1 for line in refused)
    assert stage.said("records.rejected")
    assert not any("line 0" in json.dumps(fields) for fields in stage.said("records.rejected")), "no payload in a log"


async def test_what_is_not_delivered_lags_and_half_a_line_does_not(stage: WholeShipper) -> None:
    """An app that died within a line must not ring for ever; its lines of before must, as long as they wait."""
    async with stage.running():
        stage.write(10)
        await passes(2)
        assert stage.lag() == (0, 0)
        stage.backend.down = True
        stage.write(10)
        stage.append("the app dies he", end="")
        await passes(5)
        lag_bytes, lag_seconds = stage.lag()
        assert lag_bytes == 10 * 12 + 15
        assert lag_seconds > 4
        (shown,) = stage.files()
        size = stage.log.stat().st_size
        assert (shown["read_offset"], shown["acknowledged_offset"], shown["size"]) == (size - 15, 120, size)
        stage.backend.down = False
        await passes(20)
        assert stage.lag() == (15, 0)
    stage.assert_all_arrived()


async def test_a_rotated_file_is_in_status_until_it_is_gone(stage: WholeShipper) -> None:
    """Renamed out of the globs it is followed on, under the name it was first seen under."""
    async with stage.running() as ctx:
        stage.write(10)
        await passes(1)
        rotated = stage.log.rename(f"{stage.log}.1")
        write(rotated, "late")
        stage.append("new")
        await passes(5)
        shown = {(file["path"], file["place"], file["listed"]) for file in stage.files()}
        assert shown == {(str(stage.log), str(rotated), False), (str(stage.log), str(stage.log), True)}
        assert metric(ctx, "file_events_total", event="rotated") == 1
        rotated.unlink()
        await passes(10)
        assert [file["place"] for file in stage.files()] == [str(stage.log)]
        assert metric(ctx, "open_files") == 1
    stage.lines.append("late")
    stage.assert_all_arrived()


async def test_a_glob_without_a_file_is_said_until_it_has_one(stage: WholeShipper) -> None:
    later = stage.folder / "later" / "app.log"
    async with stage.running(paths=(f"{stage.log.parent}/*.log", str(later))) as ctx:
        stage.write(1)
        await passes(10)
        assert len(stage.said("paths.unreached")) == 1
        assert str(later) in condition(ctx, "files").reason
        assert metric(ctx, "unmatched_paths") == 1
        later.parent.mkdir()
        write(later, "two")
        await passes(5)
        assert stage.said("paths.reached")
        assert (condition(ctx, "files").state, metric(ctx, "unmatched_paths")) == (State.OK, 0)
    stage.lines.append("two")
    stage.assert_all_arrived()


async def test_a_file_and_a_folder_that_cannot_be_read_yet_are_said_once_and_shipped_when_they_can(
    stage: WholeShipper, nobody: Callable[[], AbstractContextManager[None]]
) -> None:
    locked, private = stage.log.parent / "locked.log", stage.folder / "private"
    private.mkdir()
    write(locked, "locked")
    write(private / "app.log", "private")
    stage.append("open")
    for path in (locked, private):
        path.chmod(0)
    async with stage.running(paths=(f"{stage.log.parent}/*.log", f"{private}/*.log")) as ctx:
        with nobody():
            await passes(10)
        assert stage.backend.messages == ["open"]
        (said,) = stage.said("file.unreadable")
        assert (said["file"], said["reason"]) == (str(locked), "Permission denied")
        assert all(
            text in condition(ctx, "files").reason for text in (str(locked), f"cannot enter the folder {private}:")
        )
        assert metric(ctx, "closed_folders") == metric(ctx, "unreadable_files") == 1
        locked.chmod(0o644)
        private.chmod(0o755)
        with nobody():
            await passes(10)
        assert condition(ctx, "files").state is State.OK
    stage.lines += ["locked", "private"]
    stage.assert_all_arrived()


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut in the content": (lambda data: data[: data.index(b"\n") + 10], "truncated"),
    "without its last newline": (lambda data: b"\n".join(data.split(b"\n")[:2]), "truncated"),
    "cut in the header": (lambda data: data[:10], "garbage"),
    "zeros, as after a power cut": (lambda data: b"\0" * len(data), "garbage"),
    "other JSON": (lambda _: b'{"schema":2,"checksum":""}\n{"positions":7}\n', "garbage"),
    "a newer schema": (lambda data: data.replace(b'"schema":2', b'"schema":99', 1), "schema"),
}


@pytest.mark.parametrize("name", DAMAGES)
async def test_a_damaged_checkpoint_is_said_healed_and_doubles_nothing(stage: WholeShipper, name: str) -> None:
    damage, reason = DAMAGES[name]
    async with stage.running():
        stage.write(300)
        await passes(1)
    good = stage.checkpoint.read_bytes()
    stage.checkpoint.write_bytes(damage(good))
    assert stage.checkpoint.read_bytes() != good
    async with stage.running() as ctx:
        stage.write(10)
        await passes(1)
        assert metric(ctx, "checkpoint_resets_total", reason=reason) == 1
        assert metric(ctx, "records_total", outcome="duplicate") == 300
    assert len(stage.said("checkpoint.reset")) == 1
    async with stage.running() as ctx:
        await passes(1)
        assert metric(ctx, "read_bytes_total") == 0
    stage.assert_all_arrived()


async def test_without_a_state_folder_everything_is_delivered_and_known_again(stage: WholeShipper) -> None:
    stage.checkpoint.parent.write_text("in the way", encoding="utf-8")
    for _ in range(2):
        async with stage.running() as ctx:
            stage.write(100)
            await passes(2)
            assert metric(ctx, "checkpoint_writable") == 0
            assert "state_dir" in condition(ctx, "state").reason
    stage.assert_all_arrived()
    assert metric(stage.ctx, "records_total", outcome="duplicate") == 100


async def test_in_an_outage_all_files_that_were_there_are_held_open(stage: WholeShipper) -> None:
    """Not some at a time: an open file cannot be lost."""
    stage.backend.down = True
    then = time.time() - 600
    for number in range(1100):
        path = stage.log.parent / f"{number}.log"
        write(path, "x" * 100)
        os.utime(path, (then, then))
    async with stage.running(6, in_flight_bytes=64 << 10, batch_bytes=16 << 10):
        await passes(10)
        assert len(stage.files()) == 1100


async def test_what_holds_no_line_is_acknowledged_too(stage: WholeShipper) -> None:
    """The rest of a line that was cut."""
    async with stage.running(max_line_bytes=64):
        stage.append("x" * 100, end="")
        await passes(1)
        write(stage.log, "x" * 100)
        await passes(1)
        assert stage.lag() == (0, 0)
        assert metric(stage.ctx, "in_flight_bytes") == 0
    stage.lines[-1] = "x" * 64
    stage.assert_all_arrived()


async def test_a_record_without_an_end_leaves_after_five_seconds_or_at_the_stop(stage: WholeShipper) -> None:
    async with stage.running(parse="cri"):
        write(stage.log, cri("begun", "P"), cri("other", "F", "stderr"))
        await passes(4)
        assert stage.backend.messages == ["other"]
        await passes(2)
        assert stage.backend.messages == ["begun", "other"]
        write(stage.log, cri("rest"), cri("left as it is", "P"))
    assert stage.said("stop.drained")
    stage.lines += ["begun", "other", "rest", "left as it is"]
    stage.assert_all_arrived()


async def test_a_record_is_joined_across_a_rotation_and_a_restart(stage: WholeShipper) -> None:
    """Also when both generations are met at once, the later one first."""
    globs = (f"{stage.log}*",)
    elder, then = stage.log.with_name("app.log.20261110"), time.time() - 5
    write(elder, cri("it begins ", "P"))
    os.utime(elder, (then, then))  # the clock of the file system is coarse, and no time passes in this test
    write(stage.log, cri("and ends"))
    stage.lines.append("it begins and ends")
    for number in range(4):
        async with stage.running(parse="cri", paths=globs):
            write(stage.log, cri(f"{number} begins ", "P"), cri(f"err {number}", "F", "stderr"))
            await passes(1)
            rotated = stage.log.rename(f"{stage.log}.2026112{number}")
            os.utime(rotated, (then + number + 1, then + number + 1))
            write(stage.log, cri("x" * 20_000, "P"), cri(" and ends"))
            await passes(1)
        stage.lines += [f"{number} begins {'x' * 20_000} and ends", f"err {number}"]
        stage.assert_all_arrived()


async def test_many_files_with_open_records_and_little_room_all_get_on(stage: WholeShipper) -> None:
    """Each record is larger than all the room there is."""
    part = "x" * 16_000
    async with stage.running(parse="cri", in_flight_bytes=64 << 10, max_line_bytes=1 << 20):
        for number in range(6):
            write(stage.log.parent / f"{number}.log", *[cri(part, "P")] * 40, cri(str(number)))
        await passes(4)
        stage.lines += [part * 40 + str(number) for number in range(6)]
        stage.assert_all_arrived()
