"""Where no event comes: inotify used up on the node, events dropped, and mounts that can never change."""

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.config_stage import ConfigStage, looks
from tests.support.kubelet import Volume
from tests.support.processes import can_run
from tests.support.sidecars import ReloaderProcess

OWN = ("unshare", "--user", "--map-root-user")
"""A user namespace has limits of its own, and who makes it may set them."""


def limited(what: str, limit: int) -> tuple[str, ...]:
    """A prefix that runs the sidecar with so many of them to be had."""
    shell = ("sh", "-c", f'echo {limit} > /proc/sys/user/max_inotify_{what} && exec "$@"', "sh")
    if not can_run(*OWN, *shell, "true"):
        pytest.skip("may not make a user namespace here (unshare --user)")
    return (*OWN, *shell)


def free(reloader: ReloaderProcess, what: str, limit: int) -> None:
    """So many are to be had from now on."""
    enter = ["nsenter", "--user", "--preserve-credentials", "--target", str(reloader.pid)]
    subprocess.run([*enter, "sh", "-c", f"echo {limit} > /proc/sys/user/max_inotify_{what}"], check=True)


@pytest.mark.parametrize("what", ["instances", "watches"])
def test_while_inotify_is_used_up_it_polls_and_then_returns_to_events(stage: ConfigStage, what: str) -> None:
    reloader = stage.reloader(prefix=limited(what, 0), poll_seconds=0.2)
    stage.begin(reloader)
    assert reloader.status()["mode"] == "poll"
    assert reloader.metric("watch_polling") == 1
    lines = reloader.logged("watch.polling")
    assert len(lines) == 1
    assert "inotify is exhausted" in lines[0]["message"]
    assert reloader.ask("/readyz")[0] == 200
    for text in (b"1", b"2", b"3"):
        stage.tells(reloader, lambda t=text: stage.config.write({"app.yaml": t}))  # type: ignore[misc]
    stage.tells_nothing(reloader, stage.config.rewrite)
    free(reloader, what, 16)
    reloader.until(lambda: reloader.status()["mode"] == "inotify", "it to use events again")
    reloader.until(lambda: reloader.metric("watch_polling") == 0, "the metric to say so")
    # From here on nothing but an event makes it look.
    for text in (b"4", b"5", b"6"):
        stage.tells(reloader, lambda t=text: stage.config.write({"app.yaml": t}))  # type: ignore[misc]
    stage.tells_nothing(reloader, stage.config.rewrite)
    stage.ends(reloader, told=6)


def test_watches_that_are_used_up_while_it_runs_are_polled_for(stage: ConfigStage) -> None:
    """One watch is to be had, and a second folder comes."""
    plain = stage.folder / "plain"
    plain.mkdir()
    (plain / "a").write_text("0")
    reloader = stage.reloader(plain, prefix=limited("watches", 1), poll_seconds=0.2)
    stage.begin(reloader)
    assert reloader.status()["mode"] == "inotify"
    stage.tells(reloader, lambda: (plain / "a").write_text("1"))
    (plain / "sub").mkdir()
    reloader.until(lambda: reloader.status()["mode"] == "poll", "it to poll")
    stage.tells(reloader, lambda: (plain / "sub" / "b").write_text("1"))
    stage.tells(reloader, lambda: (plain / "a").write_text("2"))
    free(reloader, "watches", 16)
    reloader.until(lambda: reloader.status()["mode"] == "inotify", "it to use events again")
    stage.tells(reloader, lambda: (plain / "sub" / "b").write_text("2"))
    stage.ends(reloader, told=4)


def test_one_watch_for_a_folder_and_one_instance_are_enough(stage: ConfigStage) -> None:
    """All sidecars of a node that run as one user share 128 instances."""
    reloader = stage.reloader()
    stage.begin(reloader)
    stage.tells(reloader, lambda: stage.config.write({"app.yaml": b"1"}))
    found = []
    for name in os.listdir(f"/proc/{reloader.pid}/fd"):
        with suppress(FileNotFoundError):  # closed since it was listed
            about = Path(f"/proc/{reloader.pid}/fdinfo/{name}").read_text(encoding="ascii")
            if os.readlink(f"/proc/{reloader.pid}/fd/{name}") == "anon_inode:inotify":
                found.append(about.count("inotify wd:"))
    assert found == [1]
    stage.ends(reloader, told=1)


def test_a_change_is_told_although_events_were_dropped(stage: ConfigStage) -> None:
    """The kernel's queue runs over while the sidecar is stopped; the change it is not told of came in a new folder."""
    queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text(encoding="ascii"))
    if queue > 100_000:
        pytest.skip(f"fs.inotify.max_queued_events is {queue}: too many to fill")
    busy, quiet = stage.folder / "busy", Volume(stage.folder / "quiet")
    busy.mkdir()
    quiet.write({"app.yaml": b"0"})
    reloader = stage.reloader(busy, quiet.folder)
    stage.begin(reloader)

    def overflow() -> None:
        reloader.signal(signal.SIGSTOP)
        for _ in range(queue // 2 + 1):
            (busy / "a").touch()
            (busy / "a").unlink()
        quiet.recreate({"app.yaml": b"1"})
        reloader.signal(signal.SIGCONT)

    stage.tells(reloader, overflow)
    stage.tells(reloader, lambda: quiet.write({"app.yaml": b"2"}))
    stage.ends(reloader, told=2)


def mounted(source: Path, at: Path) -> tuple[str, ...]:
    """A prefix that runs the sidecar where `source` is mounted at `at`, as a subPath mount is."""
    shell = ("unshare", "--mount", "sh", "-c", f'mount --bind "{source}" "{at}" && exec "$@"', "sh")
    if not can_run(*shell, "true"):
        pytest.skip("may not mount here (unshare --mount)")
    return shell


@pytest.mark.parametrize("watched", ["the file", "its folder"])
def test_a_file_mounted_by_itself_is_said_to_be_frozen(stage: ConfigStage, watched: str) -> None:
    app = stage.folder / "app"
    app.mkdir()
    file = app / "app.yaml"
    file.touch()
    source = (stage.config.current / "app.yaml").resolve()
    reloader = stage.reloader(file if watched == "the file" else app, prefix=mounted(source, file))
    stage.begin(reloader)
    assert reloader.metric("watch_frozen") == 1
    lines = reloader.logged("watch.frozen")
    assert [(line["level"], line["path"]) for line in lines] == [("error", str(file))]
    assert "subPath" in lines[0]["message"]
    ready, conditions = reloader.ask("/readyz")
    assert ready == 200
    assert "subPath" in conditions
    checked = reloader.check()
    assert checked.returncode == 1, checked
    assert [line for line in checked.stdout.splitlines() if str(file) in line and "subPath" in line]
    stage.ends(reloader, told=0)


def test_a_folder_mounted_from_inside_a_volume_is_said_to_be_frozen(stage: ConfigStage) -> None:
    stage.config.write({"conf.d/a.conf": b"0"})
    app = stage.folder / "app"
    app.mkdir()
    reloader = stage.reloader(app, prefix=mounted(stage.config.current / "conf.d", app))
    stage.begin(reloader)
    assert reloader.metric("watch_frozen") == 1
    assert reloader.check().returncode == 1


def test_a_whole_volume_that_is_mounted_is_not_said_to_be_frozen(stage: ConfigStage) -> None:
    app = stage.folder / "app"
    app.mkdir()
    reloader = stage.reloader(app, prefix=mounted(stage.config.folder, app))
    stage.begin(reloader)
    assert reloader.metric("watch_frozen") == 0
    assert reloader.check().returncode == 0
    stage.tells(reloader, lambda: stage.config.write({"app.yaml": b"1"}))
    assert looks(reloader)[0] >= 1
    stage.ends(reloader, told=1)


def test_a_volume_that_is_mounted_over_the_folder_is_told(stage: ConfigStage) -> None:
    """No event tells of a mount: the clock does."""
    app, other = stage.folder / "app", Volume(stage.folder / "other")
    app.mkdir()
    other.write({"app.yaml": b"other"})
    reloader = stage.reloader(app, prefix=mounted(stage.config.folder, app), resync_seconds=1)
    first = stage.begin(reloader)
    inside = ["nsenter", "--mount", "--root", "--target", str(reloader.pid)]
    mount, unmount = ["mount", "--bind", str(other.folder), str(app)], ["umount", str(app)]
    assert stage.tells(reloader, lambda: subprocess.run([*inside, *mount], check=True)) != first
    stage.tells(reloader, lambda: other.write({"app.yaml": b"1"}))
    assert stage.tells(reloader, lambda: subprocess.run([*inside, *unmount], check=True)) == first
    stage.tells(reloader, lambda: stage.config.write({"app.yaml": b"2"}))
    stage.ends(reloader, told=4)
