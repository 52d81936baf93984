"""The outputs without a server, and the descriptors that a process is started with: stdout with readers of every kind,
a file, a named pipe, a stuck stderr, none at all.
"""

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.books import assert_balanced, audit
from tests.support.log_stage import LogStage

STDOUT: dict[str, Any] = {"output": "stdout", "elasticsearch_url": ""}


def messages(data: bytes) -> list[str]:
    """Of NDJSON documents; each line must be one."""
    return [json.loads(line)["message"] for line in data.splitlines()]


def into_file(folder: Path, path: Path, **settings: object) -> LogStage:
    return LogStage(folder, output="file", output_path=path, elasticsearch_url="", **settings)


class Pipe:
    """A pipe whose writing end is the stdout of the shipper that is started within the block."""

    def __init__(self, reading: int) -> None:
        self.reading = reading
        self.data = b""

    def read(self, most_bytes: int = 1 << 16) -> bytes:
        """What comes next; nothing at the end."""
        piece = os.read(self.reading, most_bytes)
        self.data += piece
        return piece

    def read_to_the_end(self) -> None:
        while self.read():
            pass


@contextmanager
def piped(stage: LogStage) -> Iterator[Pipe]:
    """Start the shipper with a pipe for its stdout."""
    reading, stage.shipper.stdout_to = os.pipe()
    stage.shipper.start()
    os.close(stage.shipper.stdout_to)
    yield Pipe(reading)
    os.close(reading)


def test_without_an_address_documents_go_to_stdout_and_a_slow_reader_slows_the_reading(tmp_path: Path) -> None:
    with LogStage(tmp_path, elasticsearch_url="", in_flight_bytes=64 << 10, batch_bytes=16 << 10) as stage:
        with piped(stage) as pipe:
            stage.write(20_000)
            stage.shipper.until(lambda: stage.shipper.metric("in_flight_bytes") >= 64 << 10, "it to be full")
            for _ in range(50):
                pipe.read(1000)
            assert stage.shipper.metric("read_bytes_total") < stage.bytes_written, "it reads not ahead of its reader"
            assert stage.shipper.ask("/livez")[0] == 200
            stage.shipper.signal(signal.SIGTERM)
            pipe.read_to_the_end()
            assert stage.shipper.wait() == 0
        assert_balanced(stage.lines, messages(pipe.data))
        first = json.loads(pipe.data.splitlines()[0])
        assert first["log"] == {"file": {"path": str(stage.log)}, "offset": 0}
        assert first["@timestamp"].endswith("Z")


@pytest.mark.parametrize("reader", ["is gone", "is a full device", "does not read"])
def test_a_reader_of_stdout_that_takes_nothing_holds_the_lines_and_not_the_process(tmp_path: Path, reader: str) -> None:
    """A thread stuck in write(2) would. The next start delivers."""
    with LogStage(tmp_path, **STDOUT, grace_seconds=3) as stage:
        reading, writing = os.pipe()
        if reader == "is a full device":
            os.close(writing)
            writing = os.open("/dev/full", os.O_WRONLY)
        stage.shipper.stdout_to = writing
        stage.shipper.start()
        os.close(writing)
        got = b""
        if reader == "does not read":
            stage.write(20_000)
            stage.shipper.until(lambda: stage.shipper.metric("in_flight_bytes") > 0, "it to be stuck")
        else:
            os.close(reading)
            stage.write(100)
            why = "stdout: Broken pipe" if reader == "is gone" else "stdout: No space left"
            stage.shipper.until(lambda: why in stage.shipper.ask("/readyz")[1], "the reason to show")
            assert stage.shipper.metric('retried_records_total{reason="output"}') >= 100
            assert stage.shipper.metric("acknowledged_bytes_total") == 0
        assert stage.shipper.terminate() == 0
        assert not stage.shipper.logged("stop.overrun")
        assert stage.shipper.logged("stop.undelivered")
        if reader == "does not read":
            while piece := os.read(reading, 1 << 16):
                got += piece
            os.close(reading)
        with piped(stage) as again:
            stage.shipper.signal(signal.SIGTERM)
            again.read_to_the_end()
            assert stage.shipper.wait() == 0
        assert not audit(stage.lines, messages(got[: got.rfind(b"\n") + 1]) + messages(again.data)).lost


def test_the_file_output_waits_for_its_folder_mends_half_a_line_and_goes_on_after_a_kill(tmp_path: Path) -> None:
    """At least once: after a kill the lines since the last checkpoint may come again."""
    out = tmp_path / "folder" / "documents.ndjson"
    out.parent.write_bytes(b"a file where the folder should be")
    with into_file(tmp_path, out, batch_bytes=4096) as stage:
        stage.shipper.start()
        stage.write(100)
        stage.shipper.until(lambda: "output_path" in stage.shipper.ask("/readyz")[1], "the reason to show")
        out.parent.unlink()
        stage.until_delivered()
        assert "output_path" not in stage.shipper.ask("/readyz")[1]
        assert stage.shipper.terminate() == 0
        assert_balanced(stage.lines, messages(out.read_bytes()))
        with out.open("ab") as file:
            file.write(b'{"message":"half a docum')
        stage.shipper.start()
        stage.write(5000)
        stage.shipper.until(lambda: out.stat().st_size > 100_000, "some output")
        stage.shipper.kill()
        stage.shipper.start()
        stage.until_delivered()
        lines = out.read_bytes().splitlines()
        assert lines[100] == b'{"message":"half a docum'
        whole = [line for line in lines if line.endswith(b"}")]
        assert len(lines) - len(whole) <= 2, "the half one, and at most the one that the kill cut"
        result = audit(stage.lines, messages(b"\n".join(whole)))
        assert not result.lost
        assert not result.strange


def test_a_named_pipe_as_output_waits_for_a_reader_and_does_not_keep_the_process(tmp_path: Path) -> None:
    """What a pipe holds is gone when its last end is closed, so it must not count as written there."""
    pipe, data = tmp_path / "pipe", b""
    os.mkfifo(pipe)
    with into_file(tmp_path, pipe, grace_seconds=3) as stage:
        stage.shipper.start()
        stage.write(100)
        stage.shipper.until(lambda: "output_path" in stage.shipper.ask("/readyz")[1], "the reason to show")
        assert stage.shipper.metric("acknowledged_bytes_total") == 0, "nobody has read them, and nobody ever can"
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

        def taken() -> bool:
            nonlocal data
            try:
                while piece := os.read(reader, 1 << 16):
                    data += piece
            except BlockingIOError:
                pass  # there is a writer, and it has nothing more to say now
            return data.count(b"\n") >= len(stage.lines)

        for count in (0, 1000):
            stage.write(count)
            stage.shipper.until(taken, "the documents")
        stage.until_delivered()
        assert stage.outcomes() == {"written": len(stage.lines)}
        assert_balanced(stage.lines, messages(data))
        stage.write(5000)
        stage.shipper.until(lambda: stage.shipper.metric("in_flight_bytes") > 0, "it to be stuck")
        assert stage.shipper.ask("/livez")[0] == 200
        assert stage.shipper.terminate() == 0
        assert not stage.shipper.logged("stop.overrun")
        assert stage.shipper.logged("stop.undelivered")
        os.close(reader)


def test_a_stuck_reader_of_stderr_stops_neither_shipping_nor_the_stop(tmp_path: Path) -> None:
    """The log is lost, the work is not."""
    pipe = tmp_path / "stderr"
    os.mkfifo(pipe)
    stuck = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    for size in (4096, 1):
        try:
            while True:
                os.write(stuck, b"x" * size)
        except BlockingIOError:
            continue  # not one byte more goes in
    with LogStage(tmp_path, grace_seconds=20) as stage:
        stage.shipper.prefix = ("sh", "-c", 'exec "$@" 2>"$0"', str(pipe))
        stage.shipper.start(wait=False)
        for number in range(3):
            stage.write(100)
            stage.shipper.until(lambda: stage.arrived_count() == len(stage.lines), f"the lines of file {number}")
            stage.log.rename(stage.log.with_suffix(f".log.{number}"))  # a rotation is something to log
        assert stage.shipper.terminate() == 0
        stage.assert_all_arrived()
    os.close(stuck)


MISSING = {
    "all of them": ("0<&- 1>&- 2>&-", (0, 1, 2), "file"),
    "stdin": ("0<&-", (0,), "file"),
    "stdout, where documents would go": ("1>&-", (1,), "stdout"),
    "stderr": ("2>&-", (2,), "file"),
}


@pytest.mark.parametrize("missing", MISSING)
def test_standard_descriptors_that_are_missing_lead_nowhere(tmp_path: Path, missing: str) -> None:
    """Their numbers go to no file or socket that is opened, or what is printed and logged would get into it."""
    closed, numbers, output = MISSING[missing]
    out = tmp_path / "documents.ndjson" if output == "file" else ""
    with LogStage(tmp_path, output=output, output_path=out, elasticsearch_url="", log_level="debug") as stage:
        shipper = stage.shipper
        with socket.create_server(("127.0.0.1", 0)) as free:  # its log may be nowhere to be read, so the port is given
            shipper.settings["admin_port"] = port = free.getsockname()[1]
        shipper.prefix = ("sh", "-c", f'exec {closed}; exec "$@"', "sh")
        stage.write(200)
        shipper.start(wait=False)
        shipper._port = port
        shipper.until(lambda: shipper.ask("/startupz")[0] == 200, "its first scan")
        leads = {number: os.readlink(f"/proc/{shipper.pid}/fd/{number}") for number in numbers}
        assert leads == dict.fromkeys(numbers, os.devnull)
        stage.write(200)
        written = stage.log.read_bytes()
        stage.until_delivered()
        assert shipper.terminate() == 0
        assert stage.log.read_bytes() == written
        if isinstance(out, Path):
            assert_balanced(stage.lines, messages(out.read_bytes()))
        shipper.prefix = ()
        shipper.start()
        assert not shipper.logged("checkpoint.reset"), "something got into the checkpoint"
