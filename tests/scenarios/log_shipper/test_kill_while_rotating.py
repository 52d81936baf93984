"""kill -9 at random moments while the log is rotated at random moments, by rename or copytruncate.

The app goes on writing and rotating while the shipper is down, so generations come and go unseen, inodes are reused,
and the checkpoint is older than what was sent.
"""

import random
from collections.abc import Callable

import pytest

from tests.support.log_stage import LogStage
from tests.support.logs import LogWriter, copytruncate, generation, rotate_numbered
from tests.support.scale import scaled

STEPS = scaled(150, 1_500)
KEPT = 3
"""Older generations are deleted, once they are shipped: that sets their inodes free for the next ones."""


def by_rename(writer: LogWriter) -> None:
    rotate_numbered(writer.path)
    writer.reopen()


def by_copytruncate(writer: LogWriter) -> None:
    for number in range(generations(writer), 0, -1):
        generation(writer.path, number).rename(generation(writer.path, number + 1))
    copytruncate(writer.path, generation(writer.path, 1))


def generations(writer: LogWriter) -> int:
    """How many rotated files there are."""
    return len(list(writer.path.parent.iterdir())) - 1


@pytest.mark.parametrize("copies", ["inside", "outside"])
@pytest.mark.parametrize("rotate", [by_rename, by_copytruncate])
def test_no_kill_between_rotations_loses_or_doubles_a_line(
    stage: LogStage, rng: random.Random, rotate: Callable[[LogWriter], None], copies: str
) -> None:
    stage.backend.faults(seed=rng.randrange(2**31), item_429_odds=0.2, cut_after_store_odds=0.05)
    settings = {"paths": f"{stage.logs}/app.log*" if copies == "inside" else f"{stage.logs}/app.log"}
    shipper = stage.new_shipper(settings).start()
    writer = LogWriter(stage.logs / "app.log")
    stage.until_followed(shipper, writer.path)  # a log that comes and goes unseen was never there
    since_kill = 0
    for _ in range(STEPS):
        writer.write(rng.randint(1, 300))
        since_kill += 1
        if rng.random() < 0.1:
            rotate(writer)
        if since_kill > 20 and rng.random() < 0.06:
            shipper.kill()
            since_kill = 0
            for _ in range(rng.randint(0, 3)):  # the app does not wait
                writer.write(rng.randint(1, 300))
                if rng.random() < 0.5:
                    rotate(writer)
            shipper.start()
        elif rng.random() < 0.2:
            shipper.until_caught_up()  # else all of it would be over before the shipper has looked twice
            stage.until_documents(shipper, len(writer.written))
            for number in range(generations(writer), KEPT, -1):
                generation(writer.path, number).unlink()
    stage.backend.faults()
    stage.expect(shipper, writer.written)
