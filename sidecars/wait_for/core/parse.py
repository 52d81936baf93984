"""From the text of a target to the target, with words for every mistake in it.

Options stand in the query. Of an HTTP address only the names that are options are taken out of it, the rest is sent;
with a `#` the options stand behind that, and the query is sent untouched.
"""

import re
from collections.abc import Callable
from urllib.parse import unquote

from .address import Address, Options, host_and_port, options_of, take_apart, unknown_options, without_secrets
from .parse_http import read_http
from .target import BadTarget, Dns, File, Mistake, Postgres, Socket, Target, Tcp

_SOCKET_PATH_BYTES = 107
"""Longest path of a unix socket: sun_path holds 108 bytes with the final NUL, unix(7)."""
_POSTGRES_PORT = 5432
_WORD = re.compile(r"[a-z][a-z0-9+.-]*")


def parse(text: str) -> Target:
    """Return the target. Raise BadTarget with every mistake; its words show no user, query or option."""
    text = text.strip()
    address = take_apart(text)
    # SQLAlchemy writes the driver behind a plus: postgresql+asyncpg
    read = _postgres if address.scheme.startswith("postgresql+") else _KINDS.get(address.scheme)
    if read is None:
        kind = repr(address.scheme) if _WORD.fullmatch(address.scheme) else "of that name"  # u:s3cret://x is a secret
        raise BadTarget(
            (Mistake(f"there is no kind {kind}", f"use one of {', '.join(_KINDS)}; tcp for any other server"),)
        )
    mistakes: list[Mistake] = []
    target = read(address, mistakes)
    if mistakes and address.hides_a_password:
        mistakes.append(Mistake("an @ follows a / ? or #", "in a password write %2F %3F %23 for these"))
    if mistakes:
        raise BadTarget(tuple(mistakes))
    return target


def _options(address: Address, known: tuple[str, ...], mistakes: list[Mistake]) -> Options:
    """Return the options of a kind that sends no query; an unknown one is a mistake."""
    options = options_of(f"{address.query}&{address.fragment or ''}")
    there_are = f"there are {', '.join(known)}" if known else f"{address.scheme} takes none"
    mistakes.extend(unknown_options(address, options, known, there_are))
    return options


def _no_path(address: Address, mistakes: list[Mistake]) -> None:
    if address.path not in {"", "/"}:
        mistakes.append(Mistake("a path follows the host", f"leave it out, {address.scheme} asks for none"))


def _no_user(address: Address, mistakes: list[Mistake]) -> None:
    if address.user is not None:
        mistakes.append(Mistake("a user is given", "leave it out, nobody is logged in"))


def _tcp(address: Address, mistakes: list[Mistake]) -> Tcp:
    _options(address, (), mistakes)
    _no_path(address, mistakes)
    _no_user(address, mistakes)
    host, port = host_and_port(address.place, None, mistakes)
    return Tcp(f"tcp://{address.place}", host, port)


def _dns(address: Address, mistakes: list[Mistake]) -> Dns:
    _options(address, (), mistakes)
    _no_path(address, mistakes)
    _no_user(address, mistakes)
    host, port = host_and_port(address.place, 0, mistakes)
    if port:
        mistakes.append(Mistake("a port is given", "leave it out, only the name is looked up"))
    return Dns(f"dns://{address.place}", host)


def _postgres(address: Address, mistakes: list[Mistake]) -> Postgres:
    """Read a DATABASE_URL as apps have it; its password and query (`sslmode=require`) are for who logs in."""
    mistakes.extend(unknown_options(address, options_of(address.fragment or ""), (), "postgres takes none"))
    if "," in address.place:
        mistakes.append(Mistake("it names several hosts", "write a target for each, and --any if one suffices"))
        return Postgres("", "", 0, "", "")
    host, port = host_and_port(address.place, _POSTGRES_PORT, mistakes)
    user, database = unquote((address.user or "").partition(":")[0]), unquote(address.path.removeprefix("/"))
    user = user or "postgres"
    if "\0" in user + database:
        mistakes.append(Mistake("the user or the database has a NUL in its name", "take the %00 out"))
    return Postgres(f"{address.scheme}://{address.place}", host, port, user, database)


def _file(address: Address, mistakes: list[Mistake]) -> File:
    options = _options(address, ("min_bytes", "contains"), mistakes)
    least = options.one("min_bytes", mistakes)
    if least is not None and not (least.isascii() and least.isdigit() and len(least) < 19):
        mistakes.append(Mistake("min_bytes is not a whole number", "write for example min_bytes=1"))
        least = None
    path = _path(address, mistakes)
    return File(f"file://{path}", path, int(least) if least else None, options.one("contains", mistakes))


def _socket(address: Address, mistakes: list[Mistake]) -> Socket:
    _options(address, (), mistakes)
    path = _path(address, mistakes)
    if len(path.encode(errors="surrogateescape")) > _SOCKET_PATH_BYTES:
        mistakes.append(Mistake(f"the path is longer than {_SOCKET_PATH_BYTES} bytes", "no socket can be there"))
    return Socket(f"socket://{path}", path)


def _path(address: Address, mistakes: list[Mistake]) -> str:
    """Return the decoded path; it has to be absolute and whole."""
    path = unquote(address.path, errors="surrogateescape")
    if address.place or address.user is not None or not path.startswith("/"):
        mistakes.append(Mistake("it names no absolute path", f"write for example {address.scheme}:///shared/ready"))
    if "\0" in path:
        mistakes.append(Mistake("the path has a NUL", "take the %00 out"))
    return path


_KINDS: dict[str, Callable[[Address, list[Mistake]], Target]] = {
    "tcp": _tcp,
    "http": read_http,
    "https": read_http,
    "dns": _dns,
    "file": _file,
    "socket": _socket,
    "postgres": _postgres,
    "postgresql": _postgres,
}

__all__ = ["parse", "without_secrets"]
