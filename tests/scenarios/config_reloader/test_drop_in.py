"""The arguments of configmap-reload (jimmidyson/configmap-reload, configmap-reload.go) in place of its own binary.

What each flag means is held by tests/agents/config_reloader/test_settings.py.
"""

import sys
from pathlib import Path

import pytest

from tests.support.config_stage import ConfigStage
from tests.support.kubelet import Volume
from tests.support.reload_app import OK, Answer
from tests.support.sidecars import ReloaderProcess


def called_with(stage: ConfigStage, *words: str, prefix: tuple[str, ...] = ()) -> ReloaderProcess:
    """A reloader with these arguments and nothing else."""
    reloader = stage.reloader(prefix=prefix)
    reloader.settings.clear()
    reloader.flags = words
    return reloader


def in_style(style: str, *words: str) -> list[str]:
    """`--name=value` as it is, or `-name value`, as Go's flag package takes both."""
    if style == "two dashes":
        return list(words)
    return [part for word in words for part in word.removeprefix("-").split("=", 1)]


@pytest.mark.parametrize("style", ["two dashes", "one dash"])
def test_its_arguments_do_what_they_did(stage: ConfigStage, style: str) -> None:
    """Several folders and targets, of which one refuses; the address as Go takes it."""
    app, other = stage.target, Volume(stage.folder / "other")
    other.write({"app.yaml": b"0"})
    words = [f"--volume-dir={folder}" for folder in (stage.config.folder, other.folder)]
    words += [f"--webhook-url={app.url}/{name}" for name in ("a", "b")]
    words += ["--webhook-method=PUT", "--webhook-status-code=204", "--web.listen-address=:0"]
    reloader = called_with(stage, *in_style(style, *words, "--web.telemetry-path=/metrics"))
    app.answers.update({"/a": OK, "/b": Answer(204)})
    stage.begin(reloader)
    assert reloader.logged("admin.listening")[0]["host"] == "::"
    for count, volume in enumerate((stage.config, other), 1):
        volume.write({"app.yaml": b"1"})
        app.wait_for("/b", count)  # although /a refuses
    assert "/a answered 200, expected 204" in reloader.status()["pending"]["waiting_for"]
    app.answers["/a"] = Answer(204)
    reloader.until_settled()
    assert {(asked.method, asked.body) for asked in app.requests} == {("PUT", "")}
    assert len(app.asked("/b")) == 2
    assert reloader.terminate() == 0


@pytest.mark.parametrize("link", ["config-reloader", "usr/bin/config-reloader"])
def test_it_runs_under_its_own_name(stage: ConfigStage, link: str) -> None:
    """A link to one small program, as the images have it for manifests that set no command."""
    program, name = stage.folder / "program", stage.folder / link
    program.write_text(f"#!{sys.executable}\nimport sys\nfrom sidecars.__main__ import named\nsys.exit(named())\n")
    program.chmod(0o755)
    name.parent.mkdir(parents=True, exist_ok=True)
    name.symlink_to(program)
    # What the process would be started as is dropped: `python -m sidecars config-reloader`.
    prefix = ("sh", "-c", f'shift 4; exec {name} "$@"', "sh")
    words = (f"--volume-dir={stage.config.folder}", f"--webhook-url={stage.target.url}/a")
    reloader = called_with(stage, *words, "--web.listen-address=127.0.0.1:0", prefix=prefix)
    stage.begin(reloader)
    assert str(name).encode() in Path(f"/proc/{reloader.pid}/cmdline").read_bytes()
    stage.write("1")
    stage.target.wait_for("/a")
    assert reloader.terminate() == 0
