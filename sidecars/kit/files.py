"""Read and write files that others mount, rotate or put something else in place of.

Exists because a file that is replaced by renaming takes the place of whatever was there (as root, /dev/null of the
whole machine), and because to open a named pipe waits for its other end (fifo(7)), for ever if need be.
"""

import errno
import os
import re
import stat
from collections.abc import Callable, Container, Iterator

from sidecars.runtime.errors import Problem

SECRET_BYTES = 64 << 10
"""No token or password is longer."""
CERTIFICATES_BYTES = 4 << 20
"""No bundle of certificates is longer: that of the system has about 220 KiB."""

_KINDS: dict[str, Callable[[int], bool]] = {
    "a folder": stat.S_ISDIR,
    "a device": lambda mode: stat.S_ISCHR(mode) or stat.S_ISBLK(mode),
    "a named pipe": stat.S_ISFIFO,
    "a socket": stat.S_ISSOCK,
}
_OWN_STREAM = re.compile(r"/dev/(stdout|stderr|fd/[0-9]+)|/proc/self/fd/[0-9]+")


class UnusableFile(Exception):
    """A file of ours (credentials, certificates, a body) cannot be used. The text names the setting and the path, and
    never what is in the file. `lasting`: whether waiting for another content does not help.
    """

    def __init__(self, setting: str, path: str, reason: str, *, lasting: bool = False) -> None:
        self.lasting = lasting
        super().__init__(f"cannot use {setting} {path}: {reason}")


def open_regular(path: str, flags: int = 0) -> int:
    """Open a regular file for reading and return its descriptor. `flags` are added, such as O_NOFOLLOW. Never waits.
    Raises OSError, also (EINVAL) for all that is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | flags)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is not a regular file", path)


def read_small(setting: str, path: str, limit_bytes: int = CERTIFICATES_BYTES) -> bytes:
    """Return the content of the file that a setting names, of at most so many bytes. Raises UnusableFile."""
    try:
        with open(open_regular(path), "rb") as file:
            content = file.read(limit_bytes + 1)
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise UnusableFile(setting, path, "it is not a regular file", lasting=True) from None
        denied = isinstance(error, PermissionError)
        remedy = "let this container's user read it" if denied else "is its volume mounted?"
        raise UnusableFile(setting, path, f"{error.strerror or error}; {remedy}", lasting=denied) from None
    except ValueError:  # a NUL in the path
        raise UnusableFile(setting, path, "it is no path", lasting=True) from None
    if len(content) > limit_bytes:
        raise UnusableFile(setting, path, f"it is larger than {limit_bytes} bytes")
    return content


def read_secret(setting: str, path: str) -> str:
    """Return the one line of text in a file of credentials, without white space around it. Raises UnusableFile."""
    try:
        secret = read_small(setting, path, SECRET_BYTES).decode().strip()
    except UnicodeDecodeError:
        raise UnusableFile(setting, path, "it is not text in UTF-8") from None
    if not secret or not secret.isprintable():
        reason = "it is empty" if not secret else "it holds more than one line, or characters that cannot be sent"
        raise UnusableFile(setting, path, reason)
    return secret


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it: one write(2) may be short (signals, quotas). Raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Put names that were made, renamed or removed in a folder on the disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def other_kind(path: str | os.PathLike[str]) -> str:
    """Return what is there, links followed, if it is no regular file: "a device". Empty when nothing can be found."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # whether it can be written is found out by the writer
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
