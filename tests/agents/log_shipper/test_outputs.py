"""Named pipes as output and for dead letters: what a pipe holds is gone when its last end is closed, so not kept."""

import asyncio
import fcntl
import json
import os
import resource
import subprocess
import sys
import termios
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import pytest

from sidecars.log_shipper.check import refuse_start
from sidecars.log_shipper.core.batch import Payload
from sidecars.log_shipper.core.bulk import Answer, Refusal
from sidecars.log_shipper.metrics import ShipperMetrics
from sidecars.log_shipper.sending.dead_letters import DeadLetters
from sidecars.log_shipper.sending.outputs import NdjsonFile, Stream, append
from tests.support.context import condition, context, metric, settings
from tests.support.waiting import until_async

SHORT = ["x" * 80] * 2000
"""More than a pipe holds, in lines that it takes whole."""
LONG = ["y" * 300_000]
"""A line longer than what a pipe holds."""


class Reader:
    """The other end of the pipe, which does not wait for a writer."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.data = b""

    def take(self, most_bytes: int = 1 << 24) -> bool:
        """What is there now; whether the last of it ends a line."""
        with suppress(BlockingIOError):
            while piece := os.read(self.fd, min(1 << 16, most_bytes)):
                self.data += piece
                most_bytes -= len(piece)
        return self.data.endswith(b"\n")

    def close(self) -> None:
        os.close(self.fd)

    @property
    def lines(self) -> list[bytes]:
        return self.data.splitlines()


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def payload(texts: list[str]) -> Payload:
    body = "".join(json.dumps({"message": text}) + "\n" for text in texts)
    return Payload(body.encode(), len(texts), array("Q", [1] * len(texts)))


def documents(texts: list[str]) -> list[bytes]:
    return payload(texts).body.splitlines()


async def ended(sent: Awaitable[Answer]) -> Answer:
    async with asyncio.timeout(60):
        return await sent


def is_empty(reader: Reader) -> bool:
    return not any(fcntl.ioctl(reader.fd, termios.FIONREAD, bytes(4)))


def is_full(reader: Reader) -> Callable[[], bool]:
    """Whether the pipe takes no chunk any more."""

    def full() -> bool:
        fd = os.open(f"/proc/self/fd/{reader.fd}", os.O_WRONLY | os.O_NONBLOCK)
        try:
            return not Stream(fd)._events()
        finally:
            os.close(fd)

    return full


@asynccontextmanager
async def sending(path: Path, texts: list[str]) -> AsyncIterator["asyncio.Task[Answer]"]:
    """A life of the output that is stopped at the end of the block, whatever it is at."""
    output = NdjsonFile(str(path))
    task = asyncio.create_task(output.send(payload(texts)))
    yield task
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await output.close()


async def taken(output: NdjsonFile, reader: Reader, texts: list[str]) -> None:
    """This reader takes the payload."""
    task = asyncio.create_task(output.send(payload(texts)))
    await until_async(lambda: reader.take() and task.done(), "the payload to be read")
    assert task.result().accepted


async def received(reader: Reader, path: Path, texts: list[str]) -> None:
    """A whole life, with this reader."""
    output = NdjsonFile(str(path))
    await taken(output, reader, texts)
    await output.close()


async def test_a_pipe_that_nobody_reads_takes_nothing(pipe: Path) -> None:
    output = NdjsonFile(str(pipe))
    for _ in range(2):
        answer = await ended(output.send(payload(["one"])))
        assert (answer.accepted, answer.reason) == (False, "output")
        assert answer.detail == f"cannot write {pipe} (output_path): nobody reads this named pipe"
    with closing(Reader(pipe)) as reader:
        assert not reader.take()
        await received(reader, pipe, ["one", "two"])
        assert reader.lines == documents(["one", "two"])


async def test_what_the_reader_did_not_take_before_it_went_is_not_accepted(pipe: Path) -> None:
    """A reader that saw the end of the last payload is about to go just when the next one comes."""
    open_before = os.listdir("/proc/self/fd")
    output = NdjsonFile(str(pipe))
    first = Reader(pipe)
    task = asyncio.create_task(output.send(payload(["one"])))
    await until_async(lambda: not is_empty(first), "bytes in the pipe")
    assert not task.done()
    first.close()
    answer = await ended(task)
    assert (answer.accepted, answer.reason) == (False, "output")
    with closing(Reader(pipe)) as second:
        await taken(output, second, ["one"])
        assert second.lines == documents(["one"])
    await output.close()
    assert len(os.listdir("/proc/self/fd")) == len(open_before)


async def test_an_ordinary_reader_gets_one_payload_after_the_other_until_the_output_is_closed(pipe: Path) -> None:
    """It ends at the first end of file, as `cat pipe` does."""
    output = NdjsonFile(str(pipe))
    reader = await asyncio.create_subprocess_exec("cat", str(pipe), stdout=subprocess.PIPE)
    while not (await ended(output.send(payload(["one"])))).accepted:
        await asyncio.sleep(0.01)  # until it has opened the pipe
    assert (await ended(output.send(payload(["two"])))).accepted
    assert (await ended(output.send(payload(["three"])))).accepted
    await output.close()
    assert (await reader.communicate())[0].splitlines() == documents(["one", "two", "three"])


async def test_a_reader_that_takes_over_between_two_payloads_gets_the_next_one(pipe: Path) -> None:
    output = NdjsonFile(str(pipe))
    for text in ("one", "two"):
        with closing(Reader(pipe)) as reader:
            await taken(output, reader, [text])
            assert reader.lines == documents([text])
        answer = await ended(output.send(payload(["for nobody"])))
        assert answer.detail == f"cannot write {pipe} (output_path): nobody reads this named pipe"
    await output.close()


async def test_a_pipe_made_anew_is_the_one_that_is_written_to(pipe: Path) -> None:
    open_before = os.listdir("/proc/self/fd")
    output = NdjsonFile(str(pipe))
    with closing(Reader(pipe)) as former:
        await taken(output, former, ["one"])
        os.mkfifo(f"{pipe}.new")
        os.replace(f"{pipe}.new", pipe)
        with closing(Reader(pipe)) as latter:
            await taken(output, latter, ["two"])
            assert (former.lines, latter.lines) == (documents(["one"]), documents(["two"]))
            pipe.unlink()
            assert (await ended(output.send(payload(["three"])))).accepted
    assert pipe.read_bytes().splitlines() == documents(["three"])
    assert len(os.listdir("/proc/self/fd")) == len(open_before)


async def test_a_stop_leaves_whole_lines_in_the_pipe(pipe: Path) -> None:
    """Also one that leaves no time to mend anything: so it is before the stop already."""
    with closing(Reader(pipe)) as reader:
        async with sending(pipe, SHORT):
            await until_async(is_full(reader), "a full pipe")
        reader.take()
        assert reader.data.endswith(b"\n")
        assert set(reader.lines) == set(documents(SHORT))


async def test_a_reader_that_outlives_a_stop_within_a_line_gets_the_next_document_whole(pipe: Path) -> None:
    with closing(Reader(pipe)) as reader:
        async with sending(pipe, LONG):
            await until_async(is_full(reader), "a full pipe")
        await received(reader, pipe, ["one", "two"])
        half, *rest = reader.lines
        assert documents(LONG)[0].startswith(half)
        assert rest == documents(["one", "two"])


async def test_after_a_reader_that_went_within_a_line_the_next_one_begins_with_a_line_of_its_own(pipe: Path) -> None:
    """Both may append to the same file."""
    output = NdjsonFile(str(pipe))
    with closing(Reader(pipe)) as first:
        task = asyncio.create_task(output.send(payload(LONG)))
        await until_async(is_full(first), "a full pipe")
        assert not first.take(1000)
    assert not (await ended(task)).accepted
    with closing(Reader(pipe)) as second:
        await taken(output, second, LONG)
        assert second.lines == [b"", *documents(LONG)]


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """So many that some have numbers which select(2) does not know."""
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(usual, min(2048, most)), most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (usual, most))


@pytest.mark.usefixtures("many_descriptors")
async def test_a_descriptor_that_select_does_not_know_is_written_to() -> None:
    """A shipper that follows a thousand files has only such ones."""
    reading, writing = os.pipe()
    high = fcntl.fcntl(writing, fcntl.F_DUPFD_CLOEXEC, 1024)
    try:
        await Stream(high).write(b"{}\n")
        assert os.read(reading, 10) == b"{}\n"
    finally:
        for fd in (reading, writing, high):
            os.close(fd)


async def test_a_pipe_in_place_of_the_dead_letter_file_is_refused_and_gets_nothing(pipe: Path) -> None:
    given, ctx = settings(dead_letter_path=str(pipe)), context()
    assert [(problem.field, problem.message) for problem in refuse_start(given)] == [
        ("dead_letter_path", f"{pipe} is a named pipe, which keeps nothing")
    ]
    dead_letters = DeadLetters(given, ctx, ShipperMetrics(ctx.metrics))
    record = b'{"create":{"_id":"a"}}\n{"message":"m"}\n'
    with closing(Reader(pipe)) as reader:
        assert not await dead_letters.keep([(record, Refusal(400, "t", "r"))])
        reader.take()
        assert reader.data == b""
    assert "it is a named pipe" in condition(ctx, "dead-letters").reason
    pipe.unlink()
    assert await dead_letters.keep([(record, Refusal(400, "t", "r"))])
    assert json.loads(pipe.read_bytes())["id"] == "a"
    assert not list(refuse_start(given))


def test_our_own_stdout_may_be_a_pipe() -> None:
    """A container's /dev/stdout usually is one, and its other end is the runtime's."""
    code = "from sidecars.log_shipper.sending.outputs import append; append('/dev/stdout', b'line\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "line\n"


async def test_the_dead_letter_file_stays_within_its_bounds_and_what_is_dropped_is_counted(tmp_path: Path) -> None:
    given, ctx = settings(state_dir=str(tmp_path), dead_letter_bytes=20_000), context()
    dead_letters = DeadLetters(given, ctx, ShipperMetrics(ctx.metrics))
    record = b'{"create":{"_id":"a"}}\n{"message":"' + b"x" * 300 + b'"}\n'
    for _ in range(6):
        assert await dead_letters.keep([(record, Refusal(400, "t", "r"))] * 20)
    kept = [tmp_path / name for name in ("dead-letter.ndjson", "dead-letter.ndjson.1")]
    assert all(path.stat().st_size <= 20_000 for path in kept)
    lines = [line for path in kept for line in path.read_bytes().splitlines(keepends=True)]
    assert {json.loads(line)["error"]["type"] for line in lines} == {"t"}
    dropped_bytes = metric(ctx, "dead_letter_dropped_bytes")
    assert dropped_bytes == (6 * 20 - len(lines)) * len(lines[0]) > 0
    assert "older ones were dropped" in condition(ctx, "dead-letters").reason


def test_a_file_is_appended_to_in_whole_lines_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out"
    append(str(path), b"one\n")
    with path.open("ab") as file:
        file.write(b"half")
    append(str(path), b"two\n")
    assert path.read_bytes() == b"one\nhalf\ntwo\n"
    usual, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 5, most))
    try:
        with pytest.raises(OSError, match="File too large"):
            append(str(path), b"three\nfour\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (usual, most))
    assert path.read_bytes() == b"one\nhalf\ntwo\n"
