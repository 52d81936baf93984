"""With a real output folder: what the app reads at each moment, and what the next start knows of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecars.config_reloader.core.steps import Confirm, Validate
from sidecars.kit.notify.core.change import Change
from sidecars.kit.notify.core.options import StepOptions
from sidecars.kit.notify.core.outcome import OK, Outcome, Result
from sidecars.runtime import Permanent
from tests.agents.config_reloader.stage import HOOK, VALIDATE, A, Files
from tests.support.kubelet import Volume
from tests.support.waiting import until_async

CAREFUL = {"confirm": {"url": "http://c", "json": "x", "rollback": True}}
DOWN = Outcome(Result.UNREACHABLE, "nobody listens")
REMEMBERED = pytest.mark.parametrize("state", ["state.json", ""], ids=["with a state file", "without one"])


class Scene:
    """A volume, and an output folder of which the app says what it thinks when it is notified."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.output = folder, folder / "out"
        self.config = Volume(folder / "config")
        self.write("good 0")

    def write(self, text: str) -> None:
        self.config.write({"app.yaml": text.encode()})

    def reloader(self, *steps: dict[str, Any], state: str = "state.json", **given: Any) -> Files:
        """One more start, with what the former one left."""
        given = {"watch": [str(self.config.folder)], "render": {"output": str(self.output)}, **given}
        stage = Files(*steps, state_file=state and str(self.folder / state), **given)
        stage.notifier.answer = self.answer
        return stage

    def answer(self, step: StepOptions, change: Change) -> Outcome:
        """Nobody says yes to bad content: the validator looks at the candidate, the app at what it reads."""
        assert Path(change.candidate).parent == self.output, "not what is watched"
        good = "good" in (Path(change.candidate) / "app.yaml").read_text()
        if isinstance(step, Confirm):
            return OK if "good" in self.reads else Outcome(Result.UNCONFIRMED, "x did not advance")
        return OK if good or not isinstance(step, Validate) else Outcome(Result.REJECTED, "line 3")

    @property
    def reads(self) -> str:
        return (self.output / "app.yaml").read_text()

    @property
    def generations(self) -> int:
        return len([*self.output.glob("..2*")])


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def test_rejected_content_is_neither_published_nor_told_and_the_next_is(scene: Scene) -> None:
    seen: list[str] = []

    def answer(step: StepOptions, change: Change) -> Outcome:
        if not isinstance(step, Validate):
            seen.append(scene.reads)
        return scene.answer(step, change)

    async with scene.reloader(VALIDATE, HOOK, unready_when_rejected=True).running() as stage:
        stage.notifier.answer = answer
        for _ in range(2):  # also when it was taken back meanwhile
            scene.write("bad")
            await until_async(lambda: stage.shown["refused"], "the refusal")
            assert (scene.reads, scene.generations, stage.ctx.health.ready) == ("good 0", 1, False)
            scene.write("good 0")
            await until_async(lambda: stage.shown["refused"] is None, "the refusal to be over")
            assert stage.ctx.health.ready
        assert A not in stage.told
        scene.write("good 1")
        await until_async(lambda: seen, "the app to be notified")
        assert seen == ["good 1"]


@REMEMBERED
async def test_what_did_not_take_effect_is_taken_back_and_stays_so_over_a_restart(scene: Scene, state: str) -> None:
    """The app is told the hash of what it has again. Without a state file the next start tries once more."""
    async with scene.reloader(HOOK, CAREFUL, state=state).running() as stage:
        good = stage.shown["applied"]["hash"]
        scene.write("bad")
        await until_async(lambda: stage.metric("rollbacks_total") == 1, "the last good one to be put back")
        await stage.settles()
        assert [change.hash == good for change in stage.notifier.changes] == [False, False, True]
        assert scene.reads == "good 0"
        with pytest.raises(Permanent, match=r"unconfirmed: .*the last good generation is back"):
            await stage.asks()
        assert (scene.reads, stage.shown["applied"]["hash"]) == ("good 0", good)
    async with scene.reloader(HOOK, CAREFUL, state=state).running() as stage:
        await until_async(lambda: stage.shown["refused"], "the refusal")
        await stage.settles()
        assert stage.told == ([] if state else [A, "http://c", A])
        assert stage.shown["refused"]["verdict"] == "unconfirmed"
        assert scene.reads == "good 0"
        scene.write("good 1")
        await until_async(lambda: scene.reads == "good 1", "the fix to be published")
        await stage.settles()
        assert stage.told[-2:] == [A, "http://c"]


@REMEMBERED
async def test_a_restart_before_the_app_was_notified_does_not_give_up_the_last_good_generation(
    scene: Scene, state: str
) -> None:
    async with scene.reloader(HOOK, CAREFUL, state=state).running() as stage:
        good = stage.shown["applied"]["hash"]
    scene.write("bad")
    async with scene.reloader(HOOK, CAREFUL, state=state).running(begins=False) as stage:
        await until_async(lambda: stage.metric("rollbacks_total") == 1, "the last good one to be put back")
        await stage.settles()
        assert scene.reads == "good 0"
        assert stage.notifier.changes[-1].hash == stage.shown["applied"]["hash"] == good


@REMEMBERED
async def test_what_was_published_and_not_told_is_told_by_the_next_start(scene: Scene, state: str) -> None:
    """The app may run on with what it read before; without a state file the output says that it was not told."""
    async with scene.reloader(HOOK, state=state).running():
        pass
    scene.write("1")
    for _ in range(2):
        stage = scene.reloader(HOOK, state=state)
        stage.notifier.answer = lambda _step, _change: DOWN
        async with stage.running(begins=False):
            await until_async(lambda s=stage: s.told, "it to be tried in vain")  # type: ignore[misc]
            assert scene.reads == "1"
    for told in ([A], []):  # and once only
        async with scene.reloader(HOOK, state=state).running() as stage:
            assert stage.told == told


@REMEMBERED
async def test_a_change_while_the_sidecar_was_down_is_told_by_the_next_start(scene: Scene, state: str) -> None:
    """An app that went on running knows the former generation, and would keep it for ever."""
    async with scene.reloader(HOOK, state=state).running() as stage:
        assert stage.told == [], "before the first generation the app has read nothing"
    scene.config.rewrite()
    async with scene.reloader(HOOK, state=state).running() as stage:
        assert stage.told == []
    scene.write("1")
    async with scene.reloader(HOOK, state=state).running() as stage:
        assert (stage.told, scene.reads) == ([A], "1")


def below_a_file(output: Path) -> Path:
    output.parent.write_text("in the way")
    return output.parent


def beside_a_foreign_file(output: Path) -> Path:
    output.mkdir(parents=True)
    (output / "app.yaml").write_text("in the way")
    return output / "app.yaml"


@pytest.mark.parametrize(
    ("block", "said"), [(below_a_file, "cannot write"), (beside_a_foreign_file, "'app.yaml' is there already")]
)
async def test_the_start_is_not_over_while_the_first_content_cannot_be_written(
    scene: Scene, block: Callable[[Path], Path], said: str
) -> None:
    """The app would begin without its files; at a restart it has those of the generation before."""
    scene.output = scene.folder / "live" / "etc"
    blocks = block(scene.output)
    async with scene.reloader(HOOK).running(begins=False) as stage:
        await until_async(lambda: said in stage.reason("reload"), "the reason to be named")
        assert not stage.ctx.health.started
        blocks.unlink()
        scene.write("1")
        await until_async(lambda: stage.ctx.health.started, "the start to be over")
        await until_async(lambda: scene.reads == "1", "the newest content")
        await stage.settles()
    (scene.output / "more.yaml").write_text("in the way")
    scene.config.write({"app.yaml": b"2", "more.yaml": b"2"})
    async with scene.reloader(HOOK).running(begins=False) as stage:
        await until_async(lambda: "'more.yaml' is there already" in stage.reason("reload"), "the reason to be named")
        assert stage.ctx.health.started
        assert scene.reads == "1"


async def test_content_that_is_not_whole_is_not_rendered(scene: Scene) -> None:
    other = Volume(scene.folder / "other")
    other.write({"app.yaml": b"1"})
    watch = [str(scene.config.folder), str(other.folder)]
    async with scene.reloader(HOOK, watch=watch).running() as stage:
        assert "several watched paths have a file called app.yaml" in stage.shown["refused"]["reason"]
        other.write({"b.yaml": b"1"})
        await until_async(lambda: stage.shown["refused"] is None, "the refusal to be over")
        (scene.folder / "plain").mkdir()
    (scene.folder / "plain" / "link").symlink_to("nowhere")
    async with scene.reloader(HOOK, watch=[str(scene.folder / "plain")]).running() as stage:
        assert "/plain/link: it is a link to something that is not there" in stage.shown["refused"]["reason"]
