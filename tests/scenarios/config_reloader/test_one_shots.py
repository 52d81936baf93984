"""Run once: `--once` for an init container, `sidecar check`, and what is printed about the settings."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.config_stage import ConfigStage
from tests.support.kubelet import Volume
from tests.support.processes import Done, sidecar
from tests.support.sidecars import ReloaderProcess


def run(*words: str, reloader: ReloaderProcess | None = None) -> Done:
    """The command with these words, and with the settings of a reloader that is not started."""
    return sidecar(*words, settings=reloader.settings if reloader else None)


def once(reloader: ReloaderProcess) -> Done:
    return run("config-reloader", "--once", reloader=reloader)


def rendering(stage: ConfigStage, *watch: Path, **rules: object) -> ReloaderProcess:
    """Renders into `out`, validates, and would notify the app."""
    reloader = stage.reloader(*watch, render=json.dumps({"output": str(stage.folder / "out"), **rules}))
    valid = ["grep", "-q", "good", "{candidate}/app.yaml"]
    return reloader.steps({"validate": {"command": valid}}, stage.reload)


def test_once_publishes_what_is_good_and_the_sidecar_after_it_tells_nothing(stage: ConfigStage) -> None:
    """Also when a pod is started again on the same volumes: the app reads the newest, so nobody has to be told."""
    reloader, output = rendering(stage), stage.folder / "out" / "app.yaml"
    for text in ("good 0", "good 1"):
        stage.write(text)
        done = once(reloader)
        digest = json.loads((stage.folder / "state.json").read_text())["hash"]
        assert (done.returncode, done.stdout) == (0, f"ok: the content {digest} is good\n")
        assert output.read_text() == text, "the app is started from it"
        assert stage.begin(reloader) == digest
        reloader.terminate()
    state = (stage.folder / "state.json").read_text()
    stage.write("bad")
    done = once(reloader)
    assert (done.returncode, done.stdout) == (1, "cannot use the content: validate: grep: exit status 1\n")
    assert (output.read_text(), (stage.folder / "state.json").read_text(), stage.told) == ("good 1", state, [])


ONCE: dict[str, tuple[dict[str, object], str, str]] = {
    "a variable": ({"expand": True}, "good $(MISSING)", "line 1: the variable MISSING is not set"),
    "an output that is a file": ({"output": "/dev/null"}, "good", "cannot write /dev/null (render.output)"),
}


@pytest.mark.parametrize(("rules", "text", "words"), ONCE.values(), ids=ONCE.keys())
def test_once_says_why_it_cannot_render(stage: ConfigStage, rules: dict[str, object], text: str, words: str) -> None:
    stage.write(text)
    done = once(rendering(stage, **rules))
    assert done.returncode == 1
    assert done.stdout.startswith("cannot use the content: render: ")
    assert words in done.stdout
    assert "Traceback" not in done.stderr


def test_once_says_what_is_missing_and_tries_once(stage: ConfigStage) -> None:
    """An init container is started again by the kubelet."""
    missing = stage.folder / "missing"
    done = once(rendering(stage, stage.config.folder, missing))
    assert (done.returncode, done.stdout.startswith(f"cannot read {missing}: not there")) == (1, True)
    assert not (stage.folder / "out").exists()
    done = once(stage.reloader().steps({"validate": {"command": ["no-such-program"]}}, stage.reload))
    assert done.returncode == 1
    assert "cannot start no-such-program: No such file or directory" in done.stdout


def test_check_finds_what_would_fail_and_touches_nothing(stage: ConfigStage) -> None:
    token, missing, file = (stage.folder / name for name in ("token", "missing", "file"))
    file.touch()
    reloader = rendering(stage, stage.config.folder, missing, output=str(file / "out")).steps(
        {"validate": {"command": ["no-such-program"]}},
        {"exec": {"command": ["true"]}},
        stage.target.webhook("/a", bearer_token_file=str(token)),
        {"signal": {"process": "nobody-is-called-so"}},
    )
    reloader.settings["state_file"] = file / "state"
    done = run("check", "config-reloader", reloader=reloader)
    assert done.returncode == 1
    for finding in (
        f"ok: would watch {stage.config.folder} (volume, 1 files)",
        f"warning: {missing} is not there yet",
        "error: cannot run 'no-such-program'",
        "ok: would exec true",
        f"ok: would webhook POST {stage.target.url}/a",
        f"error: cannot read {token} (bearer_token_file)",
        "error: cannot find a process that fits process 'nobody-is-called-so'",
        f"error: cannot write {file}/out",
        f"error: cannot write {file}/state",
    ):
        assert finding in done.stdout
    assert stage.target.requests == []


def good(stage: ConfigStage) -> str:
    (stage.folder / "other").mkdir()
    (stage.folder / "other" / "more.yaml").touch()
    return ""


def clashing(stage: ConfigStage) -> str:
    Volume(stage.folder / "other").write({"app.yaml": b"1", "more.yaml": b"2"})
    return "error: cannot render: several watched paths have a file called app.yaml; rename the keys"


def unreadable(stage: ConfigStage) -> str:
    (stage.folder / "other").mkdir()
    (stage.folder / "other" / "app.conf").symlink_to("gone")
    return f"error: cannot read {stage.folder}/other/app.conf"


def unset(stage: ConfigStage) -> str:
    Volume(stage.folder / "other").write({"more.yaml": b"$(NOT_SET_ANYWHERE)"})
    return "error: cannot expand 'more.yaml' line 1: the variable NOT_SET_ANYWHERE is not set"


@pytest.mark.parametrize("trouble", [good, clashing, unreadable, unset])
def test_check_says_what_would_not_be_rendered(stage: ConfigStage, trouble: Callable[[ConfigStage], str]) -> None:
    said = trouble(stage)
    done = run(
        "check", "config-reloader", reloader=rendering(stage, stage.config.folder, stage.folder / "other", expand=True)
    )
    assert done.returncode == (1 if said else 0)
    assert said in done.stdout
    assert said or not {"error", "warning"} & set(done.stdout.replace(":", " ").split())
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


def test_all_problems_of_a_settings_file_are_named_at_once_with_their_places(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(SETTINGS.replace("quiet_secondz: 3\n", ""))
    done = run("check", "config-reloader", "--config", str(file))
    assert done.returncode == 2
    named = ("watch ", "render ", "steps[0].webhook.expect_status", "steps[1].webhook.url", "steps[2]")
    for where in (*named, "steps[3].signal.signal", "steps[4].confirm.text", "steps[5].exec.command"):
        assert f"cannot use {where}" in done.stderr
    started = run("config-reloader", f"--config={file}")
    assert (started.returncode, started.stderr) == (2, done.stderr)
    file.write_text(SETTINGS.replace("relative", "[1]").replace("timeout_seconds: 5", "timeout_seconds: soon"))
    done = run("check", "config-reloader", "--config", str(file))
    assert done.returncode == 2
    for words in ("quiet_secondz", "render.output", "steps[4].confirm.timeout_seconds"):
        assert words in done.stderr
