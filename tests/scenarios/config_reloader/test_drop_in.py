"""The arguments of configmap-reload (jimmidyson/configmap-reload, configmap-reload.go) in place of its own binary."""

import base64
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.config_stage import ConfigStage, looks
from tests.support.kubelet import Volume
from tests.support.processes import sidecar
from tests.support.reload_app import CUTS, OK, Answer, App, Asked
from tests.support.sidecars import ReloaderProcess

ANYWHERE = "--web.listen-address=127.0.0.1:0"


@pytest.fixture
def app() -> Iterator[App]:
    """The app that is told."""
    with App() as one:
        yield one


def called_with(stage: ConfigStage, *words: str, prefix: tuple[str, ...] = ()) -> ReloaderProcess:
    """A reloader with these arguments and nothing else."""
    reloader = stage.reloader(prefix=prefix)
    reloader.settings.clear()
    reloader.flags = words
    return reloader


def write(volume: Volume, text: str) -> None:
    volume.write({"app.yaml": text.encode()})


def in_style(style: str, *words: str) -> list[str]:
    """`--name=value` as it is, or `-name value`, as Go's flag package takes both."""
    if style == "two dashes":
        return list(words)
    return [part for word in words for part in word.removeprefix("-").split("=", 1)]


@pytest.mark.parametrize("style", ["two dashes", "one dash"])
def test_the_usual_arguments_do_what_they_did(stage: ConfigStage, app: App, style: str) -> None:
    words = in_style(style, f"--volume-dir={stage.config.folder}", f"--webhook-url={app.url}/-/reload", ANYWHERE)
    reloader = called_with(stage, *words)
    stage.begin(reloader)
    assert app.requests == []
    for count in (1, 2):
        write(stage.config, f"{count}")
        app.wait_for("/-/reload", count)
    reloader.until_settled()
    assert [(asked.method, asked.body) for asked in app.requests] == [("POST", "")] * 2
    unchanged = looks(reloader)[1]
    stage.config.rewrite()
    reloader.until(lambda: looks(reloader)[1] > unchanged, "another look")
    assert reloader.ask("/metrics")[0] == 200
    assert len(app.requests) == 2
    assert reloader.terminate() == 0


@pytest.mark.parametrize("style", ["two dashes", "one dash"])
def test_several_folders_and_several_targets(stage: ConfigStage, app: App, style: str) -> None:
    other = Volume(stage.folder / "other")
    write(other, "0")
    folders = [f"--volume-dir={folder}" for folder in (stage.config.folder, other.folder)]
    urls = [f"--webhook-url={app.url}/{name}" for name in ("a", "b")]
    app.answers["/a"] = Answer(500)
    reloader = called_with(stage, *in_style(style, *folders, *urls, "--webhook-method=PUT", ANYWHERE))
    stage.begin(reloader)
    for count, volume in enumerate((stage.config, other), 1):
        write(volume, "1")
        app.wait_for("/b", count)  # although /a refuses
    app.answers["/a"] = OK
    reloader.until_settled()
    assert len(app.asked("/b")) == 2
    assert {asked.method for asked in app.requests} == {"PUT"}


def test_the_status_that_is_asked_for_is_the_only_good_one(stage: ConfigStage, app: App) -> None:
    words = (f"--volume-dir={stage.config.folder}", f"--webhook-url={app.url}/a", ANYWHERE)
    reloader = called_with(stage, *words, "--webhook-status-code", "204")
    stage.begin(reloader)
    write(stage.config, "1")
    app.wait_for("/a", 2)
    assert "/a answered 200, expected 204" in reloader.status()["pending"]["waiting_for"]
    app.answers["/a"] = Answer(204)
    reloader.until_settled()
    assert reloader.status()["refused"] is None


def test_retries_are_attempts_in_all_as_they_were(stage: ConfigStage, app: App) -> None:
    app.answers["/a"] = Answer(500)
    words = (f"--volume-dir={stage.config.folder}", f"--webhook-url={app.url}/a", ANYWHERE)
    reloader = called_with(stage, *words, "--webhook-retries", "3")
    stage.begin(reloader)
    write(stage.config, "1")
    reloader.until(lambda: reloader.status()["refused"], "the last attempt")
    assert len(app.asked("/a")) == 3
    app.answers["/a"] = OK
    write(stage.config, "2")
    reloader.until(lambda: not reloader.status()["refused"], "the next content")
    assert len(app.asked("/a")) == 4


def test_an_app_that_is_down_for_8_s_is_told_by_the_second_of_two_attempts(stage: ConfigStage, app: App) -> None:
    """configmap-reload waits 10 s between two."""
    down_until: list[float] = []

    def restarting(asked: Asked) -> Answer:
        down_until.append(asked.at + 8)
        return CUTS if asked.at < down_until[0] else OK

    app.answers["/a"] = restarting
    words = (f"--volume-dir={stage.config.folder}", f"--webhook-url={app.url}/a", ANYWHERE)
    reloader = called_with(stage, *words, "--webhook-retries", "2")
    stage.begin(reloader)
    write(stage.config, "1")
    app.wait_for("/a", 2)
    reloader.until_settled()
    first, second = (asked.at for asked in app.asked("/a"))
    assert 9.5 < second - first < 15
    assert reloader.status()["refused"] is None


def test_a_password_in_the_url_is_sent_and_never_shown(stage: ConfigStage, app: App) -> None:
    """Percent-encoded, as Go's net/url takes it."""
    url = app.url.replace("://", "://planted-user:planted%2Fword@") + "/a"
    app.answers["/a"] = Answer(500)
    reloader = called_with(stage, f"--volume-dir={stage.config.folder}", f"--webhook-url={url}", ANYWHERE)
    stage.begin(reloader)
    write(stage.config, "1")
    app.wait_for("/a", 3)
    shown = reloader.ask("/status")[1] + reloader.ask("/metrics")[1]
    assert f"{app.url}/a answered 500" in shown
    app.answers["/a"] = OK
    reloader.until_settled()
    credentials = base64.b64encode(b"planted-user:planted/word").decode()
    assert {asked.headers["authorization"] for asked in app.requests} == {f"Basic {credentials}"}
    assert "planted" not in shown + reloader.stderr


def test_its_address_is_taken_as_go_takes_it(stage: ConfigStage, app: App) -> None:
    words = (f"--volume-dir={stage.config.folder}", f"--webhook-url={app.url}/a", "--web.telemetry-path=/metrics")
    reloader = called_with(stage, *words, "--web.listen-address=:0")
    stage.begin(reloader)
    assert reloader.logged("admin.listening")[0]["host"] == "::"


@pytest.mark.parametrize("link", ["config-reloader", "usr/bin/config-reloader"])
def test_it_runs_under_its_own_name(stage: ConfigStage, app: App, link: str) -> None:
    """A link to one small program, as the images have it for manifests that set no command."""
    program, name = stage.folder / "program", stage.folder / link
    program.write_text(f"#!{sys.executable}\nimport sys\nfrom sidecars.__main__ import named\nsys.exit(named())\n")
    program.chmod(0o755)
    name.parent.mkdir(parents=True, exist_ok=True)
    name.symlink_to(program)
    # What the process would be started as is dropped: `python -m sidecars config-reloader`.
    prefix = ("sh", "-c", f'shift 4; exec {name} "$@"', "sh")
    words = (f"--volume-dir={stage.config.folder}", f"--webhook-url={app.url}/a", ANYWHERE)
    reloader = called_with(stage, *words, prefix=prefix)
    stage.begin(reloader)
    assert str(name).encode() in Path(f"/proc/{reloader.pid}/cmdline").read_bytes()
    write(stage.config, "1")
    app.wait_for("/a")
    assert reloader.terminate() == 0


WRONG = {
    "--web.telemetry-path=/other": "metrics are at /metrics here",
    "--web.listen-address=9533": "it is not HOST:PORT",
    "--webhook-urls=x": "did you mean --webhook-url",
}


@pytest.mark.parametrize("word", WRONG)
def test_what_cannot_be_meant_is_said_at_once(stage: ConfigStage, app: App, word: str) -> None:
    words = [f"--volume-dir={stage.config.folder}", f"--webhook-url={app.url}/a", word]
    done = sidecar("config-reloader", *words)
    assert done.returncode == 2
    assert WRONG[word] in done.stderr
