"""The part of a Pod's manifest that the runner understands. Anything else is an error, so that no scenario passes
because a field of it was ignored.
"""

from typing import Any, Literal

import msgspec


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A part of a manifest."""


class FieldRef(Part, frozen=True):
    field_path: Literal["metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "status.podIP"]
    api_version: str = "v1"


class ValueFrom(Part, frozen=True):
    field_ref: FieldRef


class Variable(Part, frozen=True):
    name: str
    value: str = ""
    value_from: ValueFrom | None = None


class HttpGet(Part, frozen=True):
    port: int
    path: str = "/"
    scheme: Literal["HTTP"] = "HTTP"


class TcpSocket(Part, frozen=True):
    port: int


class Exec(Part, frozen=True):
    command: list[str]


class Sleep(Part, frozen=True):
    seconds: int


class Probe(Part, frozen=True):
    """Defaults are those of the API."""

    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    exec: Exec | None = None
    initial_delay_seconds: int = 0
    period_seconds: int = 10
    timeout_seconds: int = 1
    success_threshold: int = 1
    failure_threshold: int = 3


class Hook(Part, frozen=True):
    http_get: HttpGet | None = None
    exec: Exec | None = None
    sleep: Sleep | None = None


class Lifecycle(Part, frozen=True):
    pre_stop: Hook | None = None
    post_start: Hook | None = None


class Capabilities(Part, frozen=True):
    drop: list[str]


class Seccomp(Part, frozen=True):
    type: Literal["RuntimeDefault"]


class Security(Part, frozen=True):
    """Of a container, or of the pod for all of them."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool = False
    read_only_root_filesystem: bool = False
    allow_privilege_escalation: bool = True
    capabilities: Capabilities | None = None
    seccomp_profile: Seccomp | None = None


Quantities = dict[Literal["cpu", "memory"], str]


class Resources(Part, frozen=True):
    requests: Quantities = {}
    limits: Quantities = {}


class Mount(Part, frozen=True):
    name: str
    mount_path: str
    read_only: bool = False


class Container(Part, frozen=True):
    name: str
    image: str
    command: list[str] = []
    args: list[str] = []
    env: list[Variable] = []
    ports: list[Any] = []
    startup_probe: Probe | None = None
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None
    lifecycle: Lifecycle = Lifecycle()
    resources: Resources = Resources()
    security_context: Security = Security()
    volume_mounts: list[Mount] = []
    restart_policy: Literal["Always"] | None = None
    image_pull_policy: Literal["IfNotPresent", "Never"] = "IfNotPresent"


class EmptyDir(Part, frozen=True):
    medium: Literal["", "Memory"] = ""
    size_limit: str = ""


class FromConfigMap(Part, frozen=True):
    name: str


class FromSecret(Part, frozen=True):
    secret_name: str


class Volume(Part, frozen=True):
    name: str
    empty_dir: EmptyDir | None = None
    config_map: FromConfigMap | None = None
    secret: FromSecret | None = None


class PodSpec(Part, frozen=True):
    containers: list[Container]
    init_containers: list[Container] = []
    volumes: list[Volume] = []
    restart_policy: Literal["Always", "OnFailure", "Never"] = "Always"
    termination_grace_period_seconds: int = 30
    share_process_namespace: bool = False
    security_context: Security = Security()
    automount_service_account_token: bool = False


class Metadata(Part, frozen=True):
    name: str
    namespace: str = ""
    labels: dict[str, str] = {}


class Pod(Part, frozen=True):
    api_version: Literal["v1"]
    kind: Literal["Pod"]
    metadata: Metadata
    spec: PodSpec


class Refused(ValueError):
    """The manifest is not one that the runner can be true to."""


def read(manifest: dict[str, Any]) -> Pod:
    """The pod of this manifest; raises Refused."""
    try:
        pod = msgspec.convert(manifest, Pod)
    except msgspec.ValidationError as error:
        raise Refused(f"cannot run this pod: {error}; teach tests/pods/lifecycle/manifest.py the field") from None
    for container in pod.spec.init_containers:
        _check_plain(container)
    for container in pod.spec.containers:
        if container.restart_policy:
            raise Refused(f"cannot run container {container.name}: restartPolicy is for init containers; remove it")
    if "$(" in str(manifest["spec"]):
        raise Refused("cannot run this pod: $(NAME) is not filled in here; write the value")
    return pod


def _check_plain(container: Container) -> None:
    """The API server refuses probes and hooks of init containers that end (KEP 753)."""
    probes = (container.startup_probe, container.readiness_probe, container.liveness_probe)
    if not container.restart_policy and (any(probes) or container.lifecycle != Lifecycle()):
        raise Refused(f"cannot run init container {container.name}: probes and hooks need restartPolicy Always")


SUFFIXES = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "k": 10**3, "M": 10**6, "G": 10**9}


def bytes_of(quantity: str) -> int:
    """`64Mi` in bytes."""
    for suffix, factor in SUFFIXES.items():
        if quantity.endswith(suffix):
            return int(float(quantity.removesuffix(suffix)) * factor)
    return int(quantity)


def cores_of(quantity: str) -> float:
    """`100m` in cores."""
    return float(quantity[:-1]) / 1000 if quantity.endswith("m") else float(quantity)
