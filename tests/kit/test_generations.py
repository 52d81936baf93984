"""The output folder: what readers see at every moment, what stays after a crash or a full disk, and who is refused."""

import os
import re
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from sidecars.kit.generations import Entry, Generations
from sidecars.runtime.errors import Permanent
from tests.support.limits import files_of_at_most

ONE = {"app.conf": b"one", "gone.conf": b"1", "conf.d/a/site": b"one", "old.d/x": b"1"}
TWO = {"app.conf": b"two", "new.conf": b"2", "conf.d/a/site": b"two", "conf.d/b": b"2", "new.d/x": b"2"}
THREE = {"app.conf": b"three"}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def generations(output: Path) -> Generations:
    return Generations(str(output), 0o644)


def published(generations: Generations, files: Mapping[str, bytes], *, good: bool = True) -> str:
    path = generations.stage(files)
    generations.publish(path)
    if good:
        generations.keep(path)
    return path


def seen(output: Path) -> dict[str, bytes]:
    """What an app sees that knows nothing of generations: names that do not begin with two dots, links followed."""
    tops = [output / entry for entry in os.listdir(output) if not entry.startswith("..")]
    every = [path for top in tops for path in (top, *top.rglob("*")) if path.is_file()]
    return {str(path.relative_to(output)): path.read_bytes() for path in every}


def folders(output: Path) -> set[str]:
    """The generations on the disk, by their absolute paths."""
    return {str(path) for path in output.iterdir() if path.is_dir() and not path.is_symlink()}


def test_a_generation_is_laid_out_as_the_kubelet_does(generations: Generations, output: Path) -> None:
    path = published(generations, ONE)
    assert re.fullmatch(r"\.\.\d{4}(_\d\d){5}\.\w+", os.path.basename(path))
    assert os.readlink(output / "..data") == os.path.basename(path)
    assert os.readlink(output / "conf.d") == "..data/conf.d"
    assert seen(output) == ONE
    assert generations.current() == path


def test_a_staged_generation_is_whole_and_seen_by_nobody(generations: Generations, output: Path) -> None:
    path = generations.stage(ONE)
    assert Path(path, "conf.d/a/site").read_bytes() == b"one"
    assert os.listdir(output) == [os.path.basename(path)]
    assert generations.current() is None


def test_names_come_and_go_with_the_generation(generations: Generations, output: Path) -> None:
    for files in (ONE, TWO, THREE, {}, ONE):
        published(generations, files)
        assert seen(output) == files
        assert {*os.listdir(output / "..data")} == {name for name in os.listdir(output) if not name.startswith("..")}
        (output / "..data_tmp").symlink_to("a switch that did not happen")


@pytest.mark.parametrize(
    ("mode", "folder"), [(0o644, 0o755), (0o640, 0o750), (0o600, 0o700), (0o444, 0o755), (0o666, 0o755), (0o604, 0o705)]
)
def test_modes_are_exact_whatever_the_umask(output: Path, mode: int, folder: int) -> None:
    before = os.umask(0o077)
    try:
        path = Path(Generations(str(output), mode).stage(ONE))
    finally:
        os.umask(before)
    found = {name: stat.S_IMODE((path / name).stat().st_mode) for name in ("app.conf", "conf.d/a/site", "conf.d", ".")}
    assert found == {"app.conf": mode, "conf.d/a/site": mode, "conf.d": folder, ".": folder}
    assert stat.S_IMODE(output.stat().st_mode) == folder


def test_files_get_the_group_of_a_volume_with_fs_group(generations: Generations, output: Path) -> None:
    output.mkdir()
    group = next(iter({*os.getgroups(), os.getgid()} - {os.getegid()}), 2000 if os.geteuid() == 0 else os.getegid())
    os.chown(output, -1, group)
    output.chmod(0o2775)
    path = Path(generations.stage(ONE))
    assert {(path / name).stat().st_gid for name in (".", "app.conf", "conf.d", "conf.d/a/site")} == {group}
    assert stat.S_IMODE((path / "conf.d").stat().st_mode) == 0o2755


def test_the_last_good_one_is_kept_until_the_next_is_good(generations: Generations, output: Path) -> None:
    one = published(generations, ONE)
    assert generations.previous() is None
    two = published(generations, TWO, good=False)
    assert generations.previous() == one
    three = published(generations, THREE, good=False)
    assert generations.previous() == one, "two was never found good"
    generations.keep(three)
    assert generations.previous() is None
    assert folders(output) == {two, three}, "who opened two a moment ago may still be in it"
    four = published(generations, ONE)
    assert folders(output) == {three, four}


def test_the_last_good_one_can_be_put_back(generations: Generations, output: Path) -> None:
    assert not generations.put_back()
    one = published(generations, ONE)
    assert not generations.put_back()
    two = published(generations, TWO, good=False)
    generations = Generations(str(output), 0o644)  # also after a restart
    generations.recover()
    assert (generations.current(), generations.previous()) == (two, one)
    assert generations.put_back()
    assert generations.current() == one
    assert seen(output) == ONE
    assert not generations.put_back()
    assert os.path.isdir(two)
    three = published(generations, THREE)
    assert folders(output) == {one, three}


def test_a_clean_up_spares_what_is_staged_and_current(generations: Generations) -> None:
    one = published(generations, ONE)
    two = generations.stage(TWO)
    generations.publish(two)
    three = generations.stage(THREE)
    generations.keep(one)
    assert os.path.isdir(two)
    assert os.path.isdir(three)


def test_only_what_is_not_wanted_is_discarded(generations: Generations, output: Path) -> None:
    one, two = published(generations, ONE), published(generations, TWO, good=False)
    three = generations.stage(THREE)
    for path in (one, two, three, str(output / "..data"), str(output), str(output / "nothing")):
        generations.discard(path)
    assert folders(output) == {one, two}


def test_equal_content_need_not_be_published(generations: Generations, output: Path) -> None:
    assert not generations.same_as_current(ONE)
    published(generations, ONE)
    assert generations.same_as_current(dict(reversed(ONE.items())))
    fewer = {name: content for name, content in ONE.items() if name != "gone.conf"}
    for other in ({**ONE, "app.conf": b"two"}, {**ONE, "app.conf": b"one "}, {**ONE, "z": b""}, fewer, {}):
        assert not generations.same_as_current(other)
    assert not Generations(str(output), 0o600).same_as_current(ONE), "another mode is not the same"


INSTEAD: dict[str, Callable[[Path], object]] = {
    "a file": Path.touch,
    "a FIFO": os.mkfifo,
    "a folder": Path.mkdir,
    "a link in a loop": lambda path: path.symlink_to(path.name),
    "a link beside": lambda path: path.symlink_to("other.conf"),
    "a link to another name": lambda path: path.symlink_to("..data/app.conf"),
}


@pytest.mark.parametrize("instead", [*list(INSTEAD)[1:], None])
def test_what_the_app_damaged_is_not_the_same(generations: Generations, instead: str | None) -> None:
    empty = {"app.conf": b"", "other.conf": b""}
    damaged = Path(published(generations, empty), "app.conf")
    assert generations.same_as_current(empty)
    damaged.unlink()
    if instead:
        INSTEAD[instead](damaged)
    assert not generations.same_as_current(empty)


@pytest.mark.parametrize("what", INSTEAD)
@pytest.mark.parametrize("name", ["new.conf", "new.d", "..data"])
def test_what_is_not_ours_is_named_and_nothing_is_changed(output: Path, name: str, what: str) -> None:
    generations = Generations(str(output), 0o644)
    if name != "..data":
        published(generations, ONE)
    staged = generations.stage(TWO)
    INSTEAD[what](output / name)
    before = {entry: (output / entry).lstat().st_ino for entry in os.listdir(output)}
    with pytest.raises(
        Permanent, match=rf"cannot publish in {re.escape(str(output))}: '{re.escape(name)}' .*remove it"
    ):
        generations.publish(staged)
    assert {entry: (output / entry).lstat().st_ino for entry in os.listdir(output)} == before


def test_what_is_not_ours_stays_beside_the_generations(generations: Generations, output: Path) -> None:
    output.mkdir()
    (output / "readme").write_bytes(b"theirs")
    (output / "alias").symlink_to("..data/app.conf")
    (output / "..other").mkdir()
    for files in (ONE, THREE):
        published(generations, files)
    generations.recover()
    assert seen(output) == {**THREE, "readme": b"theirs", "alias": b"three"}
    assert (output / "..other").is_dir()


class Disturbed(Generations):
    """Somebody makes a file where a link must be, between the look and the link."""

    def _point(self, link: str, path: str) -> None:
        super()._point(link, path)
        with suppress(FileExistsError):
            os.mkdir(os.path.join(self._output, "new.d"))


@pytest.mark.parametrize("former", [ONE, None])
def test_a_publication_that_fails_half_way_is_taken_back(output: Path, former: Mapping[str, bytes] | None) -> None:
    first = published(Generations(str(output), 0o644), former) if former else None
    generations = Disturbed(str(output), 0o644)
    path = generations.stage(TWO)
    with pytest.raises(FileExistsError):
        generations.publish(path)
    assert generations.current() == first
    assert seen(output) == (former or {})
    (output / "new.d").rmdir()
    assert Path(path, "app.conf").read_bytes() == b"two", "what was staged can be published later"


def test_a_write_that_fails_half_way_leaves_nothing_behind(generations: Generations, output: Path) -> None:
    one = published(generations, ONE)
    with files_of_at_most(10_000), pytest.raises(OSError, match="too large"):
        generations.stage({"a": b"x", "d/big": bytes(100_000)})
    assert folders(output) == {one}
    assert seen(output) == ONE


def test_a_file_has_the_mode_and_the_owner_of_its_own(output: Path) -> None:
    generations = Generations(str(output), 0o400)
    owner = (12345, 23456) if os.geteuid() == 0 else (-1, -1)
    files: dict[str, bytes | Entry] = {
        "ca.pem": Entry(b"public", 0o444),
        "d/key": Entry(b"secret", 0o440, *owner),
        "pin": b"1",
    }
    generations.publish(generations.stage(files))
    key, folder = (output / "d" / "key").stat(), (output / "..data").stat()
    modes = [stat.S_IMODE((output / name).stat().st_mode) for name in files]
    assert modes == [0o444, 0o440, 0o400]
    assert owner in {(-1, -1), (key.st_uid, key.st_gid)}
    assert stat.S_IMODE(folder.st_mode) & 0o055 == 0o055, "what all may read lies in a folder that all may enter"
    assert generations.same_as_current(files)
    assert not generations.same_as_current({**files, "pin": Entry(b"1", 0o440)})
    assert not generations.same_as_current({**files, "d/key": Entry(b"secret", 0o440, 54321)})


FULL_DISK = """
import errno, os, sys
from sidecars.kit.generations import Generations
one, two = {"app.conf": b"one"}, {f"f{n}": bytes(4000) for n in range(int(sys.argv[2]))}
generations = Generations(sys.argv[1], 0o644)
path = generations.stage(one); generations.publish(path); generations.keep(path)
try:
    generations.publish(generations.stage(two))
except OSError as error:
    assert error.errno == errno.ENOSPC, error
    print("full")
current = generations.current()
print(open(sys.argv[1] + "/app.conf").read(), current == path, generations.same_as_current(one))
"""


@pytest.mark.skipif(not shutil.which("unshare"), reason="needs unshare(1) to mount a small file system")
@pytest.mark.parametrize(
    ("options", "files"),
    [("size=32k", 50), ("nr_inodes=20", 50), ("nr_inodes=20", 10)],
    ids=["no room", "no inodes for the files", "no inodes for the links"],
)
def test_a_full_disk_leaves_the_last_good_generation(tmp_path: Path, options: str, files: int) -> None:
    script = f'mount -t tmpfs -o {options} none "$0" || exit 77; exec "$@"'
    command = ["unshare", "-rm", "sh", "-c", script, str(tmp_path), sys.executable, "-c", FULL_DISK]
    done = subprocess.run([*command, str(tmp_path), str(files)], capture_output=True, text=True, check=False)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"needs to mount a small file system: {done.stderr.strip()}")
    assert done.stdout.split() == ["full", "one", "True", "True"], done.stderr


# Makes folder after folder with generation one good, and in each lets a child publish two (good) and three, which dies
# before its n-th call that touches the file system; until a child came through.
DYING = """
import os, sys
from sidecars.kit.generations import Generations
from tests.kit.test_generations import ONE, THREE, TWO, published

def child(output, last):
    calls = 0
    def audit(event, arguments):
        nonlocal calls
        if event == "open" or event.startswith(("os.", "shutil.")):
            calls += 1
            if calls > last:
                os._exit(9)
    sys.addaudithook(audit)
    generations = Generations(output, 0o644)
    generations.recover()
    published(generations, TWO)
    published(generations, THREE)
    os._exit(0)

for step in range(10_000):
    output = os.path.join(sys.argv[1], str(step))
    published(Generations(output, 0o644), ONE)
    pid = os.fork()
    if not pid:
        child(output, step)
    if os.waitpid(pid, 0)[1] == 0:
        break
"""


def test_a_process_killed_anywhere_leaves_one_whole_generation_to_start_from(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", DYING, str(tmp_path)], cwd=root, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    outputs = sorted(tmp_path.iterdir(), key=lambda path: int(path.name))
    assert len(outputs) > 50
    for output in outputs:
        generations = Generations(str(output), 0o644)
        path = generations.current()
        assert path is not None
        current = seen(Path(path))
        assert current in (ONE, TWO, THREE), output.name
        assert (output / "app.conf").read_bytes() == current["app.conf"], "a name of all of them is always there"
        generations.recover()
        assert seen(output) == current, output.name
        assert len(folders(output)) <= 2, output.name
        assert not [entry for entry in os.listdir(output) if entry.endswith("_tmp")]
        going_back = generations.previous()
        assert going_back is None or seen(Path(going_back)) in (ONE, TWO), output.name
        published(generations, TWO)
        assert seen(output) == TWO, output.name
    assert seen(outputs[-1]) == TWO


def read_together(output: Path) -> list[bytes]:
    """Two files through one handle on `..data`; fewer when the generation went between the look and the opening."""
    found: list[bytes] = []
    with suppress(FileNotFoundError):
        folder = os.open(output / "..data", os.O_RDONLY | os.O_DIRECTORY)
        try:
            for name in ("a", "b"):
                with open(os.open(name, os.O_RDONLY, dir_fd=folder), "rb") as file:
                    found.append(file.read())
        finally:
            os.close(folder)
    return found


def test_readers_see_one_generation_and_every_name_all_the_time(generations: Generations, output: Path) -> None:
    published(generations, {"a": b"0", "b": b"0"})
    stop, faults, pairs = threading.Event(), list[str](), list[list[bytes]]()

    def read() -> None:
        while not stop.is_set():
            pairs.append(read_together(output))
            if not (output / "a").is_symlink() or not (output / "..data").is_symlink():
                faults.append("a name was gone")

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(150):
            published(generations, {"a": b"%d" % number, "b": b"%d" % number})
    finally:
        stop.set()
        reader.join()
    assert not faults
    whole = [pair for pair in pairs if len(pair) == 2]
    assert whole
    assert not [pair for pair in whole if pair[0] != pair[1]]


def test_a_folder_that_cannot_be_made_is_an_os_error_and_where_none_is_nothing_is_recovered(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for output in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(NotADirectoryError):
            Generations(str(output), 0o644).stage(ONE)
    Generations(str(tmp_path / "none"), 0o644).recover()
    assert not (tmp_path / "none").exists()
