"""The event log: what happened to every container, when, as JSON lines; in memory for the report of a failed test, and
in the file that SIDECARS_POD_EVENTS names, so that the same scenario elsewhere can be compared.
"""

import json
import os
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


class EventLog:
    """Of one lab; several threads write."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: list[dict[str, Any]] = []
        kept = os.environ.get("SIDECARS_POD_EVENTS")
        self._file = Path(kept) if kept else None

    def add(self, pod: str, container: str, event: str, **facts: Any) -> None:
        """One event, now."""
        line = {"time": datetime.now(UTC).isoformat(), "pod": pod, "container": container, "event": event, **facts}
        with self._lock:
            self._lines.append(line)
            if self._file is not None:
                with self._file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")

    def of(self, pods: Sequence[str]) -> list[dict[str, Any]]:
        """The events of these pods, in order."""
        with self._lock:
            return [line for line in self._lines if line["pod"] in pods]
