"""Where no event comes: inotify used up on the node, and mounts that can never change."""

import subprocess

import pytest

from tests.support.config_stage import ConfigStage
from tests.support.processes import can_run
from tests.support.sidecars import ReloaderProcess

OWN = ("unshare", "--user", "--map-root-user")
"""A user namespace has limits of its own, and who makes it may set them."""


def limited(watches: int) -> tuple[str, ...]:
    """A prefix that runs the sidecar with so many watches to be had."""
    shell = ("sh", "-c", f'echo {watches} > /proc/sys/user/max_inotify_watches && exec "$@"', "sh")
    if not can_run(*OWN, *shell, "true"):
        pytest.skip("may not make a user namespace here (unshare --user)")
    return (*OWN, *shell)


def free(reloader: ReloaderProcess, watches: int) -> None:
    """So many are to be had from now on."""
    enter = ["nsenter", "--user", "--preserve-credentials", "--target", str(reloader.pid)]
    subprocess.run([*enter, "sh", "-c", f"echo {watches} > /proc/sys/user/max_inotify_watches"], check=True)
    reloader.until(lambda: reloader.status()["mode"] == "inotify", "it to use events again")
    reloader.until(lambda: reloader.metric("watch_polling") == 0, "the metric to say so")


def test_while_watches_are_used_up_it_polls_and_then_returns_to_events(stage: ConfigStage) -> None:
    """One watch is to be had, and a second folder comes. tests/kit/test_watch.py has the instances."""
    plain = stage.folder / "plain"
    plain.mkdir()
    (plain / "a").write_text("0")
    reloader = stage.reloader(plain, prefix=limited(1), poll_seconds=0.2)
    stage.begin(reloader)
    assert reloader.status()["mode"] == "inotify"
    stage.tells(reloader, lambda: (plain / "a").write_text("1"))
    (plain / "sub").mkdir()
    reloader.until(lambda: reloader.status()["mode"] == "poll", "it to poll")
    assert (reloader.metric("watch_polling"), reloader.ask("/readyz")[0]) == (1, 200)
    (line,) = reloader.logged("watch.polling")
    assert "inotify is exhausted" in line["message"]
    for name in ("sub/b", "a"):
        stage.tells(reloader, lambda n=name: (plain / n).write_text("2"))  # type: ignore[misc]
    free(reloader, 16)
    stage.tells(reloader, lambda: (plain / "sub" / "b").write_text("3"))
    stage.ends(reloader, told=4)


MOUNTED = {
    # what of the volume is mounted where, what is watched, whether that is frozen
    "a file, watched": ("..data/app.yaml", "app/app.yaml", "app/app.yaml", True),
    "a file, its folder watched": ("..data/app.yaml", "app/app.yaml", "app", True),
    "a folder from inside the volume": ("..data/conf.d", "app", "app", True),
    "the whole volume": (".", "app", "app", False),
}


@pytest.mark.parametrize(("source", "at", "watch", "frozen"), MOUNTED.values(), ids=MOUNTED.keys())
def test_what_is_mounted_from_inside_a_volume_is_said_to_be_frozen(
    stage: ConfigStage, source: str, at: str, watch: str, frozen: bool
) -> None:
    stage.config.write({"app.yaml": b"0", "conf.d/a.conf": b"0"})
    mount = stage.folder / at
    (stage.folder / "app").mkdir()
    if "." in at:
        mount.touch()
    real = (stage.config.folder / source).resolve()
    prefix = ("unshare", "--mount", "sh", "-c", f'mount --bind "{real}" "{mount}" && exec "$@"', "sh")
    if not can_run(*prefix, "true"):
        pytest.skip("may not mount here (unshare --mount)")
    reloader = stage.reloader(stage.folder / watch, prefix=prefix)
    stage.begin(reloader)
    assert reloader.metric("watch_frozen") == frozen
    said = [(line["level"], line["path"], "subPath" in line["message"]) for line in reloader.logged("watch.frozen")]
    assert said == [("error", str(mount), True)] * frozen
    ready, conditions = reloader.ask("/readyz")
    assert (ready, "subPath" in conditions) == (200, frozen)
    checked = reloader.check()
    assert checked.returncode == frozen
    assert any(str(mount) in line and "subPath" in line for line in checked.stdout.splitlines()) is frozen
    if not frozen:
        stage.tells(reloader, lambda: stage.write("1"))
    stage.ends(reloader, told=int(not frozen))
