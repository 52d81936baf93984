"""What was under way when the sidecar ended: nobody is left with other content than the others, and nothing good is
given up.
"""

import json
import os
from pathlib import Path

import pytest

from tests.support.config_stage import RELOAD, ConfigStage
from tests.support.reload_app import App
from tests.support.waiting import until


def test_content_that_only_some_were_told_is_taken_back_after_a_restart(stage: ConfigStage) -> None:
    """The volume is back at what the state file calls applied, but one of two targets knows other content."""
    reloader = stage.reloader()
    gone = App(listening=False)
    reloader.steps(stage.target.webhook(RELOAD), gone.webhook("/"))
    first = stage.begin(reloader)
    stage.config.write({"app.yaml": b"1"})
    stage.until_told(1)
    for end in (reloader.kill, reloader.terminate):
        end()
        stage.config.write({"app.yaml": b"0"})
        reloader.start()
        reloader.until(lambda: stage.told[-1] == first, "the first target to be told the old content again")
    gone.listen()
    reloader.until_settled()
    assert gone.bodies("/") == [first]
    assert reloader.terminate() == 0
    gone.close()


def test_a_volume_that_is_missing_is_not_told_by_hand(stage: ConfigStage, tmp_path: Path) -> None:
    output = tmp_path / "output"
    reloader = stage.reloader(render=f"{{output: {output}}}")
    stage.begin(reloader)
    reloader.terminate()
    stage.config.folder.rename(tmp_path / "away")
    reloader.start()
    status, text = reloader.ask("/reload", "POST")
    assert status == 503
    assert str(stage.config.folder) in text
    assert (output / "app.yaml").read_bytes() == b"0"
    assert stage.told == []
    assert reloader.terminate() == 0


@pytest.mark.parametrize("state", ["", "state.json"])
def test_a_restart_does_not_give_up_the_last_good_generation(stage: ConfigStage, tmp_path: Path, state: str) -> None:
    """Killed before content that never takes effect was told: it is told, not confirmed, and taken back."""
    output = tmp_path / "output"
    reloader = stage.reloader(render=f"{{output: {output}}}", state_file=state and str(tmp_path / state))
    reloader.steps(
        stage.target.webhook(RELOAD),
        {"confirm": {"url": stage.target.url + "/confirm", "json": "x", "timeout_seconds": 1, "rollback": True}},
    )
    stage.begin(reloader)
    reloader.kill()
    stage.config.write({"app.yaml": b"never confirmed"})
    reloader.start()
    reloader.until(lambda: reloader.metric("rollbacks_total") == 1, "the last good generation to be put back")
    reloader.until_settled()
    assert (output / "app.yaml").read_bytes() == b"0"
    assert reloader.status()["refused"]["verdict"] == "unconfirmed"
    assert reloader.terminate() == 0


def test_a_part_of_the_content_is_waited_for_at_a_restart(stage: ConfigStage, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("here")
    reloader = stage.reloader(stage.config.folder, other)
    stage.begin(reloader)
    reloader.terminate()
    other.unlink()
    reloader.start(wait=False)
    reloader.until(lambda: reloader.logged("watch.incomplete"), "the missing file to be noticed")
    other.write_text("here")
    reloader.until_begun()
    stage.ends(reloader, told=0)


def test_a_state_file_that_is_a_pipe_is_refused_at_the_start(stage: ConfigStage, tmp_path: Path) -> None:
    """... and does not hang there: nobody writes into it."""
    os.mkfifo(tmp_path / "pipe")
    reloader = stage.reloader(state_file=str(tmp_path / "pipe"))
    reloader.start(wait=False)
    assert reloader.wait() == 2
    assert "is a named pipe" in reloader.stderr


def test_the_state_file_says_what_is_being_told(stage: ConfigStage, tmp_path: Path) -> None:
    gone = App(listening=False)
    reloader = stage.reloader()
    reloader.steps({"webhook": {"url": gone.url}})
    first = stage.begin(reloader)
    stage.config.write({"app.yaml": b"1"})

    def remembered() -> dict[str, str]:
        found: dict[str, str] = json.loads((tmp_path / "state.json").read_text())
        return found

    until(lambda: remembered()["telling"], "the state file to name what is told")
    assert remembered()["hash"] == first != remembered()["telling"]
    assert reloader.terminate() == 0
    gone.close()
