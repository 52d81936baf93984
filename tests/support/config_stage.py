"""A stage for one test of the config reloader: a volume, an app with a reload URL, the reloaders in between.

reloader = stage.reloader().start()         # watches stage.config.folder
stage.tells(reloader, lambda: stage.config.write({"app.yaml": b"2"}))

Only events make the reloader look (`resync_seconds` is an hour), so what is told was seen by an event, or by polling
where a test asks for it.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.kubelet import Volume
from tests.support.reload_app import App
from tests.support.sidecars import ReloaderProcess
from tests.support.waiting import until

Act = Callable[[], object]
RELOAD = "/-/reload"
"""Where the app is told."""


class ConfigStage:
    """`config` is a ConfigMap volume; `target` is told the hash of the content as the body."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.target = App()
        self.config = Volume(folder / "config")
        self.write("0")

    def write(self, text: str) -> None:
        """Make this the content of the one key of the volume, app.yaml."""
        self.config.write({"app.yaml": text.encode()})

    @property
    def reload(self) -> dict[str, Any]:
        """The step that notifies the target."""
        return self.target.webhook(RELOAD)

    @property
    def told(self) -> list[str]:
        """What the app was told so far, each by its hash."""
        return self.target.bodies(RELOAD)

    def reloader(self, *watch: Path | str, prefix: tuple[str, ...] = (), **settings: object) -> ReloaderProcess:
        """A reloader that is not started yet. All of a stage share the state file, unless they are given others."""
        watched = json.dumps([str(path) for path in watch or (self.config.folder,)])
        given = {"watch": watched, "resync_seconds": 3600, **settings}
        reloader = ReloaderProcess(self.folder, given, prefix=prefix)
        return reloader.steps(self.reload)

    def begin(self, reloader: ReloaderProcess) -> str:
        """Start it, until it has taken the content that is there as the one to begin with; the hash."""
        return reloader.start().until_begun()

    def tells(self, reloader: ReloaderProcess, act: Act) -> str:
        """This makes it tell the app exactly once (so far); the hash that was told."""
        before, was = self.told, reloader.applied
        act()
        reloader.until(lambda: len(self.told) > len(before), "the app to be told")
        told = self.told[-1]
        reloader.until(lambda: reloader.applied == told, "/status to name what was told")
        reloader.until_settled()
        assert told != was
        assert len(self.told) == len(before) + 1
        return told

    def until_told(self, count: int) -> None:
        """Until the app was told so often, whatever became of the reloader."""
        until(lambda: len(self.told) >= count, f"{count} requests")

    def ends(self, reloader: ReloaderProcess, told: int) -> None:
        """The app was told so often, and nothing is under way: what is asked for by hand is the next."""
        assert reloader.ask("/reload", "POST")[0] == 200
        assert len(self.told) == told + 1, self.told
        assert reloader.metric('reloads_total{result="superseded"}') == 0
        assert reloader.terminate() == 0

    def close(self) -> None:
        self.target.close()


def hash_by_itself(folder: Path, watch: Path | str) -> str:
    """What a fresh run says the hash of this content is: `--once` with a state file of its own."""
    folder.mkdir()
    once = ReloaderProcess(folder, {"watch": str(watch), "webhook_url": "http://127.0.0.1:9"})
    once.flags = ("--once",)
    assert once.start(wait=False).wait() == 0, once.stderr
    state: dict[str, str] = json.loads((folder / "state.json").read_text())
    return state["hash"]


@contextmanager
def writing(write: Callable[[int], object], gap_seconds: Callable[[], float]) -> Iterator[None]:
    """Writes version after version in a thread, beginning with 1."""
    over = threading.Event()

    def work() -> None:
        version = 1
        while not over.is_set():
            write(version)
            version += 1
            over.wait(gap_seconds())

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
