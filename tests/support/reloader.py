"""The config reloader as a process, and settings files for it.

reloader = ReloaderProcess(tmp_path, {"watch": volume.folder, "webhook_url": app.url}).start()
reloader.steps({"webhook": {"url": app.url}}, {"confirm": ...})     # before start: a settings file
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.sidecar_process import SidecarProcess


class ReloaderProcess(SidecarProcess):
    """One config reloader with its state file in `folder`; a short quiet period, so that tests are quick."""

    name = "config-reloader"

    def usual(self, folder: Path) -> dict[str, object]:
        return {"quiet_seconds": 0.1, "state_file": folder / "state.json"}

    def steps(self, *steps: Mapping[str, Any]) -> "ReloaderProcess":
        """Do these steps; each is one key with its options, as in the settings file."""
        self.settings["steps"] = json.dumps(steps)
        return self

    @property
    def applied(self) -> str:
        """The hash that /status says is applied; empty when none is."""
        applied = self.status()["applied"]
        return applied["hash"] if applied else ""

    def wait_until_settled(self, seconds: float = 60.0) -> None:
        """Until nothing is pending."""
        self.wait_until(lambda: self.status()["pending"] is None, "everything to be told", seconds)
