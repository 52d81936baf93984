"""Whatever is watched: each change is told once, what is no change is not, and what cannot be read is named."""

import os
import shutil
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import pytest

from tests.support.config_stage import Act, ConfigStage, looks
from tests.support.kubelet import Volume
from tests.support.processes import can_run


class Told(StrEnum):
    """What the app is told of something."""

    ONCE = "once"
    NOT = "not"
    NOT_OF_A_PART = "not of a part"
    """What is watched goes, not at once, so a look may see a part of it."""


Steps = list[tuple[str, Act, Told]]
"""What is done, and whether the app is told."""
Shape = Callable[[Path], tuple[str, Steps]]
"""In an empty folder: what to watch below it, and what is done then."""


def writes(volume: Volume, *payloads: dict[str, bytes]) -> Steps:
    return [(f"write {payload}", lambda p=payload: volume.write(p), Told.ONCE) for payload in payloads]  # type: ignore[misc]


def write(path: Path, text: str) -> Act:
    return lambda: path.write_text(text)


def replace(path: Path, text: str, new: str = ".new") -> Act:
    """Written as `new`, beside it unless told otherwise, and renamed over it."""

    def act() -> None:
        (path.parent / new).write_text(text)
        (path.parent / new).rename(path)

    return act


def edit(path: Path, text: str) -> Act:
    """As vim does with a backup: try the folder, rename the file away, write it anew, delete the backup."""

    def act() -> None:
        (path.parent / "4913").touch()
        (path.parent / "4913").unlink()
        backup = path.with_name(path.name + "~")
        path.rename(backup)
        path.write_text(text)
        backup.unlink()

    return act


def a_key_of_a_volume(folder: Path) -> tuple[str, Steps]:
    volume = Volume(folder / "config")
    volume.write({"app.yaml": b"0", "other": b"0"})
    contents = [{"app.yaml": b"%d" % n, "other": b"0"} for n in (1, 2, 3)]
    return "config/app.yaml", [
        *writes(volume, *contents),
        ("another key", lambda: volume.write({"app.yaml": b"3", "other": b"1"}), Told.NOT),
        *writes(volume, {"app.yaml": b"4"}),
    ]


def a_glob(folder: Path) -> tuple[str, Steps]:
    volume = Volume(folder / "config", links_first=True)
    volume.write({"a.yaml": b"0", "other": b"0"})
    return "config/*.yaml", [
        *writes(volume, {"a.yaml": b"1"}, {"a.yaml": b"1", "b.yaml": b"1"}, {"b.yaml": b"1"}),
        ("a key that does not fit", lambda: volume.write({"b.yaml": b"1", "b.txt": b"1"}), Told.NOT),
    ]


def a_projected_volume(folder: Path) -> tuple[str, Steps]:
    volume = Volume(folder / "config")
    volume.write({"app.yaml": b"0", "conf.d/a.conf": b"0"})
    return "config", [
        *writes(
            volume,
            {"app.yaml": b"0", "conf.d/a.conf": b"1"},
            {"app.yaml": b"0", "conf.d/a.conf": b"1", "conf.d/deep/b.conf": b"1"},
            {"app.yaml": b"0"},
        ),
        ("the same again", volume.rewrite, Told.NOT),
    ]


def a_volume_below_a_plain_folder(folder: Path) -> tuple[str, Steps]:
    (folder / "nginx").mkdir()
    (folder / "nginx" / "nginx.conf").write_text("0")
    volume = Volume(folder / "nginx" / "conf.d")
    volume.write({"a.conf": b"0"})
    return "nginx", [
        *writes(volume, {"a.conf": b"1"}, {"a.conf": b"2"}),
        ("the same again", volume.rewrite, Told.NOT),
        ("beside it", write(folder / "nginx" / "nginx.conf", "1"), Told.ONCE),
        *writes(volume, {"a.conf": b"3"}),
    ]


def a_plain_folder(folder: Path) -> tuple[str, Steps]:
    plain = folder / "plain"
    plain.mkdir()
    file = plain / "app.yaml"
    file.write_text("0")
    return "plain", [
        ("write in place", write(file, "1"), Told.ONCE),
        ("rename over it", replace(file, "2"), Told.ONCE),
        ("edit", edit(file, "3"), Told.ONCE),
        ("the same again", replace(file, "3", "../new"), Told.NOT),
        ("a new subfolder", lambda: shutil.copytree(plain, plain / "sub"), Told.ONCE),
        ("in the new subfolder", write(plain / "sub" / "app.yaml", "4"), Told.ONCE),
        ("a new file deeper", lambda: deeper(plain / "sub" / "x" / "y"), Told.ONCE),
        ("in the deeper one", write(plain / "sub" / "x" / "y" / "file", "5"), Told.ONCE),
        ("a hidden file", write(plain / ".hidden", "1"), Told.ONCE),
        ("delete", file.unlink, Told.ONCE),
        ("an empty folder", (plain / "empty").mkdir, Told.NOT),
    ]


def deeper(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "file").write_text("0")


def a_plain_file(folder: Path) -> tuple[str, Steps]:
    file = folder / "app.yaml"
    file.write_text("0")
    return "app.yaml", [
        ("write in place", write(file, "1"), Told.ONCE),
        ("another file", write(folder / "other", "1"), Told.NOT),
        ("rename over it", replace(file, "2"), Told.ONCE),
        ("edit", edit(file, "3"), Told.ONCE),
        ("write in place again", write(file, "4"), Told.ONCE),
        ("delete", file.unlink, Told.NOT),
        ("the same is back", replace(file, "4"), Told.NOT),
        ("delete again", file.unlink, Told.NOT),
        ("other content is there", write(file, "5"), Told.ONCE),
    ]


def a_link_into_a_volume(folder: Path) -> tuple[str, Steps]:
    (folder / "plain").mkdir()
    volume = Volume(folder / "elsewhere")
    volume.write({"app.yaml": b"0"})
    link = folder / "plain" / "app.yaml"
    link.symlink_to(folder / "elsewhere" / "app.yaml")
    other = folder / "other"
    other.write_text("other")

    def lead_elsewhere() -> None:
        (folder / "plain" / "new").symlink_to(other)
        (folder / "plain" / "new").rename(link)

    return "plain", [
        *writes(volume, {"app.yaml": b"1"}, {"app.yaml": b"2"}),
        ("the same again", volume.rewrite, Told.NOT),
        ("the link leads elsewhere", lead_elsewhere, Told.ONCE),
        ("the new place", write(other, "new"), Told.ONCE),
    ]


def a_link_to_the_folder(folder: Path) -> tuple[str, Steps]:
    one, other = Volume(folder / "one"), Volume(folder / "other")
    one.write({"app.yaml": b"0"})
    other.write({"app.yaml": b"other"})
    link = folder / "config"
    link.symlink_to("one")

    def lead_elsewhere() -> None:
        (folder / "new").symlink_to("other")
        (folder / "new").rename(link)

    return "config", [
        *writes(one, {"app.yaml": b"1"}),
        ("the link leads elsewhere", lead_elsewhere, Told.ONCE),
        ("the place before, and the same here", lambda: beside(one, other), Told.NOT),
        *writes(other, {"app.yaml": b"3"}),
    ]


def beside(one: Volume, other: Volume) -> None:
    one.write({"app.yaml": b"2"})
    other.rewrite()


def a_folder_that_is_replaced(folder: Path) -> tuple[str, Steps]:
    volume = Volume(folder / "config")
    volume.write({"app.yaml": b"0"})
    second = Volume(folder / "second")
    second.write({"app.yaml": b"1"})

    def exchange() -> None:
        volume.folder.rename(folder / "away")
        second.folder.rename(folder / "config")

    third = Volume(folder / "config")  # where the second lies by then
    return "config", [
        ("it is deleted", volume.remove, Told.NOT_OF_A_PART),
        ("the same is back", lambda: back(volume, {"app.yaml": b"0"}), Told.NOT),
        *writes(volume, {"app.yaml": b"00"}),
        ("it is deleted again", volume.remove, Told.NOT_OF_A_PART),
        ("another is there", lambda: back(volume, {"app.yaml": b"000"}), Told.ONCE),
        *writes(volume, {"app.yaml": b"0"}),
        ("it is renamed away, and another put there", exchange, Told.ONCE),
        ("a swap of the other", lambda: third.write({"app.yaml": b"2"}), Told.ONCE),
        ("the same again", third.rewrite, Told.NOT),
    ]


def back(volume: Volume, payload: dict[str, bytes]) -> None:
    """As after a mount: all at once, never half."""
    at = volume.folder
    volume.folder = at.with_name("made")
    volume.folder.mkdir()
    volume.write(payload)
    volume.folder.rename(at)
    volume.folder = at


def a_folder_that_comes_later(folder: Path) -> tuple[str, Steps]:
    volume = Volume(folder / "made" / "config")
    volume.remove()
    return "made/config", [
        ("it comes", lambda: back(volume, {"app.yaml": b"0"}), Told.ONCE),
        *writes(volume, {"app.yaml": b"1"}),
        ("its parent is deleted", lambda: shutil.rmtree(folder / "made"), Told.NOT_OF_A_PART),
    ]


def many_keys(folder: Path) -> tuple[str, Steps]:
    volume = Volume(folder / "config")
    payload = {f"key-{n}": b"%d" % n for n in range(200)}
    volume.write(payload)
    return "config", [
        ("the same again", volume.rewrite, Told.NOT),
        *writes(volume, {**payload, "key-199": b"new"}, {**payload, "key-200": b"new"}, {"key-0": b"0"}),
    ]


SHAPES: dict[str, Shape] = {
    name: shape for name, shape in globals().copy().items() if name.startswith(("a_", "many_")) and callable(shape)
}


IN_PARTS = {"a_plain_folder", "a_plain_file", "a_folder_that_is_replaced", "a_folder_that_comes_later"}
"""What changes there does not change at once, so it needs a quiet period."""


@pytest.mark.parametrize("shape", SHAPES)
def test_each_change_is_told_once_and_nothing_else(stage: ConfigStage, shape: str) -> None:
    folder = stage.folder / "here"
    folder.mkdir()
    watch, steps = SHAPES[shape](folder)
    quiet_seconds = 0.3 if shape in IN_PARTS else 0.05
    reloader = stage.reloader(folder / watch, quiet_seconds=quiet_seconds).start()
    reloader.until_settled()
    told = 0
    for what, act, tells in steps:
        print(what)
        {Told.ONCE: stage.tells, Told.NOT: stage.tells_nothing, Told.NOT_OF_A_PART: stage.misses}[tells](reloader, act)
        told += tells is Told.ONCE
    stage.ends(reloader, told)


def test_what_no_event_tells_of_is_seen_by_the_clock(stage: ConfigStage) -> None:
    """The folder's parent is another one now: the kernel tells neither folder anything."""
    one, other = (Volume(stage.folder / name / "config") for name in ("one", "other"))
    one.write({"app.yaml": b"one"})
    other.write({"app.yaml": b"other"})
    reloader = stage.reloader(one.folder, resync_seconds=1)
    first = stage.begin(reloader)

    def exchange() -> None:
        (stage.folder / "one").rename(stage.folder / "away")
        (stage.folder / "other").rename(stage.folder / "one")

    assert stage.tells(reloader, exchange) != first
    other.folder = one.folder
    stage.tells(reloader, lambda: other.write({"app.yaml": b"2"}))
    stage.ends(reloader, told=2)


def test_of_a_folder_that_is_deleted_no_part_is_told(stage: ConfigStage) -> None:
    """Half deleted it looks like a folder with fewer files; once it is gone it is something to be waited for."""
    folder, made = stage.folder / "plain", stage.folder / "made"
    for parent in (folder, made):
        parent.mkdir()
        for n in range(100):
            (parent / f"{n}").write_text("0")
    reloader = stage.reloader(folder, quiet_seconds=0.5)
    stage.begin(reloader)
    changed = looks(reloader)[0]
    for n in range(99):
        (folder / f"{n}").unlink()
    reloader.until(lambda: looks(reloader)[0] > changed, "a part to be seen")
    shutil.rmtree(folder)
    reloader.until(lambda: reloader.metric("watch_missing") == 1, "the rest to be gone")
    moment = time.monotonic() + 1
    while time.monotonic() < moment:
        assert stage.told == []
        time.sleep(0.01)
    stage.tells_nothing(reloader, lambda: made.rename(folder))
    stage.tells(reloader, replace(folder / "7", "1"))
    stage.ends(reloader, told=1)


def test_a_key_is_told_although_its_visible_link_comes_later(stage: ConfigStage) -> None:
    """Newer kubelets make the link of a new key after the rename; this one dies between."""
    output = stage.folder / "out"
    reloader = stage.reloader(render=f'{{"output": "{output}"}}')
    stage.begin(reloader)
    data = stage.config.make_data({"app.yaml": b"0", "new.yaml": b"new"})
    stage.tells(reloader, lambda: stage.config.switch(data))
    assert (output / "new.yaml").read_bytes() == b"new"
    assert not os.path.lexists(stage.config.folder / "new.yaml")
    stage.ends(reloader, told=1)


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


def make_unreadable(path: Path) -> None:
    path.write_text("secret")
    path.chmod(0)


MAKE: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "loop": lambda path: path.symlink_to(path.name),
    "dangling": lambda path: path.symlink_to("nothing"),
    "unreadable": make_unreadable,
}


@pytest.mark.parametrize(
    ("watch", "said"), [("plain", "plain holds no file"), ("plain/*.yaml", "*.yaml matches no file")]
)
def test_what_is_empty_is_named_until_something_is_there(stage: ConfigStage, watch: str, said: str) -> None:
    """In a pod it is the sign of a volume that is not mounted, or is another one."""
    plain = stage.folder / "plain"
    plain.mkdir()
    reloader = stage.reloader(stage.folder / watch)
    stage.begin(reloader)
    reloader.until(lambda: reloader.logged("watch.incomplete"), "the empty folder to be named")
    assert said in reloader.logged("watch.incomplete")[0]["message"]
    status, conditions = reloader.ask("/readyz")
    assert (status, said in conditions) == (200, True), "the app may well start with nothing"
    stage.tells(reloader, write(plain / "app.yaml", "1"))
    assert said not in reloader.ask("/readyz")[1]
    stage.ends(reloader, told=1)


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ({"max_files": 2}, "more than 2 files (max_files) are watched"),
        ({"max_bytes": "64KiB"}, "more than 65,536 bytes (max_bytes) are watched"),
    ],
)
@pytest.mark.parametrize("when", ["from the start", "later"])
def test_too_much_to_be_watched_is_not_ready_and_names_the_limit(
    stage: ConfigStage, limit: dict[str, object], said: str, when: str
) -> None:
    """No change is told then: nobody should take it for well."""
    plain = stage.folder / "plain"
    plain.mkdir()
    (plain / "app.yaml").write_text("0")

    def fill() -> None:
        for name in ("a", "b"):
            (plain / name).write_bytes(b"x" * 50_000)

    if when == "from the start":
        fill()
    reloader = stage.reloader(plain)
    reloader.settings.update(limit)
    reloader.start()
    if when == "later":
        reloader.until_begun()
        assert reloader.ask("/readyz")[0] == 200
        fill()
    reloader.until(lambda: reloader.ask("/readyz")[0] == 503, "it not to be ready")
    assert said in reloader.ask("/readyz")[1]
    assert [said in line["message"] for line in reloader.logged("watch.too_large")] == [True]
    assert (reloader.metric("watch_too_large"), reloader.metric("watch_unreadable")) == (1, 0)
    assert reloader.ask("/startupz")[0] == 200, "the app need not wait"
    status, answer = reloader.ask("/reload", "POST")
    assert (status, said in answer) == (503, True)
    for name in ("a", "b"):
        (plain / name).unlink()
    reloader.until(lambda: reloader.ask("/readyz")[0] == 200, "it to be ready again")
    assert reloader.metric("watch_too_large") == 0
    reloader.until_begun()
    stage.tells(reloader, write(plain / "app.yaml", "1"))
    assert reloader.terminate() == 0


DROP = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")


@pytest.mark.parametrize("what", MAKE)
def test_what_cannot_be_read_is_named_and_stops_nothing(stage: ConfigStage, what: str) -> None:
    plain = stage.folder / "plain"
    plain.mkdir()
    (plain / "app.yaml").write_text("0")
    trouble = plain / "trouble"
    if os.getuid() == 0 and not can_run(*DROP, "true"):
        pytest.skip("may not give capabilities up here (setpriv --bounding-set)")
    MAKE[what](trouble)
    # Root reads everything, and so could tell nothing: take that from it.
    reloader = stage.reloader(plain, prefix=DROP if os.getuid() == 0 else ())
    stage.begin(reloader)
    assert [problem for problem in reloader.status()["problems"] if str(trouble) in problem]
    assert reloader.metric("watch_unreadable") == 1
    assert reloader.ask("/readyz")[0] == 200
    for text in ("1", "2"):
        stage.tells(reloader, write(plain / "app.yaml", text))
    stage.tells(reloader, lambda: mend(trouble))
    assert reloader.status()["problems"] == []
    assert reloader.metric("watch_unreadable") == 0
    stage.tells(reloader, lambda: trouble.write_text("more"))
    assert [line["message"] for line in reloader.logged("watch.incomplete") if str(trouble) in line["message"]]
    stage.ends(reloader, told=4)


def mend(path: Path) -> None:
    """A file that can be read, at once."""
    new = path.parent / ".new"
    new.write_text("good")
    new.rename(path)
