"""What a manifest says about findings that are meant: a comment at the place, or an annotation of the pod.

    image: shop:latest # sidecar-lint: ignore latest-tag: only on my laptop

    metadata:
      annotations:
        sidecars.dev/lint-ignore: "runs-as-root: listens on port 53; latest-tag: pinned by the mirror"

Each has to give its reason: whoever reads it next year has nobody to ask.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .pod import Pod, mapping, text

ANNOTATION = "sidecars.dev/lint-ignore"
_COMMENT = re.compile(r"#\s*sidecar-lint:\s*ignore\b[ \t]*(.*)$")
_ENTRY = re.compile(r"\s*([a-z0-9-]+(?:\s*,\s*[a-z0-9-]+)*)\s*(?::\s*(.*?))?\s*")


@dataclass(frozen=True)
class Suppression:
    """Rules that are not to be reported, and why. `mistake`: what is wrong with it, in which case it does nothing."""

    rules: frozenset[str]
    reason: str
    mistake: str = ""


def in_comment(line: str, known: Iterable[str]) -> Suppression | None:
    """Return what a line of the file suppresses, or None where it says nothing about that."""
    found = _COMMENT.search(line)
    return _read(found[1], frozenset(known)) if found else None


def in_annotations(pod: Pod, known: Iterable[str]) -> Iterator[Suppression]:
    """Yield what the annotations of the pod, and of the object that makes it, suppress in all of the pod."""
    for metadata in (pod.metadata, mapping(pod.document.get("metadata"))):
        given = text(mapping(metadata.get("annotations")).get(ANNOTATION))
        for entry in filter(str.strip, given.split(";")):
            yield _read(entry, frozenset(known))
        if pod.metadata is mapping(pod.document.get("metadata")):
            return


def _read(entry: str, known: frozenset[str]) -> Suppression:
    found = _ENTRY.fullmatch(entry)
    if not found:
        return Suppression(frozenset(), "", "it names no rule; write `ignore RULE: reason`")
    rules, reason = frozenset(re.split(r"\s*,\s*", found[1])), found[2] or ""
    if strange := sorted(rules - known):
        return Suppression(frozenset(), reason, f"there is no rule {', '.join(strange)}")
    if not reason:
        return Suppression(frozenset(), "", f"it gives no reason; write `ignore {', '.join(sorted(rules))}: reason`")
    return Suppression(rules, reason)
