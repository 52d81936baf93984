"""Run once: `--once` for an init container, `sidecar check`, and what is printed about the settings."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.config_stage import ConfigStage
from tests.support.kubelet import Volume
from tests.support.processes import Done, sidecar
from tests.support.reload_app import App
from tests.support.sidecars import ReloaderProcess


@pytest.fixture
def app() -> Iterator[App]:
    """The app that is told, or rather is not."""
    with App() as one:
        yield one


def run(*words: str, reloader: ReloaderProcess | None = None) -> Done:
    """The command with these words, and with the settings of a reloader that is not started."""
    return sidecar(*words, settings=reloader.settings if reloader else None)


def once(reloader: ReloaderProcess) -> Done:
    return run("config-reloader", "--once", reloader=reloader)


def rendering(stage: ConfigStage, app: App, **rules: object) -> ReloaderProcess:
    """Renders into `out`, validates, and would tell the app."""
    reloader = stage.reloader(render=json.dumps({"output": str(stage.folder / "out"), **rules}))
    valid = ["grep", "-q", "good", "{candidate}/app.yaml"]
    return reloader.steps({"validate": {"command": valid}}, app.webhook("/a"))


def write(stage: ConfigStage, text: str) -> None:
    stage.config.write({"app.yaml": text.encode()})


def test_once_publishes_and_the_sidecar_after_it_tells_nothing(stage: ConfigStage, app: App) -> None:
    write(stage, "good 0")
    reloader = rendering(stage, app)
    done = once(reloader)
    digest = json.loads((stage.folder / "state.json").read_text())["hash"]
    assert (done.returncode, done.stdout) == (0, f"ok: the content {digest} is good\n")
    assert (stage.folder / "out" / "app.yaml").read_bytes() == b"good 0", "the app is started from it"
    assert stage.begin(reloader) == digest
    assert app.requests == []
    write(stage, "good 1")
    app.wait_for("/a")
    reloader.until_settled()
    assert app.bodies("/a") == [reloader.applied] != [digest]


def test_once_after_a_change_is_all_that_the_app_needs(stage: ConfigStage, app: App) -> None:
    """A pod that is started again on the same volumes: the app reads the newest, so nobody has to be told."""
    write(stage, "good 0")
    reloader = rendering(stage, app)
    stage.begin(reloader)
    reloader.terminate()
    write(stage, "good 1")
    assert once(reloader).returncode == 0
    assert (stage.folder / "out" / "app.yaml").read_bytes() == b"good 1"
    stage.begin(reloader)
    assert app.requests == []


def test_once_says_no_and_leaves_the_good_content(stage: ConfigStage, app: App) -> None:
    write(stage, "good")
    reloader = rendering(stage, app)
    assert once(reloader).returncode == 0
    state = (stage.folder / "state.json").read_text()
    write(stage, "bad")
    done = once(reloader)
    assert (done.returncode, done.stdout) == (1, "cannot use the content: validate: grep: exit status 1\n")
    assert (stage.folder / "out" / "app.yaml").read_bytes() == b"good"
    assert (stage.folder / "state.json").read_text() == state
    assert app.requests == []


def test_once_says_what_is_missing(stage: ConfigStage, app: App) -> None:
    write(stage, "good")
    missing = stage.folder / "missing"
    reloader = rendering(stage, app)
    reloader.settings["watch"] = json.dumps([str(stage.config.folder), str(missing)])
    done = once(reloader)
    assert done.returncode == 1
    assert done.stdout.startswith(f"cannot read {missing}: not there")
    assert not (stage.folder / "out").exists()


ONCE: dict[str, tuple[dict[str, object], str, str]] = {
    "a variable": ({"expand": True}, "good $(MISSING)", "line 1: the variable MISSING is not set"),
    "a template": ({"templates": ["*"]}, "good {{", "cannot render 'app.yaml' line 1"),
    "an output that is a file": ({"output": "/dev/null"}, "good", "cannot write /dev/null (render.output)"),
}


@pytest.mark.parametrize("what", ONCE)
def test_once_says_why_it_cannot_render(stage: ConfigStage, app: App, what: str) -> None:
    rules, text, words = ONCE[what]
    write(stage, text)
    done = once(rendering(stage, app, **rules))
    assert done.returncode == 1
    assert done.stdout.startswith("cannot use the content: render: ")
    assert words in done.stdout
    assert "Traceback" not in done.stderr


def test_once_without_a_validator_in_the_image_says_so(stage: ConfigStage, app: App) -> None:
    """It tries once: an init container is started again by the kubelet."""
    reloader = stage.reloader().steps({"validate": {"command": ["no-such-program"]}}, app.webhook("/a"))
    done = once(reloader)
    assert done.returncode == 1
    assert "cannot start no-such-program: No such file or directory" in done.stdout


def test_check_finds_what_would_fail_and_touches_nothing(stage: ConfigStage, app: App) -> None:
    token, missing = stage.folder / "token", stage.folder / "missing"
    file = stage.folder / "file"
    file.touch()
    output = {"output": str(file / "out")}
    reloader = stage.reloader(stage.config.folder, missing, render=json.dumps(output), state_file=file / "state").steps(
        {"validate": {"command": ["no-such-program"]}},
        {"exec": {"command": ["true"]}},
        app.webhook("/a", bearer_token_file=str(token)),
        {"signal": {"process": "nobody-is-called-so"}},
    )
    done = run("check", "config-reloader", reloader=reloader)
    assert done.returncode == 1
    for finding in (
        f"ok: would watch {stage.config.folder} (volume, 1 files)",
        f"warning: {missing} is not there yet",
        "error: cannot run 'no-such-program'",
        "ok: would exec true",
        f"ok: would webhook POST {app.url}/a",
        f"error: cannot read {token} (bearer_token_file)",
        "error: cannot find a process that fits process 'nobody-is-called-so'",
        f"error: cannot write {file}/out",
        f"error: cannot write {file}/state",
    ):
        assert finding in done.stdout
    assert app.requests == []


def test_check_is_content_with_what_is_good(stage: ConfigStage, app: App) -> None:
    write(stage, "good")
    done = run("check", "config-reloader", reloader=rendering(stage, app))
    assert done.returncode == 0, done.stdout
    assert "error" not in done.stdout
    assert "warning" not in done.stdout
    assert not (stage.folder / "out").exists()


def clashing(stage: ConfigStage) -> str:
    other = Volume(stage.folder / "other")
    other.write({"app.yaml": b"1", "more.yaml": b"2"})
    return "error: cannot render: several watched paths have a file called app.yaml; rename the keys"


def unreadable(stage: ConfigStage) -> str:
    (stage.folder / "other").mkdir()
    (stage.folder / "other" / "app.conf").symlink_to("gone")
    return f"error: cannot read {stage.folder}/other/app.conf"


def unset(stage: ConfigStage) -> str:
    Volume(stage.folder / "other").write({"more.yaml": b"$(NOT_SET_ANYWHERE)"})
    return "error: cannot expand 'more.yaml' line 1: the variable NOT_SET_ANYWHERE is not set"


@pytest.mark.parametrize("trouble", [clashing, unreadable, unset])
def test_check_says_what_would_not_be_rendered(
    stage: ConfigStage, app: App, trouble: Callable[[ConfigStage], str]
) -> None:
    said = trouble(stage)
    output = {"output": str(stage.folder / "out"), "expand": True}
    reloader = stage.reloader(stage.config.folder, stage.folder / "other", render=json.dumps(output))
    done = run("check", "config-reloader", reloader=reloader)
    assert done.returncode == 1
    assert said in done.stdout
    assert not (stage.folder / "out").exists()


SETTINGS = """
watch: []
quiet_secondz: 3
render: {output: relative}
steps:
  - webhook: {url: "http://127.0.0.1:1/a", expect_status: [2xx, 9000]}
  - webhook: {url: ftp://host/a}
  - signal: {signal: SIGNOTHING, process: app}
    exec: {command: [touch, /x]}
  - signal: {signal: SIGNOTHING, process: app}
  - confirm: {url: "http://127.0.0.1:1/", text: "(", timeout_seconds: 5}
  - exec: {command: []}
"""


def test_all_problems_of_a_settings_file_are_named_at_once(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(SETTINGS.replace("quiet_secondz: 3\n", ""))
    done = run("check", "config-reloader", "--config", str(file))
    assert done.returncode == 2
    for where in (
        "watch ",
        "render ",
        "steps[0].webhook.expect_status",
        "steps[1].webhook.url",
        "steps[2]",
        "steps[3].signal.signal",
        "steps[4].confirm.text",
        "steps[5].exec.command",
    ):
        assert f"cannot use {where}" in done.stderr
    started = run("config-reloader", f"--config={file}")
    assert (started.returncode, started.stderr) == (2, done.stderr)


def test_types_and_names_that_are_wrong_are_named_with_their_place(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(SETTINGS.replace("relative", "[1]").replace("timeout_seconds: 5", "timeout_seconds: soon"))
    done = run("check", "config-reloader", "--config", str(file))
    assert done.returncode == 2
    for words in ("quiet_secondz", "render.output", "steps[4].confirm.timeout_seconds"):
        assert words in done.stderr


def test_help_schema_and_reference_name_every_setting() -> None:
    texts = {verb: run(*verb.split(), "config-reloader").stdout for verb in ("schema", "reference")}
    texts["help"] = run("config-reloader", "--help").stdout
    schema = json.loads(texts["schema"])
    assert "steps" in json.dumps(schema)
    for name in ("watch", "quiet_seconds", "state_file", "webhook_url", "unready_when_rejected"):
        assert name in texts["schema"]
        assert name in texts["reference"]
        assert f"--{name.replace('_', '-')}" in texts["help"]
    for name in ("validate", "expect_status", "bearer_token_file", "require_handler", "rollback"):
        assert name in texts["schema"]
        assert name in texts["reference"]
    assert "--once" in texts["help"]
