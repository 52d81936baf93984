"""Say what is wrong with the options of a step beyond their types: what can never work, for the settings' list of
problems. Shows no value that may hold a secret.
"""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from sidecars.kit.http_match import pattern_fault, status_set

from .options import Call, Exec, Http, Signal
from .selection import number

Complaint = tuple[str, str, str]
"""Field below the step, message, remedy."""

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FRAMING = frozenset({"content-length", "transfer-encoding"})
_SOCKET_PATH_BYTES = 107  # unix(7): sun_path has 108, with its NUL
_TLS_FILES = ("ca_file", "client_certificate_file", "client_key_file", "server_name")


def problems(step: Http | Signal | Exec) -> Iterator[Complaint]:
    """Yield everything that is wrong with a step of this kind."""
    match step:
        case Signal():
            yield from _signal(step)
        case Exec():
            yield from command_problems(step.command)
        case _:
            yield from _http(step)


def command_problems(command: tuple[str, ...]) -> Iterator[Complaint]:
    """Yield what is wrong with a program and its arguments."""
    if not command or not command[0].split():
        message = "the program has no name" if command else "it is empty"
        yield "command", message, 'write the program and its arguments as a list: ["nginx", "-t"]'


def pattern_problems(field: str, pattern: str) -> Iterator[Complaint]:
    """Yield what is wrong with a regular expression."""
    if fault := pattern_fault(pattern):
        yield field, f"it is no regular expression: {fault}", "correct it, or put a \\ before signs meant literally"


def _signal(step: Signal) -> Iterator[Complaint]:
    try:
        number(step.signal)
    except ValueError as error:
        yield "signal", str(error), "write a name such as SIGHUP or USR1"
    if not (step.process or step.comm or step.argv or step.pidfile or step.uid is not None):
        yield "", "no process is named", "set process, comm, argv, uid or pidfile"
    yield from pattern_problems("argv", step.argv)


def _http(step: Http) -> Iterator[tuple[str, str, str]]:
    if fault := _address_fault(step.url):
        yield "url", fault, "give an address such as http://127.0.0.1:9090/-/reload"
    else:
        yield from _identity_problems(step)
    try:
        status_set(step.expect_status)
    except ValueError as error:
        yield "expect_status", str(error), "list statuses such as 200, 2xx or 200-204"
    for name, value in step.headers.items():
        if not _HEADER_NAME.fullmatch(name) or not value.isprintable():
            yield "headers", f"the name or the value of {name!r} cannot be sent", "correct it"
        elif name.lower() in _FRAMING:
            yield "headers", f"{name} is set by the request itself", "leave it out"
    if len(step.unix_socket.encode(errors="surrogateescape")) > _SOCKET_PATH_BYTES:
        yield "unix_socket", f"it is longer than {_SOCKET_PATH_BYTES} bytes", "use a shorter path"
    if isinstance(step, Call) and step.body and step.body_file:
        yield "body_file", "there is a body too", "keep one of them"


def _identity_problems(step: Http) -> Iterator[tuple[str, str, str]]:
    """Yield credentials and certificates that do not go together."""
    parts = urlsplit(step.url)
    in_headers = any(name.lower() == "authorization" for name in step.headers)
    given = {
        "bearer_token_file": bool(step.bearer_token_file),
        "username": bool(step.username),
        "the user in url": parts.username is not None,
        "the header Authorization": in_headers,
    }
    ways = [way for way, present in given.items() if present]
    if len(ways) > 1:
        field = ways[0] if ways[0] in {"bearer_token_file", "username"} else "url"
        yield field, f"there is {' and '.join(ways)}", "keep one of them"
    if step.password_file and not step.username:
        yield "password_file", "there is no username", "set username too"
    if step.client_key_file and not step.client_certificate_file:
        yield "client_key_file", "there is no certificate for it", "set client_certificate_file too"
    if parts.scheme == "http":
        for field in _TLS_FILES:
            if getattr(step, field):
                yield field, "it has no meaning without TLS", "use an https url, or leave it out"


def _address_fault(url: str) -> str:
    """Return what is wrong with an address, without showing it: a password may be in it."""
    try:
        parts = urlsplit(url)
        if not url:
            return "it is not set"
        if parts.scheme not in {"http", "https"}:
            return "it is neither http nor https"
        if not parts.hostname:
            return "it has no host"
        return "its port is 0" if parts.port == 0 else ""
    except ValueError:
        return "its host or port cannot be read"
