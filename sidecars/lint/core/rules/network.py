"""One network for all containers of a pod: ports that clash, and containers that need another one's port too early."""

import re
from collections.abc import Iterator

from sidecars.lint.core.pod import Container, Pod, Role, number, text
from sidecars.lint.core.rule import Hit, Options, Rule, Severity

_PODS = "https://kubernetes.io/docs/concepts/workloads/pods/#pod-networking"
_NATIVE = "https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/"
_LOCAL = re.compile(r"(?:localhost|127\.0\.0\.1|\[::1\]):([0-9]{1,5})\b")


def _duplicate(pod: Pod, _: Options) -> Iterator[Hit]:
    taken: dict[tuple[int, str], str] = {}
    for one in pod.staying:
        for index, port in one.ports:
            key = (number(port.get("containerPort"), 0), text(port.get("protocol")) or "TCP")
            if key[0] and (other := taken.setdefault(key, one.name)) != one.name:
                yield Hit(
                    (*one.path, "ports", index, "containerPort"),
                    f"{one.name} and {other} both listen on port {key[0]}: the second one cannot start",
                )


def _tight(pod: Pod, _: Options) -> Iterator[Hit]:
    owners = {number(port.get("containerPort"), 0): one for one in pod.containers for _, port in one.ports}
    for one in pod.containers:
        for port in _local_ports(one):
            owner = owners.get(port)
            if owner is None or owner is one:
                continue
            if one.role is Role.INIT and _starts_later(pod, owner, one):
                yield Hit(
                    one.path,
                    f"init container {one.name} uses port {port} of {owner.name}, which starts after it: it never ends",
                )
            elif one.role is Role.APP and owner.role is Role.ORDINARY:
                yield Hit(
                    owner.path,
                    f"{one.name} uses port {port} of ordinary sidecar {owner.name}: which starts first is chance",
                )


def _local_ports(one: Container) -> list[int]:
    said = [*one.words, *(text(entry.get("value")) for _, _, entry in one.environment)]
    return sorted({int(found) for word in said for found in _LOCAL.findall(word)})


def _starts_later(pod: Pod, owner: Container, one: Container) -> bool:
    return pod.containers.index(owner) > pod.containers.index(one)


RULES = (
    Rule(
        id="duplicate-port",
        severity=Severity.ERROR,
        summary="Two containers of a pod listen on one port",
        why="All containers of a pod share one network. The second one gets `address already in use` and is "
        "started again and again.",
        fix="Give one of them another port; every sidecar of this project has its own (`ADMIN_PORT`).",
        source=_PODS,
        bad="""containers:
  - {name: app, image: shop:1.2, ports: [{containerPort: 8080}]}
  - {name: metrics, image: "prom/statsd-exporter:v0.27", ports: [{containerPort: 8080}]}""",
        good="""containers:
  - {name: app, image: shop:1.2, ports: [{containerPort: 8080}]}
  - {name: metrics, image: "prom/statsd-exporter:v0.27", ports: [{containerPort: 9102}]}""",
        look=_duplicate,
    ),
    Rule(
        id="needs-sidecar-at-start",
        severity=Severity.WARNING,
        summary="A container needs a sidecar that may not be there when it starts",
        why="Ordinary containers start and stop in no order. The app crashes at its start because the proxy is "
        "not there yet, and loses its last requests because the proxy has gone first. A plain init container "
        "that uses it waits for ever.",
        fix="Make the sidecar a native one with a startup probe, before whatever uses it: it is there first "
        "and goes last.",
        source=_NATIVE,
        bad="""containers:
  - {name: app, image: shop:1.2, env: [{name: DATABASE, value: "postgres://localhost:5432/shop"}]}
  - {name: proxy, image: "gce/cloud-sql-proxy:2.14", ports: [{containerPort: 5432}]}""",
        good="""initContainers:
  - name: proxy
    image: gce/cloud-sql-proxy:2.14
    restartPolicy: Always
    ports: [{containerPort: 5432}]
    startupProbe: {httpGet: {path: /startup, port: 9090}}
containers:
  - {name: app, image: shop:1.2, env: [{name: DATABASE, value: "postgres://localhost:5432/shop"}]}""",
        look=_tight,
    ),
)
