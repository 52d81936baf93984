"""Look at a document with the rules: what they find, without what the manifest suppresses."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from .pod import Path, Pod, pods_of
from .rule import Diagnostic, Hit, Options, Rule, Severity
from .rules import BY_ID, RULES
from .suppression import Suppression, in_annotations, in_comment


def _nothing(_pod: Pod, _options: Options) -> Iterator[Hit]:
    return iter(())


SUPPRESSION = Rule(
    id="suppression-unusable",
    severity=Severity.WARNING,
    summary="A suppression names no rule, or gives no reason",
    why="It hides nothing, and a finding that is hidden without a reason is never looked at again.",
    fix="Write `# sidecar-lint: ignore RULE: reason`.",
    source="https://kubernetes.io/docs/concepts/overview/working-with-objects/annotations/",
    bad='containers:\n  - {name: app, image: "shop:latest"} # sidecar-lint: ignore latest-tag',
    good='containers:\n  - {name: app, image: "shop:latest"} # sidecar-lint: ignore latest-tag: only on my laptop',
    look=_nothing,
)
ALL_RULES = (*RULES, SUPPRESSION)
KNOWN = frozenset({*BY_ID, SUPPRESSION.id})


@dataclass(frozen=True)
class Inspection:
    """What was found in a document."""

    pods: int
    diagnostics: tuple[Diagnostic, ...]
    suppressed: tuple[tuple[Diagnostic, str], ...]
    """Each with the reason that the manifest gives."""


LineText = Callable[[Path], Iterable[str]]
"""Returns the lines whose comments count for a path: its own, the one above, and the same of its container."""


def inspect(document: object, rules: Iterable[Rule], options: Options, lines: LineText) -> Inspection:
    """Return what the rules find in a document, which may hold no pod at all."""
    chosen = list(rules)
    pods = list(pods_of(document))
    found: list[Diagnostic] = []
    suppressed: list[tuple[Diagnostic, str]] = []
    for pod in pods:
        whole = list(in_annotations(pod, KNOWN))
        found += (_unusable(pod, ("metadata", "annotations"), one.mistake) for one in whole if one.mistake)
        for rule in chosen:
            for hit in rule.look(pod, options):
                one = Diagnostic(rule, pod, hit)
                near = [said for line in lines(hit.path) if (said := in_comment(line, KNOWN))]
                found += (_unusable(pod, hit.path, said.mistake) for said in near if said.mistake)
                reason = _reason(rule, [*near, *whole])
                suppressed.append((one, reason)) if reason else found.append(one)
    return Inspection(len(pods), tuple(_each_once(found)), tuple(suppressed))


def _reason(rule: Rule, said: Iterable[Suppression]) -> str:
    return next((one.reason for one in said if rule.id in one.rules), "")


def _unusable(pod: Pod, path: Path, mistake: str) -> Diagnostic:
    return Diagnostic(SUPPRESSION, pod, Hit(path, f"a suppression is unusable: {mistake}"))


def _each_once(found: list[Diagnostic]) -> list[Diagnostic]:
    """Return each diagnostic once: a suppression that several findings meet is unusable once."""
    seen: set[tuple[str, str, Path]] = set()
    once = []
    for one in found:
        path = one.hit.path if one.rule is not SUPPRESSION else ()
        key = (one.rule.id, one.hit.message, path)
        if key not in seen:
            once.append(one)
        seen.add(key)
    return once
