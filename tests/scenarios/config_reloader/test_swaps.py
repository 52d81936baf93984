"""Swaps of a volume, as the kubelet does them: each is told, none is told without need, half of one is never seen."""

import itertools
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.config_stage import RELOAD, ConfigStage, hash_by_itself, looks, writing
from tests.support.kubelet import Volume
from tests.support.scale import scaled


@pytest.fixture
def memory_folder() -> Iterator[Path]:
    """A folder on a tmpfs, as Secrets are."""
    if not Path("/dev/shm").is_dir():
        pytest.skip("no tmpfs at /dev/shm")
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("_run", range(scaled(1, 20)))
def test_the_last_of_many_swaps_is_told_and_nothing_twice(
    stage: ConfigStage, memory_folder: Path, rng: random.Random, _run: int
) -> None:
    """Both kubelets (links of new keys before or after the rename), on disk and in memory, all at once."""
    places = {
        f"{kind}-{first}": folder / f"volume-{first}"
        for kind, folder in (("disk", stage.folder), ("memory", memory_folder))
        for first in (False, True)
    }
    stages = {name: ConfigStage(stage.folder / name) for name in places}
    volumes = {name: Volume(path, links_first=name.endswith("True")) for name, path in places.items()}
    for volume in volumes.values():
        volume.write({"a": b"0"})
    reloaders = {name: one.reloader(places[name], quiet_seconds=0.03) for name, one in stages.items()}
    try:
        for reloader in reloaders.values():
            reloader.start(wait=False)
        for reloader in reloaders.values():
            reloader.until_begun()
        for _ in range(scaled(60, 1000)):
            for volume in volumes.values():
                volume.write(some_content(rng))
            time.sleep(rng.uniform(0, 0.3))
        for name, reloader in reloaders.items():
            final = hash_by_itself(stage.folder / f"{name}-once", places[name])
            reloader.until(lambda r=reloader, f=final: r.applied == f, "the final content to be told")  # type: ignore[misc]
            reloader.until_settled()
            told = stages[name].told
            assert told[-1] == final
            assert not [n for n, (one, other) in enumerate(itertools.pairwise(told)) if one == other]
            assert len(told) > scaled(10, 200), "hardly anything was told on the way"
    finally:
        for one in stages.values():
            one.close()


def some_content(rng: random.Random) -> dict[str, bytes]:
    """Of few contents, so that they come back; keys come and go."""
    return {name: rng.choice([b"1", b"2"]) for name in "abc" if name == "a" or rng.random() < 0.5}


def test_what_is_rendered_was_always_one_version(stage: ConfigStage, memory_folder: Path, rng: random.Random) -> None:
    """Two keys are always written equal; a validator compares them in what was rendered."""
    volume = Volume(memory_folder / "volume")

    def write(version: int) -> None:
        volume.write({"one": b"%d" % version * 1000, "other": b"%d" % version * 1000})

    write(0)
    reloader = stage.reloader(volume.folder, quiet_seconds=0, render=f'{{"output": "{stage.folder}/out"}}')
    reloader.steps(
        {"validate": {"command": ["cmp", "{candidate}/one", "{candidate}/other"]}},
        stage.target.webhook(RELOAD),
    )
    stage.begin(reloader)
    attempts = 'attempts_total{outcome="ok",step="validate"}'
    with writing(write, lambda: rng.uniform(0, 0.03)):
        reloader.until(lambda: reloader.metric(attempts) > scaled(60, 3000), "many versions to be compared", 600)
    final = hash_by_itself(stage.folder / "once", volume.folder)
    reloader.until(lambda: reloader.applied == final, "the last version to be told")
    assert reloader.metric('attempts_total{outcome="rejected",step="validate"}') == 0
    assert reloader.metric("rejections_total") == 0
    output = stage.folder / "out"
    assert (output / "one").read_bytes() == (output / "other").read_bytes() == (volume.folder / "one").read_bytes()
    assert stage.told[-1] == final


def test_identical_content_and_other_modes_are_not_told(stage: ConfigStage) -> None:
    reloader = stage.reloader()
    first = stage.begin(reloader)
    for _ in range(3):
        stage.tells_nothing(reloader, stage.config.rewrite)
    stage.config.mode = 0o600
    stage.tells_nothing(reloader, stage.config.rewrite)
    assert reloader.applied == first
    stage.tells(reloader, lambda: stage.config.write({"app.yaml": b"1"}))
    assert stage.tells(reloader, lambda: stage.config.write({"app.yaml": b"0"})) == first
    stage.ends(reloader, told=2)


@pytest.mark.parametrize("pattern", ["app.yaml", "*.yaml", "**/*.yaml"])
def test_a_key_that_is_not_watched_is_not_told(stage: ConfigStage, pattern: str) -> None:
    reloader = stage.reloader(f"{stage.config.folder}/{pattern}")
    stage.begin(reloader)
    for text in (b"1", b"2"):
        stage.tells_nothing(reloader, lambda t=text: stage.config.write({"app.yaml": b"0", "other.txt": t}))  # type: ignore[misc]
    stage.tells_nothing(reloader, lambda: stage.config.write({"app.yaml": b"0"}))
    stage.tells(reloader, lambda: stage.config.write({"app.yaml": b"1", "other.txt": b"2"}))
    stage.ends(reloader, told=1)


def test_looking_without_an_event_tells_nothing(stage: ConfigStage) -> None:
    reloader = stage.reloader(resync_seconds=1)
    stage.begin(reloader)
    changed, unchanged = looks(reloader)
    reloader.until(lambda: looks(reloader)[1] >= unchanged + 2, "two looks by the clock")
    assert looks(reloader)[0] == changed
    stage.ends(reloader, told=0)
