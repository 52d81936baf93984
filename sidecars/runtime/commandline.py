"""The command line of one sidecar: its flags as texts by setting name, nothing typed yet (settings.py does that).

Exists so that a wrong flag is a Problem like any other, reported together with the rest, and never repeats the value
beside it.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from sidecars.runtime.errors import Problem, SettingsError
from sidecars.runtime.fields import Kind, fields_of
from sidecars.runtime.settings import unknown
from sidecars.runtime.sidecar import Sidecar


@dataclass
class CommandLine:
    """What was asked for on the command line."""

    flags: dict[str, str] = field(default_factory=dict)
    oneshot: str | None = None
    help: bool = False
    problems: list[Problem] = field(default_factory=list)


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises instead of printing and leaving."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError([Problem("the command line", message, "see --help")])


def _parser(sidecar: Sidecar) -> _Parser:
    # No abbreviations: a new setting must not change the meaning of an old command line.
    parser = _Parser(prog=f"sidecar {sidecar.name}", add_help=False, allow_abbrev=False)
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--config")
    for flag in sidecar.flags:
        parser.add_argument(f"--{flag.name}", action="append_const", dest=" oneshots", const=flag.name)
    for setting in fields_of(sidecar.settings):
        option = f"--{setting.name.replace('_', '-')}"
        if setting.kind is Kind.BOOLEAN:
            parser.add_argument(option, nargs="?", const="true")
        elif setting.kind in {Kind.LIST, Kind.MAPPING}:
            parser.add_argument(option, action="append")
        else:
            parser.add_argument(option)
    return parser


def parse_arguments(sidecar: Sidecar, argv: Sequence[str]) -> CommandLine:
    """Read the flags. Problems come back in the result, so that they can be reported with those of the other
    sources.
    """
    parser = _parser(sidecar)
    try:
        found, rest = parser.parse_known_args(list(argv))
    except SettingsError as error:
        return CommandLine(problems=list(error.problems))
    values = vars(found)
    oneshots: list[str] = values.pop(" oneshots", None) or []
    line = CommandLine(oneshot=oneshots[0] if oneshots else None, help=values.pop("help"))
    line.flags = {
        name: ",".join(text) if isinstance(text, list) else text for name, text in values.items() if text is not None
    }
    if len(set(oneshots)) > 1:
        line.problems.append(
            Problem("the command line", f"only one of --{' and --'.join(oneshots)} can run", "drop one")
        )
    line.problems += _unknown_arguments(parser, rest)
    return line


def _unknown_arguments(parser: _Parser, rest: Sequence[str]) -> list[Problem]:
    """Name the unknown flags, never the words beside them: those can be a secret behind a misspelt flag."""
    known = [option for action in parser._actions for option in action.option_strings]
    flags = [word.partition("=")[0] for word in rest if word.startswith("-")]
    if not flags:
        return [Problem("the command line", f"{len(rest)} words that belong to no flag", "see --help")] if rest else []
    return [unknown(flag, "flag", known, "the command line") for flag in flags]
