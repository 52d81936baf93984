"""What the kubelet asks containers: probes that are missing, too dear, in the wrong place, or ask the wrong thing."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sidecars.lint.core.pod import PROBES, Container, Pod, Role, items, mapping, number, text
from sidecars.lint.core.rule import DropKey, Hit, Options, Rule, Severity

_PROBES = "https://kubernetes.io/docs/concepts/workloads/pods/probes/"
_NATIVE = "https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/"
_INTERPRETERS = re.compile(r"(?:.*/)?(python[0-9.]*|node|java|ruby|php|perl|dotnet|pwsh)")
_APP = "containers:\n  - {name: app, image: shop:1.2}"


def _startup(pod: Pod, _: Options) -> Iterator[Hit]:
    for one in pod.containers:
        if one.role is Role.NATIVE and not mapping(one.body.get("startupProbe")):
            yield Hit(one.path, f"native sidecar {one.name} has no startupProbe: the app starts before it is ready")


def _readiness(pod: Pod, _: Options) -> Iterator[Hit]:
    for one in _asked(pod):
        if not mapping(one.body.get("readinessProbe")):
            yield Hit(one.path, f"{one.role} {one.name} has no readinessProbe")


def _liveness(pod: Pod, _: Options) -> Iterator[Hit]:
    for one in _asked(pod):
        if not mapping(one.body.get("livenessProbe")):
            yield Hit(one.path, f"{one.role} {one.name} has no livenessProbe")


def _asked(pod: Pod) -> list[Container]:
    """Sidecars, and the apps that serve something; the main container of a Job is done when it ends."""
    return [one for one in pod.staying if one.is_sidecar or (not pod.ends and any(True for _ in one.ports))]


def _interpreter(pod: Pod, _: Options) -> Iterator[Hit]:
    for one in pod.containers:
        for name in PROBES:
            probe = mapping(one.body.get(name))
            words = [text(word) for word in items(mapping(probe.get("exec")).get("command"))]
            found = next(filter(None, map(_INTERPRETERS.fullmatch, _programs(words))), None)
            if found:
                every = number(probe.get("periodSeconds"), 10)
                yield Hit(
                    (*one.path, name),
                    f"{name} of {one.name} starts {found[1]} every {every} s",
                )


def _programs(words: list[str]) -> list[str]:
    """Return the words that name programs: the first one, or those that begin a command in a script."""
    if len(words) > 2 and re.fullmatch(r"(?:.*/)?\w*sh", words[0]):
        return re.findall(r"(?:^|[;&|(]\s*)(?:exec\s+)?([^\s;&|()]+)", " ".join(words[2:]))
    return words[:1]


def _impatient(pod: Pod, _: Options) -> Iterator[Hit]:
    for one in pod.staying:
        live, ready = mapping(one.body.get("livenessProbe")), mapping(one.body.get("readinessProbe"))
        if live and ready and _question(live) == _question(ready) and _patience(live) <= _patience(ready):
            yield Hit(
                (*one.path, "livenessProbe"),
                f"livenessProbe of {one.name} asks what readinessProbe asks, and gives up after {_patience(live)} s, "
                f"not later than that ({_patience(ready)} s)",
            )


def _question(probe: Mapping[str, Any]) -> list[object]:
    return [probe.get(key) for key in ("httpGet", "tcpSocket", "exec", "grpc")]


def _patience(probe: Mapping[str, Any]) -> int:
    return number(probe.get("periodSeconds"), 10) * number(probe.get("failureThreshold"), 3)


def _plain_init(pod: Pod, _: Options) -> Iterator[Hit]:
    for one in pod.containers:
        if one.role is Role.INIT:
            for key in (*PROBES, "lifecycle"):
                if key in one.body:
                    path = (*one.path, key)
                    yield Hit(
                        path,
                        f"init container {one.name} has {key}: only one with restartPolicy Always may",
                        (DropKey(path),),
                    )


def _asks_the_app(pod: Pod, _: Options) -> Iterator[Hit]:
    owners = {number(port.get("containerPort"), 0): other for other in pod.containers for _, port in other.ports}
    for place, one in enumerate(pod.containers):
        if one.role is Role.NATIVE:
            probe = mapping(one.body.get("startupProbe"))
            asked = [mapping(probe.get(key)).get("port") for key in ("httpGet", "tcpSocket", "grpc")]
            port = next((number(found, 0) for found in asked if found), 0)
            other = owners.get(port)
            if other and pod.containers.index(other) > place:
                yield Hit(
                    (*one.path, "startupProbe"),
                    f"startupProbe of native sidecar {one.name} asks port {port} of {other.name}, which starts later",
                )


RULES = (
    Rule(
        id="no-startup-probe",
        severity=Severity.WARNING,
        summary="A native sidecar has no startup probe",
        why="The kubelet starts the next container as soon as the process of this one exists. A sidecar needs "
        "longer than that, so the app meets a port that nobody listens on, or a file that is not there yet.",
        fix="Give it a `startupProbe` that asks the sidecar itself, with `periodSeconds: 1` and a "
        "`failureThreshold` of a minute.",
        source=_NATIVE,
        bad=f"""initContainers:
  - {{name: proxy, image: "envoyproxy/envoy:v1.31", restartPolicy: Always}}
{_APP}""",
        good=f"""initContainers:
  - name: proxy
    image: envoyproxy/envoy:v1.31
    restartPolicy: Always
    startupProbe: {{httpGet: {{path: /ready, port: 9901}}, periodSeconds: 1, failureThreshold: 60}}
{_APP}""",
        look=_startup,
    ),
    Rule(
        id="no-readiness-probe",
        severity=Severity.WARNING,
        summary="A sidecar or a serving app has no readiness probe",
        why="The pod gets traffic while this container cannot do its part.",
        fix="Give it a `readinessProbe`. It should fail only where no traffic is better than traffic: a log "
        "shipper whose backend is away stays ready.",
        source=_PROBES,
        bad="""containers:
  - {name: app, image: shop:1.2, ports: [{containerPort: 8080}]}""",
        good="""containers:
  - name: app
    image: shop:1.2
    ports: [{containerPort: 8080}]
    readinessProbe: {httpGet: {path: /healthz, port: 8080}}""",
        look=_readiness,
    ),
    Rule(
        id="no-liveness-probe",
        severity=Severity.WARNING,
        summary="A sidecar or a serving app has no liveness probe",
        why="A process that hangs stays for ever, and nobody is told: the logs of a day are missing before "
        "somebody looks.",
        fix="Give it a `livenessProbe` on a page that answers from memory, and let it be patient (a minute).",
        source=_PROBES,
        bad="""containers:
  - {name: app, image: shop:1.2, ports: [{containerPort: 8080}]}""",
        good="""containers:
  - name: app
    image: shop:1.2
    ports: [{containerPort: 8080}]
    livenessProbe: {httpGet: {path: /livez, port: 8080}, failureThreshold: 6}""",
        look=_liveness,
    ),
    Rule(
        id="probe-starts-interpreter",
        severity=Severity.WARNING,
        summary="A probe starts an interpreter",
        why="A Python, Node or Java that starts every few seconds costs more than many sidecars, within the "
        "limits of this container: on a busy node the probe runs out of time and the container is restarted.",
        fix="Use `httpGet`, `tcpSocket` or `grpc`: the kubelet asks, and the container pays nothing.",
        source=_PROBES,
        bad="""containers:
  - name: app
    image: shop:1.2
    livenessProbe: {exec: {command: [python3, /app/health.py]}, periodSeconds: 5}""",
        good="""containers:
  - name: app
    image: shop:1.2
    livenessProbe: {httpGet: {path: /livez, port: 8080}, periodSeconds: 5}""",
        look=_interpreter,
    ),
    Rule(
        id="liveness-as-impatient-as-readiness",
        severity=Severity.INFO,
        summary="A liveness probe gives up as early as the readiness probe",
        why="Both ask the same, so what should only take the pod out of the Service restarts it. Under load "
        "that takes the last good replicas away.",
        fix="Ask something else (a page that depends on nothing), or give the liveness probe a greater "
        "`failureThreshold`.",
        source=_PROBES,
        bad="""containers:
  - name: app
    image: shop:1.2
    livenessProbe: {httpGet: {path: /healthz, port: 8080}}
    readinessProbe: {httpGet: {path: /healthz, port: 8080}}""",
        good="""containers:
  - name: app
    image: shop:1.2
    livenessProbe: {httpGet: {path: /healthz, port: 8080}, failureThreshold: 6}
    readinessProbe: {httpGet: {path: /healthz, port: 8080}}""",
        look=_impatient,
    ),
    Rule(
        id="probe-on-plain-init-container",
        severity=Severity.ERROR,
        summary="A plain init container has a probe or a lifecycle hook",
        why="The API server refuses the pod. Most often `restartPolicy: Always` was forgotten, or an old "
        "webhook dropped it.",
        fix="Add `restartPolicy: Always` if it is a sidecar; else remove the probes and hooks.",
        source=_NATIVE,
        bad=f"""initContainers:
  - {{name: migrate, image: shop:1.2, readinessProbe: {{tcpSocket: {{port: 1}}}}}}
{_APP}""",
        good=f"""initContainers:
  - {{name: migrate, image: shop:1.2}}
{_APP}""",
        look=_plain_init,
        fixable=True,
    ),
    Rule(
        id="startup-probe-asks-app",
        severity=Severity.ERROR,
        summary="The startup probe of a native sidecar asks a container that starts later",
        why="The later container starts when this probe has passed, and the probe passes when that container "
        "runs: the pod stays in Init for ever.",
        fix="Ask the sidecar itself, about what it can do without the app.",
        source="https://github.com/kubernetes/enhancements/tree/master/keps/sig-node/753-sidecar-containers",
        bad="""initContainers:
  - name: proxy
    image: envoyproxy/envoy:v1.31
    restartPolicy: Always
    startupProbe: {httpGet: {path: /, port: 8080}}
containers:
  - {name: app, image: shop:1.2, ports: [{containerPort: 8080}]}""",
        good="""initContainers:
  - name: proxy
    image: envoyproxy/envoy:v1.31
    restartPolicy: Always
    startupProbe: {httpGet: {path: /ready, port: 9901}}
containers:
  - {name: app, image: shop:1.2, ports: [{containerPort: 8080}]}""",
        look=_asks_the_app,
    ),
)
