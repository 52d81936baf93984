"""How the folders of k8s/ fit together: one for each sidecar; components that do to a workload what they promise."""

import copy
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts import k8s
from sidecars.declaration import declaration

from .rendered import (
    COMPONENTS,
    EXAMPLES,
    FOLDERS,
    GRACES,
    IN_PODS,
    K8S,
    Object,
    kustomize,
    manifest,
    name_of,
    overlay,
    template,
)

pytestmark = pytest.mark.usefixtures("kustomize")
NATIVES = [K8S / "wait-for" / "init", K8S / "config-reloader" / "native", K8S / "log-shipper" / "native"]
"""As docs/kubernetes.md says: the order of stopping."""
ORDINARY = [K8S / "wait-for" / "init", K8S / "config-reloader" / "ordinary", K8S / "log-shipper" / "ordinary"]

ASKING = {f"sidecars/{name}": f"shop-{name}" for name in IN_PODS}
"""The labels of a workload that asks for all sidecars."""
KINDS = {
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "ReplicaSet": "apps/v1",
    "Job": "batch/v1",
    "CronJob": "batch/v1",
    "Pod": "v1",
}
JOBS = {"Job", "CronJob"}
POD: Object = {
    "initContainers": [{"name": "own", "image": "own"}],
    "containers": [{"name": "app", "image": "app"}, {"name": "other", "image": "other"}],
    "volumes": [
        {"name": "logs", "persistentVolumeClaim": {"claimName": "mine"}},
        {"name": "config", "configMap": {"name": "mine"}},
    ],
}
"""A pod of somebody else."""
PLAIN: Object = {"containers": [{"name": "app", "image": "app"}]}
"""One with nothing that need not be there."""


def foreign(kind: str, labels: dict[str, str], pod: Object = POD, name: str = "mine") -> str:
    """A workload that is not ours."""
    spec = pod if kind == "Pod" else {"template": {"metadata": {"labels": {"app": "mine"}}, "spec": pod}}
    spec = {"schedule": "@daily", "jobTemplate": {"spec": spec}} if kind == "CronJob" else spec
    head = {"apiVersion": KINDS[kind], "kind": kind, "metadata": {"name": name, "labels": labels}}
    return yaml.safe_dump(head | {"spec": spec}, sort_keys=False) + "---\n"


def test_the_components_are_as_make_k8s_writes_them() -> None:
    wanted = k8s.files()
    for path, text in wanted.items():
        assert path.exists(), f"run `make k8s`: there is no {name_of(path)}"
        assert path.read_text(encoding="utf-8") == text, f"run `make k8s`: {name_of(path)} is not as it writes it"
    kept = {path for name in IN_PODS for path in (K8S / name).rglob("*") if path.is_file()}
    assert kept == {path for path in wanted if K8S / "app" not in path.parents}, "nothing else belongs there"


def test_the_readme_shows_every_folder_and_example() -> None:
    text = (K8S / "README.md").read_text(encoding="utf-8")
    for path in [*FOLDERS, *EXAMPLES]:
        first, *rest = path.relative_to(K8S).parts
        assert f"`{'/'.join(['NAME' if first in IN_PODS else first, *rest])}`" in text, name_of(path)


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_every_folder_renders_by_itself(folder: Path) -> None:
    assert bool(kustomize(folder)) == (folder not in COMPONENTS), "a component alone is nothing, and no error"


def names(found: Object, key: str) -> list[str]:
    return [one["name"] for one in template(found)["spec"].get(key, [])]


def workload(objects: list[Object], name: str) -> Object:
    return next(found for found in objects if found["metadata"]["name"] == name and template(found))


def test_the_list_of_components_is_the_order_of_stopping() -> None:
    shop = workload(manifest(K8S / "examples" / "native"), "shop")
    assert names(shop, "initContainers") == ["log-shipper", "config-reloader", "wait-for"]
    assert names(shop, "containers") == ["shop"]


def test_the_app_stays_the_first_container_in_ordinary_mode() -> None:
    shop = workload(manifest(K8S / "examples" / "ordinary"), "shop")
    assert names(shop, "containers") == ["shop", "config-reloader", "log-shipper"]
    assert names(shop, "initContainers") == ["wait-for"]


def of_each_kind(kinds: Iterable[str], labels: dict[str, str], pod: Object = POD) -> str:
    """A workload of each of these kinds, named like it."""
    return "".join(foreign(kind, labels, pod, kind.lower()) for kind in kinds)


@pytest.mark.parametrize(
    ("components", "kinds", "inits", "containers"),
    [
        (NATIVES, KINDS, ["log-shipper", "config-reloader", "wait-for", "own"], ["app", "other"]),
        (ORDINARY, KINDS.keys() - JOBS, ["wait-for", "own"], ["app", "other", "config-reloader", "log-shipper"]),
    ],
    ids=["native", "ordinary"],
)
def test_a_workload_of_any_kind_keeps_what_it_has(
    components: list[Path], kinds: Iterable[str], inits: list[str], containers: list[str]
) -> None:
    objects = overlay(components, [], of_each_kind(kinds, ASKING))
    for mine in (workload(objects, kind.lower()) for kind in kinds):
        assert (names(mine, "initContainers"), names(mine, "containers")) == (inits, containers)
        kept = [one for one in template(mine)["spec"]["volumes"] if one["name"] in {"logs", "config"}]
        assert sorted(kept, key=POD["volumes"].index) == POD["volumes"]
        added = {"config-reloader-state", "log-shipper-credentials", "log-shipper-state"}
        assert sorted(names(mine, "volumes")) == sorted({"logs", "config", *added})


@pytest.mark.parametrize(
    ("components", "kinds"), [(NATIVES, KINDS), (ORDINARY, KINDS.keys() - JOBS)], ids=["native", "ordinary"]
)
def test_a_workload_without_volumes_and_init_containers_renders_whole(
    components: list[Path], kinds: Iterable[str]
) -> None:
    objects = overlay(components, [], of_each_kind(kinds, ASKING, PLAIN))
    for spec in (template(workload(objects, kind.lower()))["spec"] for kind in kinds):
        there = {volume["name"] for volume in spec["volumes"]}
        assert {"logs", "config"} <= there
        for container in [*spec["initContainers"], *spec["containers"]]:
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= there, container["name"]


def test_a_workload_in_braces_renders() -> None:
    """Comments of a patch would come into the braces, and kustomize could not read on."""
    spec = {"template": {"spec": PLAIN}}
    head = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "mine", "labels": ASKING}}
    text = "\n".join(f"{key}: {json.dumps(value)}" for key, value in (head | {"spec": spec}).items())
    assert len(names(workload(overlay(NATIVES, [], text), "mine"), "initContainers")) == 3


@pytest.mark.parametrize("component", COMPONENTS, ids=name_of)
def test_a_workload_that_does_not_ask_is_left_alone(component: Path) -> None:
    text = of_each_kind(KINDS, {"app": "mine"})
    assert sorted(overlay([component], [], text), key=str) == sorted(
        [*yaml.safe_load_all(text.removesuffix("---\n")), *overlay([component], [])], key=str
    )


@pytest.mark.parametrize("component", COMPONENTS, ids=name_of)
def test_one_workload_asks_for_one_sidecar_and_its_neighbour_for_none(component: Path) -> None:
    name = component.relative_to(K8S).parts[0]
    own = {key: value for key, value in ASKING.items() if key == f"sidecars/{name}"}
    text = foreign("Deployment", own) + foreign("Deployment", {}, name="neighbour")
    needed = [component.parent, component] if component.name == "grace" else [component]
    objects = overlay(needed, [], text)
    every = names(workload(objects, "mine"), "initContainers") + names(workload(objects, "mine"), "containers")
    added = f"{name}-once" if component.name == "init" and IN_PODS[name].once else name
    assert sorted(every) == sorted(["own", "app", "other", added])
    assert template(workload(objects, "neighbour"))["spec"] == POD


@pytest.mark.parametrize("kind", sorted(JOBS))
@pytest.mark.parametrize("component", [path for path in COMPONENTS if path.name == "ordinary"], ids=name_of)
def test_a_job_that_would_never_end_is_refused_with_the_remedy(component: Path, kind: str) -> None:
    with pytest.raises(AssertionError, match=f"with an ordinary sidecar never ends. Use {component.parent.name} as a"):
        overlay([component], [], foreign(kind, ASKING))


def test_each_workload_has_its_own_settings_and_volumes_beside_what_all_share(tmp_path: Path) -> None:
    labels = {"sidecars/log-shipper": "a-logs", "sidecars/config-reloader": "a-config"}
    other = {"sidecars/log-shipper": "b-logs", "sidecars/log-shipper-volume": "data"}
    text = foreign("Deployment", labels, name="a") + foreign("CronJob", other, PLAIN, name="b")
    (tmp_path / "own.yaml").write_text(text, encoding="utf-8")
    maps = ("a-logs", "b-logs", "a-config", "log-shipper")
    content = {
        "kind": "Kustomization",
        "resources": ["own.yaml"],
        "components": [os.path.relpath(path, tmp_path.resolve()) for path in NATIVES],
        "configMapGenerator": [{"name": name, "literals": [f"OF={name}"]} for name in maps],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    objects = kustomize(tmp_path)
    data = {found["metadata"]["name"]: found["data"]["OF"] for found in objects if found["kind"] == "ConfigMap"}

    def sources(name: str) -> dict[str, list[str]]:
        containers = template(workload(objects, name))["spec"]["initContainers"]
        used = {
            one["name"]: [source["configMapRef"]["name"] for source in one.get("envFrom", [])] for one in containers
        }
        return {name: [data.get(found, found) for found in sources] for name, sources in used.items()}

    assert sources("a") == {
        "log-shipper": ["log-shipper", "a-logs"],
        "config-reloader": ["config-reloader", "a-config"],
        "own": [],
    }
    assert sources("b") == {"log-shipper": ["log-shipper", "b-logs"]}
    shipper = template(workload(objects, "b"))["spec"]["initContainers"][0]
    assert shipper["volumeMounts"][0] == {"name": "data", "mountPath": "/var/log/app", "readOnly": True}
    assert "logs" not in names(workload(objects, "b"), "volumes")


@pytest.mark.parametrize("grace", GRACES, ids=name_of)
def test_the_grace_of_the_pod_and_that_of_the_sidecar_are_set_together(grace: Path) -> None:
    variant, name = grace.parent.name, grace.parent.parent.name
    kinds = KINDS.keys() - (JOBS if variant == "ordinary" else ())  # which are refused: see above
    labels = {f"sidecars/{name}": f"shop-{name}"}
    own = foreign("Pod", labels | {"sidecars/grace": "own"}, {**PLAIN, "terminationGracePeriodSeconds": 300}, "own")
    objects = overlay([grace.parent, grace], [], of_each_kind(kinds, labels, PLAIN) + own)
    declared = declaration(name)
    assert declared.kubernetes is not None
    for spec in (template(workload(objects, kind.lower()))["spec"] for kind in kinds):
        every = [*spec.get("initContainers", []), *spec["containers"]]
        (variables,) = [one["env"] for one in every if one["name"] == name]
        seconds = next(int(one["value"]) for one in variables if one["name"] == f"{declared.prefix}GRACE_SECONDS")
        assert spec["terminationGracePeriodSeconds"] == declared.kubernetes.grace["pod"]
        assert seconds == declared.kubernetes.grace[variant]
    assert template(workload(objects, "own"))["spec"]["terminationGracePeriodSeconds"] == 300


def test_new_settings_are_new_pods_and_new_configuration_is_not() -> None:
    objects = manifest(K8S / "examples" / "native")
    maps = {found["metadata"]["name"] for found in objects if found["kind"] == "ConfigMap"}
    assert "shop" in maps, "config-reloader could do nothing if a change were another ConfigMap"
    assert set(ASKING.values()) & maps == set()
    for container in template(workload(objects, "shop"))["spec"]["initContainers"]:
        assert container["envFrom"][1]["configMapRef"]["name"] in maps


def containers_of(folder: Path) -> dict[str, Object]:
    spec = template(workload(manifest(folder), "shop"))["spec"]
    return {one["name"]: one for one in [*spec.get("initContainers", []), *spec["containers"]]}


@pytest.mark.parametrize("name", [name for name, pod in IN_PODS.items() if "ordinary" in pod.variants])
def test_native_and_ordinary_differ_in_what_they_must(name: str) -> None:
    native = copy.deepcopy(containers_of(K8S / name / "native")[name])
    ordinary = copy.deepcopy(containers_of(K8S / name / "ordinary")[name])
    assert native.pop("restartPolicy") == "Always"
    for variable, value in IN_PODS[name].ordinary.items():
        ordinary["env"].remove({"name": variable, "value": value})
    assert native == {key: part for key, part in ordinary.items() if part}


FREE = {"env", "envFrom", "volumeMounts"}
"""What an example may say in its own way."""
COMBINED = FREE | {"name", "image", "args", "ports"}


def bare(container: Object, left_out: set[str]) -> dict[str, Any]:
    return {key: value for key, value in container.items() if key not in left_out}


@pytest.mark.parametrize("example", EXAMPLES, ids=name_of)
def test_an_example_has_the_containers_of_the_components(example: Path) -> None:
    known = containers_of(K8S / "examples" / "native") | {
        "sidecars": containers_of(K8S / "log-shipper" / "native")["log-shipper"]
    }
    seen = 0
    for found in (found for found in manifest(example) if template(found)):
        for container in template(found)["spec"].get("initContainers", []):
            left_out = COMBINED if container["name"] == "sidecars" else FREE | {"args"}
            assert bare(container, left_out) == bare(known[container["name"]], left_out), container["name"]
            seen += 1
    assert seen


def test_the_app_of_the_examples_is_the_app() -> None:
    script = (K8S / "app" / "app.py").read_text(encoding="utf-8")
    maps = [found["data"] for path in EXAMPLES for found in manifest(path) if found["kind"] == "ConfigMap"]
    assert [found["app.py"] for found in maps if "app.py" in found] == [script, script]
    app = containers_of(K8S / "app")["shop"]
    pods = [
        template(found)["spec"]["containers"][0] for path in EXAMPLES for found in manifest(path) if template(found)
    ]
    copies = [one for one in pods if one["name"] == "shop"]
    assert len(copies) == 2
    assert all(bare(one, {"command", "volumeMounts"}) == bare(app, {"command", "volumeMounts"}) for one in copies)


def test_the_stand_in_of_the_example_is_the_stand_in() -> None:
    stand_in = copy.deepcopy(manifest(K8S / "elasticsearch"))
    for found in stand_in:
        found["metadata"]["labels"].pop("sidecars", None)
    copied = [
        found for found in manifest(K8S / "examples" / "pod.yaml") if found["metadata"]["name"] == "elasticsearch"
    ]
    assert sorted(copied, key=lambda found: found["kind"]) == sorted(stand_in, key=lambda found: found["kind"])
