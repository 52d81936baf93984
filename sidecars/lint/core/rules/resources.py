"""What containers may use: requests, limits, and sidecars that outweigh their app."""

from collections.abc import Iterator

from sidecars.lint.core.pod import Container, Pod
from sidecars.lint.core.rule import Hit, Options, Rule, Severity

_DOCS = "https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/"
_SIDECARS = "https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers"
_UNITS = {"cpu": ("cores", 1.0), "memory": ("MiB", 2.0**20)}
_LIGHT = {"cpu": 0.1, "memory": 128 * 2.0**20}
"""What all sidecars of a pod may request beside the smallest app."""


def _memory_limit(pod: Pod, _: Options) -> Iterator[Hit]:
    for one in pod.containers:
        if one.quantity("limits", "memory") is None:
            yield Hit((*one.path, "resources"), f"{one.role} {one.name} has no memory limit")


def _requests(pod: Pod, _: Options) -> Iterator[Hit]:
    for one in pod.containers:
        if absent := [name for name in _UNITS if one.quantity("requests", name) is None]:
            yield Hit((*one.path, "resources"), f"{one.role} {one.name} requests no {' and no '.join(absent)}")


def _cpu_limit(pod: Pod, _: Options) -> Iterator[Hit]:
    for one in pod.sidecars:
        if one.quantity("limits", "cpu") is None:
            yield Hit((*one.path, "resources"), f"{one.role} {one.name} may take the whole node's CPU from its app")


def _heavier(pod: Pod, options: Options) -> Iterator[Hit]:
    for resource, (unit, scale) in _UNITS.items():
        apps, sidecars = _sum(pod.apps, resource), _sum(pod.sidecars, resource)
        if apps and sidecars > max(apps * options.sidecar_share_percent / 100, _LIGHT[resource]):
            yield Hit(
                (*pod.path, "containers"),
                f"the sidecars request {sidecars / scale:g} {unit} of {resource}, and the app {apps / scale:g}",
            )


def _sum(containers: list[Container], resource: str) -> float:
    return sum(one.quantity("requests", resource) or 0.0 for one in containers)


def _too_many(pod: Pod, options: Options) -> Iterator[Hit]:
    if (count := len(pod.sidecars)) > options.most_sidecars:
        names = ", ".join(one.name for one in pod.sidecars)
        yield Hit(pod.path, f"{count} sidecars ({names}) in one pod; {options.most_sidecars} are allowed")


def _guaranteed(pod: Pod, _: Options) -> Iterator[Hit]:
    if pod.sidecars and pod.apps and all(map(_is_guaranteed, pod.apps)):
        for one in pod.sidecars:
            if not _is_guaranteed(one):
                yield Hit(
                    (*one.path, "resources"),
                    f"the app is Guaranteed, and {one.role} {one.name} makes the pod Burstable",
                )


def _is_guaranteed(one: Container) -> bool:
    pairs = [(one.quantity("requests", name), one.quantity("limits", name)) for name in _UNITS]
    return all(limit is not None and request == limit for request, limit in pairs)


RULES = (
    Rule(
        id="no-memory-limit",
        severity=Severity.WARNING,
        summary="A container has no memory limit",
        why="What leaks in a sidecar takes the memory of the app and of the node: the kernel then kills "
        "whatever it likes, most often the app.",
        fix="Measure the sidecar under load and set `resources.limits.memory` to about twice that.",
        source=_DOCS,
        bad="""containers:
  - name: app
    image: shop:1.2
    resources: {requests: {cpu: 100m, memory: 128Mi}}""",
        good="""containers:
  - name: app
    image: shop:1.2
    resources: {requests: {cpu: 100m, memory: 128Mi}, limits: {memory: 256Mi}}""",
        look=_memory_limit,
    ),
    Rule(
        id="no-requests",
        severity=Severity.WARNING,
        summary="A container requests no CPU or no memory",
        why="The scheduler counts it as nothing, so the node is filled up; under pressure such a container is "
        "the first to be evicted, and its pod with it.",
        fix="Set `resources.requests` for cpu and memory to what it uses on a usual day.",
        source=_DOCS,
        bad="""containers:
  - name: app
    image: shop:1.2""",
        good="""containers:
  - name: app
    image: shop:1.2
    resources: {requests: {cpu: 100m, memory: 128Mi}}""",
        look=_requests,
    ),
    Rule(
        id="no-cpu-limit",
        severity=Severity.INFO,
        summary="A sidecar has no CPU limit",
        why="A sidecar that spins (a retry without a pause, a log file of a million lines) takes the CPU that "
        "its app needs.",
        fix="Set `resources.limits.cpu` of the sidecar. The app itself may do without one.",
        source=_DOCS,
        bad="""initContainers:
  - name: log-shipper
    image: sidecars/log-shipper:1.0
    restartPolicy: Always
    resources: {limits: {memory: 100Mi}}
containers:
  - {name: app, image: shop:1.2}""",
        good="""initContainers:
  - name: log-shipper
    image: sidecars/log-shipper:1.0
    restartPolicy: Always
    resources: {limits: {cpu: 200m, memory: 100Mi}}
containers:
  - {name: app, image: shop:1.2}""",
        look=_cpu_limit,
    ),
    Rule(
        id="sidecars-outweigh-app",
        severity=Severity.WARNING,
        summary="The sidecars request more than the app",
        why="Every replica pays for its sidecars again. What weighs more than the app belongs on the node (a "
        "DaemonSet) or behind a Service.",
        fix="Lower the sidecars' requests to what was measured, choose a leaner sidecar, or run it once per "
        "node. `--sidecar-share-percent` sets the share that is allowed.",
        source=_SIDECARS,
        bad="""containers:
  - {name: app, image: shop:1.2, resources: {requests: {cpu: 50m, memory: 64Mi}}}
  - {name: logs, image: "logstash:8.1", resources: {requests: {cpu: 500m, memory: 1Gi}}}""",
        good="""containers:
  - {name: app, image: shop:1.2, resources: {requests: {cpu: 50m, memory: 64Mi}}}
  - {name: logs, image: "log-shipper:1.0", resources: {requests: {cpu: 10m, memory: 50Mi}}}""",
        look=_heavier,
    ),
    Rule(
        id="too-many-sidecars",
        severity=Severity.WARNING,
        summary="A pod has many sidecars",
        why="Each one adds its start to the start of the app (native sidecars start one after the other), its "
        "memory to every replica, and one more thing that fails.",
        fix="Run several of this project's sidecars in one container (`sidecar NAME NAME`), or move what is "
        "not about this pod out of it. `--most-sidecars` sets the number.",
        source="https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/",
        bad="""containers:
  - {name: app, image: shop:1.2}
  - {name: a, image: "envoyproxy/envoy:v1.31"}
  - {name: b, image: "fluent/fluent-bit:3.1"}
  - {name: c, image: "jimmidyson/configmap-reload:v0.12"}
  - {name: d, image: "prom/statsd-exporter:v0.27"}""",
        good="""containers:
  - {name: app, image: shop:1.2}
  - {name: sidecars, image: "sidecars/sidecar:1.0", args: [log-shipper, config-reloader]}""",
        look=_too_many,
    ),
    Rule(
        id="guaranteed-lost",
        severity=Severity.INFO,
        summary="A sidecar takes the QoS class Guaranteed from its app",
        why="A pod is Guaranteed only when requests equal limits in every container, sidecars included. One "
        "that differs makes the pod Burstable: no exclusive CPUs, and a worse place when memory runs out.",
        fix="Give the sidecar limits that equal its requests, for cpu and memory.",
        source="https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/",
        bad="""containers:
  - {name: app, image: shop:1.2, resources: {limits: {cpu: 1, memory: 1Gi}}}
  - {name: logs, image: "log-shipper:1.0", resources: {requests: {cpu: 10m, memory: 50Mi}, limits: {memory: 100Mi}}}""",
        good="""containers:
  - {name: app, image: shop:1.2, resources: {limits: {cpu: 1, memory: 1Gi}}}
  - {name: logs, image: "log-shipper:1.0", resources: {limits: {cpu: 50m, memory: 100Mi}}}""",
        look=_guaranteed,
    ),
)
