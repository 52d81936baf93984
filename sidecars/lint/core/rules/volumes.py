"""What containers share and keep: configuration that never changes, secrets on disk, volumes that fill the node."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sidecars.lint.core.pod import Path, Pod, mapping, text
from sidecars.lint.core.products import Job
from sidecars.lint.core.rule import Hit, Options, Rule, SetKey, Severity

_CONFIG = "https://kubernetes.io/docs/concepts/configuration/configmap/#mounted-configmaps-are-updated-automatically"
_EMPTY = "https://kubernetes.io/docs/concepts/storage/volumes/#emptydir"
_SECRETS = "https://kubernetes.io/docs/concepts/security/secrets-good-practices/"
_UPDATED = ("configMap", "secret", "projected", "downwardAPI")
_SECRET_NAME = re.compile(r"(?:^|[-_])(secrets?|credentials?|vault)(?:$|[-_])", re.IGNORECASE)
_SECRET_FOLDER = re.compile(r"/(vault/secrets|secrets?|credentials?)(?:/|$)")
_SECRET_VARIABLE = re.compile(
    r"(?:^|_|PG|[a-z](?-i:(?=[A-Z])))(PASSWORD|PWD|PASSWD|SECRET|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|AUTH_?TOKEN|ACCESS_?TOKEN|TOKEN)$",
    re.IGNORECASE,
)
_PASSWORD_IN_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@]*:(?!\$\()[^/\s@]+@")
_SWITCH = re.compile(r"true|false|yes|no|on|off", re.IGNORECASE)
_NOWHERE: tuple[Path, Mapping[str, Any]] = ((), {})


def _sub_path(pod: Pod, _: Options) -> Iterator[Hit]:
    for one in pod.containers:
        for index, mount in one.mounts:
            volume = pod.volumes.get(text(mount.get("name")), _NOWHERE)[1]
            kind = next((kind for kind in _UPDATED if kind in volume), "")
            key = next((key for key in ("subPath", "subPathExpr") if mount.get(key)), "")
            if kind and key and one.stays:
                yield Hit(
                    (*one.path, "volumeMounts", index, key),
                    f"{one.name} mounts {kind} volume {text(mount.get('name'))} by {key}: changes never arrive",
                )


def _secret_on_disk(pod: Pod, _: Options) -> Iterator[Hit]:
    for name, (path, volume) in pod.volumes.items():
        on_disk = "emptyDir" in volume and mapping(volume.get("emptyDir")).get("medium") != "Memory"
        if on_disk and (writer := _writer_of_secrets(pod, name)):
            yield Hit(
                (*path, "emptyDir"),
                f"volume {name} holds what {writer} writes, and is on the disk of the node",
                (SetKey((*path, "emptyDir"), "medium", "Memory"),),
            )


def _writer_of_secrets(pod: Pod, volume: str) -> str:
    """Return the container that writes secrets into a volume, or nothing. What fetches secrets writes them to the
    volume that an app mounts, too, or whose name or folder says so.
    """
    for one in pod.containers:
        folders = [text(mount.get("mountPath")) for _, mount in one.mounts if mount.get("name") == volume]
        writes = any(mount.get("name") == volume and mount.get("readOnly") is not True for _, mount in one.mounts)
        named = _SECRET_NAME.search(volume) or any(map(_SECRET_FOLDER.search, folders))
        if writes and one.product and one.product.job is Job.SECRETS and (named or _is_shared(pod, volume)):
            return one.name
        if writes and named and not one.product:
            return one.name
    return ""


def _is_shared(pod: Pod, volume: str) -> bool:
    users = [one for one in pod.containers if any(mount.get("name") == volume for _, mount in one.mounts)]
    return len(users) > 1


def _no_size(pod: Pod, _: Options) -> Iterator[Hit]:
    for name, (path, volume) in pod.volumes.items():
        if "emptyDir" in volume and not mapping(volume.get("emptyDir")).get("sizeLimit"):
            memory = mapping(volume.get("emptyDir")).get("medium") == "Memory"
            if memory or (pod.sidecars and _is_shared(pod, name)):
                takes = "the memory of its containers" if memory else "the disk of the node"
                yield Hit((*path, "emptyDir"), f"volume {name} has no sizeLimit, so it can take {takes}")


def _literal(pod: Pod, _: Options) -> Iterator[Hit]:
    for one in pod.containers:
        for index, name, entry in one.environment:
            value = text(entry.get("value"))
            named = _SECRET_VARIABLE.search(name) and not value.startswith(("$(", "/")) and not _SWITCH.fullmatch(value)
            if value and name != "PWD" and (named or _PASSWORD_IN_URL.match(value)):
                yield Hit((*one.path, "env", index), f"the value of {name} stands in the manifest of {one.name}")


RULES = (
    Rule(
        id="config-by-sub-path",
        severity=Severity.WARNING,
        summary="A ConfigMap or Secret is mounted by subPath",
        why="The kubelet never updates a subPath mount. A reload sidecar beside it sees the old file for ever, "
        "and a rotated certificate expires in the pod.",
        fix="Mount the whole volume as a folder, and let the app read the file there.",
        source=_CONFIG,
        bad="""containers:
  - name: app
    image: shop:1.2
    volumeMounts: [{name: config, mountPath: /app/app.yaml, subPath: app.yaml}]
volumes: [{name: config, configMap: {name: shop}}]""",
        good="""containers:
  - name: app
    image: shop:1.2
    volumeMounts: [{name: config, mountPath: /app/config}]
volumes: [{name: config, configMap: {name: shop}}]""",
        look=_sub_path,
    ),
    Rule(
        id="secret-on-disk",
        severity=Severity.ERROR,
        summary="Secrets are written to the disk of the node",
        why="An emptyDir lies on the node's disk: in its backups, and readable for whoever gets hold of the "
        "node. It stays there until the pod is removed, longer than the lease of the secret.",
        fix="Set `medium: Memory` and a `sizeLimit` on the emptyDir.",
        source=_SECRETS,
        bad="""initContainers:
  - name: vault
    image: hashicorp/vault:1.18
    restartPolicy: Always
    args: [agent, -config=/etc/vault/agent.hcl]
    volumeMounts: [{name: credentials, mountPath: /vault/secrets}]
containers:
  - {name: app, image: shop:1.2, volumeMounts: [{name: credentials, mountPath: /secrets}]}
volumes:
  - name: credentials
    emptyDir: {}""",
        good="""initContainers:
  - name: vault
    image: hashicorp/vault:1.18
    restartPolicy: Always
    args: [agent, -config=/etc/vault/agent.hcl]
    volumeMounts: [{name: credentials, mountPath: /vault/secrets}]
containers:
  - {name: app, image: shop:1.2, volumeMounts: [{name: credentials, mountPath: /secrets}]}
volumes:
  - name: credentials
    emptyDir: {medium: Memory, sizeLimit: 1Mi}""",
        look=_secret_on_disk,
        fixable=True,
    ),
    Rule(
        id="volume-without-size",
        severity=Severity.WARNING,
        summary="A volume in memory, or one that a sidecar shares, has no size limit",
        why="Logs that nobody ships fill the disk of the node, and then every pod on it is evicted. A volume "
        "in memory counts as memory of the container that writes it, up to half of the node's.",
        fix="Set `sizeLimit` on the emptyDir.",
        source=_EMPTY,
        bad="""containers:
  - {name: app, image: shop:1.2, volumeMounts: [{name: logs, mountPath: /logs}]}
  - {name: ship, image: "fluent/fluent-bit:3.1", volumeMounts: [{name: logs, mountPath: /logs}]}
volumes: [{name: logs, emptyDir: {}}]""",
        good="""containers:
  - {name: app, image: shop:1.2, volumeMounts: [{name: logs, mountPath: /logs}]}
  - {name: ship, image: "fluent/fluent-bit:3.1", volumeMounts: [{name: logs, mountPath: /logs}]}
volumes: [{name: logs, emptyDir: {sizeLimit: 500Mi}}]""",
        look=_no_size,
    ),
    Rule(
        id="secret-in-manifest",
        severity=Severity.ERROR,
        summary="A password or token stands in the manifest",
        why="It is in the repository, in the cluster's audit log, in `kubectl describe`, and in the "
        "environment of every process; to rotate it means to roll out.",
        fix="Mount it as a file from a Secret, or let secret-sync fetch it; at least use `valueFrom.secretKeyRef`.",
        source=_SECRETS,
        bad="""containers:
  - {name: app, image: shop:1.2, env: [{name: DB_PASSWORD, value: hunter2}]}""",
        good="""containers:
  - {name: app, image: shop:1.2, env: [{name: DB_PASSWORD_FILE, value: /secrets/password}]}""",
        look=_literal,
    ),
)
