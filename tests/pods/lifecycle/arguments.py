"""A container of a Pod's manifest as arguments of `docker run`: what the kubelet and the CRI would have made of it.

What is not carried out here, or in pod.py, is refused, so that no scenario passes because a field of it was ignored.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Manifest = Mapping[str, Any]

_KNOWN = frozenset(
    """
    apiVersion kind metadata name labels spec initContainers containers volumes automountServiceAccountToken
    terminationGracePeriodSeconds shareProcessNamespace restartPolicy image imagePullPolicy command args env value
    valueFrom fieldRef fieldPath ports containerPort volumeMounts mountPath readOnly emptyDir medium sizeLimit configMap
    securityContext runAsNonRoot runAsUser runAsGroup readOnlyRootFilesystem allowPrivilegeEscalation capabilities drop
    seccompProfile type resources requests limits cpu memory ephemeral-storage lifecycle preStop exec
    startupProbe livenessProbe readinessProbe httpGet tcpSocket path port
    initialDelaySeconds periodSeconds timeoutSeconds failureThreshold
    """.split()  # noqa: SIM905 -- sixty lines otherwise
)
_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


class Refused(ValueError):
    """The manifest is not one that the runner can be true to."""


def check(pod: Manifest) -> None:
    """Raise Refused for a pod that would run otherwise than on a cluster."""
    if unknown := {key for key in _keys(pod) if key not in _KNOWN}:
        raise Refused(f"cannot run this pod: teach tests/pods/lifecycle the fields {sorted(unknown)}")
    if "$(" in str(pod["spec"]):
        raise Refused("cannot run this pod: $(NAME) is not filled in here; write the value")


def _keys(part: object) -> Iterator[str]:
    if isinstance(part, Mapping):
        yield from part
    for below in part.values() if isinstance(part, Mapping) else part if isinstance(part, list) else ():
        yield from _keys(below)


@dataclass(frozen=True)
class Place:
    """What is known of a pod once its pause container runs. `volumes`: the folder, or the size of a tmpfs in bytes."""

    pod: Manifest
    pause: str
    ip: str
    volumes: Mapping[str, Path | int] = field(default_factory=dict)


def run_arguments(place: Place, container: Manifest, message: Path) -> list[str]:
    """Return all that follows the container's name; `message` is the file for its last words."""
    shared, command = f"container:{place.pause}", container.get("command", [])
    return [
        *["--network", shared, "--ipc", shared],
        *(["--pid", shared] if place.pod["spec"].get("shareProcessNamespace") else []),
        *_limits(container.get("resources", {}).get("limits", {})),
        *_security(container.get("securityContext", {})),
        *[f"--env={one['name']}={_value(place, one)}" for one in container.get("env", [])],
        *["--mount", f"type=bind,src={message},dst=/dev/termination-log"],
        *[word for mount in container.get("volumeMounts", []) for word in ("--mount", _mount(place, mount))],
        *([f"--entrypoint={command[0]}"] if command else []),
        *[container["image"], *command[1:], *container.get("args", [])],
    ]


def bytes_of(quantity: str) -> int:
    """Return `64Mi` in bytes."""
    return int(quantity[:-2]) * _UNITS[quantity[-2:]]


def _limits(limits: Mapping[str, str]) -> list[str]:
    """Return the limits as the kubelet sets them: no swap."""
    cpu, memory = limits.get("cpu", ""), limits.get("memory", "")
    cores = float(cpu.removesuffix("m")) / (1000 if cpu.endswith("m") else 1) if cpu else 0
    size = bytes_of(memory) if memory else 0
    return [*([f"--cpus={cores}"] if cpu else []), *([f"--memory={size}", f"--memory-swap={size}"] if memory else [])]


def _security(context: Manifest) -> list[str]:
    user = f"{context.get('runAsUser')}:{context.get('runAsGroup')}"
    return [
        *([f"--user={user}"] if "runAsUser" in context else []),
        *(["--read-only"] if context.get("readOnlyRootFilesystem") else []),
        *([] if context.get("allowPrivilegeEscalation", True) else ["--security-opt=no-new-privileges"]),
        *[f"--cap-drop={name}" for name in context.get("capabilities", {}).get("drop", [])],
    ]


def _value(place: Place, variable: Manifest) -> str:
    if "valueFrom" not in variable:
        return str(variable["value"])
    name = str(place.pod["metadata"]["name"])
    fields: dict[str, str] = {
        "name": name,
        "namespace": "default",
        "uid": f"uid-of-{name}",
        "nodeName": "podlab",
        "podIP": place.ip,
    }
    return fields[str(variable["valueFrom"]["fieldRef"]["fieldPath"]).rpartition(".")[2]]


def _mount(place: Place, mount: Manifest) -> str:
    source, target = place.volumes[mount["name"]], f"dst={mount['mountPath']}"
    if isinstance(source, int):
        return f"type=tmpfs,{target},tmpfs-mode=0777,tmpfs-size={source}"
    return f"type=bind,src={source},{target}{',readonly' if mount.get('readOnly') else ''}"
