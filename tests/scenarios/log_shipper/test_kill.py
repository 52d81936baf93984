"""kill -9 at random moments, while lines are written and the server stores, refuses and cuts connections: nothing is
lost, and nothing is there twice, not even when the checkpoint is gone as well.
"""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.log_stage import LogStage, Paced
from tests.support.scale import scaled

KILLS = scaled(5, 50)
LINES_PER_SECOND = scaled(2000, 5000)
LONGEST_LIFE_SECONDS = 1.5


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
        assert stage.arrived_count() == len(stage.lines)
        table("kills", f"{KILLS} kills, wiped={wiped}: {len(stage.lines)} lines, {dict(struck)}, all there once")


def test_what_was_acknowledged_before_a_kill_is_not_sent_again(tmp_path: Path) -> None:
    """The ids would hide it; the server's counters do not."""
    with LogStage(tmp_path) as stage:
        stage.shipper.start()
        stage.write(2000)
        stage.until_delivered()
        saved = stage.folder / "state" / "checkpoint.json"
        wanted = f'"offset":{stage.bytes_written}'
        stage.shipper.until(lambda: wanted in saved.read_text(encoding="utf-8"), "the checkpoint to be written")
        stage.shipper.kill()
        stage.write(500)
        stage.shipper.start()
        stage.until_delivered()
        assert stage.backend.counters()["items"] == {"indexed": 2500}
        assert stage.shipper.metric("read_bytes_total") == 500 * len("line 0000000\n")
        stage.assert_all_arrived()


def test_a_kill_between_the_store_and_the_answer_doubles_nothing(tmp_path: Path) -> None:
    """The server stored all of it and the shipper never heard: the narrowest place."""
    with LogStage(tmp_path) as stage:
        stage.backend.faults(cut_after_store_odds=1.0)
        stage.write(1000)
        stage.shipper.start()
        stage.shipper.until(lambda: stage.arrived_count() == 1000, "the server to store all of it")
        assert stage.shipper.metric("acknowledged_bytes_total") == 0
        stage.shipper.kill()
        stage.backend.faults()
        stage.shipper.start()
        stage.until_delivered()
        assert stage.outcomes() == {"duplicate": 1000}
        stage.assert_all_arrived()
