"""SIGTERM at any moment: the exit is clean and at once, nothing is left running, what was pending is told next time."""

import http.client
import json
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.config_stage import ConfigStage
from tests.support.reload_app import HANGS, OK, Answer, App
from tests.support.scale import scaled
from tests.support.sidecars import ReloaderProcess
from tests.support.waiting import until

ALLOWED_SECONDS = 5.0
"""On a busy machine; the promise is about one."""


@pytest.fixture
def app() -> Iterator[App]:
    """The app that is told."""
    with App() as one:
        yield one


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
    assert not {"stop.overrun", "sidecar.abandoned", "sidecar.crashed"} & {line["action"] for line in reloader.logs}
    assert "Traceback" not in reloader.stderr
    until(lambda: not left(stage.folder), "the end of all that it started")
    return seconds


def a_change_in_its_quiet_period(stage: ConfigStage, app: App, reloader: ReloaderProcess) -> None:
    reloader.settings["quiet_seconds"] = 600
    reloader.settings["max_wait_seconds"] = 600
    reloader.steps(app.webhook("/a"))
    begin_and_change(stage, reloader)
    reloader.until(lambda: reloader.metric('looks_total{found="changed"}') == 2, "the change to be seen")


def a_splay(stage: ConfigStage, app: App, reloader: ReloaderProcess) -> None:
    reloader.settings["splay_seconds"] = 3600
    reloader.steps(app.webhook("/a"))
    begin_and_change(stage, reloader)
    reloader.until(lambda: reloader.metric("changes_total"), "the change to be seen")


def a_webhook_that_hangs(stage: ConfigStage, app: App, reloader: ReloaderProcess) -> None:
    app.answers["/a"] = HANGS
    reloader.steps(app.webhook("/a"))
    begin_and_change(stage, reloader)
    app.wait_for("/a")


def a_command_with_grandchildren(stage: ConfigStage, app: App, reloader: ReloaderProcess) -> None:
    work(stage, app, reloader, "exec")


def a_validator_with_grandchildren(stage: ConfigStage, app: App, reloader: ReloaderProcess) -> None:
    work(stage, app, reloader, "validate")


def work(stage: ConfigStage, app: App, reloader: ReloaderProcess, kind: str) -> None:
    """A program with children, all of them deaf to SIGTERM; only content other than the first makes it run long."""
    runs = stage.folder / "runs"
    long = f"trap '' TERM; (sleep 600 & sleep 600) & echo >> {runs}; sleep 600"
    script = f"grep -q 0 $1/app.yaml || test -e {stage.folder}/go || {{ {long}; }}"
    command = ["sh", "-c", script, "sh", "{candidate}"]
    reloader.steps({kind: {"command": command, "timeout_seconds": 600}}, app.webhook("/a"))
    begin_and_change(stage, reloader)
    reloader.until(runs.exists, "the command to run")
    assert len(left(stage.folder)) > 3


def a_confirmation(stage: ConfigStage, app: App, reloader: ReloaderProcess) -> None:
    app.answers["/status"] = Answer(200, "version 1")
    reloader.steps(
        app.webhook("/a"), {"confirm": {"url": f"{app.url}/status", "text": r"version \d", "timeout_seconds": 600}}
    )
    begin_and_change(stage, reloader)
    app.wait_for("/status", 3)


def a_confirmation_that_hangs(stage: ConfigStage, app: App, reloader: ReloaderProcess) -> None:
    app.answers["/status"] = HANGS
    reloader.steps(app.webhook("/a"), {"confirm": {"url": f"{app.url}/status", "text": "version"}})
    begin_and_change(stage, reloader)
    app.wait_for("/status")


def a_pause_before_the_next_attempt(stage: ConfigStage, app: App, reloader: ReloaderProcess) -> None:
    app.answers["/a"] = Answer(500)
    reloader.steps(app.webhook("/a"))
    begin_and_change(stage, reloader)
    app.wait_for("/a", 3)


def an_app_that_is_not_there(stage: ConfigStage, app: App, reloader: ReloaderProcess) -> None:
    del app
    reloader.steps({"signal": {"process": "nobody-is-called-so"}})
    begin_and_change(stage, reloader)
    reloader.until(lambda: reloader.metric("attempts_total"), "it to be looked for")


def begin_and_change(stage: ConfigStage, reloader: ReloaderProcess) -> None:
    stage.begin(reloader)
    stage.config.write({"app.yaml": b"1"})


MOMENTS: dict[str, Callable[[ConfigStage, App, ReloaderProcess], None]] = {
    name: moment for name, moment in globals().copy().items() if name.startswith(("a_", "an_"))
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_it_ends_at_once_and_tells_what_was_pending_at_its_next_start(
    stage: ConfigStage, app: App, table: Callable[[str, str], None], moment: str
) -> None:
    reloader = marked(stage)
    MOMENTS[moment](stage, app, reloader)
    before = len(app.asked("/a"))
    seconds = stops(stage, reloader)
    table("config reloader", f"stop in {moment.replace('_', ' ')}: {seconds:.2f} s")
    assert len(app.asked("/a")) == before
    (stage.folder / "go").touch()
    app.answers.clear()
    again = marked(stage).steps(app.webhook("/a")).start()
    again.until(lambda: len(app.asked("/a")) > before, "what was pending to be told")
    again.until_settled()
    assert app.bodies("/a")[before:] == [again.applied]
    stops(stage, again)


def test_it_ends_at_once_when_idle(stage: ConfigStage, app: App) -> None:
    reloader = marked(stage).steps(app.webhook("/a"))
    stage.begin(reloader)
    stops(stage, reloader)
    assert app.requests == []


def test_it_ends_at_once_while_somebody_waits_for_a_reload_by_hand(stage: ConfigStage, app: App) -> None:
    app.answers["/a"] = HANGS
    reloader = marked(stage).steps(app.webhook("/a"))
    stage.begin(reloader)
    port = int(reloader.logged("admin.listening")[0]["port"])
    by_hand = hanging_request(port)
    app.wait_for("/a")
    stops(stage, reloader)
    by_hand.close()


def hanging_request(port: int) -> http.client.HTTPConnection:
    """POST /reload, and do not wait for the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/reload")
    return connection


def test_a_stop_over_http_is_a_stop(stage: ConfigStage, app: App) -> None:
    app.answers["/a"] = HANGS
    reloader = marked(stage).steps(app.webhook("/a"))
    begin_and_change(stage, reloader)
    app.wait_for("/a")
    assert reloader.ask("/quit", "POST")[0] == 200
    assert reloader.wait() == 0
    assert left(stage.folder) == []


def test_it_ends_at_once_although_the_watched_folder_is_a_pipe_or_missing(stage: ConfigStage, app: App) -> None:
    pipe = stage.folder / "pipe"
    os.mkfifo(pipe)
    reloader = marked(stage, watch=json.dumps([str(pipe), str(stage.folder / "missing")])).steps(app.webhook("/a"))
    reloader.start()
    stops(stage, reloader)


def test_it_ends_at_once_at_any_moment_after_its_start(
    stage: ConfigStage, app: App, rng: random.Random, table: Callable[[str, str], None]
) -> None:
    """Also before the first look; content that is told, refused and rendered meanwhile."""
    slowest = 0.0
    app.answers["/a"] = lambda _: rng.choice([OK, Answer(500), HANGS])
    render = json.dumps({"output": str(stage.folder / "out")})
    reloader = marked(stage, initial="always", quiet_seconds=0, render=render)
    reloader.steps({"validate": {"command": ["sh", "-c", "sleep 0.1; sleep 0.1"]}}, app.webhook("/a"))
    for version in range(scaled(5, 50)):
        reloader.start(wait=False)
        reloader.until(reloader.catches, "its first lines of code")
        moment = time.monotonic() + rng.uniform(0, 2.0 if rng.random() < 0.5 else 0.5)
        while time.monotonic() < moment:
            stage.config.write({"app.yaml": b"%d-%d" % (version, rng.randrange(100))})
            time.sleep(0.03)
        slowest = max(slowest, stops(stage, reloader))
    table("config reloader", f"stop at {scaled(5, 50)} random moments: the slowest took {slowest:.2f} s")
    app.answers.clear()
    reloader.start()
    reloader.until_settled()
    assert app.bodies("/a")[-1] == reloader.applied
    assert (stage.folder / "out" / "app.yaml").read_bytes() == (stage.config.folder / "app.yaml").read_bytes()
    stops(stage, reloader)
