"""Pods of the scenarios, as plain manifests that pass the restricted Pod Security level."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.support.engine import image
from tests.support.podlab.lab import Manifest

PYTHON = ["/usr/bin/python3", "-I"]
PROGRAMS = "/programs"

LOGS: Manifest = {"name": "logs", "emptyDir": {}}
STATE: Manifest = {"name": "state", "emptyDir": {}}
PROGRAM_VOLUME: Manifest = {"name": "programs", "configMap": {"name": "programs"}}

SHIPPER_PORT, RELOADER_PORT = 9101, 9102

_RESTRICTED: Manifest = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "readOnlyRootFilesystem": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def programs() -> Manifest:
    """The ConfigMap with the programs of the scenarios' apps."""
    folder = Path(__file__).parent / "programs"
    return config_map("programs", {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.py")})


def config_map(name: str, data: Mapping[str, str]) -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": dict(data)}


def container(name: str, of: str, **fields: Any) -> Manifest:
    """A container of our image `of`; `env` may be a plain mapping."""
    env = [{"name": key, "value": str(value)} for key, value in fields.pop("env", {}).items()]
    env += fields.pop("env_from_pod", [])
    own: Manifest = {"name": name, "image": image(of), "imagePullPolicy": "IfNotPresent", "env": env}
    return {**own, "securityContext": _RESTRICTED, **fields}


def app(program: str, *arguments: str, name: str = "app", **fields: Any) -> Manifest:
    """A container that runs one of the programs."""
    mounts = [{"name": "programs", "mountPath": PROGRAMS, "readOnly": True}, *fields.pop("volumeMounts", [])]
    command = [*PYTHON, f"{PROGRAMS}/{program}.py", *arguments]
    return container(name, "devstack", command=command, volumeMounts=mounts, **fields)


def writer(name: str = "app", **env: object) -> Manifest:
    """The app that writes lines, `NAME 0`, `NAME 1` and so on."""
    whole = {"NAME": name, "LINES_PER_SECOND": 200, **env}
    return app("writer", name=name, env=whole, volumeMounts=[mount("logs", "/var/log/app")])


def mount(volume: str, path: str, *, read_only: bool = False) -> Manifest:
    return {"name": volume, "mountPath": path, "readOnly": read_only}


def probes(port: int) -> Manifest:
    """The three probes of a sidecar; the first look comes at once, so that the tests wait less."""

    def page(path: str, **numbers: int) -> Manifest:
        return {"httpGet": {"path": path, "port": port}, "timeoutSeconds": 5, **numbers}

    return {
        "startupProbe": page("/startupz", periodSeconds=1, failureThreshold=60),
        "livenessProbe": page("/livez", periodSeconds=5),
        "readinessProbe": page("/readyz", periodSeconds=1),
    }


def from_pod(**paths: str) -> list[Manifest]:
    """Variables by the downward API."""
    return [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in paths.items()]


def log_shipper(url: str, index: str, *, restart: bool = True, **fields: Any) -> Manifest:
    """The log shipper, native unless told otherwise."""
    env = {
        "LOG_SHIPPER_PATHS": "/var/log/app/*.log",
        "LOG_SHIPPER_ELASTICSEARCH_URL": url,
        "LOG_SHIPPER_INDEX": index,
        **fields.pop("env", {}),
    }
    mounts = [
        mount("logs", "/var/log/app", read_only=True),
        mount("state", "/var/lib/sidecars/log-shipper"),
        *fields.pop("volumeMounts", []),
    ]
    limits = {"limits": {"memory": "100Mi"}, "requests": {"cpu": "20m", "memory": "50Mi"}}
    own = {**probes(SHIPPER_PORT), "resources": limits, **({"restartPolicy": "Always"} if restart else {})}
    pod_fields = from_pod(POD_NAME="metadata.name", POD_NAMESPACE="metadata.namespace", POD_UID="metadata.uid")
    return container(
        "log-shipper", "log-shipper", env=env, env_from_pod=pod_fields, volumeMounts=mounts, **{**own, **fields}
    )


def config_reloader(**fields: Any) -> Manifest:
    """The native config reloader, watching the volume `config` at /etc/app. No `env`: it tells nobody."""
    nobody = {"CONFIG_RELOADER_WEBHOOK_URL": "http://127.0.0.1:8080/reload"}
    env = {"CONFIG_RELOADER_WATCH": "/etc/app", **fields.pop("env", nobody)}
    limits = {"limits": {"memory": "100Mi"}, "requests": {"cpu": "20m", "memory": "50Mi"}}
    own = {**probes(RELOADER_PORT), "resources": limits, "restartPolicy": "Always"}
    mounts = [mount("config", "/etc/app", read_only=True)]
    return container("config-reloader", "config-reloader", env=env, volumeMounts=mounts, **{**own, **fields})


def config_volume(name: str) -> Manifest:
    return {"name": "config", "configMap": {"name": name}}


def pod(name: str, containers: Iterable[Manifest], init: Iterable[Manifest] = (), **spec: Any) -> Manifest:
    """A whole pod; `volumes` beside those of the programs."""
    volumes = [PROGRAM_VOLUME, *spec.pop("volumes", [])]
    whole = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 30,
        "initContainers": list(init),
        "containers": list(containers),
        "volumes": volumes,
        **spec,
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": whole}
