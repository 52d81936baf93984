"""A stage for one test of the log shipper: a folder of logs, a data stream of its own, the shippers in between."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.support.books import arrived, assert_balanced, audit, messages
from tests.support.rest import count
from tests.support.sidecars import ShipperProcess
from tests.support.stand_in import StandInProcess
from tests.support.waiting import PATIENCE_SECONDS


class Scene:
    """`logs` is the folder that the shippers follow (`*.log` unless told otherwise)."""

    def __init__(self, folder: Path, server: StandInProcess, stream: str) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.logs.mkdir()
        self.server = server
        self.stream = stream

    def shipper(self, settings: Mapping[str, object] | None = None, prefix: tuple[str, ...] = ()) -> ShipperProcess:
        """A shipper that is not started yet; they all share a state folder unless `state_dir` says otherwise."""
        given = {"paths": f"{self.logs}/*.log", "elasticsearch_url": self.server.url, "data_stream": self.stream}
        return ShipperProcess(self.folder, {**given, **(settings or {})}, prefix=prefix)

    def hits(self) -> list[dict[str, Any]]:
        """All documents that arrived."""
        return arrived(self.server.url, self.stream) if self.count() else []

    def count(self) -> int:
        """How many documents arrived; 0 as long as there is no data stream."""
        return count(self.server.url, self.stream + "*")

    def expect(self, shipper: ShipperProcess, written: Iterable[str], seconds: float = PATIENCE_SECONDS) -> None:
        """All of it arrives while the shipper runs; it keeps the law, ends with status 0, and nothing came twice."""
        wanted = list(written)
        try:
            shipper.until(lambda: self.count() >= len(wanted), f"{len(wanted)} documents", seconds)
            shipper.metrics()
            shipper.until_caught_up()
        except AssertionError as error:
            result = audit(wanted, messages(self.hits()))
            raise AssertionError(f"{error}\n{result}") from None
        assert shipper.terminate() == 0
        self.assert_balanced(wanted)

    def until_documents(self, shipper: ShipperProcess, documents: int) -> None:
        """Until at least so many have arrived."""
        shipper.until(lambda: self.count() >= documents, f"{documents} documents")

    def assert_balanced(self, written: Iterable[str]) -> None:
        """What arrived so far is what was written, each line once."""
        assert_balanced(written, messages(self.hits()))

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
