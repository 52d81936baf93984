"""The manifests of k8s/ as a cluster would get them, rendered by kustomize or read as they are; and what is in them."""

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sidecars.declaration import declarations

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
IN_PODS = {name: declared.kubernetes for name, declared in declarations().items() if declared.kubernetes}
"""What each sidecar declares of its container."""
Object = dict[str, Any]


def kind_of(folder: Path) -> str:
    return str(yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))["kind"])


SNIPPETS = K8S / "snippets"
"""What the documents show, in manifests that are whole but short."""
FOLDERS = sorted(path.parent for path in K8S.rglob("kustomization.yaml") if SNIPPETS not in path.parents)
SHOWN = [path.parent for path in sorted(SNIPPETS.rglob("kustomization.yaml"))]
SHOWN += [path for path in sorted(SNIPPETS.rglob("*.yaml")) if path.parent not in SHOWN]
COMPONENTS = [folder for folder in FOLDERS if kind_of(folder) == "Component"]
EXAMPLES = sorted((K8S / "examples").glob("*.yaml"))
GRACES = [folder for folder in COMPONENTS if folder.name == "grace"]
"""Components that add to what another one has added."""
KUSTOMIZE = next(
    (words for words in (("kubectl", "kustomize"), ("kustomize", "build")) if shutil.which(words[0])), None
)


def kustomize(folder: Path) -> list[Object]:
    """Render a folder; AssertionError with what kustomize said when it cannot be."""
    assert KUSTOMIZE is not None
    done = subprocess.run([*KUSTOMIZE, folder], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"cannot render {folder}: {done.stderr}"
    assert "deprecated" not in done.stderr, done.stderr
    return [found for found in yaml.safe_load_all(done.stdout) if found]


def overlay(components: list[Path], resources: list[Path], workload: str = "") -> list[Object]:
    """Render what a user's kustomization with these components would be. `workload`: an own manifest."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made).resolve()
        where = [os.path.relpath(path, folder) for path in resources]
        if workload:
            (folder / "own.yaml").write_text(workload, encoding="utf-8")
            where.append("own.yaml")
        generated = [
            {"name": f"shop-{name}", "literals": [f"{key}={value}" for key, value in IN_PODS[name].example.items()]}
            for name in sorted({component.relative_to(K8S).parts[0] for component in components})
        ]
        content = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": where,
            "components": [os.path.relpath(path, folder) for path in components],
            "configMapGenerator": generated,
        }
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        return kustomize(folder)


@functools.cache
def manifest(path: Path) -> list[Object]:
    """The objects of an example, of a folder, or of the example app with a component."""
    if path.is_file():
        return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    if path in GRACES:
        return overlay([path.parent, path], [K8S / "app"])
    return overlay([path], [K8S / "app"]) if path in COMPONENTS else kustomize(path)


@functools.cache
def shown(path: Path) -> list[Object]:
    """Return what a cluster would get of a snippet, a folder or a file."""
    return kustomize(path) if path.is_dir() else list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def template(found: Object) -> Object:
    """The pod in an object, with its metadata; {} when there is none in it."""
    if found["kind"] == "Pod":
        return found
    spec = found.get("spec", {})
    inner = spec.get("jobTemplate", {"spec": spec})["spec"].get("template", {})
    return inner if isinstance(inner, dict) and "spec" in inner else {}


def pods(path: Path) -> list[Object]:
    """The spec of each pod that comes of a manifest."""
    return [template(found)["spec"] for found in manifest(path) if template(found)]


@dataclass(frozen=True)
class Container:
    """A container, and where it stands."""

    body: Object
    pod: Object
    init: bool

    @property
    def name(self) -> str:
        return str(self.body["name"])

    @property
    def image(self) -> str:
        """The last part of its image's name, without the tag."""
        return str(self.body["image"]).rpartition("/")[2].partition(":")[0]

    @property
    def native(self) -> bool:
        return self.init and self.body.get("restartPolicy") == "Always"

    @property
    def sidecars(self) -> list[str]:
        """Which of our sidecars run in it."""
        if self.image == "sidecar":
            return list(self.body["args"])
        return [] if self.image == "devstack" else [self.image]


def containers(path: Path) -> Iterator[Container]:
    for pod in pods(path):
        for init, key in ((True, "initContainers"), (False, "containers")):
            yield from (Container(body, pod, init) for body in pod.get(key, []))


def is_native(found: Object) -> bool:
    """Whether an object has a native sidecar, which Kubernetes knows from 1.28 on."""
    inits = template(found).get("spec", {}).get("initContainers", [])
    return any("restartPolicy" in container for container in inits)
