"""A stage for the log shipper and the config reloader in one process.

pair = stage.pair().start()                  # the logs of stage.shipping, the volume of stage.reload
stage.writer.write(100)
stage.changes(pair)                          # another content, and the app is told of it, once
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.config_stage import RELOAD, ConfigStage
from tests.support.log_stage import LogStage
from tests.support.logs import LogWriter
from tests.support.sidecars import ShipperProcess

NAMES = ("log-shipper", "config-reloader")


class PairProcess(ShipperProcess):
    """Both in one process; `settings` are the shipper's, `others` the reloader's."""

    def __init__(self, folder: Path, settings: Mapping[str, object], others: Mapping[str, object]) -> None:
        super().__init__(folder, settings)
        self.others = {"quiet_seconds": 0.1, "state_file": folder / "state.json", **others}
        self.flags = ("config-reloader",)

    def start(self, *, wait: bool = True) -> "PairProcess":
        self.environment.update({f"CONFIG_RELOADER_{name.upper()}": str(text) for name, text in self.others.items()})
        super().start(wait=wait)
        return self

    def status(self) -> dict[str, Any]:
        """The shipper's part of /status."""
        return self.whole()["log-shipper"]

    def whole(self) -> dict[str, dict[str, Any]]:
        """The parts of both, by name."""
        parts: dict[str, dict[str, Any]] = super().status()["sidecars"]
        return parts

    def conditions(self) -> dict[str, str]:
        """The state of each condition in /readyz."""
        return {one["name"]: one["state"] for one in json.loads(self.ask("/readyz")[1])["conditions"]}

    def series(self) -> list[str]:
        """All of /metrics, which has to be a page that Prometheus can read: no series is there twice."""
        text = self.ask("/metrics")[1]
        found = [line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")]
        assert len(found) == len(set(found))
        return found

    def crashes(self, name: str) -> int:
        """How often this one crashed, by the log."""
        return len([line for line in self.logged("task.crashed") if line["sidecar"] == name])

    def restarts(self, name: str) -> float:
        """How often this one was started again, by the metrics."""
        series = f'sidecar_{name.replace("-", "_")}_task_restarts_total{{task="{name}"}}'
        return self.metrics()[series]


class PairStage:
    """What both work on."""

    def __init__(self, folder: Path, shipping: LogStage) -> None:
        self.folder = folder
        self.shipping = shipping
        self.reload = ConfigStage(folder)
        self.writer = LogWriter(shipping.logs / "app.log")
        self._version = 0

    def pair(self, settings: Mapping[str, object] | None = None, **others: object) -> PairProcess:
        """Both, not started yet. All of a stage share their state."""
        shipping, target = self.shipping, self.reload.target
        given = {"paths": f"{shipping.logs}/*.log", "elasticsearch_url": shipping.backend.url}
        steps = json.dumps([target.webhook(RELOAD)])
        watched = {"watch": str(self.reload.config.folder), "resync_seconds": 3600, "steps": steps}
        return PairProcess(self.folder, {**given, **(settings or {})}, {**watched, **others})

    def unsound(self, **others: object) -> PairProcess:
        """Both, and either can be made to crash or to hang."""
        pair = self.pair(None, **others)
        pair.prefix = (sys.executable, "-m", "tests.scenarios.together.unsound_pair", str(self.folder))
        return pair

    def mark(self, what: str) -> Path:
        """A file that tells an unsound pair what to do; see there."""
        path = self.folder / what
        path.touch()
        return path

    def change(self) -> None:
        """The next content."""
        self._version += 1
        self.reload.config.write({"app.yaml": b"%d" % self._version})

    def begun(self, pair: PairProcess) -> PairProcess:
        """Both have taken what is there at the start."""
        pair.until(lambda: pair.ask("/startupz")[0] == 200, "the start of both")
        pair.until(lambda: settled(pair), "the first content")
        return pair

    def changes(self, pair: PairProcess) -> None:
        """A change is told, once so far."""
        before = len(self.reload.told)
        self.change()
        pair.until(lambda: len(self.reload.told) > before and settled(pair), "the app to be told")
        assert len(self.reload.told) == before + 1
        assert pair.whole()["config-reloader"]["applied"]["hash"] == self.reload.told[-1]

    def ships(self, pair: PairProcess, lines: int = 200) -> None:
        """More lines arrive."""
        self.writer.write(lines)
        self.shipping.until_documents(pair, len(self.writer.written))

    def close(self) -> None:
        self.reload.close()
        self.writer.close()


def settled(pair: PairProcess) -> bool:
    """Whether the reloader has applied something, and nothing is pending."""
    part = pair.whole().get("config-reloader", {})
    return bool(part.get("applied")) and part["pending"] is None
