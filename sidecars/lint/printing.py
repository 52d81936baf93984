"""Print what was found: for people, as JSON, as SARIF (for code scanning), and as GitHub annotations."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sidecars import __version__

from .core.inspect import ALL_RULES
from .core.rule import Diagnostic, Rule, Severity
from .reading import Document, shown

_COLOURS = {Severity.ERROR: "\033[1;31m", Severity.WARNING: "\033[1;33m", Severity.INFO: "\033[1;36m"}
_BOLD, _DIM, _PLAIN = "\033[1m", "\033[2m", "\033[0m"
_GITHUB = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}
_SARIF = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}


@dataclass(frozen=True)
class Located:
    """A diagnostic and where it stands."""

    diagnostic: Diagnostic
    document: Document

    @property
    def place(self) -> tuple[int, int]:
        """Line and column, from 1."""
        return self.document.place(self.diagnostic.hit.path)

    @property
    def object(self) -> str:
        """The object that makes the pod, such as `Deployment/shop`."""
        return f"{self.diagnostic.pod.kind}/{self.diagnostic.pod.name}"


@dataclass(frozen=True)
class Report:
    """All that a run has found. `problems`: files that could not be read. `fixed`: by --fix."""

    found: Sequence[Located]
    suppressed: Sequence[tuple[Located, str]]
    problems: Sequence[str]
    files: int
    pods: int
    fixed: int

    def counts(self) -> dict[Severity, int]:
        """Return how many there are of each severity."""
        return {one: sum(each.diagnostic.rule.severity is one for each in self.found) for one in Severity}


def people(report: Report, *, colour: bool) -> str:
    """Return the text for people: by file and rule, with each place and its line, the reason and the fix."""
    paint = _COLOURS if colour else dict.fromkeys(Severity, "")
    bold, dim, plain = (_BOLD, _DIM, _PLAIN) if colour else ("", "", "")
    lines: list[str] = []
    for (file, rule), places in _grouped(report.found).items():
        severity = f"{paint[rule.severity]}{rule.severity}{plain}"
        lines.append(f"{severity} {bold}{rule.summary}{plain} {dim}[{rule.id}]{plain}")
        for one in places:
            line, column = one.place
            lines.append(f"  {shown(file)}:{line}:{column}: {one.diagnostic.hit.message} {dim}({one.object}){plain}")
            if line <= len(one.document.lines):
                lines.append(f"  {dim}{line:>5} |{plain} {one.document.lines[line - 1].rstrip()[:160]}")
        lines += [f"  why: {rule.why}", f"  fix: {rule.fix}", ""]
    return "\n".join([*lines, summary(report)])


def _grouped(found: Iterable[Located]) -> dict[tuple[str, Rule], list[Located]]:
    """Return what belongs to one rule in one file together, the worst first within a file."""
    groups: dict[tuple[str, Rule], list[Located]] = {}
    for one in sorted(found, key=lambda one: one.diagnostic.rule.severity.rank):
        groups.setdefault((one.document.file, one.diagnostic.rule), []).append(one)
    files = list(dict.fromkeys(one.document.file for one in found))
    return dict(sorted(groups.items(), key=lambda group: files.index(group[0][0])))


def summary(report: Report) -> str:
    """Return the last line."""
    counts = [_number(count, one.value) for one, count in report.counts().items() if count and one is not Severity.INFO]
    infos = report.counts()[Severity.INFO]
    counts += [f"{infos} info"] if infos else []
    found = ", ".join(counts) or "nothing found"
    parts = [f"{_number(report.files, 'file')}, {_number(report.pods, 'pod')}: {found}"]
    fixable = sum(bool(one.diagnostic.hit.edits) for one in report.found)
    parts += [f"{_number(report.fixed, 'fix', 'es')} written"] if report.fixed else []
    parts += [f"{fixable} can be fixed with --fix"] if fixable else []
    parts += [f"{len(report.suppressed)} suppressed"] if report.suppressed else []
    if not report.pods and not report.problems:
        parts.append("there is no pod in what was read")
    return "; ".join(parts)


def _number(count: int, word: str, plural: str = "s") -> str:
    return f"{count} {word}{'' if count == 1 else plural}"


def as_json(report: Report) -> str:
    """Return JSON for scripts."""
    content = {
        "version": 1,
        "files": report.files,
        "pods": report.pods,
        "fixed": report.fixed,
        "findings": [_plain(one) for one in report.found],
        "suppressed": [{**_plain(one), "reason": reason} for one, reason in report.suppressed],
        "problems": list(report.problems),
    }
    return json.dumps(content, indent=2)


def _plain(one: Located) -> dict[str, object]:
    rule, (line, column) = one.diagnostic.rule, one.place
    return {
        "rule": rule.id,
        "severity": rule.severity.value,
        "message": one.diagnostic.hit.message,
        "file": one.document.file,
        "line": line,
        "column": column,
        "kind": one.diagnostic.pod.kind,
        "name": one.diagnostic.pod.name,
        "path": ".".join(map(str, one.diagnostic.hit.path)),
        "why": rule.why,
        "fix": rule.fix,
        "fixable": bool(one.diagnostic.hit.edits),
        "source": rule.source,
    }


def sarif(report: Report) -> str:
    """Return SARIF 2.1.0 (docs.oasis-open.org/sarif/sarif/v2.1.0), which code scanning reads."""
    places = {rule.id: index for index, rule in enumerate(ALL_RULES)}
    results = [_result(one, places) for one in report.found]
    for one, reason in report.suppressed:
        results.append({**_result(one, places), "suppressions": [{"kind": "inSource", "justification": reason}]})
    driver = {
        "name": "sidecar lint",
        "version": __version__,
        "rules": [_described(rule) for rule in ALL_RULES],
    }
    failed = [{"level": "error", "message": {"text": problem}} for problem in report.problems]
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": not failed, "toolExecutionNotifications": failed}],
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    schema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
    return json.dumps({"$schema": schema, "version": "2.1.0", "runs": [run]}, indent=2)


def _described(rule: Rule) -> dict[str, object]:
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": rule.why},
        "help": {"text": rule.fix},
        "helpUri": rule.source,
        "defaultConfiguration": {"level": _SARIF[rule.severity]},
    }


def _result(one: Located, places: Mapping[str, int]) -> dict[str, Any]:
    rule, (line, column) = one.diagnostic.rule, one.place
    return {
        "ruleId": rule.id,
        "ruleIndex": places[rule.id],
        "level": _SARIF[rule.severity],
        "message": {"text": f"{one.diagnostic.hit.message}. {rule.fix}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _relative(one.document.file)},
                    "region": {"startLine": line, "startColumn": column},
                },
                "logicalLocations": [{"fullyQualifiedName": one.object, "kind": "resource"}],
            }
        ],
    }


def _relative(file: str) -> str:
    """Return a file as code scanning finds it in the repository: relative to the folder in which lint runs."""
    if file == "-":
        return "stdin"
    near = os.path.relpath(file)
    return file if near.startswith("..") else near


def github(report: Report) -> str:
    """Return workflow commands, which GitHub shows beside the lines of a pull request."""
    problems = [f"::error::{_escaped(one)}" for one in report.problems]
    return "\n".join([*_commands(report.found), *problems, summary(report)])


def _commands(found: Iterable[Located]) -> Iterator[str]:
    for one in found:
        rule, (line, column) = one.diagnostic.rule, one.place
        file = _escaped(shown(one.document.file)).replace(":", "%3A").replace(",", "%2C")
        text = _escaped(f"{one.diagnostic.hit.message}. {rule.fix}")
        yield f"::{_GITHUB[rule.severity]} file={file},line={line},col={column},title={rule.id}::{text}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
