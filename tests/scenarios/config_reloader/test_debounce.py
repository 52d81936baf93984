"""When a change is told: after a quiet period, and after a while in any case, and always what is there by then."""

import time
from hashlib import sha256
from pathlib import Path

from sidecars.config_reloader.core.snapshot import combined
from tests.support.config_stage import ConfigStage, looks, writing


def test_a_burst_within_the_quiet_period_is_told_once(stage: ConfigStage) -> None:
    reloader = stage.reloader(quiet_seconds=2, max_wait_seconds=600)
    stage.begin(reloader)

    def burst() -> None:
        for version in range(1, 21):
            stage.config.write({"app.yaml": b"%d" % version})

    assert stage.tells(reloader, burst) == the_hash(stage.config.folder, b"20")
    stage.ends(reloader, told=1)


def test_a_change_that_is_taken_back_within_the_quiet_period_is_not_told(stage: ConfigStage) -> None:
    reloader = stage.reloader(quiet_seconds=2)
    first = stage.begin(reloader)
    changed = looks(reloader)[0]
    stage.config.write({"app.yaml": b"1"})
    reloader.until(lambda: looks(reloader)[0] == changed + 1, "the change to be seen")
    stage.config.write({"app.yaml": b"0"})
    reloader.until(lambda: looks(reloader)[0] == changed + 2, "that it was taken back")
    moment = time.monotonic() + 2.5
    while time.monotonic() < moment:
        assert reloader.metric("changes_total") == 0
        time.sleep(0.1)
    assert reloader.applied == first
    stage.ends(reloader, told=0)


def test_content_that_never_rests_is_told_all_the_same_and_always_the_newest(stage: ConfigStage) -> None:
    reloader = stage.reloader(quiet_seconds=60, max_wait_seconds=0.5)
    stage.begin(reloader)
    versions = {the_hash(stage.config.folder, b"%d" % n): n for n in range(10_000)}
    newest = 0

    def write(version: int) -> None:
        nonlocal newest
        stage.config.write({"app.yaml": b"%d" % version})
        newest = version

    present: list[int] = []
    with writing(write, lambda: 0.05):
        for count in range(1, 5):
            reloader.until(lambda c=count: len(stage.told) >= c, "content to be told")  # type: ignore[misc]
            present.append(newest if len(stage.told) == count else 0)
    told = [versions[text] for text in stage.told]
    assert told == sorted(set(told))
    for before, after in zip(present, told[1:], strict=False):
        assert after >= before, f"{told}: what was there before was told ({present})"


def the_hash(folder: Path, text: bytes) -> str:
    """Of a volume with one key, app.yaml."""
    return combined({str(folder): combined({"app.yaml": sha256(text).hexdigest()})})


def test_without_a_quiet_period_each_change_is_told(stage: ConfigStage) -> None:
    reloader = stage.reloader(quiet_seconds=0)
    stage.begin(reloader)
    for version in range(1, 11):
        told = stage.tells(reloader, lambda v=version: stage.config.write({"app.yaml": b"%d" % v}))  # type: ignore[misc]
        assert told == the_hash(stage.config.folder, b"%d" % version)
    stage.ends(reloader, told=10)


def test_the_log_says_which_files_changed(stage: ConfigStage) -> None:
    reloader = stage.reloader()
    stage.begin(reloader)
    stage.tells(reloader, lambda: stage.config.write({"app.yaml": b"0", "new.yaml": b"1"}))
    stage.tells(reloader, lambda: stage.config.write({"app.yaml": b"2", "new.yaml": b"1"}))
    texts = [line["message"] for line in reloader.logged("change.seen")]
    assert texts == ["the content changed: new.yaml", "the content changed: app.yaml"]
    stage.ends(reloader, told=2)
