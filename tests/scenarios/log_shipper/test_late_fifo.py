"""`output: file` whose path is a named pipe: no fsync there, and a reader that is slow or not there."""

import json
import os
import signal
from pathlib import Path

from tests.support.books import assert_balanced
from tests.support.log_stage import LogStage


class Reader:
    """The other end of the pipe, which does not wait for a writer."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.data = b""

    def take(self) -> None:
        """All that is in the pipe."""
        try:
            while piece := os.read(self.fd, 1 << 16):
                self.data += piece
        except BlockingIOError:
            return  # there is a writer, and it has nothing more to say now

    def has(self, lines: int) -> bool:
        """Whether at least so many lines have come."""
        self.take()
        return self.data.count(b"\n") >= lines

    @property
    def messages(self) -> list[str]:
        return [json.loads(line)["message"] for line in self.data.splitlines()]


def piped(folder: Path, **settings: object) -> LogStage:
    """A stage whose output is a named pipe."""
    path = folder / "pipe"
    os.mkfifo(path)
    return LogStage(folder, output="file", output_path=path, elasticsearch_url="", **settings)


def test_a_named_pipe_as_output_file_gets_every_document_once(tmp_path: Path) -> None:
    with piped(tmp_path, batch_bytes=8192) as stage:
        reader = Reader(tmp_path / "pipe")
        stage.shipper.start()
        for _ in range(3):
            stage.write(1000)
            stage.shipper.until(lambda: reader.has(len(stage.lines)), "the documents")
        stage.until_delivered()
        assert stage.outcomes() == {"written": len(stage.lines)}
        assert stage.shipper.metric("retried_records_total") == 0
        assert stage.shipper.terminate() == 0
        reader.take()
        assert_balanced(stage.lines, reader.messages)
        os.close(reader.fd)


def test_a_named_pipe_that_nobody_has_open_holds_the_lines_in_their_file(tmp_path: Path) -> None:
    """What a pipe holds is gone when its last end is closed, so it must not count as written there."""
    with piped(tmp_path) as stage:
        stage.shipper.start()
        stage.write(100)

        def said() -> bool:
            assert stage.shipper.metric("acknowledged_bytes_total") == 0, "nobody has read them, and nobody ever can"
            return "output_path" in stage.shipper.ask("/readyz")[1]

        stage.shipper.until(said, "the reason to show")
        reader = Reader(tmp_path / "pipe")
        stage.shipper.until(lambda: reader.has(len(stage.lines)), "the documents")
        assert stage.shipper.terminate() == 0
        reader.take()
        assert_balanced(stage.lines, reader.messages)
        os.close(reader.fd)


def test_a_named_pipe_that_nobody_reads_does_not_keep_the_process(tmp_path: Path) -> None:
    with piped(tmp_path, grace_seconds=3) as stage:
        reader = Reader(tmp_path / "pipe")
        stage.shipper.start()
        stage.write(5000)
        stage.shipper.until(lambda: stage.shipper.metric("in_flight_bytes") > 0, "it to be stuck")
        assert stage.shipper.ask("/livez")[0] == 200
        assert stage.shipper.signal(signal.SIGTERM).wait() == 0
        assert not stage.shipper.logged("stop.overrun")
        assert stage.shipper.logged("stop.undelivered")
        os.close(reader.fd)
