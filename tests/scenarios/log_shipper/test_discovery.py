"""How soon a process that watches by inotify finds what is new, beside what only looks like a log. What the globs find,
and what is said of what may not be entered or read: tests/agents/log_shipper/test_discovery.py and test_agent.py.
"""

import os
import shutil
import socket
from pathlib import Path

import pytest

from tests.support.log_stage import LogStage
from tests.support.sidecars import ShipperProcess

GENEROUS_SECONDS = 10.0
"""For what takes less than a second on a machine with nothing else to do (`make bench` prints the figure)."""


def put(path: Path, *lines: str) -> list[str]:
    """Append these lines to a file, in folders that are made on the way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(line + "\n" for line in lines))
    return list(lines)


def until_idle(shipper: ShipperProcess) -> None:
    """Nothing happens for longer than files are looked at by themselves."""
    since = shipper.status()["uptime_seconds"]
    shipper.until(lambda: shipper.status()["uptime_seconds"] > since + 2, "it to be idle")


def test_what_is_new_is_shipped_soon_after_a_while_without_anything(stage: LogStage) -> None:
    """A file, also in a folder that is new or was removed meanwhile; a line; the target of a link."""
    elsewhere = stage.folder / "elsewhere"
    elsewhere.mkdir()
    (stage.logs / "dangling.log").symlink_to(elsewhere / "nothing.log")
    (stage.logs / "loop.log").symlink_to(stage.logs / "loop.log")
    written = put(elsewhere / "real.log", "one")
    (stage.logs / "link.log").symlink_to(elsewhere / "real.log")
    globs = f"{stage.logs}/**/*.log,{stage.folder}/later/on/*.log"
    shipper = stage.new_shipper({"paths": globs}).start()

    def arrives(path: Path, *lines: str) -> None:
        nonlocal written
        written += put(path, *lines)
        shipper.until(lambda: stage.arrived_count() >= len(written), f"{lines} soon", GENEROUS_SECONDS)

    until_idle(shipper)
    for path in ("one.log", "deep/er/two.log", "deep/er/three.log", "deep/four.log", "one.log"):
        arrives(stage.logs / path, f"in {path}, {len(written)}")
    until_idle(shipper)
    arrives(stage.logs / "one.log", "a new line of an idle file")
    arrives(elsewhere / "real.log", "behind a link")
    arrives(elsewhere / "nothing.log", "the link leads somewhere now")
    arrives(stage.folder / "later" / "on" / "app.log", "in folders that were not there")
    shutil.rmtree(stage.folder / "later")
    shipper.until(lambda: "app.log" not in str(shipper.status()["files"]), "the removed file to be let go")
    arrives(stage.folder / "later" / "on" / "app.log", "once more")
    stage.expect(shipper, written)


def test_what_only_looks_like_a_log_blocks_nothing(stage: LogStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A FIFO without a writer, a folder, a socket, a device; and a log next to them."""
    os.mkfifo(stage.logs / "fifo.log")
    (stage.logs / "folder.log").mkdir()
    (stage.logs / "null.log").symlink_to(os.devnull)
    monkeypatch.chdir(stage.logs)  # a socket's path may not be long
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.log")
        shipper = stage.new_shipper().start()
        written = put(stage.logs / "app.log", "one", "two")
        stage.until_documents(shipper, 2)
        (stage.logs / "fifo.log").unlink()
        written += put(stage.logs / "fifo.log", "a log at last")
        stage.expect(shipper, written)
