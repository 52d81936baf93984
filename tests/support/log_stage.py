"""The stage of a test of log shippers as processes: a folder of logs, the shippers that follow it, a server behind.

    with LogStage(tmp_path, batch_seconds=0.1) as stage:    # the fixture `stage` is one without settings
        stage.shipper.start()
        stage.write(1000)                                   # lines of one log, which the stage remembers
        stage.until_delivered()
        stage.assert_all_arrived()

    shipper = stage.new_shipper({"parse": "cri"}).start()   # another one, on the same logs and the same state
    stage.expect(shipper, writer.written)

The server is the stand-in of this test process, empty and without faults.
"""

import json
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from tests.support import stand_in
from tests.support.books import arrived, assert_balanced, audit, messages
from tests.support.rest import count
from tests.support.sidecars import ShipperProcess
from tests.support.waiting import PATIENCE_SECONDS

_SLICE_SECONDS = 0.02
_OUTCOMES = ("indexed", "duplicate", "failure_store", "written", "rejected")


class LogStage:
    """`settings` are those of every shipper; `elasticsearch_url` too when it shall not be the stage's own server.

    `logs` is the folder that they follow (`*.log` unless told otherwise), `log` the one log that the stage itself
    writes, `lines` what it wrote.
    """

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.logs.mkdir(exist_ok=True)
        self.log = self.logs / "app.log"
        self.lines: list[str] = []
        self._settings = settings

    def __enter__(self) -> Self:
        self.backend = stand_in.shared()
        self.shipper = self.new_shipper()
        return self

    def __exit__(self, *_: object) -> None:
        self.shipper.kill()

    def new_shipper(self, settings: Mapping[str, object] | None = None, prefix: tuple[str, ...] = ()) -> ShipperProcess:
        """A shipper that is not started yet; all of a stage share a state folder unless `state_dir` says otherwise."""
        usual: dict[str, object] = {"paths": f"{self.logs}/*.log", "elasticsearch_url": self.backend.url}
        usual |= {"pod_uid": "4ba0ee8d", "quiet_seconds": 0.3}
        return ShipperProcess(self.folder, {**usual, **self._settings, **(settings or {})}, prefix=prefix)

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

    def until_delivered(self, within_seconds: float = PATIENCE_SECONDS) -> None:
        """Until the log is acknowledged to its end; the law of the books holds at every look."""
        self.shipper.until(self.is_delivered, "all of the log to be delivered", within_seconds)

    def live_for(self, seconds: float) -> None:
        """Until the random moment of the next kill or stop has come; it must not end by itself before."""
        deadline = time.monotonic() + seconds
        self.shipper.until(lambda: time.monotonic() >= deadline, "the moment")

    def hits(self) -> list[dict[str, Any]]:
        """All documents that arrived."""
        return arrived(self.backend.url)

    def arrived(self) -> list[str]:
        """The lines that arrived."""
        return messages(self.hits())

    def arrived_count(self) -> int:
        """How many documents arrived; 0 as long as there is no data stream."""
        return count(self.backend.url, "logs-*")

    def until_documents(self, shipper: ShipperProcess, documents: int) -> None:
        """Until at least so many have arrived."""
        shipper.until(lambda: self.arrived_count() >= documents, f"{documents} documents")

    def expect(self, shipper: ShipperProcess, written: Iterable[str], seconds: float = PATIENCE_SECONDS) -> None:
        """All of it arrives while the shipper runs; it keeps the law, ends with status 0, and nothing came twice."""
        wanted = list(written)
        try:
            shipper.until(lambda: self.arrived_count() >= len(wanted), f"{len(wanted)} documents", seconds)
            shipper.metrics()
            shipper.until_caught_up()
        except AssertionError as error:
            raise AssertionError(f"{error}\n{audit(wanted, self.arrived())}") from None
        assert shipper.terminate() == 0
        self.assert_balanced(wanted)

    def assert_balanced(self, written: Iterable[str]) -> None:
        """What arrived so far is what was written, each line once."""
        assert_balanced(written, self.arrived())

    def assert_all_arrived(self) -> None:
        """Every line of the stage's own log once, and nothing else."""
        self.assert_balanced(self.lines)

    def outcomes(self) -> dict[str, int]:
        """Records by how they ended, since this start; those that did not occur are left out."""
        counted = {name: int(self.shipper.metric(f'records_total{{outcome="{name}"}}')) for name in _OUTCOMES}
        return {name: number for name, number in counted.items() if number}

    def letters(self) -> list[dict[str, Any]]:
        """What is in the dead-letter file."""
        path = self.folder / "state" / "dead-letter.ndjson"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def follows(self, shipper: ShipperProcess, path: Path) -> bool:
        """Whether the shipper has this file open."""
        inode = path.stat().st_ino
        return any(file["inode"] == inode and file["open"] for file in shipper.status()["files"])

    def until_followed(self, shipper: ShipperProcess, *paths: Path) -> None:
        """Until the shipper has these files open: only from then on a delete cannot take their lines away."""
        shipper.until(lambda: all(self.follows(shipper, path) for path in paths), f"{paths} to be followed")

    def until_checkpointed(self, shipper: ShipperProcess, *paths: Path) -> None:
        """Until a kill -9 cannot make it forget that these files are acknowledged to their end."""
        places = [f"[{path.stat().st_dev},{path.stat().st_ino}]" for path in paths]
        ends = [f'"offset":{path.stat().st_size},' for path in paths]

        def written() -> bool:
            states = (path.read_text(encoding="utf-8") for path in (self.folder / "state").iterdir() if path.is_file())
            return any(all(word in text for word in places + ends) for text in states)

        shipper.until(written, f"{paths} to be in the checkpoint")


class Paced:
    """Writes to a stage's log at a steady rate, in a thread of its own, until the block ends."""

    def __init__(self, stage: LogStage, lines_per_second: float, padding: str = "") -> None:
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

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()
