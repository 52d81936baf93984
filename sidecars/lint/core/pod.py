"""Pods as values: where the pod of each kind of workload is, its containers, and the part that each of them plays.

Works on plain values as JSON or YAML gives them. A manifest may hold anything, so nothing here takes a type for
granted: what has the wrong one counts as absent (the API server's schema check is not repeated).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from .products import Product, product_of

Path = tuple[str | int, ...]
"""Where a value stands in a document: keys and indexes from the top."""

ENDING_KINDS = frozenset({"Job", "CronJob"})
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


class Role(StrEnum):
    """The part that a container plays in its pod."""

    APP = "app"
    NATIVE = "native sidecar"
    ORDINARY = "ordinary sidecar"
    INIT = "init container"


def mapping(value: object) -> Mapping[str, Any]:
    """Return the value when it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def items(value: object) -> Sequence[Any]:
    """Return the value when it is a list, else an empty one."""
    return value if isinstance(value, list) else ()


def text(value: object) -> str:
    """Return a scalar as its text, and anything else as an empty one."""
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def number(value: object, default: int) -> int:
    """Return a whole number, or the default where there is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else default


@dataclass(frozen=True)
class Container:
    """One container of a pod. `path`: where it stands in the document."""

    body: Mapping[str, Any]
    path: Path
    role: Role
    product: Product | None

    @property
    def name(self) -> str:
        """Its name, or its place where it has none."""
        return text(self.body.get("name")) or f"{self.path[-2]}[{self.path[-1]}]"

    @property
    def image(self) -> str:
        """Its image as it is written."""
        return text(self.body.get("image"))

    @property
    def stays(self) -> bool:
        """Whether it runs as long as the app does."""
        return self.role is not Role.INIT

    @property
    def is_sidecar(self) -> bool:
        """Whether it stands beside an app."""
        return self.role in {Role.NATIVE, Role.ORDINARY}

    @property
    def security(self) -> Mapping[str, Any]:
        """Its own security context."""
        return mapping(self.body.get("securityContext"))

    @property
    def words(self) -> list[str]:
        """Its command and arguments, one after the other."""
        return [text(word) for key in ("command", "args") for word in items(self.body.get(key))]

    @property
    def script(self) -> str:
        """What a shell would run in it, or nothing where it starts a program directly."""
        return script_of(self.words)

    @property
    def ports(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Its declared ports, each with its index."""
        return ((index, mapping(port)) for index, port in enumerate(items(self.body.get("ports"))))

    @property
    def environment(self) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
        """Its variables: index, name, and the whole entry."""
        for index, entry in enumerate(items(self.body.get("env"))):
            yield index, text(mapping(entry).get("name")), mapping(entry)

    @property
    def mounts(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Its volume mounts, each with its index."""
        return ((index, mapping(mount)) for index, mount in enumerate(items(self.body.get("volumeMounts"))))

    def quantity(self, kind: str, resource: str) -> float | None:
        """Return an amount of `requests` or `limits` in cores or bytes, or None where none is given. A limit without a
        request is the request, too: the API server fills it in.
        """
        resources = mapping(self.body.get("resources"))
        found = mapping(resources.get(kind)).get(resource)
        if found is None and kind == "requests":
            found = mapping(resources.get("limits")).get(resource)
        return amount(found)


@dataclass(frozen=True)
class Pod:
    """The pod of one object. `path`: of its spec. `metadata`: of the pod, not of what makes it."""

    kind: str
    name: str
    document: Mapping[str, Any]
    path: Path
    spec: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def containers(self) -> tuple[Container, ...]:
        """Init containers, then containers, in their order."""
        return tuple(_containers(self))

    @property
    def staying(self) -> list[Container]:
        """Apps and sidecars."""
        return [one for one in self.containers if one.stays]

    @property
    def sidecars(self) -> list[Container]:
        """Native and ordinary ones."""
        return [one for one in self.containers if one.is_sidecar]

    @property
    def apps(self) -> list[Container]:
        """What the sidecars are there for."""
        return [one for one in self.containers if one.role is Role.APP]

    @property
    def security(self) -> Mapping[str, Any]:
        """The security context of the pod."""
        return mapping(self.spec.get("securityContext"))

    @property
    def ends(self) -> bool:
        """Whether its app is meant to end: the pod of a Job, or one that is not started again."""
        return self.kind in ENDING_KINDS or text(self.spec.get("restartPolicy")) in {"Never", "OnFailure"}

    @property
    def volumes(self) -> dict[str, tuple[Path, Mapping[str, Any]]]:
        """Each volume by its name, with its path."""
        found = enumerate(items(self.spec.get("volumes")))
        return {
            text(mapping(volume).get("name")): ((*self.path, "volumes", index), mapping(volume))
            for index, volume in found
        }

    @property
    def grace_seconds(self) -> int:
        """Its termination grace period; 30 where none is given, as in Kubernetes."""
        return number(self.spec.get("terminationGracePeriodSeconds"), 30)


def pods_of(document: object, path: Path = ()) -> Iterator[Pod]:
    """Yield the pods in a document: of a Pod, of any workload with a template, of a CronJob, and of each in a List."""
    found = mapping(document)
    kind = text(found.get("kind"))
    if kind.endswith("List") or (kind == "" and "items" in found):
        for index, item in enumerate(items(found.get("items"))):
            yield from pods_of(item, (*path, "items", index))
        return
    for steps in (("spec",), ("spec", "template", "spec"), ("spec", "jobTemplate", "spec", "template", "spec"),
                  ("template", "spec")):  # fmt: skip
        spec = _within(found, steps)
        if any(isinstance(mapping(one), Mapping) and mapping(one) for one in items(spec.get("containers"))):
            around = _within(found, steps[:-1])
            name = text(mapping(found.get("metadata")).get("name")) or "(without a name)"
            yield Pod(kind or "object", name, found, (*path, *steps), spec, mapping(around.get("metadata")))


def _within(value: Mapping[str, Any], steps: Sequence[str]) -> Mapping[str, Any]:
    for step in steps:
        value = mapping(value.get(step))
    return value


def _containers(pod: Pod) -> Iterator[Container]:
    for key in ("initContainers", "containers"):
        bodies = [mapping(body) for body in items(pod.spec.get(key))]
        products = [product_of(text(body.get("image")), text(body.get("name")), _words(body)) for body in bodies]
        apps = _app_places(pod, bodies, products)
        for index, (body, product) in enumerate(zip(bodies, products, strict=True)):
            if key == "initContainers":
                role = Role.NATIVE if body.get("restartPolicy") == "Always" else Role.INIT
            else:
                role = Role.APP if index in apps else Role.ORDINARY
            yield Container(body, (*pod.path, key, index), role, product)


def _words(body: Mapping[str, Any]) -> list[str]:
    return [text(word) for key in ("command", "args") for word in items(body.get(key))]


def _app_places(pod: Pod, bodies: Sequence[Mapping[str, Any]], products: Sequence[Product | None]) -> set[int]:
    """Return which of the containers are apps: the one that kubectl shows by default, and whatever is no known sidecar.
    A pod in which all are known sidecars is one that serves by such a program: the first of them is its app.
    """
    named = text(mapping(pod.metadata.get("annotations")).get("kubectl.kubernetes.io/default-container"))
    apps = {index for index, body in enumerate(bodies) if products[index] is None or text(body.get("name")) == named}
    return apps or {0}


_SHELLS = re.compile(r"(?:.*/)?(?:ba|da|a|z|k)?sh")


def script_of(words: Sequence[str]) -> str:
    """Return the script in `sh -c SCRIPT`, or nothing when the words start a program directly."""
    if words and re.fullmatch(r"(?:.*/)?busybox", words[0]):
        words = words[1:]
    if not words or not _SHELLS.fullmatch(words[0]):
        return ""
    for index, word in enumerate(words[1:], 1):
        if re.fullmatch(r"-\w*o", words[index - 1]):
            continue  # the name of an option, as in `-o pipefail`
        if not word.startswith("-"):
            return ""  # a script file, which is not here
        if "c" in word and not word.startswith("--"):
            return " ".join(words[index + 1 : index + 2])
    return ""


_QUANTITY = re.compile(r"([+-]?[0-9]*\.?[0-9]+)([eE][+-]?[0-9]+|[numkKMGTPE]i?)?")
_SCALE = {
    "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60,
}  # fmt: skip


def amount(value: object) -> float | None:
    """Return a Kubernetes quantity (`100m`, `64Mi`, `1e3`, 1) as a number, or None when it is none."""
    found = _QUANTITY.fullmatch(text(value))
    if not found:
        return None
    suffix = found[2] or ""
    if suffix[:1] in {"e", "E"} and suffix[1:].lstrip("+-").isdigit():
        return float(found[1] + suffix)
    return float(found[1]) * _SCALE.get(suffix, 1.0) if suffix in {"", *_SCALE} else None
