"""Write the components of k8s/ from the declarations: for each sidecar the ways in which it is added to a pod, and a
folder to try it beside the example app, which gets the labels that ask for all of them.

`python -m scripts.k8s` (`make k8s`) writes; a test compares. A pod stands deeper in a CronJob than in a Deployment, and
a Pod is one; kustomize has no patch for all three, so each component has one for each. The patches have no comments:
kustomize takes those over, and cannot read them again in a workload that is written in braces.
"""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from sidecars import __version__
from sidecars.declaration import Declaration, Kubernetes, Variant, declarations

K8S = Path(__file__).resolve().parents[1] / "k8s"
HEAD = "Written by `make k8s`: change the declaration of {name}, sidecars/{folder}/sidecar.toml, or scripts/k8s.py."
Object = dict[str, Any]
RESTRICTED: Object = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
ASKS = re.compile(r"( {4}sidecars/\S+: \S+\n)+")
_SHORT = 110
NO_JOB = "a Job with an ordinary sidecar never ends. Use {name} as a native one"  # the path of a patch, so it is shown
ABOUT: dict[str, str] = {
    "native": """
Adds {name} as a native sidecar (Kubernetes 1.29 or newer) to the workloads of this kustomization that ask for it, by a
label on the workload itself (not on its pod template):

  labels: {{sidecars/{name}: shop-{name}}}   # the name of the ConfigMap with the settings of this workload

A ConfigMap `{name}` may hold what is the same for several workloads.
""",
    "init": """
Adds {name} as an init container to the workloads of this kustomization that ask for it, by a label on the workload
itself (not on its pod template):

  labels: {{sidecars/{name}: shop-{name}}}   # the name of the ConfigMap with the settings of this workload

A ConfigMap `{name}` may hold what is the same for several workloads.
""",
    "ordinary": """
Adds {name} as one more container, for clusters before 1.29. Like ../native, but the app does not wait for it, and a Job
with it would never end, so it refuses Jobs.
""",
    "grace": """
Sets the two numbers that belong together, for the workloads with the label sidecars/{name}: the pod's
terminationGracePeriodSeconds, {pod}, which all containers share (30 unless somebody says otherwise), and what {name}
takes of it, {own}. A workload that has its own number keeps it with the label `sidecars/grace: own`.

Name this component after {name}/{variant}.
""",
    "example": """
{name} beside the example app, to be tried as it is and copied from: `kubectl apply -k k8s/{name}`.
""",
}


def files() -> dict[Path, str]:
    """Return every generated file with its text."""
    found = {}
    for declared in declarations().values():
        pod = declared.kubernetes
        if pod is None:
            continue
        folder = K8S / declared.name
        found[folder / "kustomization.yaml"] = example(declared, pod)
        for variant in pod.variants:
            found[folder / variant / "kustomization.yaml"] = component(declared, pod, variant)
            if pod.grace:
                found[folder / variant / "grace" / "kustomization.yaml"] = grace(declared, pod, variant)
    app = K8S / "app" / "deployment.yaml"
    found[app] = ASKS.sub(
        asking([path.parent.name for path in found if path.parents[1] == K8S]), app.read_text(encoding="utf-8")
    )
    return found


def asking(names: list[str]) -> str:
    """Return the labels of the example app: it asks for every sidecar, and gets those whose component is there."""
    return "".join(f"    sidecars/{name}: shop-{name}\n" for name in names)


def component(declared: Declaration, pod: Kubernetes, variant: Variant) -> str:
    """Return the component that adds a sidecar in one way."""
    label, where = f"sidecars/{declared.name}", listed_in(variant)
    patches = []
    for kind, (at, shape) in places(variant).items():
        one = f"{at}/{where}/0"
        patches.append(merge(kind, label, shape, spec(declared, pod, variant)))
        patches.append(change(kind, label, copy_label(label, f"{one}/envFrom/1/configMapRef/name")))
        if pod.volume:  # or the one that a label says; without a source it is an emptyDir, unless the workload has it
            named = f"{label}-volume"
            patches.append(merge(kind, f"{label},!{named}", shape, {"volumes": [{"name": pod.volume.name}]}))
            patches.append(change(kind, f"{label},{named}", copy_label(named, f"{one}/volumeMounts/0/name")))
        if variant == "ordinary":
            patches.append(change(kind, label, to_the_end(at)))
    if variant == "ordinary":  # fails, and says why: silence would be worse
        refusal = {"op": "test", "path": f"/{NO_JOB.format(name=declared.name)}", "value": ""}
        patches.append(change("Job|CronJob", label, refusal))
    about = [ABOUT[variant].format(name=declared.name), pod.about.get(variant, "")]
    return whole(declared, about, {**COMPONENT, "patches": patches})


def grace(declared: Declaration, pod: Kubernetes, variant: Variant) -> str:
    """Return the component that sets the grace of the pod and that of the sidecar in it."""
    label, where = f"sidecars/{declared.name},sidecars/grace!=own", listed_in(variant)
    seconds = {"name": f"{declared.prefix}GRACE_SECONDS", "value": str(pod.grace[variant])}
    added: Object = {
        "terminationGracePeriodSeconds": pod.grace["pod"],
        where: [{"name": declared.name, "env": [seconds]}],
    }
    patches = []
    for kind, (at, shape) in places(variant).items():
        patches.append(merge(kind, label, shape, added))
        if variant == "ordinary":  # what is patched moves to the front: the app has to be the first again
            patches.append(change(kind, label, to_the_end(at)))
    words = {"name": declared.name, "variant": variant, "pod": pod.grace["pod"], "own": pod.grace[variant]}
    return whole(declared, [ABOUT["grace"].format(**words)], {**COMPONENT, "patches": patches})


def example(declared: Declaration, pod: Kubernetes) -> str:
    """Return the kustomization that tries a sidecar beside the example app."""
    variant = pod.variants[0]
    servers = ["../elasticsearch"] if any("elasticsearch" in text for text in pod.example.values()) else []
    content = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["../app", *servers],
        "components": [variant, *([f"{variant}/grace"] if pod.grace else [])],
        "configMapGenerator": [
            {"name": f"shop-{declared.name}", "literals": [f"{key}={text}" for key, text in pod.example.items()]}
        ],
    }
    return whole(declared, [ABOUT["example"].format(name=declared.name)], content)


def spec(declared: Declaration, pod: Kubernetes, variant: Variant) -> Object:
    """Return what a sidecar adds to the spec of a pod."""
    volumes: list[Object] = []
    if declared.state:  # survives a restart of the container
        medium = {"medium": pod.state_medium} if pod.state_medium else {}
        volumes.append({"name": f"{declared.name}-state", "emptyDir": {**medium, "sizeLimit": pod.state_size}})
    if pod.secret:
        secret = {"secretName": declared.name, "optional": True}
        volumes.append({"name": f"{declared.name}-credentials", "secret": secret})
    found: Object = {listed_in(variant): [container(declared, pod, variant)]}
    return {**found, "volumes": volumes} if volumes else found


def container(declared: Declaration, pod: Kubernetes, variant: Variant) -> Object:
    """Return the container of a sidecar."""
    values = {**(pod.ordinary if variant == "ordinary" else {}), **pod.environment}
    env: list[Object] = [{"name": name, "value": text.format(state=declared.state)} for name, text in values.items()]
    env += [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in pod.fields.items()]
    mounts: list[Object] = []
    if pod.volume:  # the first one: a label may say another name
        mounts.append({"name": pod.volume.name, "mountPath": pod.volume.path, "readOnly": True})
    if declared.state:
        mounts.append({"name": f"{declared.name}-state", "mountPath": declared.state})
    if pod.secret:
        mounts.append({"name": f"{declared.name}-credentials", "mountPath": pod.secret, "readOnly": True})
    once = variant == "init" and bool(pod.once)
    parts: Object = {
        "name": f"{declared.name}-once" if once else declared.name,  # beside the one that stays
        "image": f"sidecars/{declared.name}:{__version__}",
        "imagePullPolicy": "IfNotPresent",
        "restartPolicy": "Always" if variant == "native" else None,  # this makes an init container a native sidecar
        "envFrom": [  # the later one wins
            {"configMapRef": {"name": declared.name, "optional": True}},  # what several workloads share
            {"configMapRef": {"name": "settings"}},  # a patch puts the value of the label here
        ],
        "args": [*pod.once] if once else [],
        "env": env,
        **({} if once else probes(declared)),
        # No limit of ephemeral-storage: the kubelet holds the sum of the containers' limits against the disk use of
        # the whole pod (eviction_manager.go, podEphemeralStorageLimitEviction), so ours alone would be one for the
        # app's logs. What is written here is bounded without: by a read-only root, and by the size of the volume.
        "resources": {"requests": dict(pod.requests), "limits": dict(pod.limits)},
        "securityContext": RESTRICTED,
        "volumeMounts": mounts,
    }
    return {key: part for key, part in parts.items() if part}


def probes(declared: Declaration) -> Object:
    """Return the port and the probes of a sidecar with an admin endpoint. The pages are the same for all of them."""
    if not declared.serves:
        return {}

    def page(path: str) -> Object:
        return {"path": path, "port": declared.port}

    return {
        "ports": [{"name": declared.name[:15].rstrip("-"), "containerPort": declared.port}],
        "startupProbe": {
            "httpGet": page("/startupz"),
            # It starts with 0.3 s of CPU time, 1.5 s by its limit; a look before that is a Warning event.
            "initialDelaySeconds": 2,
            "periodSeconds": 1,
            "timeoutSeconds": 3,
            "failureThreshold": 60,  # a minute: on a busy node 10m of CPU may be all there is
        },
        "livenessProbe": {
            "httpGet": page("/livez"),
            "periodSeconds": 10,
            "timeoutSeconds": 3,
            "failureThreshold": 6,  # a minute: a node under pressure is no reason for a restart
        },
        "readinessProbe": {"httpGet": page("/readyz"), "periodSeconds": 10, "timeoutSeconds": 3},
    }


COMPONENT = {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component"}
Shape = tuple[str, str, list[str]]
"""apiVersion, kind, and the keys that lead to the pod from its spec."""


def places(variant: Variant) -> dict[str, tuple[str, Shape]]:
    """Return, by the kinds of workloads, the path of the spec of the pod and the shape of a patch."""
    jobs = variant != "ordinary"
    found: dict[str, Shape] = {
        f"Deployment|StatefulSet|DaemonSet|ReplicaSet{'|Job' if jobs else ''}": ("apps/v1", "Deployment", ["template"]),
        **({"CronJob": ("batch/v1", "CronJob", ["jobTemplate", "spec", "template"])} if jobs else {}),
        "Pod": ("v1", "Pod", []),
    }
    return {kinds: ("/".join(["/spec", *inside(shape)]), shape) for kinds, shape in found.items()}


def inside(shape: Shape) -> Iterator[str]:
    """Yield the keys from the spec of a workload to that of its pod."""
    yield from (*shape[2], "spec") if shape[2] else ()


def listed_in(variant: Variant) -> str:
    """Return the list of the pod that the container stands in."""
    return "containers" if variant == "ordinary" else "initContainers"


def merge(kind: str, label: str, shape: Shape, added: Object) -> Object:
    """Return a patch that adds to the spec of the pod."""
    for key in reversed(["spec", *inside(shape)]):
        added = {key: added}
    head = {"apiVersion": shape[0], "kind": shape[1], "metadata": {"name": "any"}}
    return {"target": {"kind": kind, "labelSelector": label}, "patch": dump({**head, **added})}


def change(kind: str, label: str, operation: Object) -> Object:
    """Return a patch that is a JSON patch (RFC 6902)."""
    return {"target": {"kind": kind, "labelSelector": label}, "patch": dump([operation])}


def copy_label(label: str, path: str) -> Object:
    """Return the operation that puts the value of a label there."""
    return {"op": "copy", "from": f"/metadata/labels/{label.replace('/', '~1')}", "path": path}


def to_the_end(at: str) -> Object:
    """Return the operation for ordinary containers: the app stays the first, which `kubectl logs` and `exec` take."""
    return {"op": "move", "from": f"{at}/containers/0", "path": f"{at}/containers/-"}


def whole(declared: Declaration, about: list[str], content: Object) -> str:
    """Return a file with its first lines for people."""
    head = HEAD.format(name=declared.name, folder=declared.folder)
    paragraphs = [head, *(one for text in about if text for one in text.strip("\n").split("\n\n"))]
    wrapped = [one if one.startswith(" ") else textwrap.fill(one, 118) for one in paragraphs]
    return textwrap.indent("\n\n".join(wrapped), "# ", lambda _: True).replace("# \n", "#\n") + "\n" + dump(content)


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, what is short in one line but the whole itself, nothing by reference."""

    def represent(self, data: Any) -> None:
        node = self.represent_data(data)
        node.flow_style = False  # type: ignore[attr-defined]  # kustomize knows a JSON patch by its first letter
        self.serialize(node)

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True

    def represent_data(self, data: Any) -> yaml.Node:
        node = super().represent_data(data)
        if isinstance(data, dict | list):
            node.flow_style = len(text := str(data)) <= _SHORT and "\\n" not in text  # type: ignore[attr-defined]
        elif isinstance(data, str) and "\n" in data:
            node.style = "|"  # type: ignore[attr-defined]
        return node


def dump(content: Any) -> str:
    """Return YAML."""
    text: str = yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=1000)
    return text


def main() -> None:
    """Write what is not as it should be."""
    for path, text in files().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(K8S.parent)}")


if __name__ == "__main__":
    main()
