"""SIGTERM at any moment: the exit is clean and at once, nothing is left running, what was pending is told next time."""

import json
import os
import random
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.support.config_stage import RELOAD, ConfigStage
from tests.support.reload_app import HANGS, OK, Answer
from tests.support.scale import scaled
from tests.support.sidecars import ReloaderProcess
from tests.support.waiting import until

ALLOWED_SECONDS = 20.0
"""On a busy machine; the promise is about one. What overran its grace says so in the log."""


def left(mark: Path) -> list[str]:
    """Processes that run with this in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(mark) in (folder / "environ").read_bytes():  # a zombie has none
                found.append((folder / "cmdline").read_text())
        except OSError:
            continue
    return found


def marked(stage: ConfigStage, **settings: object) -> ReloaderProcess:
    reloader = stage.reloader()
    reloader.settings.update(settings)
    reloader.environment["STOP_MARK"] = str(stage.folder)
    return reloader


def stops(stage: ConfigStage, reloader: ReloaderProcess) -> float:
    """Stop it; the seconds that it took."""
    began = time.monotonic()
    assert reloader.terminate() == 0
    seconds = time.monotonic() - began
    assert seconds < ALLOWED_SECONDS
    assert not {"stop.overrun", "sidecar.crashed"} & {line["action"] for line in reloader.logs}
    # A thread that reads or writes files may be left behind: a slow disk, or a busy machine, is not waited for.
    assert not [line for line in reloader.logged("sidecar.abandoned") if "task" in line["busy"]]
    assert "Traceback" not in reloader.stderr
    until(lambda: not left(stage.folder), "the end of all that it started")
    return seconds


def a_change_in_its_quiet_period(stage: ConfigStage, reloader: ReloaderProcess) -> None:
    reloader.settings.update(quiet_seconds=600, max_wait_seconds=600)
    begin_and_change(stage, reloader)
    reloader.until(lambda: reloader.metric('looks_total{found="changed"}') == 2, "the change to be seen")


def a_webhook_that_hangs_with_somebody_who_asked(stage: ConfigStage, reloader: ReloaderProcess) -> HTTPConnection:
    stage.target.answers[RELOAD] = HANGS
    begin_and_change(stage, reloader)
    stage.until_told(1)
    connection = HTTPConnection("127.0.0.1", int(reloader.logged("admin.listening")[0]["port"]), timeout=60)
    connection.request("POST", "/reload")  # its answer is not waited for
    return connection


def a_command_with_grandchildren(stage: ConfigStage, reloader: ReloaderProcess) -> None:
    work(stage, reloader, "exec")


def a_validator_with_grandchildren(stage: ConfigStage, reloader: ReloaderProcess) -> None:
    work(stage, reloader, "validate")


def work(stage: ConfigStage, reloader: ReloaderProcess, kind: str) -> None:
    """A program with children, all of them deaf to SIGTERM; only content other than the first makes it run long."""
    runs = stage.folder / "runs"
    long = f"trap '' TERM; (sleep 600 & sleep 600) & echo >> {runs}; sleep 600"
    script = f"grep -q 0 $1/app.yaml || test -e {stage.folder}/go || {{ {long}; }}"
    command = ["sh", "-c", script, "sh", "{candidate}"]
    reloader.steps({kind: {"command": command, "timeout_seconds": 600}}, stage.reload)
    begin_and_change(stage, reloader)
    reloader.until(runs.exists, "the command to run")
    assert len(left(stage.folder)) > 3


def a_confirmation_that_hangs(stage: ConfigStage, reloader: ReloaderProcess) -> None:
    app = stage.target
    app.answers["/status"] = HANGS
    reloader.steps(stage.reload, {"confirm": {"url": f"{app.url}/status", "text": "version"}})
    begin_and_change(stage, reloader)
    app.wait_for("/status")


def a_pause_before_the_next_attempt(stage: ConfigStage, reloader: ReloaderProcess) -> None:
    stage.target.answers[RELOAD] = Answer(500)
    begin_and_change(stage, reloader)
    stage.until_told(3)


def begin_and_change(stage: ConfigStage, reloader: ReloaderProcess) -> None:
    stage.begin(reloader)
    stage.write("1")


MOMENTS: dict[str, Callable[[ConfigStage, ReloaderProcess], HTTPConnection | None]] = {
    name: moment for name, moment in globals().copy().items() if name.startswith("a_")
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_it_ends_at_once_and_tells_what_was_pending_at_its_next_start(
    stage: ConfigStage, table: Callable[[str, str], None], moment: str
) -> None:
    reloader = marked(stage)
    asking = MOMENTS[moment](stage, reloader)
    before = len(stage.told)
    seconds = stops(stage, reloader)
    if asking:
        asking.close()
    table("config reloader", f"stop in {moment.replace('_', ' ')}: {seconds:.2f} s")
    assert len(stage.told) == before
    (stage.folder / "go").touch()
    stage.target.answers.clear()
    again = marked(stage).start()
    again.until(lambda: len(stage.told) > before, "what was pending to be told")
    again.until_settled()
    assert stage.told[before:] == [again.applied]
    stops(stage, again)


def test_a_stop_over_http_is_a_stop(stage: ConfigStage) -> None:
    stage.target.answers[RELOAD] = HANGS
    reloader = marked(stage)
    begin_and_change(stage, reloader)
    stage.until_told(1)
    assert reloader.ask("/quit", "POST")[0] == 200
    assert reloader.wait() == 0
    assert left(stage.folder) == []


def test_it_ends_at_once_although_the_watched_folder_is_a_pipe_or_missing(stage: ConfigStage) -> None:
    os.mkfifo(stage.folder / "pipe")
    reloader = marked(stage, watch=json.dumps([f"{stage.folder}/{name}" for name in ("pipe", "missing")]))
    reloader.start()
    stops(stage, reloader)


def test_it_ends_at_once_at_any_moment_after_its_start(
    stage: ConfigStage, rng: random.Random, table: Callable[[str, str], None]
) -> None:
    """Also before the first look; content that is told, refused and rendered meanwhile."""
    slowest = 0.0
    stage.target.answers[RELOAD] = lambda _: rng.choice([OK, Answer(500), HANGS])
    render = json.dumps({"output": str(stage.folder / "out")})
    reloader = marked(stage, initial="always", quiet_seconds=0, render=render)
    reloader.steps({"validate": {"command": ["sh", "-c", "sleep 0.1; sleep 0.1"]}}, stage.reload)
    for version in range(scaled(5, 50)):
        reloader.start(wait=False)
        reloader.until(reloader.catches, "its first lines of code")
        moment = time.monotonic() + rng.uniform(0, 2.0 if rng.random() < 0.5 else 0.5)
        while time.monotonic() < moment:
            stage.config.write({"app.yaml": b"%d-%d" % (version, rng.randrange(100))})
            time.sleep(0.03)
        slowest = max(slowest, stops(stage, reloader))
    table("config reloader", f"stop at {scaled(5, 50)} random moments: the slowest took {slowest:.2f} s")
    stage.target.answers.clear()
    reloader.start()
    reloader.until_settled()
    assert stage.told[-1] == reloader.applied
    assert (stage.folder / "out" / "app.yaml").read_bytes() == (stage.config.folder / "app.yaml").read_bytes()
    stops(stage, reloader)
