"""What everything outside of a sidecar's folder has to know of it, as its `sidecar.toml` declares it.

Exists so that a sidecar is one folder: the command line, packaging, images, manifests, documents and tests read the
declaration, and none of them keeps a list of its own. Imports nothing of ours: the build of an image reads it, too.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

PACKAGE = Path(__file__).parent
FILE = "sidecar.toml"
TOOL_FILE = "tool.toml"
Variant = Literal["native", "ordinary", "init"]
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


class DeclarationError(Exception):
    """A declaration cannot be used; the message names the file, the key and what is wrong with it."""


class Bars(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a sidecar must not exceed: resident MiB when idle, MB of its unpacked image, CPU seconds of its start."""

    idle_mib: float
    image_mb: float = 60.0
    start_cpu_seconds: float = 0.5


def image_bars(name: str, declared: Mapping[str, "Declaration"]) -> Bars:
    """Return the bars of an image: of its sidecar; for the image of all of them, and for the stand-ins, what the
    largest one may have and a little on top.
    """
    if name in declared:
        return declared[name].bars
    largest = max(one.bars.image_mb for one in declared.values())
    return Bars(idle_mib=0, image_mb=largest + 10.0)


class Volume(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The volume of the app that a sidecar reads: its name in the pod, and where it is mounted."""

    name: str
    path: str


class Kubernetes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the container of a sidecar says in a pod. `variants`: the ways to add it to one, each a component of k8s/.

    `requests`, `limits`: its resources. `fields`: variables filled from the pod, by the path of the field.
    `environment`: variables with a value, which may hold {state}; `ordinary`: what only an ordinary container has.
    `once`: the flags with which it ends when it has done its part, as an init container beside the ordinary one.
    `state_size`: of the volume for its state; `state_medium`: Memory, where no disk may see it. `secret`: the folder
    where the Secret with its name is mounted. `grace`: seconds, of the `pod` and of the sidecar by variant. `about`:
    what the readers of a component should know, by variant. `example`: variables with which it works beside the
    example app.
    """

    variants: tuple[Variant, ...]
    requests: Mapping[str, str]
    limits: Mapping[str, str]
    volume: Volume | None = None
    fields: Mapping[str, str] = {}
    environment: Mapping[str, str] = {}
    once: tuple[str, ...] = ()
    ordinary: Mapping[str, str] = {}
    state_size: str = ""
    state_medium: Literal["", "Memory"] = ""
    secret: str = ""
    grace: Mapping[str, int] = {}
    about: Mapping[Variant, str] = {}
    example: Mapping[str, str]


class Alert(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a person should look. `expr`: in PromQL; `lasts`: for so long; `means`: what it is and what to do."""

    expr: str
    lasts: str
    means: str


class Declaration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One sidecar. `summary`: one line, for the overview, the label of the image and the documents.

    `port`: of the admin endpoint; 0: it has none. `state`: the folder that it writes, "" for none. `libraries`: the
    packages that its extra installs. `ends_with`: the exit status after SIGTERM. `settings`: as few as it starts and
    does its work with; values may hold {logs}, a folder with log files, {config}, a folder with configuration, {state},
    a folder to write, {backend}, the URL of an Elasticsearch, and {server}, host:port of what takes connections.
    """

    name: str = ""
    summary: str
    port: int = 0
    state: str = ""
    libraries: tuple[str, ...] = ()
    ends_with: int = 0
    bars: Bars
    settings: Mapping[str, str] = {}
    kubernetes: Kubernetes | None = None
    alerts: tuple[Alert, ...] = ()

    @property
    def serves(self) -> bool:
        """Whether it has an admin endpoint, and so probes: it stays until it is stopped."""
        return bool(self.port)

    @property
    def folder(self) -> str:
        """The name of its package, such as `log_shipper`."""
        return self.name.replace("-", "_")

    @property
    def prefix(self) -> str:
        """The prefix of its environment variables, such as `LOG_SHIPPER_`."""
        return self.folder.upper() + "_"

    @property
    def probe(self) -> str:
        """Where sidecar-probe finds the admin port (see sidecars/probe.py); "" without one."""
        return f"{self.prefix}ADMIN_PORT={self.port}" if self.serves else ""

    def variables(self, **places: str) -> dict[str, str]:
        """Return the minimal settings as environment variables, with the places filled in."""
        return {self.prefix + key.upper(): text.format(**places) for key, text in self.settings.items()}


class Tool(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command of `sidecar` that no pod runs, such as `sidecar lint`: it looks at what it is given, and ends. It comes
    with the package and with the image of all sidecars, and has no image and no lock of its own. `summary`: one line,
    for the overview and the documents.
    """

    summary: str


def declared_names(package: Path = PACKAGE) -> list[str]:
    """Return the names of all sidecars of the project, also of those whose code an image leaves out."""
    return sorted(path.parent.name.replace("_", "-") for path in package.glob(f"*/{FILE}"))


def names(package: Path = PACKAGE) -> list[str]:
    """Return the names of the sidecars that are here to be run."""
    return [name for name in declared_names(package) if (package / name.replace("-", "_") / "agent.py").exists()]


def declarations(package: Path = PACKAGE) -> dict[str, Declaration]:
    """Return the declarations of the sidecars that are here, by name."""
    return {name: declaration(name, package) for name in names(package)}


def tools(package: Path = PACKAGE) -> dict[str, Tool]:
    """Return the tools that are here, by name. Raise DeclarationError."""
    found = {}
    for path in sorted(package.glob(f"*/{TOOL_FILE}")):
        try:
            found[path.parent.name.replace("_", "-")] = msgspec.toml.decode(path.read_bytes(), type=Tool)
        except (OSError, msgspec.DecodeError) as error:
            raise DeclarationError(f"cannot read {path}: {error}") from error
    return found


def declaration(name: str, package: Path = PACKAGE) -> Declaration:
    """Read one declaration. Raise DeclarationError."""
    path = package / name.replace("-", "_") / FILE
    try:
        found = msgspec.toml.decode(path.read_bytes(), type=Declaration)
    except (OSError, msgspec.DecodeError) as error:
        raise DeclarationError(f"cannot read {path}: {error}") from error
    found = msgspec.structs.replace(found, name=name)
    if problem := _problem(found):
        raise DeclarationError(f"cannot use {path}: {problem}")
    return found


def _problem(found: Declaration) -> str:
    """Return what does not fit together, or nothing."""
    pod = found.kubernetes
    wrong = {
        "name the folder in lower case, with underscores between words": not _NAME.fullmatch(found.name),
        "summary is one line without a full stop": "\n" in found.summary or found.summary.endswith("."),
        "port is a number from 1 to 65535; leave it out where nothing listens": not 0 <= found.port < 65536,
        "state is an absolute path": not found.state.startswith("/") and found.state != "",
    }
    if pod:
        wrong |= {
            "kubernetes.variants: native and ordinary need a port, for their probes": not found.serves
            and bool({*pod.variants} - {"init"}),
            "kubernetes.variants: init is for what ends, always or by the flags of kubernetes.once": found.serves
            and ("init" in pod.variants) != bool(pod.once),
            "state needs kubernetes.state_size, and the other way round": bool(pod.state_size) != bool(found.state),
            "kubernetes.grace: give the pod's, and one by variant": bool(pod.grace)
            and pod.grace.keys() != {"pod", *pod.variants},
        }
    return next((what for what, so in wrong.items() if so), "")
