"""Write what the documents say of declarations: a reference page for each sidecar, and the blocks between markers.

`python -m scripts.docs` (`make docs`) writes; `--check` writes nothing: status 1 and the differences. One truth, one
owner: the meaning of a setting is in settings.py, that of a metric in metrics.py, alerts and resources are in
sidecar.toml, and a line of the log is where it is logged.
"""

import ast
import difflib
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sidecars.__main__ import find
from sidecars.declaration import Declaration, Tool, declarations, tools
from sidecars.lint.core.inspect import ALL_RULES
from sidecars.lint.core.rule import Rule
from sidecars.runtime.command.reference import exit_statuses, markdown
from sidecars.runtime.observe.metrics import Labels, Metrics
from sidecars.runtime.settings.environment import IGNORED
from sidecars.runtime.sidecar import Sidecar

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
_BLOCK = re.compile(r"(<!-- written by `make docs`: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
_LEVELS = ("debug", "info", "warning", "error")


def pages() -> dict[Path, str]:
    """Return every page that holds something generated, with its whole text as it should be."""
    found = {DOCS / "reference" / f"{name}.md": reference(one) for name, one in declarations().items()}
    found |= {DOCS / "reference" / f"{name}.md": tool_reference(name, tool) for name, tool in tools().items()}
    found |= {DOCS / "lint" / f"{rule.id}.md": lint_page(rule) for rule in ALL_RULES}
    for page in (ROOT / "README.md", *sorted(DOCS.glob("*.md"))):
        text = page.read_text(encoding="utf-8")
        if _BLOCK.search(text):
            found[page] = _BLOCK.sub(partial(_block, page), text)
    return found


def _block(page: Path, found: re.Match[str]) -> str:
    return f"{found[1]}{BLOCKS[found[2]](page)}\n{found[3]}"


def reference(declaration: Declaration) -> str:
    """Return the reference page of a sidecar."""
    sidecar = find(declaration.name)
    parts = {
        "Settings": markdown(sidecar),
        "Flags": _flags(sidecar),
        "Metrics": _metrics(sidecar),
        "Alerts": _alerts(declaration),
        "Log actions": _own_actions(declaration),
        "Ports and probes": _probes(declaration),
        "Resources": _resources(declaration),
        "Exit status": exit_statuses(sidecar).removeprefix("Exit status: "),
    }
    head = [
        f"# {sidecar.name}: reference",
        "<!-- Written by `make docs`. Change the declaration in the code, not this page. -->",
        f"{declaration.summary}.{_guide(declaration.name)} How settings are written: [settings](../settings.md).",
        " · ".join(f"[{title}](#{title.lower().replace(' ', '-')})" for title, text in parts.items() if text),
    ]
    return "\n\n".join([*head, *(f"## {title}\n\n{text}" for title, text in parts.items() if text)]) + "\n"


def tool_reference(name: str, tool: Tool) -> str:
    """Return the reference page of a tool."""
    sidecar = find(name)
    parts = {"Settings": markdown(sidecar), "Exit status": exit_statuses(sidecar).removeprefix("Exit status: ")}
    head = [
        f"# {name}: reference",
        "<!-- Written by `make docs`. Change the declaration in the code, not this page. -->",
        f"{tool.summary}.{_guide(name)} How settings are written: [settings](../settings.md).",
    ]
    return "\n\n".join([*head, *(f"## {title}\n\n{text}" for title, text in parts.items())]) + "\n"


def lint_page(rule: Rule) -> str:
    """Return the page of a rule of `sidecar lint`."""
    parts = [
        f"# {rule.id}",
        "<!-- Written by `make docs`. Change the rule in sidecars/lint/core/rules, not this page. -->",
        f"**{rule.summary}.** {rule.severity.capitalize()}{_fixable(rule)}. [All rules](../lint.md#rules).",
        f"**Why.** {rule.why}",
        f"**Fix.** {rule.fix}",
        f"Found here:\n\n```yaml\n{rule.bad}\n```",
        f"Not here:\n\n```yaml\n{rule.good}\n```",
        f"If it is meant: `# sidecar-lint: ignore {rule.id}: REASON` on the line or above it.",
        f"Read more: <{rule.source}>",
    ]
    return "\n\n".join(parts) + "\n"


def _fixable(rule: Rule) -> str:
    return ", and `--fix` mends it" if rule.fixable else ""


def _lint_rules(_page: Path) -> str:
    rows = (
        (f"[{rule.id}](lint/{rule.id}.md)", rule.severity.value, rule.summary, "yes" if rule.fixable else "")
        for rule in ALL_RULES
    )
    return table(("rule", "severity", "finds", "`--fix`"), rows)


def _guide(name: str) -> str:
    return f" The guide: [{name}](../{name}.md)." if (DOCS / f"{name}.md").exists() else ""


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    cells = [[cell.replace("|", "\\|") for cell in line] for line in (head, *rows)]
    lines = [f"| {' | '.join(line)} |" for line in cells]
    return "\n".join([lines[0], "|" + "---|" * len(cells[0]), *lines[1:]])


def _flags(sidecar: Sidecar) -> str:
    rows = [(f"`--{oneshot.name}`", oneshot.help) for oneshot in sidecar.oneshots]
    rows += [(f"`--{alias}`", f"another name of `{name}`") for alias, name in sidecar.aliases.items()]
    return table(("flag", "meaning"), rows) if rows else ""


class _Noted(Metrics):
    """Makes metrics and remembers their labels, which a registry does not tell of one without a series."""

    def __init__(self, sidecar: str) -> None:
        super().__init__(sidecar)
        self.labels: dict[str, Labels] = {"sidecar_build_info": ("version", "sidecar", "python")}

    def _once(self, kind: Any, what: str, make: Callable[[str], Any], labels: Labels) -> Any:
        self.labels[self.name(what)] = labels
        return super()._once(kind, what, make, labels)


def metric_rows(sidecar: Sidecar) -> Iterator[tuple[str, str, str]]:
    """Yield name, type and meaning of every metric of ours; those of the process are Prometheus's own."""
    noted = _Noted(sidecar.name)
    if sidecar.metrics:
        sidecar.metrics(noted)
    for family in noted.registry.collect():
        if family.name.startswith("sidecar_"):
            labels: Labels = noted.labels.get(family.name) or getattr(family, "_labelnames", None) or ()
            name = family.name + ("_total" if family.type == "counter" else "")
            yield name, family.type, f"{family.documentation}{_by(labels)}"


def _by(labels: Labels) -> str:
    if not isinstance(labels, Mapping):
        return f" By {', '.join(f'`{label}`' for label in labels)}." if labels else ""
    lists = (f"`{label}` ({', '.join(sorted(map(str, values)))})" for label, values in labels.items())
    return f" By {', '.join(lists)}."


def _metrics(sidecar: Sidecar) -> str:
    if not sidecar.admin:
        return ""
    rows = ((f"`{name}`", kind, meaning) for name, kind, meaning in metric_rows(sidecar))
    return table(("metric", "type", "meaning"), rows)


def _alerts(declaration: Declaration) -> str:
    rows = [(f"`{alert.expr}`", alert.lasts, alert.means) for alert in declaration.alerts]
    return table(("alert when", "for", "what it means, and what to do"), rows) if rows else ""


def _own_actions(declaration: Declaration) -> str:
    rows = actions(ROOT / "sidecars" / declaration.folder)
    both = (
        "Capital letters stand for one of a closed list, `...` for a value. Those of every sidecar are in\n"
        "[operations](../operations.md#log-actions-of-every-sidecar)."
    )
    return "\n\n".join([both, _actions(rows)] if rows else [both])


def _actions(found: Mapping[str, tuple[str, str]]) -> str:
    rows = ((f"`{action}`", level, text) for action, (level, text) in sorted(found.items()))
    return table(("action", "level", "says"), rows)


def actions(package: Path) -> dict[str, tuple[str, str]]:
    """Return level and text of each `action` that a package logs, as far as its source says; `...` stands for a value,
    capital letters for one of a closed list.
    """
    levels, texts = defaultdict[str, set[str]](set), dict[str, str]()
    for path in sorted(package.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            for call, action in _logged(function):
                levels[action] |= _levels(call.func, function)
                texts[action] = texts.get(action) or next(filter(None, _texts(call.args[0], function, "...")), "")
    return {action: (" or ".join(sorted(levels[action], key=_LEVELS.index)), text) for action, text in texts.items()}


def _logged(function: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    """Yield each call with an action, and that action."""
    for call in (node for node in ast.walk(function) if isinstance(node, ast.Call) and node.args):
        for word in (word for word in call.keywords if word.arg == "action"):
            for action in _texts(word.value, function):
                yield call, action


def _levels(called: ast.expr, function: ast.AST) -> set[str]:
    """Return the levels of `log.info`, or of a local name that stands for one of some."""
    nodes = (node for value in _values(called, function) for node in ast.walk(value))
    return {node.attr for node in nodes if isinstance(node, ast.Attribute)} & set(_LEVELS)


def _values(node: ast.expr, function: ast.AST) -> list[ast.expr]:
    """Return what a local name was set to, one branch of a choice each; else the expression itself."""
    if isinstance(node, ast.IfExp):
        return [*_values(node.body, function), *_values(node.orelse, function)]
    if isinstance(node, ast.Name):
        assigned = (one for one in ast.walk(function) if isinstance(one, ast.Assign))
        named = [one.value for one in assigned if ast.unparse(one.targets[0]) == node.id]
        return [value for one in named for value in _values(one, function)]
    return [node]


def _texts(node: ast.expr, function: ast.AST, value: str = "") -> Iterator[str]:
    """Yield the texts that an expression may be. What is filled in is `value`, or its name in capitals."""
    for one in _values(node, function):
        if isinstance(one, ast.Constant) and isinstance(one.value, str):
            yield one.value
        elif isinstance(one, ast.JoinedStr):
            text = "".join(
                value or ast.unparse(part.value).removesuffix(".value").rpartition(".")[2].upper()
                if isinstance(part, ast.FormattedValue)
                else next(_texts(part, function), "")
                for part in one.values
            )
            yield text if re.search("[a-z]", text) else ""


def _probes(declaration: Declaration) -> str:
    if not declaration.serves:
        return "It listens nowhere, and has no probes: it ends."
    return (
        f"The admin endpoint is on port {declaration.port} (`admin_host`, `admin_port`): `/startupz`, `/livez`, "
        "`/readyz`, `/status`,\n`/metrics`, and `POST` requests from loopback. What each says: "
        "[operations](../operations.md#does-it-work)."
    )


def _resources(declaration: Declaration) -> str:
    rows = [("resident memory when idle, at most", f"{declaration.bars.idle_mib:g} MiB")]
    if pod := declaration.kubernetes:
        rows += [(f"request: {name}", text) for name, text in pod.requests.items()]
        rows += [(f"limit: {name}", text) for name, text in pod.limits.items()]
        rows += [(f"volume `{pod.volume.name}`", f"at `{pod.volume.path}`")] if pod.volume else []
        rows += [("volume for its state", f"{pod.state_size} at `{declaration.state}`")] if pod.state_size else []
        rows += [(f"grace of the {of}", f"{seconds} s") for of, seconds in pod.grace.items()]
    rows += [("libraries beside the base", ", ".join(declaration.libraries) or "none")]
    return table(("what", "how much"), rows)


def _sidecars(page: Path) -> str:
    docs = "" if page.parent == DOCS else "docs/"
    rows = (
        (f"**{name}**", one.summary, str(one.port or ""), f"[guide]({docs}{name}.md)",
         f"[reference]({docs}reference/{name}.md)")
        for name, one in declarations().items()
    )  # fmt: skip
    return table(("sidecar", "does", "port", "", ""), rows)


def _all_resources(_page: Path) -> str:
    rows = (
        (name, *(f"{pod.requests.get(what, '')} / {pod.limits.get(what, '')}" for what in ("cpu", "memory")),
         f"{one.bars.idle_mib:g} MiB")
        for name, one in declarations().items()
        if (pod := one.kubernetes)
    )  # fmt: skip
    return table(("sidecar", "CPU: request / limit", "memory: request / limit", "idle, at most"), rows)


def _all_actions(_page: Path) -> str:
    return _actions({**actions(ROOT / "sidecars" / "kit"), **actions(ROOT / "sidecars" / "runtime")})


def _ignored(_page: Path) -> str:
    return ", ".join(f"`{name}`" for name in sorted(IGNORED, key=str.lower)) + "."


BLOCKS: dict[str, Callable[[Path], str]] = {
    "sidecars": _sidecars,
    "resources": _all_resources,
    "actions": _all_actions,
    "ignored-variables": _ignored,
    "lint-rules": _lint_rules,
}


def main(argv: list[str]) -> int:
    """Write the pages, or with `--check` print how they differ; the exit status is 1 when they do."""
    changed = {
        path: text for path, text in pages().items() if not path.exists() or path.read_text(encoding="utf-8") != text
    }
    for path, text in changed.items():
        if "--check" in argv:
            before = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
            print(*difflib.unified_diff(before, text.splitlines(), str(path), "make docs", lineterm=""), sep="\n")
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
    return 1 if changed and "--check" in argv else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
