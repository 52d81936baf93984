"""kill -9 at random moments, while lines are written, logs are rotated, and the server stores, refuses and cuts
connections: nothing is lost, and nothing is there twice, not even when the checkpoint is gone as well.
"""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.log_stage import LogStage, Paced
from tests.support.logs import LogWriter, copytruncate, generation, rotate_numbered
from tests.support.scale import scaled

KILLS = scaled(4, 50)
LINES_PER_SECOND = scaled(2000, 5000)
LONGEST_LIFE_SECONDS = 1.5
STEPS = scaled(80, 3_000)
KEPT = 3
"""Older generations are deleted, once they are shipped: that sets their inodes free for the next ones."""


@pytest.mark.parametrize("wiped", [False, True], ids=["state kept", "state wiped"])
def test_random_kills_lose_and_double_nothing(
    tmp_path: Path, wiped: bool, rng: random.Random, table: Callable[[str, str], None]
) -> None:
    with LogStage(tmp_path, in_flight_bytes=1 << 20, batch_bytes=256 << 10) as stage:
        stage.backend.faults(item_429_odds=0.3, cut_after_store_odds=0.05, seed=rng.randrange(1 << 32))
        with Paced(stage, LINES_PER_SECOND, " of an app that goes on writing whatever happens"):
            for _ in range(KILLS):
                stage.shipper.start(wait=False)
                stage.live_for(rng.uniform(0.2, LONGEST_LIFE_SECONDS))
                stage.shipper.kill()
                if wiped:
                    shutil.rmtree(tmp_path / "state", ignore_errors=True)
            stage.shipper.start()
        stage.until_delivered(120)
        struck = stage.backend.struck
        assert struck["item_429"] > 0
        stage.assert_all_arrived()
        table("kills", f"{KILLS} kills, wiped={wiped}: {len(stage.lines)} lines, {dict(struck)}, all there once")


def test_what_was_acknowledged_before_a_kill_is_not_sent_again_and_what_was_stored_unheard_is_not_doubled(
    tmp_path: Path,
) -> None:
    """The ids would hide the one; the server's counters do not. The other is the narrowest place."""
    with LogStage(tmp_path) as stage:
        stage.shipper.start()
        stage.write(2000)
        stage.until_delivered()
        stage.until_checkpointed(stage.shipper, stage.log)
        stage.shipper.kill()
        stage.backend.faults(cut_after_store_odds=1.0)
        stage.write(500)
        stage.shipper.start()
        stage.shipper.until(lambda: stage.arrived_count() == 2500, "the server to store all of it")
        assert stage.shipper.metric("acknowledged_bytes_total") == 0
        assert stage.shipper.metric("read_bytes_total") == 500 * len("line 0000000\n")
        stage.shipper.kill()
        stage.backend.faults()
        stage.shipper.start()
        stage.until_delivered()
        assert stage.outcomes() == {"duplicate": 500}
        stage.assert_all_arrived()


class Rotated:
    """A log that is rotated by renaming, or by copytruncate."""

    def __init__(self, folder: Path, name: str) -> None:
        self.writer = LogWriter(folder / f"{name}.log", name)
        self._renamed = name == "renamed"

    @property
    def generations(self) -> int:
        """How many rotated files there are."""
        path = self.writer.path
        return len(list(path.parent.glob(f"{path.name}.*")))

    def rotate(self) -> None:
        path = self.writer.path
        if self._renamed:
            rotate_numbered(path)
            self.writer.reopen()
            return
        for number in range(self.generations, 0, -1):
            generation(path, number).rename(generation(path, number + 1))
        copytruncate(path, generation(path, 1))

    def forget(self) -> None:
        for number in range(self.generations, KEPT, -1):
            generation(self.writer.path, number).unlink()


@pytest.mark.parametrize("copies", ["inside", "outside"])
def test_no_kill_between_rotations_loses_or_doubles_a_line(stage: LogStage, rng: random.Random, copies: str) -> None:
    """The app goes on writing and rotating while the shipper is down, so generations come and go unseen, inodes are
    used again, and the checkpoint is older than what was sent.
    """
    stage.backend.faults(seed=rng.randrange(2**31), item_429_odds=0.2, cut_after_store_odds=0.05)
    shipper = stage.new_shipper({"paths": f"{stage.logs}/*.log{'*' if copies == 'inside' else ''}"}).start()
    logs = [Rotated(stage.logs, name) for name in ("renamed", "truncated")]
    stage.until_followed(shipper, *(log.writer.path for log in logs))  # one that comes and goes unseen was never there

    def written() -> list[str]:
        return [line for log in logs for line in log.writer.written]

    def step(rotations: float) -> None:
        log = rng.choice(logs)
        log.writer.write(rng.randint(1, 300))
        if rng.random() < rotations:
            log.rotate()

    since_kill = 0
    for _ in range(STEPS):
        step(0.1)
        since_kill += 1
        if since_kill > 10 and rng.random() < 0.1:
            shipper.kill()
            since_kill = 0
            for _ in range(rng.randint(0, 4)):  # the app does not wait
                step(0.5)
            shipper.start()
        elif rng.random() < 0.15:
            shipper.until_caught_up()  # else all of it would be over before the shipper has looked twice
            stage.until_documents(shipper, len(written()))
            for log in logs:
                log.forget()
    stage.backend.faults()
    stage.expect(shipper, written())
