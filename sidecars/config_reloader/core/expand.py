"""`$(NAME)` in the bytes of a file: apart because its rules are those of Kubernetes for `command` and `args`, which
people know, and not ours to invent.

The rules are the table of tests beside k8s.io/kubernetes third_party/forked/golang/expansion/expand.go: `$$` becomes
`$` wherever it stands (so `$$(NAME)` gives `$(NAME)`, and `$$$$` gives `$$`), a value is not expanded again, `$NAME`,
`${NAME}` and a lone or unclosed `$(` stay as they are, and so does `$(...)` around anything that is not a name. One
thing is narrower: a reference ends on its line, since a file, unlike an argument, has other lines to lose.
"""

import re
from collections.abc import Mapping

from .steps import Unset

_TOKEN = re.compile(rb"\$(?:\$|\(([^)\n]*)(\)?))")
"""An unclosed reference is matched with the rest of its line: looking for the end anew from every `$(` would be
quadratic.
"""
_NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_.-]*")


class UnsetVariable(Exception):
    """A reference to a variable that is not set, with `Unset.ERROR`. `line` counts from 1."""

    def __init__(self, name: str, line: int) -> None:
        self.name = name
        self.line = line
        super().__init__(f"the variable {name} in line {line} is not set")


def expand(content: bytes, environ: Mapping[str, str], unset: Unset) -> bytes:
    """Replace the references; content with a NUL byte is binary and comes back as it is.

    Values are written in UTF-8; bytes of the environment that are none come out as they went in. Raises UnsetVariable
    for the first reference to a variable that is not set, when `unset` says so.
    """
    if b"\0" in content:
        return content

    def replaced(token: re.Match[bytes]) -> bytes:
        name = token[1]
        if name is None:
            return b"$"
        if not token[2]:  # nothing in the rest of the line is closed either
            return token[0].replace(b"$$", b"$")
        if not _NAME.fullmatch(name):
            return token[0]
        value = environ.get(name.decode("ascii"))
        if value is not None:
            return value.encode("utf-8", "surrogateescape")
        if unset is Unset.ERROR:
            raise UnsetVariable(name.decode("ascii"), content.count(b"\n", 0, token.start()) + 1)
        return token[0] if unset is Unset.KEEP else b""

    return _TOKEN.sub(replaced, content)
