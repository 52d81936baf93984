"""The start of the sidecar: what came while it was down is told, what was told is not told again, and `initial`."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.config_stage import ConfigStage, hash_by_itself
from tests.support.scale import scaled


@pytest.fixture
def late(tmp_path: Path) -> Iterator[ConfigStage]:
    """The app does not listen yet."""
    one = ConfigStage(tmp_path, listening=False)
    yield one
    one.close()


def test_a_restart_tells_nothing_that_was_told(stage: ConfigStage) -> None:
    reloader = stage.reloader()
    stage.begin(reloader)
    told = stage.tells(reloader, lambda: stage.config.write({"app.yaml": b"1"}))
    for end in (reloader.terminate, reloader.kill):
        end()
        stage.config.rewrite()
        assert stage.begin(reloader) == told
        assert stage.told == [told]
    stage.ends(reloader, told=1)


def test_a_change_while_the_sidecar_is_down_is_told_at_its_start(stage: ConfigStage) -> None:
    reloader = stage.reloader()
    first = stage.begin(reloader)
    reloader.terminate()
    stage.config.write({"app.yaml": b"1"})
    stage.begin(reloader)
    stage.until_told(1)
    reloader.until_settled()
    assert stage.told == [reloader.applied] != [first]
    reloader.kill()
    stage.config.write({"app.yaml": b"0"})
    stage.begin(reloader)
    stage.until_told(2)
    reloader.until_settled()
    assert stage.told[1] == reloader.applied == first
    stage.ends(reloader, told=2)


def test_a_change_is_told_however_soon_after_it_the_sidecar_is_killed(stage: ConfigStage, rng: random.Random) -> None:
    reloader = stage.reloader(quiet_seconds=0.05)
    stage.begin(reloader)
    after_the_start = 0
    for version in range(scaled(5, 60)):
        stage.config.write({"app.yaml": b"version %d" % version})
        moment = time.monotonic() + rng.uniform(0, 0.1)
        while time.monotonic() < moment:
            time.sleep(0.001)
        reloader.kill()
        before = len(stage.told)
        stage.begin(reloader)
        assert stage.told, "it was not told"
        assert stage.told[-1] == reloader.applied
        after_the_start += len(stage.told) > before
    assert after_the_start, "it was always told before the end"
    assert reloader.applied == hash_by_itself(stage.folder / "once", stage.config.folder)
    stage.ends(reloader, told=len(stage.told))


def test_without_a_state_file_the_content_at_the_start_is_taken_as_known(stage: ConfigStage) -> None:
    reloader = stage.reloader(state_file="")
    stage.begin(reloader)
    reloader.terminate()
    stage.config.write({"app.yaml": b"1"})
    stage.begin(reloader)
    stage.ends(reloader, told=0)


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b'{"hash":"x","at":"","version":2}'])
def test_a_state_file_that_cannot_be_used_is_as_none(stage: ConfigStage, damage: bytes) -> None:
    (stage.folder / "state.json").write_bytes(damage)
    left = stage.folder / ".state.json.4711.tmp"
    left.write_bytes(damage)  # by a process that was killed in the middle
    reloader = stage.reloader()
    first = stage.begin(reloader)
    assert not left.exists()
    assert stage.told == []
    reloader.kill()
    assert stage.begin(reloader) == first
    assert not reloader.logged("state.unusable"), "it was not written anew"
    stage.ends(reloader, told=0)


@pytest.mark.parametrize(("initial", "counts"), [("none", [0, 0, 1]), ("when-ready", [1, 1, 2]), ("always", [1, 2, 3])])
def test_the_content_at_the_start_is_told_as_often_as_asked_for(
    stage: ConfigStage, initial: str, counts: list[int]
) -> None:
    """At the first start, at one with nothing new, and at one with new content."""
    reloader = stage.reloader(initial=initial)
    for start, count in enumerate(counts):
        if start == 2:
            stage.config.write({"app.yaml": b"1"})
        stage.begin(reloader)
        assert len(stage.told) == count
        assert stage.told[-1:] in ([], [reloader.applied])
        reloader.terminate()
    stage.begin(reloader)
    stage.ends(reloader, told=counts[-1] + (initial == "always"))


@pytest.mark.parametrize("initial", ["none", "when-ready", "always"])
def test_the_start_is_over_although_the_app_never_listens(late: ConfigStage, initial: str) -> None:
    """Else the startup probe of a native sidecar waits for the app, and the app for the probe."""
    reloader = late.reloader(initial=initial).start()
    assert reloader.ask("/startupz")[0] == 200
    late.config.write({"app.yaml": b"1"})
    reloader.until(lambda: reloader.status()["pending"], "the change to be pending")
    assert reloader.ask("/livez")[0] == 200
    assert reloader.terminate() == 0


def test_an_app_that_comes_later_is_told_once_and_not_bothered_before(late: ConfigStage) -> None:
    reloader = late.reloader(initial="when-ready").start()
    reloader.until(lambda: reloader.status()["pending"], "the content to be pending")
    looked = 'looks_total{found="unchanged"}'
    before = reloader.metric(looked)
    for _ in range(3):  # as long as these looks take, the app is not there
        late.config.rewrite()
        reloader.until(lambda b=before: reloader.metric(looked) > b, "a look")  # type: ignore[misc]
        before = reloader.metric(looked)
    assert reloader.metric("attempts_total") == 0
    late.target.listen()
    late.until_told(1)
    reloader.until_settled()
    assert late.told == [reloader.applied]
    assert reloader.metric("attempts_total") == reloader.metric('attempts_total{outcome="ok",step="webhook"}') == 1
    late.ends(reloader, told=1)


def test_what_changed_while_the_app_was_not_there_is_told_once_as_the_newest(late: ConfigStage) -> None:
    reloader = late.reloader(initial="when-ready", quiet_seconds=0).start()
    for version in (b"1", b"2", b"3"):
        changes = reloader.metric("changes_total")
        late.config.write({"app.yaml": version})
        reloader.until(lambda c=changes: reloader.metric("changes_total") > c, "the change to be seen")  # type: ignore[misc]
    late.target.listen()
    late.until_told(1)
    reloader.until_settled()
    assert late.told == [hash_by_itself(late.folder / "once", late.config.folder)]
