"""What is said about settings of the config reloader that cannot be used: where it is, what is wrong, what to do."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from sidecars.config_reloader.agent import SIDECAR
from sidecars.config_reloader.check import step_text
from sidecars.config_reloader.settings import ConfigReloaderSettings
from sidecars.kit.notify.core.options import OnFailure
from sidecars.runtime import SettingsError
from sidecars.runtime.command.flags import parse_arguments

PREFIX = "CONFIG_RELOADER_"


def loaded(*steps: dict[str, Any], **settings: str) -> ConfigReloaderSettings:
    environ = {f"{PREFIX}{name.upper()}": text for name, text in {"watch": "/config", **settings}.items()}
    if steps:
        environ[f"{PREFIX}STEPS"] = json.dumps(steps)
    found = SIDECAR.load(environ)
    assert isinstance(found, ConfigReloaderSettings)
    return found


def complaints(*steps: dict[str, Any], **settings: str) -> str:
    with pytest.raises(SettingsError) as caught:
        loaded(*steps, **settings)
    return str(caught.value)


HOOK = {"webhook": {"url": "http://a/"}}


@pytest.mark.parametrize(
    ("step", "said"),
    [
        pytest.param({}, "steps[0] (from CONFIG_RELOADER_STEPS): it has no key", id="nothing"),
        pytest.param({**HOOK, "exec": {"command": ["x"]}}, "it has 2 keys (webhook, exec)", id="two keys"),
        pytest.param({"webhook": {}}, "steps[0].webhook.url", id="no url"),
        pytest.param({"webhook": {"url": "http://a", "retries": -1}}, "steps[0].webhook.retries", id="retries"),
        pytest.param({"webhook": {"url": "http://a", "timeout": 1}}, "did you mean timeout_seconds?", id="a near key"),
        pytest.param({"exec": {}}, "steps[0].exec.command: it is empty", id="no command"),
        pytest.param({"validate": {"command": ["x"], "url": "http://a"}}, "both a command and a url", id="both ways"),
        pytest.param({"validate": {}}, "steps[0].validate.url", id="no way to validate"),
        pytest.param({"signal": {"signal": "SIGFOO", "process": "x"}}, "cannot use 'SIGFOO' as a signal", id="signal"),
        pytest.param({"signal": {}}, "steps[0].signal: no process is named", id="no process"),
        pytest.param({"confirm": {"url": "http://a"}}, "it names no value", id="nothing to confirm"),
        pytest.param({"confirm": {"url": "http://a", "text": "a", "json": "b"}}, "2 values (json, text)", id="two"),
        pytest.param(
            {"confirm": {"url": "http://a", "json": "a", "rollback": True}}, "confirm.rollback", id="rollback"
        ),
        pytest.param(
            {"confirm": {"url": "http://a", "metric": "reloads"}},
            "steps[0].confirm: no step before it notifies the app: without a value from before",
            id="no value from before",
        ),
        pytest.param(
            {"validate": {"command": "nginx -t -c {candidate}/nginx.conf"}},
            'write the program and each argument as an item of a list: ["nginx", "...", ...]',
            id="a command as one text",
        ),
        pytest.param(
            {"validate": {"command": ["{candidate}/check -q"]}},
            '["{candidate}/check", "...", ...]',
            id="a list of one text",
        ),
        pytest.param({"exec": {"command": "sh -c 'kill -HUP 1'"}}, '["sh", "...", ...]', id="an exec as one text"),
    ],
)
def test_a_step_that_cannot_work_is_named_with_its_place(step: dict[str, Any], said: str) -> None:
    text = complaints(step).replace(" (from CONFIG_RELOADER_STEPS)", "") + complaints(step)
    assert said in text


def test_everything_wrong_is_said_once_and_at_once() -> None:
    text = complaints({"confirm": {"url": "nowhere", "metric": "{", "timeout_seconds": 1, "interval_seconds": 2}}, {})
    lines = text.splitlines()
    assert len(lines) == len(set(lines)) == 5


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"watch": ""}, "cannot use watch: nothing to watch is named"),
        ({}, "cannot use steps: there is nobody to notify"),
        ({"signal": "HUP"}, "cannot use process"),
        ({"signal": "SIGFOO", "process": "x"}, "cannot use signal"),
        ({"webhook_url": "http://a", "webhook_status_code": "abc"}, "cannot use webhook_status_code"),
        ({"webhook_url": "nowhere"}, "cannot use webhook_url"),
        ({"webhook_url": "http://a", "steps": '[{"exec": {"command": ["x"]}}]'}, "write them all as steps"),
        ({"webhook_url": "http://a", "listen_address": "nine"}, "cannot use listen_address"),
        ({"webhook_url": "http://a", "telemetry_path": "/m"}, "metrics are at /metrics here"),
        ({"render": "{output: etc}"}, "cannot use render"),
        ({"render": "{output: /config/live}"}, "/config/live lies in /config, which is watched"),
        ({"webhook_url": "http://a", "state_file": "/config/state.json"}, "cannot use state_file"),
        ({"webhook_url": "http://a", "watch": '[""]'}, "one of the paths is empty"),
    ],
)
def test_a_simple_setting_that_cannot_work_is_named(settings: dict[str, str], said: str) -> None:
    assert said in complaints(**settings)


def test_the_simple_settings_mean_steps() -> None:
    given = {"webhook_url": "http://a,http://b", "webhook_method": "PUT", "webhook_status_code": "204"}
    steps = loaded(process="nginx", webhook_retries="3", **given).all_steps
    assert steps[0].signal is not None
    assert (steps[0].signal.signal, steps[0].signal.process) == ("SIGHUP", "nginx")
    hooks = [step.webhook for step in steps[1:] if step.webhook]
    assert [(hook.url, hook.method, hook.expect_status, hook.retries, hook.on_failure) for hook in hooks] == [
        (url, "PUT", ("204",), 2, OnFailure.CONTINUE) for url in ("http://a", "http://b")
    ]


@pytest.mark.parametrize(("given", "retries"), [("-1", None), ("0", 0), ("1", 0), ("5", 4)])
def test_webhook_retries_are_attempts_as_in_configmap_reload(given: str, retries: int | None) -> None:
    hook = loaded(webhook_url="http://a", webhook_retries=given).all_steps[0].webhook
    assert hook is not None
    assert (hook.retries, hook.retry_seconds) == (retries, 10)


@pytest.mark.parametrize(
    ("text", "host", "port"), [(":9533", "::", 9533), ("127.0.0.1:1", "127.0.0.1", 1), ("[::1]:2", "::1", 2)]
)
def test_the_listen_address_wins(text: str, host: str, port: int) -> None:
    settings = loaded(HOOK, listen_address=text, admin_port="4", admin_host="127.0.0.9")
    assert (settings.admin_host, settings.admin_port) == (host, port)


def test_the_flags_of_prometheus_config_reloader_are_understood() -> None:
    """Those of another shape are errors: the page that says how to move names what they are here."""
    flags = [
        "--config-file=/config/prometheus.yaml",
        "--watched-dir=/rules",
        "--watched-dir=/more",
        "--reload-url=http://127.0.0.1:9090/-/reload",
        "--delay-interval=2s",
        "--watch-interval=3m",
        "--listen-address=:8080",
        "--log-level=info",
    ]
    line = parse_arguments(SIDECAR, flags)
    assert not line.problems
    settings = SIDECAR.load({}, line.flags)
    assert isinstance(settings, ConfigReloaderSettings)
    assert list(settings.watch) == ["/config/prometheus.yaml", "/rules", "/more"]
    assert list(settings.webhook_url) == ["http://127.0.0.1:9090/-/reload"]
    assert (settings.quiet_seconds, settings.resync_seconds) == (2, 180)
    assert settings.admin_port == 8080
    assert len(parse_arguments(SIDECAR, ["--config-envsubst-file=/out/x", "--reload-method=signal"]).problems) == 2


def test_a_confirm_needs_a_value_to_compare_with() -> None:
    value = {"confirm": {"url": "http://a", "json": "reloads"}}
    for steps in ([{"confirm": {**value["confirm"], "equals": "{hash}"}}], [HOOK, value]):
        assert len(loaded(*steps).all_steps) == len(steps)
    assert "steps[0].confirm" in complaints(value, HOOK)


def test_a_program_with_a_blank_in_its_name_is_taken(tmp_path: Path) -> None:
    program = tmp_path / "the program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert loaded({"exec": {"command": [str(program)]}}).all_steps


def test_a_state_file_that_is_a_pipe_is_refused_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert f"{tmp_path}/pipe is a named pipe" in complaints(HOOK, state_file=str(tmp_path / "pipe"))


MARK = "planted"
SECRETS: dict[str, dict[str, Any]] = {
    "an argument": {"exec": {"command": f"curl -H Authorization:{MARK} http://a"}},
    "a scheme": {"webhook": {"url": f"{MARK}://{MARK}:{MARK}@host"}},
    "a port": {"webhook": {"url": f"http://user:{MARK}@host:port/{MARK}?{MARK}"}},
    "two ways": {"webhook": {"url": f"http://user:{MARK}@host", "username": MARK, "password_file": "/x"}},
    "a header": {"webhook": {"url": "http://host", "headers": {"Authorization": f"Bearer {MARK}\n"}}},
    "an unknown option": {"webhook": {"url": "http://host", "token": MARK}},
    "a wrong type": {"webhook": {"url": "http://host", "bearer_token_file": [MARK]}},
}


@pytest.mark.parametrize("step", SECRETS.values(), ids=SECRETS.keys())
def test_settings_that_cannot_be_used_are_refused_without_their_secrets(step: dict[str, Any]) -> None:
    text = complaints(step)
    assert f"steps[0].{next(iter(step))}" in text
    assert MARK not in text


def test_a_password_with_a_slash_is_not_shown() -> None:
    """It is a valid address then, of another place: its beginning is the port, its end the path."""
    (step,) = loaded({"webhook": {"url": f"http://user:12/{MARK}@host/"}}).all_steps
    assert step_text(step) == "webhook POST http://..."
