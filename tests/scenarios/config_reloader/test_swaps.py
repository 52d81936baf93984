"""Swaps of a volume, as the kubelet does them: the last is told, none without need, half of one is never seen."""

import itertools
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.config_stage import ConfigStage, hash_by_itself, writing
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


def some_content(rng: random.Random) -> dict[str, bytes]:
    """Of few contents, so that they come back; keys come and go."""
    return {name: rng.choice([b"1", b"2"]) for name in "abc" if name == "a" or rng.random() < 0.5}


@pytest.mark.parametrize("_run", range(scaled(1, 20)))
def test_the_last_of_many_swaps_is_told_and_nothing_twice(
    stage: ConfigStage, memory_folder: Path, rng: random.Random, _run: int
) -> None:
    """Both kubelets (links of new keys before or after the rename), one on disk and one in memory, at once."""
    volumes = [Volume(stage.folder / "volume"), Volume(memory_folder / "volume", links_first=True)]
    for volume in volumes:
        volume.write({"a": b"0"})
    stages = [ConfigStage(stage.folder / f"stage-{n}") for n in range(2)]
    reloaders = [one.reloader(it.folder, quiet_seconds=0.03) for one, it in zip(stages, volumes, strict=True)]
    try:
        for reloader in reloaders:
            reloader.start()
        for reloader in reloaders:
            reloader.until_begun()
        for _ in range(scaled(30, 1000)):
            for volume in volumes:
                volume.write(some_content(rng))
            time.sleep(rng.uniform(0, 0.3))
        for n, (one, reloader, volume) in enumerate(zip(stages, reloaders, volumes, strict=True)):
            final = hash_by_itself(stage.folder / f"once-{n}", volume.folder)
            reloader.until(lambda r=reloader, f=final: r.applied == f, "the final content to be told")  # type: ignore[misc]
            reloader.until_settled()
            assert one.told[-1] == final
            assert not [one for one, other in itertools.pairwise(one.told) if one == other]
            assert len(one.told) > scaled(6, 200), "hardly anything was told on the way"
    finally:
        for one in stages:
            one.close()


def test_what_is_rendered_was_always_one_version(stage: ConfigStage, memory_folder: Path, rng: random.Random) -> None:
    """Two keys are always written equal; a validator compares them in what was rendered."""
    volume, output = Volume(memory_folder / "volume"), stage.folder / "out"

    def write(version: int) -> None:
        volume.write({"one": b"%d" % version * 1000, "other": b"%d" % version * 1000})

    write(0)
    reloader = stage.reloader(volume.folder, quiet_seconds=0, render=f'{{"output": "{output}"}}')
    reloader.steps({"validate": {"command": ["cmp", "{candidate}/one", "{candidate}/other"]}}, stage.reload)
    stage.begin(reloader)
    attempts = 'attempts_total{outcome="ok",step="validate"}'
    with writing(write, lambda: rng.uniform(0, 0.03)):
        reloader.until(lambda: reloader.metric(attempts) > scaled(20, 3000), "many versions to be compared", 600)
    final = hash_by_itself(stage.folder / "once", volume.folder)
    reloader.until(lambda: reloader.applied == final, "the last version to be told")
    assert reloader.metric("rejections_total") == 0
    assert (output / "one").read_bytes() == (output / "other").read_bytes() == (volume.folder / "one").read_bytes()
    assert stage.told[-1] == final


def test_twenty_volumes_of_a_mebibyte_take_little_memory(stage: ConfigStage) -> None:
    volumes = [Volume(stage.folder / f"volume-{n}") for n in range(20)]
    for n, volume in enumerate(volumes):
        volume.write({"data": bytes([n]) * (1 << 20)})
    reloader = stage.reloader(*(volume.folder for volume in volumes))
    stage.begin(reloader)
    for n, volume in enumerate(volumes[::7]):
        stage.tells(reloader, lambda v=volume, n=n: v.write({"data": bytes([100 + n]) * (1 << 20)}))  # type: ignore[misc]
    assert reloader.memory_bytes("VmHWM") < 50 << 20
    stage.ends(reloader, told=3)
