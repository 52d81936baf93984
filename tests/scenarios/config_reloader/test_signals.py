"""Signals to real processes: the right one, when it is ready for it, and a clear word when we may not."""

import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.app_process import AppProcess
from tests.support.config_stage import ConfigStage
from tests.support.processes import can_run
from tests.support.sidecars import ReloaderProcess

root_only = pytest.mark.skipif(os.getuid() != 0 or not shutil.which("setpriv"), reason="only root can be two users")


@pytest.fixture
def apps() -> Iterator[ExitStack]:
    """Apps to be ended after the test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def open_stage() -> Iterator[ConfigStage]:
    """For another user: pytest closes its own folders to others, again at the start of each run."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    one = ConfigStage(folder)
    yield one
    one.close()
    shutil.rmtree(folder)


def own(word: str) -> str:
    """A command name that no other run of these tests on this machine uses; the kernel keeps 15 letters."""
    return f"{word}{os.getpid() % 10**6}"


def signals(stage: ConfigStage, step: dict[str, object], prefix: tuple[str, ...] = ()) -> ReloaderProcess:
    return stage.reloader(prefix=prefix).steps({"signal": step})


def write(stage: ConfigStage, text: str) -> None:
    stage.config.write({"app.yaml": text.encode()})


def attempts(reloader: ReloaderProcess, outcome: str) -> float:
    return reloader.metric(f'attempts_total{{outcome="{outcome}",step="signal"}}')


def tells(stage: ConfigStage, reloader: ReloaderProcess, text: str, app: AppProcess) -> None:
    """This content makes this process get exactly one signal."""
    before = reloader.applied
    write(stage, text)
    reloader.until(lambda: reloader.applied != before, "the signal")
    reloader.until_settled()
    assert app.received() == [f"{app.pid} 1"]


@pytest.mark.parametrize("how", ["none", "ignored"])
def test_an_app_without_a_handler_is_left_alone_until_it_has_one(stage: ConfigStage, apps: ExitStack, how: str) -> None:
    app = apps.enter_context(AppProcess(own("late"), how))
    reloader = signals(stage, {"process": own("late")})
    stage.begin(reloader)
    write(stage, "1")
    reloader.until(lambda: attempts(reloader, "unreachable") >= 3, "it to be looked at")
    assert app.received() == []
    waiting = reloader.status()["pending"]["waiting_for"]
    assert (
        f"cannot signal {app.pid} ({own('late')}): it {'ignores' if how == 'ignored' else 'has no handler for'}"
        in waiting
    )
    app.install_handler()
    reloader.until_settled()
    assert app.received() == [f"{app.pid} 1"]
    assert attempts(reloader, "ok") == 1
    assert reloader.ask("/reload", "POST")[0] == 200
    assert app.received() == [f"{app.pid} 1"]


def test_of_master_and_workers_only_the_master_is_told(stage: ConfigStage, apps: ExitStack) -> None:
    app = apps.enter_context(AppProcess(own("master"), workers=2))
    reloader = signals(stage, {"process": own("master")})
    stage.begin(reloader)
    for text in ("1", "2"):
        tells(stage, reloader, text, app)
    assert attempts(reloader, "ok") == 2


SELECTORS = ["argv", "uid", "pidfile"]


@pytest.mark.parametrize("by", [pytest.param(by, marks=root_only if by == "uid" else ()) for by in SELECTORS])
def test_the_right_one_among_others_of_its_name_is_told(stage: ConfigStage, apps: ExitStack, by: str) -> None:
    pidfile = stage.folder / "app.pid"
    right = apps.enter_context(AppProcess(own("twin"), uid=1000 if by == "uid" else -1, workers=int(by == "argv")))
    others = [apps.enter_context(AppProcess(own("twin"))) for _ in range(2)]
    pidfile.write_text(f" {right.pid}\n")
    chosen = {"argv": rf"{own('twin')} caught 1$", "uid": 1000, "pidfile": str(pidfile)}
    unclear = signals(stage, {"process": own("twin")})
    stage.begin(unclear)
    write(stage, "1")
    unclear.until(lambda: attempts(unclear, "unreachable"), "it to be unclear")
    assert f"cannot choose between 3 processes that fit process {own('twin')!r}" in str(unclear.status()["pending"])
    unclear.terminate()
    reloader = signals(stage, {"process": own("twin"), by: chosen[by]}).start()
    reloader.until_settled()
    assert right.received() == [f"{right.pid} 1"], "what was pending"
    tells(stage, reloader, "2", right)
    assert [app.received() for app in others] == [[], []]


def test_an_app_that_was_started_again_is_found_again(stage: ConfigStage) -> None:
    reloader = signals(stage, {"process": own("restarted")})
    with AppProcess(own("restarted")) as app:
        stage.begin(reloader)
        tells(stage, reloader, "1", app)
        first = app.pid
    write(stage, "2")
    reloader.until(lambda: attempts(reloader, "unreachable"), "it to be missed")
    with AppProcess(own("restarted"), "none") as app:
        assert app.pid != first
        assert app.alive
        app.install_handler()
        reloader.until_settled()
        assert app.received() == [f"{app.pid} 1"]
        tells(stage, reloader, "3", app)


def test_a_stale_pidfile_signals_nobody(stage: ConfigStage, apps: ExitStack) -> None:
    """The number in it belongs to another process by now, which started after the file was written."""
    pidfile = stage.folder / "app.pid"
    pidfile.touch()
    other = apps.enter_context(AppProcess(own("other")))
    pidfile.write_text(f"{other.pid}\n")
    long_ago = pidfile.stat().st_mtime - 3600
    os.utime(pidfile, (long_ago, long_ago))
    reloader = signals(stage, {"pidfile": str(pidfile)})
    stage.begin(reloader)
    write(stage, "1")
    reloader.until(lambda: attempts(reloader, "unreachable") >= 2, "it to be looked at")
    assert "the file is stale" in reloader.status()["pending"]["waiting_for"]
    assert other.received() == []
    pidfile.write_text(f"{other.pid}\n")
    reloader.until_settled()
    assert other.received() == [f"{other.pid} 1"]


def test_a_hangup_of_the_whole_pod_does_not_end_the_sidecar(stage: ConfigStage, apps: ExitStack) -> None:
    """As by `kill -HUP -1`: it is meant for the app."""
    app = apps.enter_context(AppProcess(own("hup")))
    reloader = signals(stage, {"process": own("hup")})
    stage.begin(reloader)
    reloader.signal(signal.SIGHUP)
    tells(stage, reloader, "1", app)


UNPRIVILEGED = ("setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups")
NO_CAPABILITIES = ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all")
USERS = {
    "app of root": (UNPRIVILEGED, -1, 0, 1000),
    "root without capabilities": (NO_CAPABILITIES, 1000, 1000, 0),
}


@root_only
@pytest.mark.parametrize("who", USERS)
def test_what_we_may_not_signal_is_explained_once_and_stays_pending(
    open_stage: ConfigStage, apps: ExitStack, who: str
) -> None:
    stage = open_stage
    prefix, app_uid, their_uid, our_uid = USERS[who]
    if not can_run(*prefix, sys.executable, "-c", "import sidecars"):
        pytest.skip(f"uid {our_uid} cannot read this checkout")
    app = apps.enter_context(AppProcess(own("guarded"), uid=app_uid))
    reloader = signals(stage, {"process": own("guarded")}, prefix)
    stage.begin(reloader)
    write(stage, "1")
    reloader.until(lambda: attempts(reloader, "denied") >= 3, "it to be tried again")
    (line,) = reloader.logged("step.denied")
    assert f"({own('guarded')}): it runs as uid {their_uid}, this sidecar as uid {our_uid} (CapEff 0" in line["message"]
    assert f"securityContext.runAsUser: {their_uid}" in line["message"]
    assert "as uid 0 with capabilities add KILL" in line["message"]
    assert reloader.status()["pending"]["waiting_for"] == line["message"].replace("cannot signal:", "signal:", 1)
    assert app.received() == []
    checked = reloader.check()
    assert checked.returncode == 1
    assert re.search(rf"^error: cannot signal {app.pid} .*uid {their_uid}.*uid {our_uid}", checked.stdout, re.MULTILINE)
    reloader.terminate()


def test_check_says_whom_it_would_signal(stage: ConfigStage, apps: ExitStack) -> None:
    app = apps.enter_context(AppProcess(own("checked")))
    reloader = signals(stage, {"process": own("checked")})
    assert f"ok: would send SIGHUP to {app.pid} ({own('checked')})" in reloader.check().stdout
    assert reloader.check().returncode == 0
    assert app.received() == []
