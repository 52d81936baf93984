"""What a rule is: its id, how bad it is, why, the fix, an example of each, and the function that looks at a pod."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from .pod import Path, Pod


class Severity(StrEnum):
    """How bad it is. error: it will fail, lose data or leak; warning: it hurts on a bad day; info: worth a thought."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 for the worst."""
        return list(Severity).index(self)


@dataclass(frozen=True)
class SetKey:
    """An edit: give the mapping at `path` a key with this value (YAML in flow style)."""

    path: Path
    key: str
    value: str


@dataclass(frozen=True)
class DropKey:
    """An edit: remove the last step of `path` from the mapping that holds it."""

    path: Path


@dataclass(frozen=True)
class MoveToInit:
    """An edit: move the container at `path` to the end of initContainers, with `restartPolicy: Always`."""

    path: Path


Edit = SetKey | DropKey | MoveToInit


@dataclass(frozen=True)
class Hit:
    """One place where a rule applies. `path`: in the document. `edits`: what mends it, where that is certain."""

    path: Path
    message: str
    edits: tuple[Edit, ...] = ()


@dataclass(frozen=True)
class Options:
    """What a user may choose: how many sidecars a pod may have, and which share of the app's requests all of them."""

    most_sidecars: int = 3
    sidecar_share_percent: int = 100


Look = Callable[[Pod, Options], Iterator[Hit]]


@dataclass(frozen=True)
class Rule:
    """One rule. `summary`: a short sentence. `why`, `fix`: for people. `bad`, `good`: a pod's spec (YAML) in which the
    rule finds something, and the same one mended. `source`: where it is written down. `fixable`: whether --fix
    mends it.
    """

    id: str
    severity: Severity
    summary: str
    why: str
    fix: str
    source: str
    bad: str
    good: str
    look: Look
    fixable: bool = False


@dataclass(frozen=True)
class Diagnostic:
    """What is reported: a rule at a place of a pod."""

    rule: Rule
    pod: Pod
    hit: Hit
