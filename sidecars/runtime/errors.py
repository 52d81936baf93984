"""The errors of the project: the type says whose fault it is, and so who may retry."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_PART = re.compile(r"[.\[].*", re.DOTALL)  # of a path such as `steps[1].webhook.url`


class Permanent(Exception):
    """The same attempt will fail again: the request is wrong, or somebody has to change something."""


class Transient(Exception):
    """The remote side or the network failed; the same attempt may work later."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the settings. `value` is the offending text, already safe to print, or None when it must
    not be shown.

    A sidecar's own cross-field checks give field, message and remedy; where the value came from is filled in by the
    loader.
    """

    field: str
    message: str
    remedy: str
    source: str = ""
    value: str | None = None

    @property
    def setting(self) -> str:
        """The setting that the problem is with, also when it is with a part: `steps` for `steps[1].webhook.url`."""
        return _PART.sub("", self.field)

    def __str__(self) -> str:
        value = "" if self.value is None else f"={self.value}"
        source = f" (from {self.source})" if self.source else ""
        return f"cannot use {self.field}{value}{source}: {self.message}; {self.remedy}"


class SettingsError(Exception):
    """The operator's input cannot be used. Carries every problem found, not only the first; exit status 2."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def unknown(name: str, what: str, known: Iterable[str], source: str, path: str = "") -> Problem:
    """Return the problem of a name that nobody knows, with the nearest one that is known. `path` says where it stands,
    such as `steps[0].`.
    """
    import difflib  # only for this message

    nearest = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    remedy = f"did you mean {nearest[0]}?" if nearest else "remove it (--help lists all)"
    return Problem(path + (f"{name[:80]}..." if len(name) > 80 else name), f"there is no such {what}", remedy, source)
