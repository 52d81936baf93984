"""The command `sidecar` (`python -m sidecars`): finds `sidecars.NAME.agent` and hands its SIDECAR to the runtime. Which
sidecars there are, and what the overview says of each, is declared in their folders.

Imports nothing heavy at the top: as process 1 of a container Python ignores SIGTERM until a handler is set, so
setting it comes first.
"""

import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from . import __version__
from .runtime.life.signals import SIGNALS
from .runtime.life.status import ExitStatus

if TYPE_CHECKING:
    from sidecars.runtime import Sidecar

_VERBS = {
    "check": "read the settings, look around, report; start nothing",
    "schema": "print the JSON Schema of the settings file",
    "reference": "print the settings as a Markdown table",
}
_HELP = ("-h", "--help")


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    words = sys.argv[1:] if argv is None else argv
    open_missing()
    return command(words)


def named() -> int:
    """Run the sidecar that is called like the program: what `log-shipper` and the others are installed as."""
    return main([Path(sys.argv[0]).name, *sys.argv[1:]])


def open_missing() -> None:
    """Open /dev/null for what we were started without of stdin, stdout and stderr: else the next file or socket that is
    opened gets that number, and what is printed goes into it.
    """
    for number, stream in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, stream, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115


def command(words: list[str]) -> int:
    """Run what the words ask for and return the exit status."""
    verb, rest = verb_of(words)
    if words and not verb and not words[0].startswith("-"):
        SIGNALS.listen()
    SIGNALS.unblock()
    from sidecars.runtime import lazy_imports
    from sidecars.runtime.settings import environment  # after the signal handlers, and before any library

    environment.settle()
    lazy_imports.defer()
    if "--version" in {*rest[:1], *split(rest)[1][:1]}:  # also after a name, as in `docker run IMAGE --version`
        from sidecars.runtime.command.printing import show  # as below

        return show(f"sidecars {__version__}")
    if (text := help_for(verb, rest)) is not None:
        from sidecars.runtime.command.printing import show  # after the signal handlers

        shown = show(text)
        return shown if words else ExitStatus.BAD_SETTINGS
    return started(verb, rest)


def verb_of(words: list[str]) -> tuple[str, list[str]]:
    """Return the verb and what it is for. It may follow a name: the entry point of an image ends with one, so
    `docker run IMAGE check` arrives as `log-shipper check`, and `docker run IMAGE check log-shipper` too.
    """
    verbs = {*_VERBS, "help"}
    first, second = [*words[:2], "", ""][:2]
    if first in verbs:
        return first, words[1:]
    if second in verbs and first in known_names():
        about = {*known_names(), *(_VERBS if second == "help" else ())}
        return second, words[2:] if about & set(words[2:3]) else [first, *words[2:]]
    return "", words


def help_for(verb: str, rest: list[str]) -> str | None:
    """Return the text when only that is asked for; the flags of one sidecar are told by the runtime."""
    names, more = split(rest)
    if verb == "help" and rest[:1] and rest[0] in _VERBS:
        return verb_usage(rest[0])
    own = rest[: rest.index("--")] if "--" in rest else rest
    if verb in _VERBS:
        return verb_usage(verb) if set(_HELP) & set(own) else None
    if not rest or rest[0] in _HELP or (len(names) > 1 and more[:1] and more[0] in _HELP):
        return usage()  # flags, and help with them, are those of one
    return None


def started(verb: str, words: list[str]) -> int:
    """Run sidecars, or a verb on one, and return the exit status."""
    from sidecars.runtime.command.printing import say  # after the signal handlers

    names, rest = split(words)
    if wrong := complaint(verb, names or strays(rest)):
        say(wrong)
        return ExitStatus.BAD_SETTINGS
    try:
        found = [find(name) for name in names]
    except ModuleNotFoundError as error:
        if (error.name or "sidecars").startswith("sidecars"):  # a bug of ours
            raise
        from sidecars.runtime.command import extras  # seldom needed

        say(extras.explain(names[0], error))
        return ExitStatus.BAD_SETTINGS
    if strays(rest) and not (len(found) == 1 and found[0].words):
        say(complaint(verb, strays(rest)))
        return ExitStatus.BAD_SETTINGS
    if verb in _VERBS:
        from sidecars.runtime.command import verbs  # only for them

        return verbs.run_verb(verb, found[0], rest)
    from sidecars.runtime import run  # after the signal handlers

    return run(found, ["--help"] if verb else rest)


def split(words: list[str]) -> tuple[list[str], list[str]]:
    """Return the names of sidecars that the words begin with, and what follows them: flags, and words of a sidecar."""
    known = known_names()
    count = next((index for index, word in enumerate(words) if word not in known), len(words))
    return words[:count], words[count:]


def strays(rest: list[str]) -> list[str]:
    """Return the first word after the names, unless it is a flag."""
    return [word for word in rest[:1] if not word.startswith("-")]


def known_names() -> list[str]:
    """Return the names of all sidecars and tools."""
    from . import declaration  # after the signal handlers

    return [*declaration.names(), *declaration.tools()]


def complaint(verb: str, names: list[str]) -> str:
    """Return what is wrong with the names, or nothing."""
    known = known_names()
    for name in names:
        if name not in known:
            import difflib  # only for this message

            near = difflib.get_close_matches(name, [*known, *_VERBS, "help"], n=1, cutoff=0.4)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known) or 'none'}"
            return f"cannot run {name}: there is no such sidecar; {hint}"
    if not names or (verb and len(names) != 1):
        example = " ".join(["sidecar", *([verb] if verb else []), known[0] if known else "NAME"])
        return f"cannot {verb or 'run'}: name one sidecar, as in `{example}`"
    doubled = sorted({name for name in names if names.count(name) > 1})
    return f"cannot run {doubled[0]} twice in one process" if doubled else ""


def find(name: str) -> "Sidecar":
    """Import a sidecar and return its description."""
    sidecar: Sidecar = importlib.import_module(f"sidecars.{name.replace('-', '_')}.agent").SIDECAR
    return sidecar


def usage() -> str:
    """Return the overview, one line per sidecar, without importing any; what is not installed is marked."""
    from sidecars.runtime.command import extras  # only for the overview

    from .declaration import declarations, tools  # as above

    lines = ["usage: sidecar NAME [FLAGS]        run one sidecar (its flags: sidecar NAME --help)"]
    lines += ["       sidecar NAME NAME ...       run several in one process (settings from variables and files)"]
    lines += [f"       sidecar {f'{verb} NAME':<19} {meaning}" for verb, meaning in _VERBS.items()]
    lines += ["       sidecar help [NAME | VERB]  this text, or that of one", "       sidecar --version"]
    lines += ["", "sidecars:"]
    for name, declared in declarations().items():
        lines.append(f"  {name:<18} {declared.summary}")
        if absent := extras.missing(declared.libraries):
            lines.append(f"{'':<20} not installed ({', '.join(absent)}): {extras.remedy(name)}")
    if found := tools():
        lines += ["", "tools:", *(f"  {name:<18} {tool.summary}" for name, tool in found.items())]
    return "\n".join(lines)


def verb_usage(verb: str) -> str:
    """Return the help of a verb."""
    lines = [f"usage: sidecar {verb} NAME{' [FLAGS]' if verb == 'check' else ''}", "", f"{_VERBS[verb]}", ""]
    if verb == "check":
        lines += ["FLAGS, variables and the settings file are those of the sidecar (sidecar NAME --help).", ""]
        lines += ["Servers are asked, too (log-shipper: Elasticsearch). --offline looks at this machine alone.", ""]
        lines += ["Exit status: 0 it can start here; 1 a finding says no; 2 the settings cannot be used.", ""]
    return "\n".join([*lines, f"NAME is one of {', '.join(known_names())}."])


if __name__ == "__main__":
    sys.exit(main())
