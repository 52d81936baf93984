"""What it waits for, and how the waiting ends, seen from outside."""

import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import GiveUp
from tests.scenarios.wait_for.conftest import Start
from tests.support.listeners import Listener, answering, closing, listening, response, saying, silent
from tests.support.processes import can_run, sidecar
from tests.support.sidecars import WaitForProcess

HARMLESS_SECONDS = 20.0
"""Far more than it takes, and far less than what would hold it up."""


def test_each_kind_is_ready_when_it_comes_and_not_before(tmp_path: Path, wait_for: Start) -> None:
    file, path = tmp_path / "ready", str(tmp_path / "s")
    with Listener() as tcp, Listener() as http, Listener() as postgres, Listener(path) as unix:
        coming: dict[str, Callable[[], object]] = {
            f"tcp://{tcp.place}": lambda: tcp.listen(closing),
            f"http://{http.place}/healthz": lambda: http.listen(answering(200)),
            f"postgres://{postgres.place}": lambda: postgres.listen(saying(b"N", b"R\0\0\0\x08\0\0\0\x03")),
            f"file://{file}": file.touch,
            f"socket://{path}": lambda: unix.listen(closing),
        }
        run = wait_for(*coming, progress_seconds=0.2)
        run.until_blocked("for 5 of 5")
        for count, (target, come) in enumerate(coming.items(), 1):
            come()
            if count < len(coming):
                run.until(lambda target=target: target in run.ready_targets, target)  # type: ignore[misc]
        assert run.wait() == 0
    assert run.ready_targets == list(coming)
    assert run.logged("wait.done")
    assert not run.logged("sidecar.abandoned"), "threads were left behind"
    assert run.left == ""


IN_A_MOUNT_NAMESPACE = 'mount --bind "$0" "$1" && shift && exec "$@"'


@pytest.fixture
def instead(without_server: GiveUp) -> Callable[[Path, str], tuple[str, ...]]:
    """The prefix of a command that sees a file of ours in the place of another one."""
    if not can_run("unshare", "-m", "mount", "--bind", "/etc/hosts", "/etc/hosts"):
        without_server("mount namespace", "unshare and mount are not allowed here")
    return lambda ours, theirs: ("unshare", "-m", "sh", "-c", IN_A_MOUNT_NAMESPACE, str(ours), theirs)


def test_a_name_may_come_late(tmp_path: Path, wait_for: Start, instead: Callable[[Path, str], tuple[str, ...]]) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n", encoding="utf-8")
    with listening(closing) as there:
        targets = ("dns://late.invalid", f"tcp://late.invalid:{there.port}")
        run = wait_for(*targets, prefix=instead(hosts, "/etc/hosts"), progress_seconds=0.2)
        run.until_blocked("dns://late.invalid (the name")
        hosts.write_text("127.0.0.1 localhost late.invalid\n", encoding="utf-8")
        assert run.wait() == 0


@pytest.fixture
def deaf_name_server(without_server: GiveUp) -> Iterator[str]:
    """The address of a name server that never answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        try:
            server.bind(("127.0.0.77", 53))
        except PermissionError:
            without_server("port 53", "only root may listen there")
        yield "127.0.0.77"


def test_a_name_server_that_hangs_holds_up_neither_the_others_nor_the_exit(
    tmp_path: Path,
    wait_for: Start,
    instead: Callable[[Path, str], tuple[str, ...]],
    deaf_name_server: str,
) -> None:
    """More hanging lookups than any pool has threads, each for minutes."""
    resolv = tmp_path / "resolv.conf"
    resolv.write_text(f"nameserver {deaf_name_server}\noptions timeout:30 attempts:5\n", encoding="utf-8")
    hung = [f"tcp://hung-{number}.invalid:1" for number in range(40)]
    file = tmp_path / "late"
    with Listener() as late:
        targets = (*hung, f"tcp://localhost:{late.port}", f"file://{file}")
        prefix = instead(resolv, "/etc/resolv.conf")
        run = wait_for(*targets, prefix=prefix, progress_seconds=0.2, try_seconds=0.2, timeout_seconds=0)
        run.until_blocked("hung-39.invalid:1 (no answer within 0.2 s), tcp://localhost")
        late.listen(closing)
        file.touch()
        began = time.monotonic()
        run.until(lambda: len(run.ready_targets) == 2, "the ones that are there")
        threads = len(os.listdir(f"/proc/{run.pid}/task"))
        assert threads <= len(hung) + 3, "hanging threads pile up"
        assert run.terminate() == 128 + signal.SIGTERM
        assert time.monotonic() - began < HARMLESS_SECONDS
        assert "thread" not in run.stderr, "a lookup that hangs was waited for"


def test_the_time_limit_ends_an_attempt_that_is_under_way(wait_for: Start) -> None:
    with Listener() as hole, listening(silent) as mute, listening(closing) as there:
        http = f"http://{mute.place}/"
        run = wait_for(f"tcp://{hole.swallow().place}", http, there.place, "--timeout", "500ms", try_seconds=600)
        began = time.monotonic()
        assert run.wait() == 1
        assert time.monotonic() - began < HARMLESS_SECONDS
    # on a busy machine a half second may be over before the third was tried
    assert re.match(r"cannot go on: timed out after [\d.]+ s waiting for [23] of 3: tcp://127\.0\.0\.1:", run.left)
    assert f"{http} (no answer" in run.left
    assert run.logged("wait.failed")[0]["message"] == run.left


def test_of_any_one_is_enough(wait_for: Start) -> None:
    with Listener() as nobody, Listener() as late:
        run = wait_for("--any", nobody.place, late.place, "tcp://a..b:1", progress_seconds=0.2)
        run.until_blocked("for one of 3")
        late.listen(closing)
        assert run.wait() == 0
        assert run.ready_targets == [f"tcp://{late.place}"]


def test_what_can_never_be_is_the_end_of_all_and_of_any_when_all_are(wait_for: Start) -> None:
    with Listener() as nobody:
        run = wait_for(nobody.place, "tcp://a..b:1", f"https://x{'y' * 70}/")
        assert run.wait() == 3
    assert run.left.startswith("cannot go on: this can never become ready, correct it: tcp://a..b:1 (one of its labels")
    assert "at most 63" in run.left
    assert nobody.accepted == 0
    assert wait_for("--any", "tcp://a..b:1", "dns://$").wait() == 3


ENDLESS_SEARCH = answering(200, b"a" * 40 + b"!")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_any_time_and_the_reason_stays(wait_for: Start, number: signal.Signals) -> None:
    """Also within a search that does not end."""
    with Listener() as nobody, listening(ENDLESS_SEARCH) as server:
        run = wait_for(nobody.place, f"http://{server.place}/?body=^(a%2B)%2B$", progress_seconds=0.1)
        run.until_blocked("the pattern takes too long")
        assert run.signal(number).wait() == 128 + number
        assert f"2 of 2: tcp://{nobody.place} (connection refused)" in run.left
    assert run.left.startswith("cannot go on: interrupted after ")
    assert f"interrupted by {number.name}" in run.stderr


MISTAKES: dict[str, tuple[tuple[str, ...], dict[str, object], tuple[str, ...]]] = {
    "all of them": (
        ("redis://r:1", "tcp://db", "http://h/?status=9&body=(", "--try-seconds=soon"), {},
        ("no kind 'redis'", "'tcp://db': it names no port", "'9' is no status", "no regular expression", "try_seconds"),
    ),
    "no target": ((), {}, ("cannot use targets",)),
    "a stable time that does not fit into the limit": (
        ("tcp://db:1", "--timeout", "5s", "--stable-seconds", "10s"), {}, ("cannot use stable_seconds",),
    ),
    "a NUL in the command": (("file:///",), {"command": json.dumps(["a\0b"])}, ("cannot use command",)),
    "a password that cuts the address": (("http://u:x/hunter2@db/",), {}, ("***'",)),
}  # fmt: skip


@pytest.mark.parametrize(("words", "settings", "said"), MISTAKES.values(), ids=MISTAKES.keys())
def test_arguments_that_cannot_be_used_are_named_and_left_for_who_looks_at_the_pod(
    wait_for: Start, words: tuple[str, ...], settings: dict[str, object], said: tuple[str, ...]
) -> None:
    run = wait_for(*words, **settings)
    assert run.wait() == 2
    assert not [text for text in said if text not in run.stderr or text not in run.left]
    assert "hunter2" not in run.stderr + run.left


class Flapping:
    """Answers 200, 200, 503, and from then on 200."""

    def __init__(self) -> None:
        self.failed_at = 0.0
        self._count = 0

    def __call__(self, connection: socket.socket) -> None:
        connection.recv(4096)
        self._count += 1
        if self._count == 3:
            self.failed_at = time.monotonic()
        connection.sendall(response(503 if self._count == 3 else 200))


def test_a_target_that_flaps_has_to_stay_up_anew(wait_for: Start) -> None:
    flapping = Flapping()
    with listening(flapping) as server:
        run = wait_for(f"http://{server.place}/", stable_seconds=1, progress_seconds=0.1)
        assert run.wait() == 0
        assert flapping.failed_at
        assert time.monotonic() - flapping.failed_at >= 1.0
        assert server.accepted >= 3 + 4
    assert any("of 1 s)" in line["message"] for line in run.logged("wait.blocked"))


def test_nothing_of_what_is_secret_is_seen(tmp_path: Path, wait_for: Start) -> None:
    token = tmp_path / "token"
    token.write_text("hunter2", encoding="utf-8")
    with listening(answering(503, b"hunter2")) as server:
        url = f"http://me:hunter2@{server.place}/?key=hunter2&header=X:hunter2&body=hunter2"
        given = {"bearer_token_file": token, "headers": "X-Y=hunter2", "timeout_seconds": 3, "log_level": "debug"}
        run = wait_for(targets=json.dumps([url, "postgres://hunter2@127.0.0.1:1"]), progress_seconds=0.1, **given)
        assert run.wait() == 1
    assert "answered 503" in run.left
    assert "hunter2" not in run.left + run.stderr


ODD: dict[str, tuple[Callable[[Path], object], int]] = {
    "not there": (lambda _: None, 3),
    "a loop of links": (lambda path: path.symlink_to(path), 3),
    "a pipe": (os.mkfifo, 2),
    "a device": (lambda path: path.symlink_to("/dev/null"), 2),
}


@pytest.mark.parametrize(("make", "status"), ODD.values(), ids=ODD.keys())
def test_a_termination_log_that_is_no_file_is_refused_or_holds_up_nothing(
    tmp_path: Path, wait_for: Start, make: Callable[[Path], object], status: int
) -> None:
    path = tmp_path / "odd"
    make(path)
    run = wait_for("tcp://a..b:1", termination_log=path)
    assert run.wait() == status
    assert ("cannot use termination_log (from WAIT_FOR_TERMINATION_LOG): " in run.stderr) is (status == 2)
    assert not path.is_file()


def test_what_is_left_is_one_text_of_at_most_4_kib_in_place_of_an_older_one(tmp_path: Path) -> None:
    run = WaitForProcess(tmp_path, *(f"tcp://a..{'b' * 50}{number}:1" for number in range(100)))
    (tmp_path / "termination-log").write_text("old " * 5000, encoding="utf-8")
    assert run.start().wait() == 3
    assert len(run.left.encode()) <= 4096
    assert "old" not in run.left


def test_check_says_what_would_be_waited_for_and_asks_nobody(tmp_path: Path) -> None:
    with listening(closing) as server:
        place = server.place
        words = [f"http://u:hunter2@{place}/x?k=hunter2", "tcp://a..b:1", f"--ca-file={tmp_path}/no", "--", "nosuch"]
        done = sidecar("check", "wait-for", *words)
        assert server.accepted == 0
    assert done.returncode == 1
    for line in (
        f"ok: would wait for http://{place}/x\n",
        "error: cannot wait for tcp://a..b:1",
        "warning: cannot read",
        "warning: cannot run nosuch",
    ):
        assert line in done.stdout
    assert "hunter2" not in done.stdout + done.stderr
