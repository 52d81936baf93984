"""The command line of one sidecar: its flags as texts by setting name, nothing typed yet (settings/load.py does that).

Exists so that a wrong flag is a Problem like any other, reported together with the rest, and never repeats the value
beside it. Not argparse: it has no flags in Go's style, and loses the order of words that stand between flags.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sidecars.runtime.errors import Problem, unknown
from sidecars.runtime.settings.fields import Field, SettingKind, fields_of
from sidecars.runtime.settings.values import is_boolean
from sidecars.runtime.sidecar import Sidecar

_NUMBER = re.compile(r"-[0-9]*\.?[0-9]+.*")
_HELP = ("help", "h")


@dataclass
class CommandLine:
    """What was asked for on the command line. `flags`: a text, a tuple of texts (of a flag given several times) or a
    list of words, by setting name.
    """

    flags: dict[str, object] = field(default_factory=dict)
    oneshot: str | None = None
    help: bool = False
    problems: list[Problem] = field(default_factory=list)


class _Reader:
    """Goes through the words once, from left to right."""

    def __init__(self, sidecar: Sidecar, words: Sequence[str]) -> None:
        settings = {setting.name: setting for setting in fields_of(sidecar.settings)}
        self._sidecar = sidecar
        self._words = list(words)
        self._names: Mapping[str, str] = {
            **sidecar.aliases,
            **{name.replace("_", "-"): name for name in (*settings, "config")},
        }
        self._settings = settings
        self._flags = [oneshot.name for oneshot in sidecar.oneshots]
        self._oneshots: list[str] = []
        self._texts: dict[str, tuple[str, ...]] = {}
        self.strays: list[str] = []
        self.line = CommandLine()

    def read(self) -> None:
        """Sort every word into `line` and `strays`."""
        while self._words:
            word = self._words.pop(0)
            if _is_value(word):
                self.strays.append(word)
            else:
                self._flag(word)
        several = list(dict.fromkeys(self._oneshots))
        self.line.oneshot = several[0] if several else None
        if len(several) > 1:
            self._wrong(f"only one of --{' and --'.join(several)} can run", "drop one")
        for name, texts in self._texts.items():
            adds_up = name in self._settings and self._settings[name].kind in {SettingKind.LIST, SettingKind.MAPPING}
            self.line.flags[name] = texts if adds_up and len(texts) > 1 else texts[-1]

    def _flag(self, word: str) -> None:
        """Take a flag: `--name value`, `--name=value`, and both with one dash, as Go's flag package has it."""
        typed, equals, text = word.partition("=")
        name = typed.removeprefix("-").removeprefix("-")
        if name in self._names:
            self._setting(name, text if equals else self._value(self._settings.get(self._names[name])))
        elif name not in _HELP and name not in self._flags:
            known = [f"--{flag}" for flag in (*self._names, *self._flags, "help")]
            self.line.problems.append(unknown(typed, "flag", known, "the command line"))
            if not equals:
                self._value(None)  # most likely its value, perhaps a secret: no word of the sidecar's
        elif equals:
            self._wrong(f"{typed} takes no value", "drop what follows the =")
        elif name in _HELP:
            self.line.help = True
        else:
            self._oneshots.append(name)

    def _value(self, setting: Field | None) -> str | None:
        """Return the next word, if it is a value for this setting."""
        takes = bool(self._words) and _is_value(self._words[0])
        if (
            setting and setting.kind is SettingKind.BOOLEAN
        ):  # may stand alone; a word after it can be one of the sidecar's own
            takes = takes and (not self._sidecar.words or is_boolean(self._words[0]))
            return self._words.pop(0) if takes else "true"
        if setting and setting.is_switch and not takes:  # such as --tls: all its parts as they are by themselves
            return "true"
        return self._words.pop(0) if takes else None

    def _setting(self, name: str, text: str | None) -> None:
        if text is None:
            self._wrong(f"argument --{name}: expected one argument", "see --help")
        else:
            setting = self._names[name]
            self._texts[setting] = (*self._texts.get(setting, ()), text)

    def _wrong(self, message: str, remedy: str) -> None:
        self.line.problems.append(Problem("the command line", message, remedy))


def parse_arguments(sidecar: Sidecar, argv: Sequence[str]) -> CommandLine:
    """Read the flags and words. Problems come back in the result, so that they can be reported with those of the other
    sources.
    """
    end = argv.index("--") if "--" in argv else len(argv)
    reader = _Reader(sidecar, argv[:end])
    reader.read()
    line = reader.line
    if sidecar.words and reader.strays:
        line.flags[sidecar.words] = reader.strays
    elif reader.strays:
        line.problems.append(
            Problem("the command line", f"{len(reader.strays)} words that belong to no flag", "see --help")
        )
    if sidecar.rest and end < len(argv):
        line.flags[sidecar.rest] = list(argv[end + 1 :])
    elif end < len(argv):
        line.problems.append(
            Problem("the command line", "it takes nothing after a lone --", "drop it and what follows")
        )
    return line


def _is_value(word: str) -> bool:
    """Return whether a word is no flag. A value that begins with a dash is given as `--name=-value`, unless it is a
    number.
    """
    return not word.startswith("-") or word == "-" or bool(_NUMBER.fullmatch(word))
