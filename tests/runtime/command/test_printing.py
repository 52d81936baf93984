"""Printing for people changes neither the exit status nor the time of the exit: readers that are gone or stuck, disks
that are full, texts that are not Unicode.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecars.runtime.command.printing import say, show
from tests.support.processes import ROOT, SIDECARS, environment, run
from tests.support.toy_runs import TOY
from tests.support.waiting import until


@contextlib.contextmanager
def outlet(kind: str) -> Iterator[int]:
    """A descriptor that nothing can be written to: its reader is `gone` or `stuck`, or the device is `full`."""
    if kind == "full":
        descriptors = [os.open("/dev/full", os.O_WRONLY)]
    else:
        reading, writing = os.pipe()
        descriptors = [writing, reading]
    if kind == "gone":
        os.close(descriptors.pop())
    if kind == "stuck":
        os.write(writing, b"x" * fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ))
    try:
        yield descriptors[0]
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


@pytest.mark.parametrize(
    ("kind", "command", "status"),
    [
        ("gone", [*SIDECARS, "no-such-sidecar"], 2),
        ("stuck", [*SIDECARS, "log-shipper", "stray"], 2),
        ("full", [*SIDECARS, "log-shipper", "--no-such-flag"], 2),
        ("gone", [*SIDECARS, "schema", "log-shipper", "--flag"], 2),
        ("stuck", [*TOY, "check", "idle", "--queue", "0"], 2),
        ("full", [*TOY, "once", "--fault", "permanent"], 1),
        ("stuck", [*TOY, "once", "--fault", "settings"], 2),
        ("gone", [*TOY, "once", "--status", "7"], 7),
    ],
    ids=lambda value: " ".join(value[2:]) if isinstance(value, list) else None,
)
def test_a_stderr_that_takes_nothing_changes_no_status(kind: str, command: list[str], status: int) -> None:
    with outlet(kind) as stderr:
        done = run(*command, stdout=subprocess.DEVNULL, stderr=stderr)
    assert done.returncode == status


@pytest.mark.parametrize("kind", ["gone", "stuck", "full"])
def test_a_signal_ends_it_also_when_nobody_hears_that(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "stdout"
    with outlet(kind) as stderr, out.open("wb") as stdout:
        process = subprocess.Popen(
            [*TOY, "once", "--wait-seconds=1h"], env=environment(), cwd=ROOT, stdout=stdout, stderr=stderr
        )
        try:
            until(lambda: out.stat().st_size > 0, "the first words")
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 128 + signal.SIGTERM
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    ("command", "gone", "full"),
    [
        ([*SIDECARS, "--help"], 0, 1),
        ([*SIDECARS], 2, 2),
        ([*SIDECARS, "log-shipper", "--help"], 0, 1),
        ([*SIDECARS, "reference", "log-shipper"], 0, 1),
        ([*TOY, "check", "idle"], 0, 0),
        ([*TOY, "check", "idle", "--loud"], 1, 1),
    ],
    ids=lambda value: " ".join(value[2:]) if isinstance(value, list) else None,
)
def test_a_stdout_that_takes_nothing_keeps_the_status_of_the_work(command: list[str], gone: int, full: int) -> None:
    """What was asked for and could not be handed over, since the disk is full, is a failure of its own."""
    for kind, status, said in (("gone", gone, ""), ("full", full, "cannot print to stdout: No space left on device")):
        with outlet(kind) as stdout:
            done = run(*command, stdout=stdout, stderr=subprocess.PIPE)
        assert (kind, done.returncode, done.stderr.partition(";")[0]) == (kind, status, said)


def test_texts_that_are_not_unicode_are_printed_escaped(capfd: pytest.CaptureFixture[str]) -> None:
    assert show("\ud800:1") == 0
    say("\ud800:2")
    assert capfd.readouterr() == ("\\ud800:1\n", "\\ud800:2\n")
