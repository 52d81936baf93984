"""compose.yaml read as it is, without an engine: what a restricted pod must have, each container has."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from sidecars.config_reloader.core.steps import Step
from sidecars.declaration import declarations
from sidecars.devstack.tour.steps import START_ORDER, STOP_ORDER
from sidecars.kit.notify.core.process import Process
from sidecars.kit.notify.core.selection import Match, select
from tests.conftest import GiveUp
from tests.pods.compose.conftest import COMPOSE, IN_THE_POD, OURS
from tests.support.processes import can_run

ROOT = Path(__file__).resolve().parents[3]
JOINED = [name for name in IN_THE_POD if name != "pause"]
DECLARED = declarations()


def load(path: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
    return read


SERVICES: dict[str, Any] = COMPOSE["services"]
LOCAL: dict[str, Any] = load("images/compose.local.yaml")["services"]
TARGETS = set(re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "images" / "Dockerfile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", IN_THE_POD)
def test_each_container_of_the_pod_is_restricted_and_limited(name: str) -> None:
    service = SERVICES[name]
    assert service["user"] == "65532:65532"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"] == service["memswap_limit"] == "100m"
    assert service["cpus"] == "${POD_CPUS:-0.5}"


@pytest.mark.parametrize("name", JOINED)
def test_all_live_in_the_namespaces_of_pause(name: str) -> None:
    assert SERVICES[name]["network_mode"] == SERVICES[name]["pid"] == "service:pause"
    assert "ports" not in SERVICES[name]


@pytest.mark.parametrize("name", IN_THE_POD)
def test_each_image_of_ours_can_be_built_and_named_otherwise(name: str) -> None:
    service = SERVICES[name]
    build = service["build"]
    made = build["args"].get("SIDECAR", build["target"])
    assert service["image"] == f"${{SIDECAR_IMAGE_PREFIX:-sidecars/}}{made}:${{SIDECAR_IMAGE_TAG:-dev}}"
    assert build["args"]["BASE"] is None, "it comes from the environment"
    assert build["target"] in TARGETS
    assert (build["target"] == "sidecar") == (made in DECLARED)
    assert (build["context"], build["dockerfile"]) == (".", "images/Dockerfile")


@pytest.mark.parametrize(
    ("files", "of_ours"),
    [(["compose.yaml"], len(IN_THE_POD) + 1), (["compose.yaml", "images/compose.local.yaml"], len(IN_THE_POD) + 2)],
)
def test_an_image_of_ours_is_never_pulled(files: list[str], of_ours: int, without_server: GiveUp) -> None:
    """As compose understands it. Nobody knows whose those names are in a public registry."""
    if not can_run("docker", "compose", "version"):
        without_server("docker", "docker is not there, or has no compose plugin")
    command = ["docker", "compose", *(word for file in files for word in ("--file", file)), "config", "--format=json"]
    environment = {**os.environ, "SIDECAR_IMAGE_PREFIX": "ours/", "SIDECAR_IMAGE_TAG": "1"}
    read = json.loads(subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True).stdout)
    policies = {
        name: service.get("pull_policy")
        for name, service in read["services"].items()
        if service["image"] in {f"ours/{one}:1" for one in OURS}
    }
    assert (len(policies), set(policies.values())) == (of_ours, {"never"}), policies


@pytest.mark.parametrize("name", ["app", *(name for name in IN_THE_POD if name in DECLARED)])
def test_what_stays_is_probed_restarted_published_and_given_time_to_end_and_nothing_else_is(name: str) -> None:
    service = SERVICES[name]
    declared = DECLARED.get(name)
    if declared and not declared.serves:
        assert (service["restart"], "healthcheck" in service) == ("on-failure", False), "an init container"
        return
    assert service["restart"] == "always"
    assert service["healthcheck"]["test"][:2] == ["CMD", "sidecar-probe"]
    assert "stop_grace_period" in service
    if declared:
        port = f"127.0.0.1:${{{declared.prefix}PORT-{declared.port}}}:{declared.port}"
        assert port in SERVICES["pause"]["ports"]


def test_every_port_is_for_this_machine_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 6
    assert all(re.fullmatch(r"127\.0\.0\.1:\$\{\w+-\d+\}:\d+", port) for port in ports)


def test_the_order_is_that_of_the_pods_list() -> None:
    """Each waits for the one before; Compose stops in reverse. The tour sees that it is so."""
    assert list(IN_THE_POD) == list(START_ORDER)
    assert [name for name in reversed(IN_THE_POD) if name != "wait-for"] == list(STOP_ORDER)
    waits = {
        name: {other: how["condition"] for other, how in SERVICES[name]["depends_on"].items()} for name in IN_THE_POD
    }
    assert waits == {
        "pause": {"elasticsearch": "service_started", "vault": "service_started"},
        "log-shipper": {"pause": "service_started"},
        "config-reloader": {"log-shipper": "service_healthy"},
        "secret-sync": {"config-reloader": "service_healthy"},
        "wait-for": {"secret-sync": "service_healthy"},
        "app": {
            "wait-for": "service_completed_successfully",
            "log-shipper": "service_healthy",
            "config-reloader": "service_healthy",
            "secret-sync": "service_healthy",
        },
    }


def test_secrets_and_configuration_are_in_memory_and_the_app_may_only_read_them() -> None:
    for name in ("config", "secrets"):
        options = COMPOSE["volumes"][name]["driver_opts"]
        assert (options["type"], options["device"]) == ("tmpfs", "tmpfs")
        assert {"mode=0700", "uid=65532", "gid=65532"} <= set(options["o"].split(","))
    assert {"config:/etc/shop:ro", "secrets:/run/secrets:ro"} <= set(SERVICES["app"]["volumes"])


def test_the_override_is_about_elasticsearch_only() -> None:
    assert set(LOCAL) == {"elasticsearch"}
    assert LOCAL["elasticsearch"]["image"] == "${SIDECAR_IMAGE_PREFIX:-sidecars/}devstack:${SIDECAR_IMAGE_TAG:-dev}"
    assert "ports" not in LOCAL["elasticsearch"]


def running(pid: int, *argv: str) -> Process:
    sighup = 1 << signal.SIGHUP - 1
    return Process(
        pid=pid, ppid=0, comm="python3", argv=argv, uid=65532, real_uid=65532, saved_uid=65532, state="S",
        start_time=pid, caught=sighup,
    )  # fmt: skip


def test_the_reloader_finds_the_app_among_the_processes_of_the_pod() -> None:
    text = SERVICES["config-reloader"]["environment"]["CONFIG_RELOADER_STEPS"]
    steps = msgspec.convert(yaml.safe_load(text), tuple[Step, ...])
    (step,) = (step.signal for step in steps if step.signal is not None)
    python = ("/usr/bin/python3", "-I")
    pod = [
        running(1, *python, "-S", "/pause.py"),
        running(7, *python, "-m", "sidecars", "log-shipper"),
        running(20, *python, "-m", "sidecars", "config-reloader"),
        running(40, *python, "-m", "sidecars.devstack", *SERVICES["app"]["command"]),
    ]
    chosen = select(pod, step, 20, None)
    assert (chosen.found, [process.pid for process in chosen.processes]) == (Match.YES, [40]), chosen.why
