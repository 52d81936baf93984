"""What stands in the place of a file that we write.

Exists because a file that is replaced by renaming takes the place of whatever was there: as root, /dev/null of the
whole machine. So what is no regular file is refused when the sidecar starts, and again at each write.
"""

import os
import re
import stat
from collections.abc import Callable, Container, Iterator

from sidecars.runtime.errors import Problem

_KINDS: dict[str, Callable[[int], bool]] = {
    "a folder": stat.S_ISDIR,
    "a device": lambda mode: stat.S_ISCHR(mode) or stat.S_ISBLK(mode),
    "a named pipe": stat.S_ISFIFO,
    "a socket": stat.S_ISSOCK,
}
_OWN_STREAM = re.compile(r"/dev/(stdout|stderr|fd/[0-9]+)|/proc/self/fd/[0-9]+")


def other_kind(path: str | os.PathLike[str]) -> str:
    """Return what is there, links followed, if it is no regular file: "a device". Empty when nothing can be found."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # whether it can be written is found out, and told, by who writes it
        return ""
    return next((kind for kind, is_so in _KINDS.items() if is_so(mode)), "")


def unusable(field: str, path: str, remedy: str, allowed: Container[str] = ()) -> Iterator[Problem]:
    """Yield the problem of a setting that names a file which we write, when something else is there. `allowed`: kinds
    that are welcome too; "a stream" is our own stdout or stderr.
    """
    kind = other_kind(path) if path else ""
    if kind and kind not in allowed and not ("a stream" in allowed and _OWN_STREAM.fullmatch(path)):
        keeps = ", which keeps nothing" if kind == "a named pipe" else ", not a regular file"
        yield Problem(field, f"{path} is {kind}{keeps}", remedy)
