"""A container of a manifest as arguments of `docker run`: what the kubelet and the CRI would have made of it."""

from dataclasses import dataclass, field
from pathlib import Path

from tests.pods.lifecycle.manifest import Container, Pod, Security, bytes_of, cores_of

NODE = "podlab"


@dataclass(frozen=True)
class Place:
    """What is known of a pod once its pause container runs."""

    pod: Pod
    uid: str
    pause: str
    """Name of the container that owns the pod's namespaces."""
    ip: str
    volumes: dict[str, str] = field(default_factory=dict)
    """Where a volume is: a folder of this machine, or the name of a volume of the engine."""


def run_arguments(place: Place, container: Container, message: Path) -> list[str]:
    """All that follows the container's name; `message` is the file for its last words."""
    pod, shared = place.pod.spec, f"container:{place.pause}"
    return [
        *["--network", shared, "--ipc", shared],
        *(["--pid", shared] if pod.share_process_namespace else []),
        *limits(container),
        *security(container.security_context, pod.security_context),
        *[word for name, value in variables(place, container).items() for word in ("--env", f"{name}={value}")],
        *mounts(place, container, message),
        *(["--entrypoint", container.command[0]] if container.command else []),
        container.image,
        *container.command[1:],
        *container.args,
    ]


def limits(container: Container) -> list[str]:
    """As the kubelet sets them: no swap."""
    given = container.resources.limits
    cpu = ["--cpus", str(cores_of(given["cpu"]))] if "cpu" in given else []
    if "memory" not in given:
        return cpu
    size = str(bytes_of(given["memory"]))
    return [*cpu, "--memory", size, "--memory-swap", size]


def security(own: Security, of_pod: Security) -> list[str]:
    """The container's word wins over the pod's."""
    user = of_pod.run_as_user if own.run_as_user is None else own.run_as_user
    group = of_pod.run_as_group if own.run_as_group is None else own.run_as_group
    return [
        *(["--user", f"{user}:{group or 0}"] if user is not None else []),
        *(["--read-only"] if own.read_only_root_filesystem else []),
        *([] if own.allow_privilege_escalation else ["--security-opt", "no-new-privileges"]),
        *[f"--cap-drop={name}" for name in (own.capabilities.drop if own.capabilities else [])],
    ]


def variables(place: Place, container: Container) -> dict[str, str]:
    metadata = place.pod.metadata
    fields = {
        "metadata.name": metadata.name,
        "metadata.namespace": metadata.namespace or "default",
        "metadata.uid": place.uid,
        "spec.nodeName": NODE,
        "status.podIP": place.ip,
    }
    return {v.name: fields[v.value_from.field_ref.field_path] if v.value_from else v.value for v in container.env}


def mounts(place: Place, container: Container, message: Path) -> list[str]:
    """The volumes, and the file that the kubelet mounts for last words (terminationMessagePath)."""
    found = ["--mount", f"type=bind,src={message},dst=/dev/termination-log"]
    for mount in container.volume_mounts:
        source = place.volumes[mount.name]
        kind = "bind" if source.startswith("/") else "volume,volume-nocopy"
        readonly = ",readonly" if mount.read_only else ""
        found += ["--mount", f"type={kind},src={source},dst={mount.mount_path}{readonly}"]
    return found
