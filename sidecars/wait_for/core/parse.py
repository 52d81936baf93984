"""From the text of a target to the target, with words for every mistake in it.

Options stand in the query. Of an HTTP address only the names that are options are taken out of it, the rest is sent;
with a `#` the options stand behind that, and the query is sent untouched.
"""

import base64
import re
from collections.abc import Callable
from urllib.parse import quote, unquote

from sidecars.kit.http_match import StatusSet, json_path, pattern_fault, status_set

from .address import (
    TargetAddress,
    TargetOptions,
    ascii_name,
    host_and_port,
    options_of,
    take_apart,
    unknown_options,
)
from .target import BadTarget, Dns, File, HttpTarget, JsonCondition, Mistake, Postgres, Socket, Target, Tcp

_SOCKET_PATH_BYTES = 107
"""Longest path of a unix socket: sun_path holds 108 bytes with the final NUL, unix(7)."""
_POSTGRES_PORT = 5432
_WORD = re.compile(r"[a-z][a-z0-9+.-]*")
_HTTP_OPTIONS = ("status", "body", "json", "method", "header")
_METHOD = re.compile(r"[A-Za-z]{1,20}", re.ASCII)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)  # token, RFC 9110, 5.6.2
_SENT = "/?%:@!$&'()*+,;=~-._[]"
"""What stays as it was written; the rest (spaces, letters outside ASCII) is percent-encoded."""


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


def _options(address: TargetAddress, known: tuple[str, ...], mistakes: list[Mistake]) -> TargetOptions:
    """Return the options of a kind that sends no query; an unknown one is a mistake."""
    options = options_of(f"{address.query}&{address.fragment or ''}")
    there_are = f"there are {', '.join(known)}" if known else f"{address.scheme} takes none"
    mistakes.extend(unknown_options(address, options, known, there_are))
    return options


def _no_path(address: TargetAddress, mistakes: list[Mistake]) -> None:
    if address.path not in {"", "/"}:
        mistakes.append(Mistake("a path follows the host", f"leave it out, {address.scheme} asks for none"))


def _no_user(address: TargetAddress, mistakes: list[Mistake]) -> None:
    if address.user is not None:
        mistakes.append(Mistake("a user is given", "leave it out, nobody is logged in"))


def _tcp(address: TargetAddress, mistakes: list[Mistake]) -> Tcp:
    _options(address, (), mistakes)
    _no_path(address, mistakes)
    _no_user(address, mistakes)
    host, port = host_and_port(address.place, None, mistakes)
    return Tcp(f"tcp://{address.place}", host, port)


def _dns(address: TargetAddress, mistakes: list[Mistake]) -> Dns:
    _options(address, (), mistakes)
    _no_path(address, mistakes)
    _no_user(address, mistakes)
    host, port = host_and_port(address.place, 0, mistakes)
    if port:
        mistakes.append(Mistake("a port is given", "leave it out, only the name is looked up"))
    return Dns(f"dns://{address.place}", host)


def _postgres(address: TargetAddress, mistakes: list[Mistake]) -> Postgres:
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


def _file(address: TargetAddress, mistakes: list[Mistake]) -> File:
    options = _options(address, ("min_bytes", "contains"), mistakes)
    least = options.one("min_bytes", mistakes)
    if least is not None and not (least.isascii() and least.isdigit() and len(least) < 19):
        mistakes.append(Mistake("min_bytes is not a whole number", "write for example min_bytes=1"))
        least = None
    path = _path(address, mistakes)
    return File(f"file://{path}", path, int(least) if least else None, options.one("contains", mistakes))


def _socket(address: TargetAddress, mistakes: list[Mistake]) -> Socket:
    _options(address, (), mistakes)
    path = _path(address, mistakes)
    if len(path.encode(errors="surrogateescape")) > _SOCKET_PATH_BYTES:
        mistakes.append(Mistake(f"the path is longer than {_SOCKET_PATH_BYTES} bytes", "no socket can be there"))
    return Socket(f"socket://{path}", path)


def _path(address: TargetAddress, mistakes: list[Mistake]) -> str:
    """Return the decoded path; it has to be absolute and whole."""
    path = unquote(address.path, errors="surrogateescape")
    if address.place or address.user is not None or not path.startswith("/"):
        mistakes.append(Mistake("it names no absolute path", f"write for example {address.scheme}:///shared/ready"))
    if "\0" in path:
        mistakes.append(Mistake("the path has a NUL", "take the %00 out"))
    return path


def _http(address: TargetAddress, mistakes: list[Mistake]) -> HttpTarget:
    """Return the target; what is wrong goes to `mistakes`."""
    options, query = _http_options(address, mistakes)
    if any("\ud800" <= c <= "\udfff" for c in f"{address.place}{address.path}{address.query}{address.fragment}"):
        mistakes.append(Mistake("it has bytes that are not UTF-8", "percent-encode them: write %FF for the byte 255"))
    tls = address.scheme == "https"
    host, port = host_and_port(address.place, 443 if tls else 80, mistakes)
    path = "/***" if "@" in address.path else address.path  # it may be the rest of a password
    return HttpTarget(
        shown=f"{address.scheme}://{address.place}{path}",
        url=_url(address, host, port, query),
        host=host,
        tls=tls,
        method=_method(options, mistakes),
        headers=_headers(address, options, mistakes),
        statuses=_statuses(options, mistakes),
        body=_body(options, mistakes),
        json=_json(options, mistakes),
    )


def _http_options(address: TargetAddress, mistakes: list[Mistake]) -> tuple[TargetOptions, str]:
    if address.fragment is None:
        parts = address.query.split("&")
        ours = [part for part in parts if unquote(part.partition("=")[0]) in _HTTP_OPTIONS]
        return options_of("&".join(ours)), "&".join(part for part in parts if part not in ours)
    options = options_of(address.fragment)
    mistakes.extend(unknown_options(address, options, _HTTP_OPTIONS, f"there are {', '.join(_HTTP_OPTIONS)}"))
    return options, address.query


def _url(address: TargetAddress, host: str, port: int, query: str) -> str:
    # without the dot of an absolute name: certificates and virtual hosts know none (the lookup keeps it)
    place = f"[{host.replace('%', '%25')}]" if ":" in host else (ascii_name(host) or host).removesuffix(".")
    sent = (address.path or "/") + (f"?{query}" if query else "")
    return f"{address.scheme}://{place}:{port}{quote(sent, safe=_SENT, errors='replace')}"


def _method(options: TargetOptions, mistakes: list[Mistake]) -> str:
    method = options.one("method", mistakes) or "GET"
    if not _METHOD.fullmatch(method):
        mistakes.append(Mistake("its method is no word", "write for example method=HEAD"))
    return method.upper()


def _statuses(options: TargetOptions, mistakes: list[Mistake]) -> StatusSet:
    text = options.one("status", mistakes)
    try:
        return status_set(["2xx"] if text is None else text.split(","))
    except ValueError as error:
        remedy = "write for example status=2xx or status=200,204"
        mistakes.append(Mistake(f"its status cannot be read: {error}", remedy))
        return status_set(["2xx"])


def _body(options: TargetOptions, mistakes: list[Mistake]) -> str | None:
    text = options.one("body", mistakes)
    if fault := pattern_fault(text or ""):
        mistakes.append(Mistake(f"its body is no regular expression: {fault}", "put a \\ before signs meant literally"))
        return None
    return text


def _json(options: TargetOptions, mistakes: list[Mistake]) -> JsonCondition | None:
    text = options.one("json", mistakes)
    if text is None:
        return None
    shown, equals, value = text.partition("=")
    try:
        path = json_path(shown)
    except ValueError:
        path = ()
    if not path:
        mistakes.append(Mistake("its json is no path of keys", "write for example json=status.ready=true"))
    return JsonCondition(path, shown, value if equals else None)


def _headers(address: TargetAddress, options: TargetOptions, mistakes: list[Mistake]) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for text in options.every("header"):
        # as the setting `headers` writes them; a colon, as it is sent, is understood too
        separator = re.search("[=:]", text)
        name, value = (text[: separator.start()], text[separator.end() :].strip()) if separator else ("", "")
        if header_fault(name, value):
            mistakes.append(Mistake("one of its headers cannot be sent", "write for example header=X-Probe=wait-for"))
        found.append((name, value))
    if address.user is not None:
        user = unquote(address.user)
        pair = user if ":" in user else f"{user}:"  # RFC 7617 wants the colon, also without a password
        encoded = base64.b64encode(pair.encode(errors="surrogateescape")).decode()
        found.append(("Authorization", f"Basic {encoded}"))
    return tuple(found)


def header_fault(name: str, value: str) -> str:
    """Return why a header cannot be sent, or an empty text; the value is not repeated."""
    if not _HEADER_NAME.fullmatch(name):
        return "its name is not a word of letters, digits and -"
    if any(ord(c) < 32 and c != "\t" for c in value) or "\x7f" in value:
        return "its value has a control character"
    return ""


_KINDS: dict[str, Callable[[TargetAddress, list[Mistake]], Target]] = {
    "tcp": _tcp,
    "http": _http,
    "https": _http,
    "dns": _dns,
    "file": _file,
    "socket": _socket,
    "postgres": _postgres,
    "postgresql": _postgres,
}
