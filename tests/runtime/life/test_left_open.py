"""What a process has to put up with: descriptors that are missing, a stderr that is stuck, signals meant for the app,
and callers from elsewhere.
"""

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.runtime.conftest import Start
from tests.support.processes import ROOT, SIDECARS, Process, environment, sidecar
from tests.support.rest import ask
from tests.support.toy_runs import TOY
from tests.support.waiting import until


@contextlib.contextmanager
def hang_up_kills() -> Iterator[None]:
    """What is started within meets SIGHUP as in a container: who runs these tests by nohup would hand its own deaf ear
    on to it.
    """
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_hang_up_is_the_apps_business(start: Start) -> None:
    """In a pod with shareProcessNamespace a `kill -HUP -1`, meant for the app, meets us too."""
    with hang_up_kills():
        run = start("idle").started()
    for _ in range(3):
        run.signal(signal.SIGHUP)
        assert run.ask("/readyz")[0] == 200
    assert run.stop() == 0
    assert run.first("stop.requested")["reason"] == "SIGTERM"


@pytest.mark.parametrize(
    ("closed", "words", "status"),
    [
        ("0<&- 1>&- 2>&-", "--version", 0),
        ("0<&- 1>&- 2>&-", "log-shipper --help", 0),
        ("1>&-", "--version", 0),
        ("2>&-", "no-such-sidecar", 2),
        ("2>&-", "log-shipper --no-such-flag", 2),
    ],
)
def test_a_command_without_its_standard_descriptors_ends_with_its_usual_status(
    closed: str, words: str, status: int
) -> None:
    without = ("sh", "-c", f'exec {closed}; exec "$@"', "sh")
    assert sidecar(*words.split(), prefix=without).returncode == status


def off_loopback(family: int) -> str:
    """An address of this machine that is not loopback; skips when it has none."""
    found = [
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == family and not address.address.startswith(("127.", "::1", "fe80"))
    ]
    if not found:
        pytest.skip("this machine has no address but loopback")
    return found[0]


def ask_forwarded(host: str, port: int, path: str, method: str = "GET") -> tuple[int, str]:
    """Status and body of a request that claims to come from loopback."""
    return ask((host, port), path, method, {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1"})


@pytest.mark.parametrize(
    ("family", "everywhere", "loopback"),
    [
        (socket.AF_INET, "0.0.0.0", "127.0.0.1"),
        (socket.AF_INET, "::", "127.0.0.1"),
        (socket.AF_INET6, "::", "::1"),
    ],
)
def test_triggers_off_loopback_are_refused(start: Start, family: int, everywhere: str, loopback: str) -> None:
    address = off_loopback(family)
    run = start("idle", "--admin-host", everywhere)
    port = run.first("admin.listening")["port"]
    until(lambda: ask_forwarded(address, port, "/startupz")[0] == 200, "the start, which everybody may ask for")
    for path in ("/pull", "/quit"):
        assert ask_forwarded(address, port, path, "POST")[0] == 403
    assert 'pulls_total{how="post"} 0.0' in ask_forwarded(address, port, "/metrics")[1]
    assert json.loads(ask_forwarded(address, port, "/status")[1])["stop"]["requested"] is False
    assert ask_forwarded(loopback, port, "/pull", "POST")[0] == 200
    assert 'pulls_total{how="post"} 1.0' in ask_forwarded(loopback, port, "/metrics")[1]
    assert ask_forwarded(loopback, port, "/quit", "POST")[0] == 200
    assert run.wait() == 0


class LogPipe:
    """A small pipe for a log, read only when the test says so, and never waited for."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self.size_bytes = fcntl.fcntl(self.writing, fcntl.F_SETPIPE_SZ, 8192)
        os.set_blocking(self.reading, False)
        self._said = b""

    def take(self) -> list[bytes]:
        """Whole lines so far, with what is in the pipe now."""
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self.reading, 1 << 16):
                self._said += piece
        return self._said.split(b"\n")[:-1]


def is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def test_a_log_that_is_stuck_holds_up_nothing_and_goes_on_when_it_is_read_again(tmp_path: Path) -> None:
    """The toy prints a document and writes a longer line to its log, by turns."""
    pipe, out = LogPipe(), tmp_path / "documents"
    with out.open("wb") as documents:
        command = [*TOY, "talk", "--wait-seconds", "1ms"]
        process = subprocess.Popen(command, env=environment(), cwd=ROOT, stdout=documents, stderr=pipe.writing)
    os.close(pipe.writing)
    try:
        until(lambda: out.stat().st_size > 2 * pipe.size_bytes, "more documents than lines fit into the log's pipe")
        stuck_at = len(pipe.take())
        until(lambda: len(pipe.take()) > stuck_at + 100, "the log to go on")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        lines = [line for line in pipe.take() if line]
        assert json.loads(lines[-1])["action"] == "sidecar.ended"
        broken = [line for line in lines if not is_json(line)]
        assert len(broken) <= 1, f"only what was cut when it got stuck may be broken: {broken}"
    finally:
        process.kill()
        process.wait()
        os.close(pipe.reading)


TO_DO = {
    "log-shipper": {"LOG_SHIPPER_PATHS": "{folder}/*.log", "LOG_SHIPPER_STATE_DIR": "{folder}/state"},
    "config-reloader": {"CONFIG_RELOADER_WATCH": "{folder}", "CONFIG_RELOADER_WEBHOOK_URL": "http://127.0.0.1:9/"},
}


@pytest.mark.parametrize("name", TO_DO)
def test_a_sigterm_that_was_held_back_before_the_start_is_not_lost(name: str, tmp_path: Path) -> None:
    """As `env --block-signal=TERM` of our images does it, so that process 1 is deaf for no moment."""
    settings = {key: text.format(folder=tmp_path) for key, text in TO_DO[name].items()}
    settings[f"{name.upper().replace('-', '_')}_ADMIN_PORT"] = "0"
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # the child inherits it
    try:
        process = Process(tmp_path, (*SIDECARS, name), environment=settings).start().signal(signal.SIGTERM)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    assert process.wait() == 0, process.stderr
    assert process.logged("stop.requested")
