"""Scenarios of a changed ConfigMap: the app is told, by webhook or by signal, and a broken one is refused."""

import json

from tests.support.podlab.building import app, config_map, config_reloader, config_volume, mount, pod
from tests.support.podlab.lab import Manifest
from tests.support.podlab.stage import Stage, assert_exits


def a_changed_configmap_reloads_the_app_and_a_broken_one_does_not(stage: Stage) -> None:
    """Validated and told over HTTP."""
    steps = [
        {"validate": {"url": "http://127.0.0.1:8080/validate", "body_file": "{candidate}/app.json"}},
        {"webhook": {"url": "http://127.0.0.1:8080/reload"}},
    ]
    name = stage.start(configured(stage, {"CONFIG_RELOADER_STEPS": json.dumps(steps)}))
    change(stage, name, "second")
    stage.lab.apply(config_map(stage.name("config"), {"app.json": "no JSON"}))
    stage.until_said(name, "config-reloader", "reject")
    change(stage, name, "third")
    said = [line for line in stage.lab.log(name, "app").splitlines() if line.startswith("greeting")]
    assert said == ["greeting: first", "greeting: second", "greeting: third"]
    assert_exits(stage.delete(name), app=0, config_reloader=0)


def a_changed_configmap_is_told_by_signal_across_containers(stage: Stage) -> None:
    """With shareProcessNamespace, the same user and no capability at all."""
    env = {"CONFIG_RELOADER_SIGNAL": "SIGHUP", "CONFIG_RELOADER_PROCESS": "configured.py"}
    name = stage.start(configured(stage, env, shareProcessNamespace=True))
    change(stage, name, "second")
    assert_exits(stage.delete(name), app=0, config_reloader=0)


def configured(stage: Stage, env: dict[str, str], **spec: object) -> Manifest:
    """The app with a configuration, and the reloader."""
    stage.lab.apply(greeting(stage, "first"))
    serving = app("configured")
    serving["volumeMounts"].append(mount("config", "/etc/app", read_only=True))
    volumes = [config_volume(stage.name("config"))]
    return pod(stage.name(), [serving], [config_reloader(env=env)], volumes=volumes, **spec)


def greeting(stage: Stage, text: str) -> Manifest:
    return config_map(stage.name("config"), {"app.json": json.dumps({"greeting": text})})


def change(stage: Stage, pod: str, text: str) -> None:
    """Another greeting, until the app says that it is in force."""
    stage.until(pod, "it is ready", lambda seen: seen.ready)
    stage.until_said(pod, "app", "greeting:")
    stage.lab.apply(greeting(stage, text))
    seconds = stage.until_said(pod, "app", f"greeting: {text}")
    stage.figure(f"a changed ConfigMap was in force after {seconds:.1f} s")
