"""Signals from the sidecar to a real app, and from a pod to the sidecar; tests/kit/notify/test_signal.py has who is
signalled, and who is not.
"""

import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.app_process import AppProcess
from tests.support.config_stage import ConfigStage
from tests.support.processes import can_run
from tests.support.sidecars import ReloaderProcess

root_only = pytest.mark.skipif(os.getuid() != 0 or not shutil.which("setpriv"), reason="only root can be two users")


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


def attempts(reloader: ReloaderProcess, outcome: str) -> float:
    return reloader.metric(f'attempts_total{{outcome="{outcome}",step="signal"}}')


def test_the_app_is_signalled_once_it_has_a_handler_and_found_again_after_a_restart(stage: ConfigStage) -> None:
    name = own("late")
    reloader = stage.reloader().steps({"signal": {"process": name}})
    with AppProcess(name, "none", workers=1) as app:
        stage.begin(reloader)
        stage.write("1")
        reloader.until(lambda: attempts(reloader, "unreachable") >= 2, "it to be looked at")
        waiting = reloader.status()["pending"]["waiting_for"]
        assert f"cannot signal {app.pid} ({name}): it has no handler for" in waiting
        assert app.received() == []
        app.install_handler()
        reloader.until_settled()
        assert app.received() == [f"{app.pid} 1"], "not its worker"
        reloader.signal(signal.SIGHUP)  # as by `kill -HUP -1`: it is meant for the app
        assert reloader.ask("/reload", "POST")[0] == 200
        assert app.received() == [f"{app.pid} 1"]
    stage.write("2")
    reloader.until(lambda: reloader.status()["pending"], "it to be missed")
    with AppProcess(name) as app:
        reloader.until_settled()
        assert app.received() == [f"{app.pid} 1"]
        assert f"ok: would send SIGHUP to {app.pid} ({name})" in reloader.check().stdout
        assert app.received() == []


UNPRIVILEGED = ("setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups")
NO_CAPABILITIES = ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all")
USERS = {
    "app of root": (UNPRIVILEGED, -1, 0, 1000),
    "root without capabilities": (NO_CAPABILITIES, 1000, 1000, 0),
}


@root_only
@pytest.mark.parametrize(("prefix", "app_uid", "their_uid", "our_uid"), USERS.values(), ids=USERS.keys())
def test_what_we_may_not_signal_is_explained_once_and_stays_pending(
    open_stage: ConfigStage, prefix: tuple[str, ...], app_uid: int, their_uid: int, our_uid: int
) -> None:
    if not can_run(*prefix, sys.executable, "-c", "import sidecars"):
        pytest.skip(f"uid {our_uid} cannot read this checkout")
    with AppProcess(own("guarded"), uid=app_uid) as app:
        reloader = open_stage.reloader(prefix=prefix).steps({"signal": {"process": own("guarded")}})
        open_stage.begin(reloader)
        open_stage.write("1")
        reloader.until(lambda: attempts(reloader, "denied") >= 3, "it to be tried again")
        (line,) = reloader.logged("step.denied")
        said = f"({own('guarded')}): it runs as uid {their_uid}, this sidecar as uid {our_uid} (CapEff 0"
        assert said in line["message"]
        assert reloader.status()["pending"]["waiting_for"] == line["message"].replace("cannot signal:", "signal:", 1)
        assert app.received() == []
        checked = reloader.check()
        assert checked.returncode == 1
        refused = rf"^error: cannot signal {app.pid} .*uid {their_uid}.*uid {our_uid}"
        assert re.search(refused, checked.stdout, re.MULTILINE)
        reloader.terminate()
