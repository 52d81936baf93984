"""The outputs without a server: stdout with readers of every kind, and a file."""

import json
import os
import signal
from pathlib import Path
from typing import Any

from tests.support.books import assert_balanced, audit
from tests.support.log_stage import LogStage

STDOUT: dict[str, Any] = {"output": "stdout", "elasticsearch_url": ""}


def messages(data: bytes) -> list[str]:
    """Of NDJSON documents; each line must be one."""
    return [json.loads(line)["message"] for line in data.splitlines()]


class Pipe:
    """A pipe whose writing end is the shipper's stdout."""

    def __init__(self, stage: LogStage) -> None:
        self.reading, self.writing = os.pipe()
        stage.shipper.stdout_to = self.writing
        self.data = b""

    def started(self) -> None:
        """The shipper has its own copy of the writing end now."""
        os.close(self.writing)

    def read(self, most_bytes: int = 1 << 16) -> bytes:
        """What comes next; nothing at the end."""
        piece = os.read(self.reading, most_bytes)
        self.data += piece
        return piece

    def read_to_the_end(self) -> None:
        while self.read():
            pass

    def close(self) -> None:
        os.close(self.reading)


def test_without_an_address_documents_go_to_stdout(tmp_path: Path) -> None:
    with LogStage(tmp_path, elasticsearch_url="") as stage:
        pipe = Pipe(stage)
        stage.shipper.start()
        pipe.started()
        stage.write(100)
        stage.until_delivered()
        assert stage.outcomes() == {"written": 100}
        assert stage.shipper.status()["output"] == "stdout"
        assert stage.shipper.terminate() == 0
        pipe.read_to_the_end()
        assert_balanced(stage.lines, messages(pipe.data))
        first = json.loads(pipe.data.splitlines()[0])
        assert first["log"] == {"file": {"path": str(stage.log)}, "offset": 0}
        assert first["@timestamp"].endswith("Z")
        pipe.close()


def test_a_slow_reader_of_stdout_slows_reading_and_loses_nothing(tmp_path: Path) -> None:
    with LogStage(tmp_path, **STDOUT, in_flight_bytes=64 << 10, batch_bytes=16 << 10) as stage:
        pipe = Pipe(stage)
        stage.shipper.start()
        pipe.started()
        stage.write(20_000)
        stage.shipper.until(lambda: stage.shipper.metric("in_flight_bytes") >= 64 << 10, "it to be full")
        for _ in range(50):
            pipe.read(1000)
        assert stage.shipper.metric("read_bytes_total") < stage.bytes_written, "it must not read ahead of its reader"
        assert stage.shipper.ask("/livez")[0] == 200
        stage.shipper.signal(signal.SIGTERM)
        pipe.read_to_the_end()
        assert stage.shipper.wait() == 0
        assert_balanced(stage.lines, messages(pipe.data))
        pipe.close()


def test_a_reader_of_stdout_that_is_gone_holds_the_lines_in_their_file(tmp_path: Path) -> None:
    with LogStage(tmp_path, **STDOUT, grace_seconds=4) as stage:
        pipe = Pipe(stage)
        stage.shipper.start()
        pipe.started()
        pipe.close()
        stage.write(100)
        stage.shipper.until(lambda: "stdout" in stage.shipper.ask("/readyz")[1], "the reason to show")
        assert stage.shipper.metric('retried_records_total{reason="output"}') >= 100
        assert stage.shipper.terminate() == 0
        assert stage.shipper.logged("stop.undelivered")[0]["undelivered_bytes"] == stage.bytes_written
        again = Pipe(stage)
        stage.shipper.start()
        again.started()
        stage.until_delivered()
        assert stage.shipper.terminate() == 0
        again.read_to_the_end()
        assert_balanced(stage.lines, messages(again.data))
        again.close()


def test_a_reader_of_stdout_that_does_not_read_does_not_keep_the_process(tmp_path: Path) -> None:
    """A thread stuck in write(2) would."""
    with LogStage(tmp_path, **STDOUT, grace_seconds=4) as stage:
        pipe = Pipe(stage)
        stage.shipper.start()
        pipe.started()
        stage.write(20_000)
        stage.shipper.until(lambda: stage.shipper.metric("in_flight_bytes") > 0, "it to be stuck")
        assert stage.shipper.terminate() == 0
        assert "stop.overrun" not in [line["action"] for line in stage.shipper.logs]
        assert stage.shipper.logged("stop.undelivered")
        pipe.read_to_the_end()
        pipe.close()
        again = Pipe(stage)
        stage.shipper.start()
        again.started()
        stage.shipper.signal(signal.SIGTERM)
        again.read_to_the_end()
        assert stage.shipper.wait() == 0
        got = messages(pipe.data[: pipe.data.rfind(b"\n") + 1]) + messages(again.data)
        assert not audit(stage.lines, got).lost
        again.close()


def test_a_full_device_as_stdout_is_said_and_loses_nothing(tmp_path: Path) -> None:
    with LogStage(tmp_path, **STDOUT, grace_seconds=4) as stage:
        full = os.open("/dev/full", os.O_WRONLY)
        stage.shipper.stdout_to = full
        stage.shipper.start()
        os.close(full)
        stage.write(10)
        stage.shipper.until(lambda: "No space left" in stage.shipper.ask("/readyz")[1], "the reason to show")
        assert stage.shipper.metric("acknowledged_bytes_total") == 0
        assert stage.shipper.terminate() == 0


def test_the_file_output_is_appended_to_across_restarts(tmp_path: Path) -> None:
    out = tmp_path / "out" / "documents.ndjson"
    with LogStage(tmp_path, output="file", output_path=out, elasticsearch_url="") as stage:
        for _ in range(3):
            stage.shipper.start()
            stage.write(500)
            assert stage.shipper.terminate() == 0
        assert_balanced(stage.lines, messages(out.read_bytes()))


def test_the_file_output_repairs_half_a_line_and_goes_on_after_a_kill(tmp_path: Path) -> None:
    """At least once: after a kill the lines since the last checkpoint may come again."""
    out = tmp_path / "documents.ndjson"
    with LogStage(tmp_path, output="file", output_path=out, elasticsearch_url="", batch_bytes=4096) as stage:
        out.write_bytes(b'{"message":"half a docum')
        stage.shipper.start()
        stage.write(5000)
        stage.shipper.until(lambda: out.stat().st_size > 100_000, "some output")
        stage.shipper.kill()
        stage.shipper.start()
        stage.until_delivered()
        first, _, rest = out.read_bytes().partition(b"\n")
        assert first == b'{"message":"half a docum'
        whole = [line for line in rest.splitlines() if line.endswith(b"}")]
        assert len(rest.splitlines()) - len(whole) <= 1, "at most the line that the kill cut"
        result = audit(stage.lines, messages(b"\n".join(whole)))
        assert not result.lost
        assert not result.strange


def test_an_output_file_that_cannot_be_written_holds_the_lines_until_it_can(tmp_path: Path) -> None:
    out = tmp_path / "folder" / "documents.ndjson"
    out.parent.write_bytes(b"a file where the folder should be")
    with LogStage(tmp_path, output="file", output_path=out, elasticsearch_url="") as stage:
        stage.shipper.start()
        stage.write(100)
        stage.shipper.until(lambda: "output_path" in stage.shipper.ask("/readyz")[1], "the reason to show")
        out.parent.unlink()
        stage.until_delivered()
        assert_balanced(stage.lines, messages(out.read_bytes()))
        assert "output_path" not in stage.shipper.ask("/readyz")[1]
