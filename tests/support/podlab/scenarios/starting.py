"""Scenarios of the start: order, gating, probes; wait-for as the init container that it is."""

import re
from pathlib import Path

import yaml

from tests.support.engine import image
from tests.support.podlab.building import (
    LOGS,
    RELOADER_PORT,
    SHIPPER_PORT,
    STATE,
    app,
    config_map,
    config_reloader,
    config_volume,
    container,
    log_shipper,
    mount,
    pod,
    writer,
)
from tests.support.podlab.lab import Manifest, until_seen
from tests.support.podlab.stage import Stage, assert_exits

SNIPPETS = Path(__file__).resolve().parents[4] / "k8s" / "snippets"
TUTORIAL = {"cpu": "100m", "memory": "100Mi"}
"""The limits that everybody copies."""


def an_app_starts_only_after_the_sidecars_have_started(stage: Stage) -> None:
    """Each entry finds, in its first instant, all those started that stand before it."""
    stage.lab.apply(config_map(stage.name("config"), {"app.json": "{}"}))
    both = [str(SHIPPER_PORT), str(RELOADER_PORT)]
    slow = {"limits": TUTORIAL}  # so that who does not wait for it finds it not started yet
    init = [
        log_shipper(stage.url, stage.name(), resources=slow),
        app("looker", both[0], "--once", name="between"),
        config_reloader(),
    ]
    volumes = [LOGS, STATE, config_volume(stage.name("config"))]
    name = stage.start(pod(stage.name(), [app("looker", *both)], init, volumes=volumes))
    stage.until_said(name, "app", "found 200 200")
    seen = stage.until(name, "all are ready", lambda seen: seen.ready)
    assert seen.end("between").exit_code == 0
    starts = [c.started_at or 0.0 for c in seen.containers]
    assert starts == sorted(starts), f"started out of order: {seen}"
    assert [c.restarts for c in seen.containers] == [0, 0, 0, 0], seen
    assert_exits(stage.delete(name), app=0, config_reloader=0, log_shipper=0)


def sidecars_with_the_limits_of_tutorials_start_and_do_their_job(stage: Stage) -> None:
    """100m CPU and 100Mi memory, requests equal to them, both sidecars in one pod."""
    stage.lab.apply(config_map(stage.name("config"), {"app.json": '{"greeting": "first"}'}))
    resources = {"limits": TUTORIAL, "requests": TUTORIAL}
    reloader = config_reloader(env={"CONFIG_RELOADER_WEBHOOK_URL": "http://127.0.0.1:8080/reload"}, resources=resources)
    init = [log_shipper(stage.url, stage.name(), resources=resources), reloader]
    configured = app("configured", name="configured")
    configured["volumeMounts"].append(mount("config", "/etc/app", read_only=True))
    volumes = [LOGS, STATE, config_volume(stage.name("config"))]
    name = stage.start(pod(stage.name(), [writer(LINES_PER_SECOND=50), configured], init, volumes=volumes))
    seen = stage.until(name, "all are ready", lambda seen: seen.ready)
    starts = [c.started_at or 0.0 for c in seen.containers]
    stage.figure(f"100m CPU: the pod's app started {starts[2] - starts[0]:.1f} s after its first sidecar")
    stage.lab.apply(config_map(stage.name("config"), {"app.json": '{"greeting": "second"}'}))
    stage.until_said(name, "configured", "greeting: second")
    stage.until_arrived(stage.name(), 50)
    end = stage.delete(name)
    assert_exits(end, app=0, configured=0, config_reloader=0, log_shipper=0)
    assert [c.restarts for c in end.containers] == [0, 0, 0, 0], end
    stage.assert_all_arrived(end, stage.name())


def shown(file: str, url: str, index: str) -> Manifest:
    """The sidecar that the documents show; only its image and its Elasticsearch are those of the lab."""
    text = (SNIPPETS / file).read_text(encoding="utf-8")
    sidecar: Manifest = next(yaml.safe_load_all(text))["spec"]["initContainers"][0]
    sidecar["image"] = re.sub(r"sidecars/([a-z-]+):.*", lambda match: image(match[1]), sidecar["image"])
    own = {"LOG_SHIPPER_ELASTICSEARCH_URL": url, "LOG_SHIPPER_INDEX": index}
    kept = [one for one in sidecar["env"] if one["name"] not in own]
    return sidecar | {"env": kept + [{"name": name, "value": value} for name, value in own.items()]}


def the_sidecar_of_the_readme_starts_with_the_cpu_of_a_busy_node(stage: Stage) -> None:
    """20m of CPU make its start take 20 s: no restart, and the app waits for it."""
    slow = {"limits": {"cpu": "20m", "memory": "100Mi"}}
    sidecar = shown("log-shipper.yaml", stage.url, stage.name()) | {"resources": slow}
    name = stage.start(pod(stage.name(), [writer(LINES=10)], [sidecar], volumes=[LOGS, STATE]))
    seen = stage.until(name, "the app runs", lambda seen: seen["app"].started_at)
    assert seen["log-shipper"].restarts == 0, seen
    took = (seen["app"].started_at or 0.0) - (seen["log-shipper"].started_at or 0.0)
    stage.figure(f"20m CPU: the app started {took:.1f} s after the sidecar of the README")
    stage.until_arrived(stage.name(), 10)


def an_app_starts_when_what_it_waits_for_is_there(stage: Stage) -> None:
    """The gate is a file; a sidecar before wait-for has the same volume, so that the test can open it."""
    gate, file = {"name": "gate", "emptyDir": {}}, "/gate/open"
    shipper = log_shipper(stage.url, stage.name(), volumeMounts=[mount("gate", "/gate")])
    waits = container(
        "wait-for",
        "wait-for",
        args=[f"file://{file}", "--progress-seconds", "1"],
        volumeMounts=[mount("gate", "/gate")],
    )
    volumes = [LOGS, STATE, gate]
    name = stage.start(pod(stage.name(), [app("looker", str(SHIPPER_PORT))], [shipper, waits], volumes=volumes))
    stage.until(name, "wait-for runs", lambda seen: seen["wait-for"].running)
    stage.until_said(name, "wait-for", file)
    assert stage.lab.seen(name)["app"].started_at is None, "the app did not wait"
    touch = f"open({file!r}, 'w').close()"
    stage.lab.run(name, "log-shipper", ["/usr/bin/python3", "-I", "-c", touch])
    seen = until_seen(stage.lab, name, "the app runs", lambda seen: seen["app"].running)
    assert (seen["app"].started_at or 0.0) >= seen.end("wait-for").ended_at
    assert seen.end("wait-for").exit_code == 0


def a_wait_in_vain_says_why_in_the_termination_message(stage: Stage) -> None:
    """Nobody listens on port 1 of the pod."""
    waits = container("wait-for", "wait-for", args=["tcp://127.0.0.1:1", "--timeout-seconds", "1"])
    name = stage.start(pod(stage.name(), [app("looker")], [waits], restartPolicy="Never"))
    seen = stage.until_over(name)
    assert seen.phase == "Failed"
    assert seen.end("wait-for").exit_code == 1
    assert "tcp://127.0.0.1:1" in seen.end("wait-for").message
    assert seen["app"].started_at is None
