"""Content that cannot be used: the app never hears of it and never sees it, nobody is asked twice, and a validator that
could not look refuses nothing.
"""

import gzip
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.config_stage import ConfigStage
from tests.support.reload_app import HANGS, OK, Answer, App, Asked
from tests.support.sidecars import ReloaderProcess

READ_ON = {"GOOD": "read-on"}


@pytest.fixture
def app() -> Iterator[App]:
    """The app that is told, and asked."""
    with App() as one:
        yield one


def write(stage: ConfigStage, text: str) -> None:
    stage.config.write({"app.yaml": text.encode()})


def published(stage: ConfigStage) -> dict[str, bytes]:
    """What the app reads."""
    output = stage.folder / "out"
    return {name: (output / name).read_bytes() for name in os.listdir(output) if not name.startswith("..")}


def rendering(stage: ConfigStage, rules: Mapping[str, object] | None = None, **settings: object) -> ReloaderProcess:
    render = json.dumps({"output": str(stage.folder / "out"), **(rules or {})})
    reloader = stage.reloader(render=render)
    reloader.settings.update(settings)
    return reloader


def validators(reloader: ReloaderProcess, outcome: str) -> float:
    return reloader.metric(f'attempts_total{{outcome="{outcome}",step="validate"}}')


def refused(reloader: ReloaderProcess) -> str:
    """The reason, once the newest content is refused."""
    reloader.until(lambda: reloader.status()["refused"], "the refusal")
    shown = reloader.status()["refused"]
    assert shown["verdict"] == "rejected"
    return str(shown["reason"])


class Counted:
    """A validator that wants the word `good`, and writes down each of its runs."""

    def __init__(self, folder: Path) -> None:
        self._runs = folder / "runs"
        script = f'cat "$1/app.yaml" >> {self._runs}; echo >> {self._runs}; grep -q good "$1/app.yaml" || exit 3'
        self.step = {"validate": {"command": ["sh", "-c", script, "sh", "{candidate}"]}}

    @property
    def runs(self) -> list[str]:
        return self._runs.read_text().split()


@pytest.mark.parametrize("renders", [True, False])
def test_what_the_validator_refuses_is_never_told_and_never_asked_again(
    stage: ConfigStage, app: App, renders: bool
) -> None:
    write(stage, "good-0")
    counted = Counted(stage.folder)
    reloader = (rendering(stage) if renders else stage.reloader()).steps(counted.step, app.webhook("/a"))
    first = stage.begin(reloader)
    write(stage, "bad")
    reason = refused(reloader)
    assert reason == "validate: sh: exit status 3"
    for _ in range(2):
        stage.tells_nothing(reloader, stage.config.rewrite)
    assert counted.runs == ["good-0", "bad"]
    assert (app.requests, reloader.applied) == ([], first)
    if renders:
        assert published(stage) == {"app.yaml": b"good-0"}
        assert len(list((stage.folder / "out").glob("..2*"))) == 1, "the refused generation is gone"
    assert reloader.metric('rejections_total{reason="validate"}') == reloader.metric("rejections_total") == 1
    assert reloader.metric('reloads_total{result="rejected"}') == reloader.metric("content_rejected") == 1
    assert reloader.ask("/readyz")[0] == 200
    write(stage, "good-1")
    app.wait_for("/a")
    reloader.until_settled()
    assert counted.runs == ["good-0", "bad", "good-1"]
    assert app.bodies("/a") == [reloader.applied] != [first]
    assert reloader.metric("content_rejected") == 0
    assert not renders or published(stage) == {"app.yaml": b"good-1"}


def test_going_back_to_what_is_applied_tells_nobody_and_is_good_again(stage: ConfigStage, app: App) -> None:
    write(stage, "good")
    counted = Counted(stage.folder)
    reloader = rendering(stage, unready_when_rejected="true").steps(counted.step, app.webhook("/a"))
    first = stage.begin(reloader)
    write(stage, "bad")
    refused(reloader)
    assert reloader.ask("/readyz")[0] == 503
    assert reloader.ask("/livez")[0] == 200
    write(stage, "good")
    reloader.until(lambda: not reloader.status()["refused"], "the refusal to be over")
    assert reloader.ask("/readyz")[0] == 200
    assert reloader.metric("content_rejected") == 0
    assert reloader.metric("last_reload_successful") == 1
    assert (app.requests, reloader.applied) == ([], first)


def test_a_refusal_outlives_a_restart(stage: ConfigStage, app: App) -> None:
    """The app may be started again at any time: it finds the last good content."""
    write(stage, "good")
    counted = Counted(stage.folder)
    reloader = rendering(stage).steps(counted.step, app.webhook("/a"))
    first = stage.begin(reloader)
    write(stage, "bad")
    refused(reloader)
    reloader.kill()
    reloader.start()
    refused(reloader)
    assert published(stage) == {"app.yaml": b"good"}
    assert (app.requests, reloader.applied) == ([], first)


def test_a_missing_validator_refuses_nothing(stage: ConfigStage, app: App) -> None:
    program = stage.folder / "validator"
    reloader = stage.reloader().steps({"validate": {"command": [str(program)]}}, app.webhook("/a")).start()
    reloader.until(lambda: validators(reloader, "denied") >= 2, "it to be missed")
    waiting = reloader.status()["pending"]["waiting_for"]
    assert f"cannot start {program}: No such file or directory; is it" in waiting
    assert reloader.ask("/startupz")[0] == 200
    make_script(program, "exit 0")
    reloader.until_settled()
    assert reloader.metric("rejections_total") == 0
    assert validators(reloader, "ok") == 1


def make_script(program: Path, text: str) -> None:
    new = program.with_suffix(".new")
    new.write_text(f"#!/bin/sh\n{text}\n")
    new.chmod(0o755)
    new.rename(program)


def test_a_validator_that_is_being_written_refuses_nothing(stage: ConfigStage, app: App) -> None:
    """It cannot be started then (ETXTBSY): an init container, or a person, copies it there."""
    program = stage.folder / "true"
    shutil.copy(shutil.which("true") or "/bin/true", program)
    reloader = stage.reloader().steps({"validate": {"command": [str(program)]}}, app.webhook("/a"))
    with program.open("r+b"):
        reloader.start()
        reloader.until(lambda: reloader.metric("attempts_total") >= 2, "it to be tried")
        assert "Text file busy" in reloader.status()["pending"]["waiting_for"]
    reloader.until_settled()
    assert reloader.metric("rejections_total") == 0


def test_a_validator_that_hangs_is_killed_and_refuses_nothing(stage: ConfigStage, app: App) -> None:
    write(stage, "good")
    hangs = "echo $$ >> $1/pids; grep -q good $2/app.yaml || { sleep 600 & echo $! >> $1/pids; test -e $1/go || wait; }"
    command = ["sh", "-c", hangs, "sh", str(stage.folder), "{candidate}"]
    reloader = stage.reloader().steps({"validate": {"command": command, "timeout_seconds": 0.5}}, app.webhook("/a"))
    stage.begin(reloader)
    write(stage, "1")
    reloader.until(lambda: validators(reloader, "timeout") >= 2, "it to be killed twice")
    assert "sh did not end within 0.5 s and was killed" in reloader.status()["pending"]["waiting_for"]
    assert app.requests == []
    (stage.folder / "go").touch()
    reloader.until_settled()
    assert app.bodies("/a") == [reloader.applied]
    assert reloader.metric("rejections_total") == 0
    pids = (stage.folder / "pids").read_text().split()
    reloader.until(lambda: not [pid for pid in pids if runs(pid)], "the end of all that it started")


def runs(pid: str) -> bool:
    """Whether it is there and no zombie."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_validator_that_is_killed_from_outside_refuses_nothing(stage: ConfigStage, app: App) -> None:
    """By the OOM killer, as if it were: it did not come to its verdict."""
    write(stage, "good")
    killed = "grep -q good $2/app.yaml || test -e $1/go || kill -KILL $$"
    command = ["sh", "-c", killed, "sh", str(stage.folder), "{candidate}"]
    reloader = stage.reloader().steps({"validate": {"command": command}}, app.webhook("/a"))
    stage.begin(reloader)
    write(stage, "1")
    reloader.until(lambda: reloader.metric("attempts_total") >= 3, "it to be killed twice")
    assert "sh: ended by SIGKILL" in reloader.status()["pending"]["waiting_for"]
    (stage.folder / "go").touch()
    reloader.until_settled()
    assert app.bodies("/a") == [reloader.applied]
    assert reloader.metric("rejections_total") == 0


def test_a_validator_that_crashes_on_the_content_refuses_it(stage: ConfigStage, app: App) -> None:
    write(stage, "good")
    crashes = "grep -q good $1/app.yaml || kill -SEGV $$"
    reloader = stage.reloader().steps(
        {"validate": {"command": ["sh", "-c", crashes, "sh", "{candidate}"]}}, app.webhook("/a")
    )
    stage.begin(reloader)
    write(stage, "1")
    assert refused(reloader) == "validate: sh: ended by SIGSEGV"
    assert app.requests == []


def test_a_validator_that_is_asked_by_http_gets_the_candidate(stage: ConfigStage, app: App) -> None:
    """A 4xx is a verdict; an error of the server and silence are not."""

    def judged(asked: Asked) -> Answer:
        return {"busy": Answer(503), "silence": HANGS}.get(asked.body, Answer(200 if "good" in asked.body else 422))

    write(stage, "good-0")
    app.answers["/validate"] = judged
    url, body_file = f"{app.url}/validate", "{candidate}/app.yaml"
    validate = {"validate": {"url": url, "body_file": body_file, "timeout_seconds": 0.5}}
    reloader = rendering(stage).steps(validate, app.webhook("/a"))
    stage.begin(reloader)
    for text, outcome in (("busy", "failed"), ("silence", "timeout")):
        write(stage, text)
        reloader.until(lambda o=outcome: validators(reloader, o) >= 2, f"{outcome} twice")  # type: ignore[misc]
        assert reloader.metric("rejections_total") == 0
    write(stage, "bad")
    assert refused(reloader) == f"validate: {url} answered 422, expected 2xx"
    assert app.bodies("/validate").count("bad") == reloader.metric("rejections_total") == 1
    assert published(stage) == {"app.yaml": b"good-0"}
    assert app.asked("/a") == []
    write(stage, "good-1")
    app.wait_for("/a")
    reloader.until_settled()
    assert published(stage) == {"app.yaml": b"good-1"}


Payload = Mapping[str, bytes]
RENDERED: dict[str, tuple[Mapping[str, object], Payload, str, Payload, Payload]] = {
    "template": (
        {"templates": ["*.j2"]},
        {"a.conf.j2": b"x\n{{ env.MISSING }} hidden-word"},
        "cannot render 'a.conf.j2' line 2: MISSING is not set",
        {"a.conf.j2": b"x {{ env.GOOD }}"},
        {"a.conf": b"x read-on"},
    ),
    "template syntax": (
        {"templates": ["*.j2"]},
        {"a.conf.j2": b"{% if hidden-word"},
        "cannot render 'a.conf.j2' line 1: it is not valid Jinja2",
        {"a.conf.j2": b"x"},
        {"a.conf": b"x"},
    ),
    "variable": (
        {"expand": True},
        {"a.conf": b"1\n2\n$(MISSING) hidden-word"},
        "cannot expand 'a.conf' line 3: the variable MISSING is not set",
        {"a.conf": b"$(GOOD) $$(GOOD)"},
        {"a.conf": b"read-on $(GOOD)"},
    ),
    "gzip": (
        {"gunzip": True, "expand": True},
        {"a.conf.gz": gzip.compress(b"hidden-word" * 100)[:-12]},
        "a.conf.gz",
        {"a.conf.gz": gzip.compress(b"$(GOOD)"), "b": b"$(GOOD)"},
        {"a.conf": b"read-on", "b": b"read-on"},
    ),
    "one name for two": (
        {"gunzip": True},
        {"a": b"1", "a.gz": gzip.compress(b"hidden-word")},
        "'a.gz'",
        {"a.gz": gzip.compress(b"2")},
        {"a": b"2"},
    ),
}


@pytest.mark.parametrize("what", RENDERED)
def test_what_cannot_be_rendered_is_refused(stage: ConfigStage, app: App, what: str) -> None:
    rules, bad, words, good, result = RENDERED[what]
    reloader = rendering(stage, rules).steps(app.webhook("/a"))
    reloader.environment.update(READ_ON)
    stage.begin(reloader)
    stage.config.write(bad)
    reason = refused(reloader)
    assert words in reason
    assert "hidden-word" not in reloader.stderr + reloader.ask("/status")[1] + reloader.ask("/metrics")[1]
    assert reloader.metric('rejections_total{reason="render"}') == reloader.metric("rejections_total") == 1
    assert published(stage) == {"app.yaml": b"0"}
    stage.tells_nothing(reloader, stage.config.rewrite)
    assert app.requests == []
    stage.config.write(good)
    app.wait_for("/a")
    reloader.until_settled()
    assert published(stage) == result
    assert app.bodies("/a") == [reloader.applied]


def test_what_is_rendered_is_told_after_it_can_be_read(stage: ConfigStage, app: App) -> None:
    seen: list[dict[str, bytes]] = []

    def look(_asked: Asked) -> Answer:
        seen.append(published(stage))
        return OK

    app.answers["/a"] = look
    reloader = rendering(stage).steps(app.webhook("/a"))
    stage.begin(reloader)
    for n in range(1, 4):
        stage.config.write({f"key-{n}": b"%d" % n})
        app.wait_for("/a", n)
        reloader.until_settled()
    assert seen == [{f"key-{n}": b"%d" % n} for n in range(1, 4)]
