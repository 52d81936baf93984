"""How the folders of k8s/ fit together: one for each sidecar; components that do to a workload what they promise."""

import copy
import os
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecars.__main__ import find
from tests.rules.agents import sidecar_names

from .rendered import COMPONENTS, EXAMPLES, FOLDERS, K8S, Object, kustomize, manifest, name_of, overlay, template

pytestmark = pytest.mark.usefixtures("kustomize")
NATIVES = [K8S / "wait-for" / "init", K8S / "config-reloader" / "native", K8S / "log-shipper" / "native"]
"""As the README says: the order of stopping."""

FOREIGN = """
apiVersion: {version}
kind: {kind}
metadata: {{name: mine, labels: {{{labels}}}}}
spec:
  template:
    metadata: {{labels: {{app: mine}}}}
    spec:
      initContainers: [{{name: own, image: own}}]
      containers: [{{name: app, image: app}}, {{name: other, image: other}}]
      volumes:
        - {{name: logs, emptyDir: {{}}}}
        - {{name: config, configMap: {{name: mine}}}}
"""


def test_every_sidecar_has_its_folders() -> None:
    for name in sidecar_names():
        variants = {"native", "ordinary"} if find(name).admin else {"init"}
        assert {path.name for path in COMPONENTS if path.parent == K8S / name} == variants
        assert K8S / name in FOLDERS
        assert name in (K8S / "examples" / "native" / "kustomization.yaml").read_text(encoding="utf-8")


def test_the_readme_shows_every_folder_and_example() -> None:
    text = (K8S / "README.md").read_text(encoding="utf-8")
    for path in [*FOLDERS, *EXAMPLES]:
        assert f"`{path.relative_to(K8S).as_posix()}`" in text, name_of(path)


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


@pytest.mark.parametrize(
    ("version", "kind"),
    [("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"), ("apps/v1", "DaemonSet"), ("batch/v1", "Job")],
)
def test_a_workload_keeps_what_it_has(version: str, kind: str) -> None:
    mine = workload(overlay(NATIVES, [], FOREIGN.format(version=version, kind=kind, labels="")), "mine")
    assert names(mine, "initContainers") == ["log-shipper", "config-reloader", "wait-for", "own"]
    assert names(mine, "containers") == ["app", "other"]
    volumes = {"logs", "config", "config-reloader-state", "log-shipper-credentials", "log-shipper-state"}
    assert set(names(mine, "volumes")) == volumes


@pytest.mark.parametrize("component", COMPONENTS, ids=name_of)
def test_a_workload_that_says_no_is_left_alone(component: Path) -> None:
    text = FOREIGN.format(version="apps/v1", kind="Deployment", labels="sidecars: none")
    assert names(workload(overlay([component], [], text), "mine"), "initContainers") == ["own"]


def test_new_settings_are_new_pods_and_new_configuration_is_not() -> None:
    objects = manifest(K8S / "examples" / "native")
    maps = {found["metadata"]["name"] for found in objects if found["kind"] == "ConfigMap"}
    assert "shop" in maps, "config-reloader could do nothing if a change were another ConfigMap"
    assert {"log-shipper", "config-reloader", "wait-for"} & maps == set()
    for container in template(workload(objects, "shop"))["spec"]["initContainers"]:
        assert container["envFrom"][0]["configMapRef"]["name"] in maps


def containers_of(folder: Path) -> dict[str, Object]:
    spec = template(workload(manifest(folder), "shop"))["spec"]
    return {one["name"]: one for one in [*spec.get("initContainers", []), *spec["containers"]]}


@pytest.mark.parametrize("name", [name for name in sidecar_names() if find(name).admin])
def test_native_and_ordinary_differ_in_what_they_must(name: str) -> None:
    native = copy.deepcopy(containers_of(K8S / name / "native")[name])
    ordinary = copy.deepcopy(containers_of(K8S / name / "ordinary")[name])
    assert native.pop("restartPolicy") == "Always"
    lifecycle = {"name": "LOG_SHIPPER_LIFECYCLE", "value": "ordinary"}
    if name == "log-shipper":
        ordinary["env"].remove(lifecycle)
    assert native == ordinary


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


def test_what_the_readme_says_to_write_works(tmp_path: Path) -> None:
    text = (K8S / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    snippet = next(block for block in blocks if "components:" in block)
    there = os.path.relpath(K8S, tmp_path.resolve())
    (tmp_path / "kustomization.yaml").write_text(snippet.replace("../sidecars/k8s", there), encoding="utf-8")
    own = FOREIGN.format(version="apps/v1", kind="Deployment", labels="")
    (tmp_path / "deployment.yaml").write_text(own, encoding="utf-8")
    mine = workload(kustomize(tmp_path), "mine")
    assert names(mine, "initContainers") == ["log-shipper", "config-reloader", "wait-for", "own"]
    images = [one["image"] for one in template(mine)["spec"]["initContainers"]]
    assert [image.startswith("registry.example/sidecars/") for image in images] == [True, True, True, False]


def test_the_patch_of_the_readme_leaves_the_choice_of_the_user_to_the_cluster(tmp_path: Path) -> None:
    text = (K8S / "README.md").read_text(encoding="utf-8")
    patch = textwrap.dedent("  patches:" + text.partition("  ```yaml\n  patches:")[2].partition("  ```")[0])
    resources = [os.path.relpath(K8S / "examples" / "native", tmp_path.resolve())]
    head = yaml.safe_dump({"kind": "Kustomization", "resources": resources})
    (tmp_path / "kustomization.yaml").write_text(head + patch, encoding="utf-8")
    (shop,) = [found for found in kustomize(tmp_path) if found["metadata"]["name"] == "shop" and template(found)]
    pod = template(shop)["spec"]
    assert pod["securityContext"].keys() == {"runAsNonRoot", "seccompProfile"}
    for container in pod["initContainers"]:
        assert container["securityContext"].keys().isdisjoint({"runAsUser", "runAsGroup"}), container["name"]
        assert container["securityContext"]["runAsNonRoot"], container["name"]
