"""What a manifest tells a sidecar is what it can be told: its own settings read it, so that a renamed one is seen."""

from pathlib import Path

import pytest

from sidecars.__main__ import find
from sidecars.runtime import Basics, SettingsError
from sidecars.runtime.life.run import read_arguments
from sidecars.runtime.settings.load import load

from .rendered import Container, Object, containers, pods
from .rendered import manifest as objects_of


def config_maps(path: Path) -> dict[str, Object]:
    return {found["metadata"]["name"]: found["data"] for found in objects_of(path) if found["kind"] == "ConfigMap"}


def environment(one: Container, known: dict[str, Object]) -> dict[str, str]:
    """Its variables; what the kubelet fills in is an example of it."""
    found: dict[str, str] = {}
    for source in one.body.get("envFrom", []):
        wanted = source["configMapRef"]
        assert wanted["name"] in known or wanted.get("optional"), f"{one.name} has no ConfigMap {wanted['name']}"
        found |= known.get(wanted["name"], {})
    return found | {entry["name"]: entry.get("value", "from the pod") for entry in one.body.get("env", [])}


def settings(one: Container, name: str, known: dict[str, Object]) -> Basics:
    """As the sidecar would read them; SettingsError with what is wrong."""
    sidecar = find(name)
    line = read_arguments([sidecar], [] if one.image == "sidecar" else one.body.get("args", []))
    if line.problems:
        raise SettingsError(line.problems)
    return load(sidecar.settings, sidecar.prefix, environment(one, known), line.flags)


def test_every_sidecar_can_be_started_with_what_it_is_told(manifest: Path) -> None:
    known = config_maps(manifest)
    for one in containers(manifest):
        for name in one.sidecars:
            settings(one, name, known)


def test_every_variable_is_read_by_the_sidecar_that_gets_it(manifest: Path) -> None:
    known = config_maps(manifest)
    for one in containers(manifest):
        sidecars = [find(name) for name in one.sidecars]
        for variable in environment(one, known) if sidecars else ():
            own = any(variable.startswith(sidecar.prefix) for sidecar in sidecars)
            foreign = any(sidecar.settings.fallbacks({variable: "x"}) for sidecar in sidecars)
            assert own or foreign, f"{one.name} has no use for {variable}"


def test_the_grace_of_the_pod_is_enough_for_all_that_happens_in_it(manifest: Path) -> None:
    known = config_maps(manifest)
    for pod in pods(manifest):
        inits = [Container(body, pod, init=True) for body in pod.get("initContainers", [])]
        natives = [one for one in inits if one.native]
        others = [one for one in (Container(body, pod, init=False) for body in pod["containers"]) if one.sidecars]
        one_by_one = sum(grace(one, known) for one in natives)
        together_with_the_app = max([10.0, *(grace(one, known) for one in others)])
        if natives or others:
            assert pod["terminationGracePeriodSeconds"] >= one_by_one + together_with_the_app, "10 s are for the app"


def grace(one: Container, known: dict[str, Object]) -> float:
    """How long it may take from SIGTERM to its end."""
    found = (settings(one, name, known) for name in one.sidecars)
    return sum(float(getattr(its, "grace_seconds", 0)) for its in found)


def test_a_setting_that_does_not_exist_is_seen() -> None:
    env = [{"name": "LOG_SHIPPER_PATHS", "value": "/a/*.log"}, {"name": "LOG_SHIPPER_BATCH_BITES", "value": "1"}]
    body = {"name": "a", "image": "sidecars/log-shipper:1", "env": env}
    with pytest.raises(SettingsError, match="BATCH_BITES"):
        settings(Container(body, {}, init=True), "log-shipper", {})
