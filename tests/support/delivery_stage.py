"""A stage for a delivery test: one log, a shipper process that follows it, and a stand-in process of its own behind.

    with Stage(tmp_path) as stage:
        stage.shipper.start()
        stage.write(1000)
        stage.until_delivered()
        stage.assert_all_arrived()

When the test fails, the end of the shipper's log is printed.
"""

import json
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.books import arrived, assert_balanced, messages
from tests.support.rest import count
from tests.support.sidecars import ShipperProcess
from tests.support.stand_in import StandInProcess
from tests.support.waiting import PATIENCE_SECONDS

_SHOWN_CHARACTERS = 6000
_SLICE_SECONDS = 0.02
_OUTCOMES = ("indexed", "duplicate", "failure_store", "written", "rejected")


class Stage:
    """`settings` are the shipper's; `elasticsearch_url` too when it shall not be the stage's own stand-in."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self._ending = ExitStack()
        self.folder = folder
        self.log = folder / "logs" / "app.log"
        self.log.parent.mkdir(exist_ok=True)
        self.lines: list[str] = []
        self._settings = settings

    def __enter__(self) -> Self:
        self.backend = self._ending.enter_context(StandInProcess())
        defaults = {
            "paths": f"{self.log.parent}/*.log",
            "elasticsearch_url": self.backend.url,
            "pod_uid": "4ba0ee8d",
            "quiet_seconds": 0.3,
        }
        self.shipper = ShipperProcess(self.folder, {**defaults, **self._settings})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.shipper.kill()
        finally:
            self._ending.close()
        if error is not None:
            print(f"the shipper's log ends with:\n{self.shipper.stderr[-_SHOWN_CHARACTERS:]}")

    def write(self, count: int, padding: str = "") -> None:
        """Append so many numbered lines, in one write."""
        self.append([f"line {number:07d}{padding}" for number in range(len(self.lines), len(self.lines) + count)])

    def append(self, lines: list[str]) -> None:
        """Append these lines, in one write."""
        with self.log.open("ab", buffering=0) as file:
            file.write("".join(f"{line}\n" for line in lines).encode())
        self.lines += lines

    @property
    def bytes_written(self) -> int:
        return self.log.stat().st_size

    def is_delivered(self) -> bool:
        """Whether the log is acknowledged to its end; looks at the law of the books too."""
        acknowledged: int = sum(file["acknowledged_offset"] for file in self.shipper.status()["files"])
        return self.shipper.metric("in_flight_bytes") == 0 and acknowledged == self.bytes_written

    def until_delivered(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Until the log is acknowledged to its end; the law of the books holds at every look."""
        self.shipper.until(self.is_delivered, "all of the log to be delivered", seconds)

    def live_for(self, seconds: float) -> None:
        """Until the random moment of the next kill or stop has come; it must not end by itself before."""
        deadline = time.monotonic() + seconds
        self.shipper.until(lambda: time.monotonic() >= deadline, "the moment")

    def arrived(self) -> list[str]:
        """The lines that the stand-in holds."""
        return messages(arrived(self.backend.url))

    def arrived_count(self) -> int:
        return count(self.backend.url, "logs-*")

    def assert_all_arrived(self) -> None:
        """Every line once, and nothing else."""
        assert_balanced(self.lines, self.arrived())

    def outcomes(self) -> dict[str, int]:
        """Records by how they ended, since this start; those that did not occur are left out."""
        counted = {name: int(self.shipper.metric(f'records_total{{outcome="{name}"}}')) for name in _OUTCOMES}
        return {name: number for name, number in counted.items() if number}

    def letters(self) -> list[dict[str, Any]]:
        """What is in the dead-letter file."""
        path = self.folder / "state" / "dead-letter.ndjson"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


class Paced:
    """Writes to a stage's log at a steady rate, in a thread of its own, until the block ends."""

    def __init__(self, stage: Stage, lines_per_second: float, padding: str = "") -> None:
        self._stage = stage
        self._rate = lines_per_second
        self._padding = padding
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._write, name="writer")

    def _write(self) -> None:
        began, written = time.monotonic(), 0
        while not self._enough.wait(_SLICE_SECONDS):
            due = int((time.monotonic() - began) * self._rate)
            self._stage.write(due - written, self._padding)
            written = due

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._enough.set()
        self._thread.join()
