"""Whatever is watched, by real events: each change is told once, nothing else is, what cannot be read is named."""

import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import pytest

from sidecars.kit.watch.folders import FolderWatch
from sidecars.runtime import Transient
from tests.agents.config_reloader.stage import HOOK, Files
from tests.support.kubelet import Volume
from tests.support.waiting import until_async

Act = Callable[[], object]
ONCE, NOT, NOT_OF_A_PART = Files.tells, Files.tells_nothing, Files.misses
Steps = list[tuple[Callable[..., object], Act]]
"""What the app is to hear of each act."""


def writes(volume: Volume, *payloads: dict[str, bytes]) -> Steps:
    return [(ONCE, lambda p=payload: volume.write(p)) for payload in payloads]  # type: ignore[misc]


def write(path: Path, text: str) -> Act:
    return lambda: path.write_text(text)


def replace(path: Path, text: str, new: str = ".new") -> Act:
    """Written as `new`, beside it unless told otherwise, and renamed over it."""

    def act() -> None:
        (path.parent / new).write_text(text)
        (path.parent / new).rename(path)

    return act


def edit(path: Path, text: str) -> Act:
    """As vim does with a backup: rename the file away, write it anew, delete the backup."""

    def act() -> None:
        backup = path.with_name(path.name + "~")
        path.rename(backup)
        path.write_text(text)
        backup.unlink()

    return act


def all_of(*acts: Act) -> Act:
    def act() -> None:
        for one in acts:
            one()

    return act


def relink(link: Path, target: Path | str) -> Act:
    def act() -> None:
        new = link.with_name("new-link")
        new.symlink_to(target)
        new.rename(link)

    return act


def back(volume: Volume, payload: dict[str, bytes]) -> Act:
    """As after a mount: all at once, never half."""

    def act() -> None:
        at = volume.folder
        volume.folder = at.with_name("made")
        volume.folder.mkdir()
        volume.write(payload)
        volume.folder.rename(at)
        volume.folder = at

    return act


def a_key_of_a_volume(folder: Path) -> tuple[str, Steps]:
    volume = Volume(folder / "config")
    volume.write({"app.yaml": b"0", "other": b"0"})
    return "config/app.yaml", [
        *writes(volume, {"app.yaml": b"1", "other": b"0"}, {"app.yaml": b"2", "other": b"0"}),
        (NOT, lambda: volume.write({"app.yaml": b"2", "other": b"1"})),
        *writes(volume, {"app.yaml": b"3"}),
    ]


def a_glob(folder: Path) -> tuple[str, Steps]:
    volume = Volume(folder / "config", links_first=True)
    volume.write({"a.yaml": b"0", "other": b"0"})
    return "config/**/*.yaml", [
        *writes(volume, {"a.yaml": b"1"}, {"a.yaml": b"1", "c/b.yaml": b"1"}, {"c/b.yaml": b"1"}),
        (NOT, lambda: volume.write({"c/b.yaml": b"1", "b.txt": b"1"})),
    ]


def a_projected_volume(folder: Path) -> tuple[str, Steps]:
    volume = Volume(folder / "config")
    volume.write({"app.yaml": b"0", "conf.d/a.conf": b"0"})

    def in_other_modes() -> None:
        volume.mode = 0o600
        volume.rewrite()

    return "config", [
        *writes(
            volume, {"app.yaml": b"0", "conf.d/a.conf": b"1"}, {"app.yaml": b"0", "conf.d/deep/b": b"1"}, {"a": b"0"}
        ),
        (NOT, volume.rewrite),
        (NOT, in_other_modes),
        # Newer kubelets make the link of a new key after the rename; this one dies between.
        (ONCE, lambda: volume.switch(volume.make_data({"a": b"0", "new": b"1"}))),
    ]


def a_volume_below_a_plain_folder(folder: Path) -> tuple[str, Steps]:
    (folder / "nginx").mkdir()
    (folder / "nginx" / "nginx.conf").write_text("0")
    volume = Volume(folder / "nginx" / "conf.d")
    volume.write({"a.conf": b"0"})
    return "nginx", [
        *writes(volume, {"a.conf": b"1"}, {"a.conf": b"2"}),
        (NOT, volume.rewrite),
        (ONCE, write(folder / "nginx" / "nginx.conf", "1")),
        *writes(volume, {"a.conf": b"3"}),
    ]


def a_plain_folder(folder: Path) -> tuple[str, Steps]:
    plain = folder / "plain"
    plain.mkdir()
    file, deep = plain / "app.yaml", plain / "sub" / "x" / "y"
    file.write_text("0")
    return "plain", [
        (ONCE, write(file, "1")),
        (ONCE, replace(file, "2")),
        (ONCE, edit(file, "3")),
        (NOT, replace(file, "3", "../new")),
        (ONCE, lambda: shutil.copytree(plain, plain / "sub")),
        (ONCE, write(plain / "sub" / "app.yaml", "4")),
        (ONCE, all_of(lambda: deep.mkdir(parents=True), write(deep / "file", "0"))),
        (ONCE, write(deep / "file", "5")),
        (ONCE, write(plain / ".hidden", "1")),
        (ONCE, file.unlink),
        (NOT, (plain / "empty").mkdir),
    ]


def a_plain_file(folder: Path) -> tuple[str, Steps]:
    file = folder / "app.yaml"
    file.write_text("0")
    return "app.yaml", [
        (ONCE, write(file, "1")),
        (NOT, write(folder / "other", "1")),
        (ONCE, replace(file, "2")),
        (ONCE, edit(file, "3")),
        (ONCE, write(file, "4")),
        (NOT, file.unlink),
        (NOT, replace(file, "4")),
        (NOT, file.unlink),
        (ONCE, write(file, "5")),
    ]


def a_link_into_a_volume(folder: Path) -> tuple[str, Steps]:
    (folder / "plain").mkdir()
    volume, link, other = Volume(folder / "elsewhere"), folder / "plain" / "app.yaml", folder / "other"
    volume.write({"app.yaml": b"0"})
    link.symlink_to(folder / "elsewhere" / "app.yaml")
    other.write_text("other")
    return "plain", [
        *writes(volume, {"app.yaml": b"1"}, {"app.yaml": b"2"}),
        (NOT, volume.rewrite),
        (ONCE, relink(link, other)),
        (ONCE, write(other, "new")),
    ]


def a_link_to_the_folder(folder: Path) -> tuple[str, Steps]:
    one, other = Volume(folder / "one"), Volume(folder / "other")
    one.write({"app.yaml": b"0"})
    other.write({"app.yaml": b"other"})
    (folder / "config").symlink_to("one")
    return "config", [
        *writes(one, {"app.yaml": b"1"}),
        (ONCE, relink(folder / "config", "other")),
        (NOT, all_of(lambda: one.write({"app.yaml": b"2"}), other.rewrite)),
        *writes(other, {"app.yaml": b"3"}),
    ]


def a_folder_that_is_replaced(folder: Path) -> tuple[str, Steps]:
    volume, second = Volume(folder / "config"), Volume(folder / "second")
    volume.write({"app.yaml": b"0"})
    second.write({"app.yaml": b"1"})
    third = Volume(folder / "config")  # where the second lies by then
    return "config", [
        (NOT_OF_A_PART, volume.remove),
        (NOT, back(volume, {"app.yaml": b"0"})),
        *writes(volume, {"app.yaml": b"00"}),
        (NOT_OF_A_PART, volume.remove),
        (ONCE, back(volume, {"app.yaml": b"000"})),
        (ONCE, lambda: (volume.folder.rename(folder / "away"), second.folder.rename(folder / "config"))),
        (ONCE, lambda: third.write({"app.yaml": b"2"})),
        (NOT, third.rewrite),
    ]


def a_folder_that_comes_later(folder: Path) -> tuple[str, Steps]:
    volume = Volume(folder / "made" / "config")
    volume.remove()
    return "made/config", [
        (ONCE, back(volume, {"app.yaml": b"0"})),
        *writes(volume, {"app.yaml": b"1"}),
        (NOT_OF_A_PART, lambda: shutil.rmtree(folder / "made")),
    ]


SHAPES = {name: shape for name, shape in globals().copy().items() if name.startswith("a_") and callable(shape)}
IN_PARTS = {"a_plain_folder", "a_plain_file", "a_folder_that_is_replaced", "a_folder_that_comes_later"}
"""What changes there does not change at once, so it needs a quiet period."""


@pytest.mark.parametrize("shape", SHAPES)
async def test_each_change_is_told_once_and_nothing_else(tmp_path: Path, shape: str) -> None:
    watch, steps = SHAPES[shape](tmp_path)
    async with Files(
        HOOK, watch=[str(tmp_path / watch)], quiet_seconds=0.3 if shape in IN_PARTS else 0.05
    ).running() as stage:
        for number, (told, act) in enumerate(steps):
            print(number, told.__name__)
            await told(stage, act)
        assert len(stage.told) == sum(told is ONCE for told, _ in steps)


class LateWatch:
    """Something comes between the snapshot and the watch that it asks for."""

    def __init__(self, watch: FolderWatch, come: Act) -> None:
        self._watch, self._come = watch, come

    def __getattr__(self, name: str) -> object:
        return getattr(self._watch, name)

    def watch(self, contents: Iterable[str], names: Iterable[str] = ()) -> bool:
        self._come()
        return self._watch.watch(contents, names)


async def test_what_comes_before_the_watch_is_set_is_seen(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    stage = Files(HOOK, watch=[str(tmp_path / "plain")])
    stage.watcher._watch = LateWatch(stage.watcher._watch, write(tmp_path / "plain" / "late", "x"))  # type: ignore[assignment]
    async with stage.running():
        assert stage.watcher.last is not None
        assert stage.watcher.last.names.keys() == {"late"}


async def test_what_no_event_tells_of_is_seen_by_the_clock_and_the_clock_tells_nothing_else(tmp_path: Path) -> None:
    """The folder's parent is another one now: the kernel tells neither folder anything."""
    one, other = (Volume(tmp_path / name / "config") for name in ("one", "other"))
    one.write({"app.yaml": b"one"})
    other.write({"app.yaml": b"other"})
    async with Files(HOOK, watch=[str(one.folder)], resync_seconds=1).running() as stage:
        unchanged = stage.looks[1]
        await until_async(lambda: stage.looks[1] >= unchanged + 2, "two looks by the clock")
        assert stage.told == []
        await stage.tells(
            lambda: ((tmp_path / "one").rename(tmp_path / "away"), (tmp_path / "other").rename(tmp_path / "one"))
        )
        other.folder = one.folder
        await stage.tells(lambda: other.write({"app.yaml": b"2"}))


async def test_of_a_folder_that_is_deleted_no_part_is_told(tmp_path: Path) -> None:
    """Half deleted it looks like a folder with fewer files; once it is gone it is something to be waited for."""
    folder, made = tmp_path / "plain", tmp_path / "made"
    for parent in (folder, made):
        parent.mkdir()
        for n in range(100):
            (parent / f"{n}").write_text("0")
    async with Files(HOOK, watch=[str(folder)], quiet_seconds=0.5).running() as stage:
        for n in range(99):
            (folder / f"{n}").unlink()
        await until_async(lambda: stage.looks[0] > 1, "a part to be seen")
        await stage.misses(lambda: shutil.rmtree(folder))
        await stage.tells_nothing(lambda: made.rename(folder))
        await stage.tells(replace(folder / "7", "1"))
        assert len(stage.told) == 1


@pytest.mark.parametrize(("watch", "said"), [("plain", "holds no file"), ("plain/*.yaml", "matches no file")])
async def test_what_is_empty_is_named_until_something_is_there(tmp_path: Path, watch: str, said: str) -> None:
    """In a pod it is the sign of a volume that is not mounted, or is another one."""
    (tmp_path / "plain").mkdir()
    async with Files(HOOK, watch=[str(tmp_path / watch)]).running() as stage:
        assert f"{watch} {said}" in stage.reason("watch")
        assert stage.ctx.health.ready, "the app may well start with nothing"
        await stage.tells(write(tmp_path / "plain" / "app.yaml", "1"))
        assert stage.reason("watch") == ""


@pytest.mark.parametrize(
    ("limit", "said", "later"),
    [
        ({"max_files": 2}, "more than 2 files (max_files) are watched", True),
        ({"max_bytes": 65_536}, "more than 65,536 bytes (max_bytes) are watched", False),
    ],
)
async def test_too_much_to_be_watched_is_not_ready_and_names_the_limit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, limit: dict[str, int], said: str, later: bool
) -> None:
    """No change is told then: nobody should take it for well."""
    (tmp_path / "app.yaml").write_text("0")

    def fill() -> None:
        for name in ("a", "b"):
            (tmp_path / name).write_bytes(b"x" * 50_000)

    if not later:
        fill()
    async with Files(HOOK, watch=[str(tmp_path)], **limit).running() as stage:
        if later:
            assert stage.ctx.health.ready
            fill()
        await until_async(lambda: not stage.ctx.health.ready, "it not to be ready")
        assert stage.ctx.health.started, "the app need not wait"
        assert said in stage.reason("watch")
        with pytest.raises(Transient, match=r"a part of the content is not rolled out.*max_"):
            await stage.asks()
        for name in ("a", "b"):
            (tmp_path / name).unlink()
        await until_async(lambda: stage.ctx.health.ready, "it to be ready again")
        await stage.settles()
        await stage.tells(write(tmp_path / "app.yaml", "1"))
    assert sum(said in message for message in caplog.messages) == 1


MAKE: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "loop": lambda path: path.symlink_to(path.name),
    "dangling": lambda path: path.symlink_to("nothing"),
}


@pytest.mark.parametrize("what", MAKE)
async def test_what_cannot_be_read_is_named_and_stops_nothing(tmp_path: Path, what: str) -> None:
    (tmp_path / "app.yaml").write_text("0")
    trouble = tmp_path / "trouble"
    MAKE[what](trouble)
    async with Files(HOOK, watch=[str(tmp_path)]).running() as stage:
        assert [problem for problem in stage.shown["problems"] if str(trouble) in problem]
        assert str(trouble) in stage.reason("watch")
        assert stage.ctx.health.ready
        await stage.tells(replace(tmp_path / "app.yaml", "1", "../new"))
        await stage.tells(replace(trouble, "good", "../new"))
        assert (stage.shown["problems"], stage.reason("watch")) == ([], "")
        await stage.tells(lambda: trouble.write_text("more"))


async def test_one_watch_for_a_folder_and_one_instance_are_enough(tmp_path: Path) -> None:
    """All sidecars of a node that run as one user share 128 instances."""

    def watches() -> list[int]:
        """How many each inotify instance of this process has."""
        counts = []
        for file in Path("/proc/self/fdinfo").iterdir():
            with suppress(FileNotFoundError):  # closed since it was listed
                counts.append(file.read_text().count("inotify wd:"))
        return sorted(filter(None, counts))

    volume, before = Volume(tmp_path / "config"), watches()
    volume.write({"app.yaml": b"0"})
    async with Files(HOOK, watch=[str(volume.folder)]).running() as stage:
        await stage.tells(lambda: volume.write({"app.yaml": b"1"}))
        assert watches() == sorted([*before, 1])
