"""The log shipper as a process.

shipper = ShipperProcess(tmp_path, {"paths": f"{logs}/*.log", "elasticsearch_url": backend.url}).start()
shipper.wait_until_shipped(logs_bytes)         # acknowledged + dead-lettered, and the law of the books holds
assert shipper.terminate() == 0
"""

from pathlib import Path

from tests.support.books import Samples, assert_law
from tests.support.sidecar_process import PATIENCE_SECONDS, ROOT, SidecarProcess, wait_until

__all__ = ["PATIENCE_SECONDS", "PREFIX", "ROOT", "ShipperProcess", "wait_until"]

PREFIX = "sidecar_log_shipper_"


class ShipperProcess(SidecarProcess):
    """One log shipper in `folder` (state, stderr)."""

    name = "log-shipper"

    def usual(self, folder: Path) -> dict[str, object]:
        return {"state_dir": folder / "state", "batch_seconds": 0.1}

    def wait_until_shipped(self, settled_bytes: int, seconds: float = PATIENCE_SECONDS) -> None:
        """Until so many bytes of log were acknowledged or dead-lettered since this start."""
        self.wait_until(lambda: self.settled_bytes() >= settled_bytes, f"{settled_bytes} bytes to be settled", seconds)

    def wait_until_caught_up(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Until every file it knows is acknowledged to its end (a file it does not know yet is no reason to wait)."""

        def caught_up() -> bool:
            status = self.status()
            return not status["in_flight_bytes"] and all(not file["lag_bytes"] for file in status["files"])

        self.wait_until(caught_up, "everything to be acknowledged", seconds)

    def metrics(self) -> Samples:
        """One scrape, held to the law of the books."""
        scrape = super().metrics()
        assert_law(scrape)
        return scrape

    def settled_bytes(self) -> int:
        """Bytes of log acknowledged or dead-lettered since this start."""
        scrape = self.metrics()
        return int(scrape[PREFIX + "acknowledged_bytes_total"] + scrape[PREFIX + "dead_letter_bytes_total"])
