"""What people read about a sidecar's settings: `--help` and the Markdown tables. All from the declarations.

Exists so that no setting has to be described twice, because the second description is the one that is wrong.
"""

import sys
import textwrap
from collections.abc import Iterable, Iterator

import msgspec

from sidecars.runtime.life.signals import STOPS
from sidecars.runtime.life.status import ExitStatus
from sidecars.runtime.settings.fields import Field, SettingKind, fields_of, show
from sidecars.runtime.settings.load import Settings
from sidecars.runtime.sidecar import Sidecar

_INTERRUPTED = ", ".join(str(ExitStatus.interrupted(number)) for number in STOPS)
_EXIT_STATUSES = (
    (str(ExitStatus.DONE), "stopped by SIGTERM, SIGINT or POST /quit (always, also when the grace ran out), or done"),
    (str(ExitStatus.FAILED), "crashed; the last log line says why"),
    (str(ExitStatus.BAD_SETTINGS), "the settings cannot be used; stderr names every problem"),
    (_INTERRUPTED, "a one-shot flag was interrupted by SIGTERM, SIGINT"),
)
_EXIT_STATUSES_OF_ONE_SHOTS = (
    (str(ExitStatus.DONE), "done"),
    (str(ExitStatus.FAILED), "could not be done; stderr says why"),
    _EXIT_STATUSES[2],
    (_INTERRUPTED, "interrupted by SIGTERM, SIGINT"),
)
_WIDTH = 120
_UNITS = {SettingKind.SIZE: "bytes, or 64KiB, 1MiB, 10MB", SettingKind.DURATION: "seconds, or 500ms, 5s, 2m"}


def purpose(sidecar: Sidecar) -> str:
    """Return what the sidecar is for: the docstring of its package, else that of its main."""
    module = sys.modules[sidecar.settings.__module__]
    package = sys.modules.get(module.__package__ or "")
    return textwrap.dedent((package.__doc__ if package else None) or sidecar.main.__doc__ or "").strip()


def default_text(field: Field) -> str:
    """Return the default as one would write it; empty when there is none to show."""
    if field.default is msgspec.NODEFAULT:
        return "required"
    if field.struct:
        return ""  # its parts show theirs
    return "" if field.default in (None, (), {}, "") else show(field, field.default)


def type_text(field: Field) -> str:
    """Return the type in words, with its choices or its unit."""
    if field.kind is SettingKind.CHOICE:
        return " | ".join(field.choices)
    return _UNITS.get(field.kind, field.kind.value)


def help_text(sidecar: Sidecar) -> str:
    """Return the whole `--help`."""
    own, common = _grouped(sidecar)
    lines = [_usage(sidecar), "", purpose(sidecar), ""]
    lines += ["Every setting can be a flag, a variable or a key of the YAML file; the first that has it wins."]
    for title, group in ((f"Settings of {sidecar.name}", own), ("Settings of every sidecar", common)):
        lines += ["", f"{title}:"] if group else []
        for field in group:
            lines += _setting_lines(field, sidecar)
    lines += ["", "Other flags:", *_flag_line("--config FILE", f"YAML file with settings (or {sidecar.prefix}CONFIG)")]
    for oneshot in sidecar.oneshots:
        lines += _flag_line(f"--{oneshot.name}", oneshot.help)
    lines += _flag_line("--help, -h", "this text")
    if not _own_exit_statuses(sidecar):
        lines += ["", "Exit status:"]
        for status, meaning in _EXIT_STATUSES if sidecar.admin else _EXIT_STATUSES_OF_ONE_SHOTS:
            lines += _flag_line(status, meaning)
    return "\n".join([*lines, "", "Example:", f"  {_example(sidecar)}"])


def exit_statuses(sidecar: Sidecar) -> str:
    """Return the exit statuses as Markdown: what its docstring says, where it has more than the usual ones."""
    if own := _own_exit_statuses(sidecar):
        return own
    usual = _EXIT_STATUSES if sidecar.admin else _EXIT_STATUSES_OF_ONE_SHOTS
    return "\n".join(f"- {status}: {meaning}" for status, meaning in usual)


def _own_exit_statuses(sidecar: Sidecar) -> str:
    paragraphs = purpose(sidecar).split("\n\n")
    return next((text for text in paragraphs if text.startswith("Exit status:")), "")


def _usage(sidecar: Sidecar) -> str:
    words = f" [{sidecar.words.upper()} ...]" if sidecar.words else ""
    rest = f" [-- {sidecar.rest.upper()} ...]" if sidecar.rest else ""
    return f"usage: sidecar {sidecar.name}{words} [--config FILE] [--SETTING VALUE ...]{rest}"


def _grouped(sidecar: Sidecar) -> tuple[list[Field], list[Field]]:
    fields = fields_of(sidecar.settings)
    common = {field.name for field in fields_of(Settings)}
    return [f for f in fields if f.name not in common], sorted(
        (f for f in fields if f.name in common), key=lambda field: field.name
    )


def _setting_lines(field: Field, sidecar: Sidecar) -> Iterator[str]:
    yield f"  --{field.name.replace('_', '-')}  ({_form(field)})"
    text = field.about.get("description", "")
    if field.kind is SettingKind.SECRET:
        text += " Better not as a flag: other processes can see those."
    yield from textwrap.wrap(text, 100, initial_indent=" " * 6, subsequent_indent=" " * 6)
    others = [f"--{alias}" for alias, name in sidecar.aliases.items() if name == field.name]
    yield f"      {', '.join([f'{sidecar.prefix}{field.name.upper()}', *others])}"
    if field.struct:
        yield "      as YAML, with these keys (`reference` says more about each):"
        yield from _key_lines(field.struct, 8)


def _key_lines(struct: type[msgspec.Struct], indent: int) -> Iterator[str]:
    for field in fields_of(struct):
        text = f"{field.name} ({_form(field)}): {field.about.get('description', '')}"
        yield " " * indent + textwrap.shorten(text, _WIDTH - indent, placeholder=" ...")
        if field.struct:
            yield from _key_lines(field.struct, indent + 2)


def _form(field: Field) -> str:
    default = default_text(field)
    return f"{type_text(field)}{'; ' if default else ''}{_default_words(default)}"


def _default_words(default: str) -> str:
    return default if default in ("", "required") else f"default {default}"


def _flag_line(flag: str, meaning: str) -> list[str]:
    return textwrap.wrap(meaning, 100, initial_indent=f"  {flag:<16}", subsequent_indent=" " * 18)


def _example(sidecar: Sidecar) -> str:
    """Return a command line made of the first declared example of each of the first two own settings that have one."""
    shown = [
        (f, f.about["examples"][0])
        for f in _grouped(sidecar)[0]
        if f.about.get("examples") and f.kind is not SettingKind.SECRET
    ]
    flags = "".join(
        ("" if field.name == sidecar.words else f" --{field.name.replace('_', '-')}") + f" '{show(field, example)}'"
        for field, example in shown[:2]
    )
    return f"sidecar {sidecar.name}{flags or ' --log-level debug'}"


def markdown(sidecar: Sidecar) -> str:
    """Return the settings as a Markdown table, for README and docs, and one more for each structure in them."""
    fields = [field for group in _grouped(sidecar) for field in group]
    rows = ["| setting | type | default | variable | meaning |", "|---|---|---|---|---|"]
    for field in fields:
        name, kind, default, meaning = _cells(field)
        rows.append(_row(name, kind, default, f"`{sidecar.prefix}{field.name.upper()}`", meaning))
    for struct, path in reached(fields).items():
        rows += ["", f"`{path}`: {_first_paragraph(struct)}", ""]
        rows += ["| key | type | default | meaning |", "|---|---|---|---|"]
        rows += [_row(*_cells(field)) for field in fields_of(struct)]
    return "\n".join(rows)


def reached(fields: Iterable[Field], path: str = "") -> dict[type[msgspec.Struct], str]:
    """Return the structures that these fields lead to, in order, each with the first path to it (`steps[].webhook`)."""
    found: dict[type[msgspec.Struct], str] = {}
    for field in fields:
        if field.struct:
            here = f"{path}{field.name}{'[]' if field.kind is SettingKind.STRUCTURES else ''}"
            for struct, at in {field.struct: here, **reached(fields_of(field.struct), f"{here}.")}.items():
                found.setdefault(struct, at)
    return found


def _cells(field: Field) -> tuple[str, str, str, str]:
    default = f"`{text}`" if (text := default_text(field)) else ""
    return f"`{field.name}`", type_text(field), default, field.about.get("description", "")


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _first_paragraph(struct: type[msgspec.Struct]) -> str:
    return " ".join((struct.__doc__ or "").partition("\n\n")[0].split())
