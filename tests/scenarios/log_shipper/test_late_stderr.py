"""A stderr whose reader is stuck: the log is lost, the work and the stop are not."""

import os
from pathlib import Path

import pytest

from tests.support.log_stage import LogStage

INTO_PIPE = ("sh", "-c", 'exec "$@" 2>"$0"')
"""The first word after it is the pipe that becomes stderr."""


class StuckReader:
    """A named pipe that is open for reading and never read; `full` from the beginning, or after a few lines."""

    def __init__(self, path: Path, *, full: bool) -> None:
        os.mkfifo(path)
        self.fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self.filled_bytes = 0
        if full:
            self.fill()

    def fill(self) -> None:
        """Until not one byte more goes in."""
        for size in (4096, 1):
            try:
                while True:
                    self.filled_bytes += os.write(self.fd, b"x" * size)
            except BlockingIOError:
                continue


@pytest.mark.parametrize("full", [True, False], ids=["full from the start", "full while running"])
def test_a_stuck_reader_of_stderr_stops_neither_shipping_nor_the_stop(tmp_path: Path, full: bool) -> None:
    pipe = tmp_path / "stderr"
    reader = StuckReader(pipe, full=full)
    with LogStage(tmp_path, grace_seconds=20) as stage:
        stage.shipper.prefix = (*INTO_PIPE, str(pipe))
        stage.shipper.start(wait=False)
        for number in range(3):
            stage.write(100)
            stage.shipper.until(lambda: stage.arrived_count() == len(stage.lines), f"the lines of file {number}")
            reader.fill()
            stage.log.rename(stage.log.with_suffix(f".log.{number}"))  # a rotation is something to log
        assert stage.shipper.terminate() == 0
        stage.assert_all_arrived()
    os.close(reader.fd)
