"""With `render` the output itself tells what the app last had, also where no state file is kept."""

from pathlib import Path

from tests.support.reload_stage import Stage, wait_until_told


def test_a_change_while_the_sidecar_was_down_is_told_though_no_state_is_kept(stage: Stage, tmp_path: Path) -> None:
    """An app that went on running knows the former generation, and would keep it for ever."""
    output = tmp_path / "output"
    reloader = stage.reloader(state_file="", render=f"{{output: {output}}}")
    first = stage.begin(reloader)
    assert stage.told == [], "before the first generation the app has read nothing"
    reloader.terminate()
    stage.config.write({"app.yaml": b"1"})
    reloader.start()
    wait_until_told(stage, 1)
    reloader.wait_until_settled()
    assert (output / "app.yaml").read_bytes() == b"1"
    assert stage.told == [reloader.applied] != [first]


def test_the_same_content_after_a_restart_is_not_told(stage: Stage, tmp_path: Path) -> None:
    reloader = stage.reloader(state_file="", render=f"{{output: {tmp_path / 'output'}}}")
    stage.begin(reloader)
    for end in (reloader.terminate, reloader.kill):
        end()
        stage.config.rewrite()
        stage.begin(reloader)
    stage.ends(reloader, told=0)
