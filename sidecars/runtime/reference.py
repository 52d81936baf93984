"""What people and editors read about a sidecar's settings: `--help`, the JSON Schema, the Markdown table. All from
the declarations.

Exists so that no setting has to be described twice, because the second description is the one that is wrong.
"""

import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import msgspec

from sidecars.runtime.fields import Field, Kind, Secret, fields_of, show
from sidecars.runtime.settings import Settings
from sidecars.runtime.sidecar import Sidecar

_EXIT_STATUSES = (
    ("0", "stopped by SIGTERM, SIGINT or POST /quit (always, also when the grace ran out), or done"),
    ("1", "crashed; the last log line says why"),
    ("2", "the settings cannot be used; stderr names every problem"),
    ("143", "a one-shot flag was interrupted by SIGTERM"),
)
_COMMON = tuple(field.name for field in fields_of(Settings))
_UNITS = {Kind.SIZE: "bytes, or 64KiB, 1MiB, 10MB", Kind.DURATION: "seconds, or 500ms, 5s, 2m"}


def purpose(sidecar: Sidecar) -> str:
    """Return the docstring of the sidecar's package, else its summary."""
    module = sys.modules[sidecar.settings.__module__]
    package = sys.modules.get(module.__package__ or "")
    return textwrap.dedent((package.__doc__ if package else None) or sidecar.summary).strip()


def default_text(field: Field) -> str:
    """Return the default as one would write it; empty when there is none to show."""
    if field.default is msgspec.NODEFAULT:
        return "required"
    return "" if field.default in (None, (), {}, "") else show(field, field.default)


def type_text(field: Field) -> str:
    """Return the type in words, with its choices or its unit."""
    if field.kind is Kind.CHOICE:
        return " | ".join(field.choices)
    return _UNITS.get(field.kind, field.kind.value)


def help_text(sidecar: Sidecar) -> str:
    """Return the whole `--help`."""
    own, common = _grouped(sidecar)
    lines = [f"usage: sidecar {sidecar.name} [--config FILE] [--SETTING VALUE ...]", "", purpose(sidecar)]
    lines += [
        "",
        "Every setting can be a flag, a variable or a key of the YAML file; the first that has it wins.",
    ]
    for title, group in ((f"Settings of {sidecar.name}", own), ("Settings of every sidecar", common)):
        lines += ["", f"{title}:"] if group else []
        for field in group:
            lines += _setting_lines(field, sidecar.prefix)
    lines += ["", "Other flags:", *_flag_line("--config FILE", f"YAML file with settings (or {sidecar.prefix}CONFIG)")]
    for flag in sidecar.flags:
        lines += _flag_line(f"--{flag.name}", flag.help)
    lines += _flag_line("--help, -h", "this text")
    lines += ["", "Exit status:"]
    for status, meaning in _EXIT_STATUSES:
        lines += _flag_line(status, meaning)
    return "\n".join([*lines, "", "Example:", f"  {_example(sidecar)}"])


def _grouped(sidecar: Sidecar) -> tuple[list[Field], list[Field]]:
    fields = fields_of(sidecar.settings)
    return [f for f in fields if f.name not in _COMMON], [f for f in fields if f.name in _COMMON]


def _setting_lines(field: Field, prefix: str) -> Iterator[str]:
    default = default_text(field)
    yield f"  --{field.name.replace('_', '-')}  ({type_text(field)}{'; ' if default else ''}{_default_words(default)})"
    text = field.about.get("description", "")
    if field.kind is Kind.SECRET:
        text += " Better not as a flag: other processes can see those."
    yield from textwrap.wrap(text, 100, initial_indent=" " * 6, subsequent_indent=" " * 6)
    yield f"      {prefix}{field.name.upper()}"


def _default_words(default: str) -> str:
    return default if default in ("", "required") else f"default {default}"


def _flag_line(flag: str, meaning: str) -> list[str]:
    return textwrap.wrap(meaning, 100, initial_indent=f"  {flag:<16}", subsequent_indent=" " * 18)


def _example(sidecar: Sidecar) -> str:
    """Return a command line made of the first declared example of each of the first two own settings that have one."""
    shown = [
        (f, f.about["examples"][0])
        for f in _grouped(sidecar)[0]
        if f.about.get("examples") and f.kind is not Kind.SECRET
    ]
    flags = "".join(f" --{field.name.replace('_', '-')} '{show(field, example)}'" for field, example in shown[:2])
    return f"sidecar {sidecar.name}{flags or ' --log-level debug'}"


def markdown(sidecar: Sidecar) -> str:
    """Return the settings as a Markdown table, for README and docs."""
    rows = ["| setting | type | default | variable | meaning |", "|---|---|---|---|---|"]
    for field in [field for group in _grouped(sidecar) for field in group]:
        default = f"`{text}`" if (text := default_text(field)) else ""
        cells = (
            f"`{field.name}`",
            type_text(field),
            default,
            f"`{sidecar.prefix}{field.name.upper()}`",
            field.about.get("description", ""),
        )
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def schema(sidecar: Sidecar) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the YAML file, for editors and for checks before a deployment."""
    found = msgspec.json.schema(sidecar.settings, schema_hook=_schema_of)
    declared = found["$defs"].pop(sidecar.settings.__name__)
    properties = declared["properties"]
    for field in fields_of(sidecar.settings):
        properties[field.name] = _with_texts(field, properties[field.name])
    rest = {"$defs": found["$defs"]} if found["$defs"] else {}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Settings of {sidecar.name}",
        **declared,
        **rest,
    }


def _schema_of(kind: type) -> dict[str, Any]:
    if kind is Secret:
        return {"type": "string", "writeOnly": True}
    raise NotImplementedError(f"cannot describe {kind}")


def _with_texts(field: Field, declared: dict[str, Any]) -> dict[str, Any]:
    """Allow the texts that the loader takes as well, such as `1MiB` for a size."""
    if field.kind not in {Kind.SIZE, Kind.DURATION, Kind.LIST, Kind.MAPPING}:
        return {**field.about, **declared}
    about: dict[str, Any] = {
        key: declared.pop(key) for key in ("description", "examples", "default") if key in declared
    }
    return {**about, "anyOf": [declared, {"type": "string"}]}
