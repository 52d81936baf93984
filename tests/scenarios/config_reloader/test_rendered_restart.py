"""With `render` the output itself tells what the app last had, also where no state file is kept."""

from pathlib import Path

import pytest

from tests.support.config_stage import ConfigStage


def test_a_change_while_the_sidecar_was_down_is_told_though_no_state_is_kept(
    stage: ConfigStage, tmp_path: Path
) -> None:
    """An app that went on running knows the former generation, and would keep it for ever."""
    output = tmp_path / "output"
    reloader = stage.reloader(state_file="", render=f"{{output: {output}}}")
    first = stage.begin(reloader)
    assert stage.told == [], "before the first generation the app has read nothing"
    reloader.terminate()
    stage.config.write({"app.yaml": b"1"})
    reloader.start()
    stage.until_told(1)
    reloader.until_settled()
    assert (output / "app.yaml").read_bytes() == b"1"
    assert stage.told == [reloader.applied] != [first]


def test_the_same_content_after_a_restart_is_not_told(stage: ConfigStage, tmp_path: Path) -> None:
    reloader = stage.reloader(state_file="", render=f"{{output: {tmp_path / 'output'}}}")
    stage.begin(reloader)
    for end in (reloader.terminate, reloader.kill):
        end()
        stage.config.rewrite()
        stage.begin(reloader)
    stage.ends(reloader, told=0)


@pytest.mark.parametrize("trouble", ["the folder cannot be made", "another file is in the way"])
def test_the_start_is_not_over_while_the_first_content_cannot_be_written(
    stage: ConfigStage, tmp_path: Path, trouble: str
) -> None:
    """The app would begin without its files."""
    output = tmp_path / "live" / "etc"
    if trouble == "the folder cannot be made":
        blocks, said = output.parent, f"cannot write {output}"
    else:
        output.mkdir(parents=True)
        blocks, said = output / "app.yaml", "'app.yaml' is there already"
    blocks.write_text("in the way")
    reloader = stage.reloader(render=f"{{output: {output}}}")
    reloader.start(wait=False)
    reloader.until(lambda: said in reloader.ask("/readyz")[1], "the reason to be named")
    assert [reloader.ask(page)[0] for page in ("/startupz", "/readyz", "/livez")] == [503, 503, 200]
    blocks.unlink()
    stage.config.write({"app.yaml": b"1"})
    reloader.until_begun()
    assert reloader.ask("/readyz")[0] == 200
    reloader.until(lambda: (output / "app.yaml").read_bytes() == b"1", "the newest content")
    assert reloader.terminate() == 0


def test_a_restart_starts_although_the_output_cannot_be_written(stage: ConfigStage, tmp_path: Path) -> None:
    """The app has the files of the generation before."""
    output = tmp_path / "live"
    reloader = stage.reloader(render=f"{{output: {output}}}")
    stage.begin(reloader)
    reloader.kill()
    (output / "more.yaml").write_text("in the way")
    stage.config.write({"app.yaml": b"1", "more.yaml": b"1"})
    reloader.start()
    reloader.until(lambda: "'more.yaml' is there already" in reloader.ask("/readyz")[1], "the reason to be named")
    assert reloader.ask("/startupz")[0] == 200
    assert (output / "app.yaml").read_bytes() == b"0"
    assert reloader.terminate() == 0
