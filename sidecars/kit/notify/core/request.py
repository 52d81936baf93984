"""Say of an HTTP request, without a file and without a network, whether it can work, where it goes, and what of it may
be shown.
"""

import base64
import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, quote, urlsplit

from sidecars.kit.http_match import status_set

from .change import Change
from .options import Call, Http

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FRAMING = frozenset({"content-length", "transfer-encoding"})
_SOCKET_PATH_BYTES = 107  # unix(7): sun_path has 108, with its NUL
_TLS_FILES = ("ca_file", "client_certificate_file", "client_key_file", "server_name")


def shown(url: str) -> str:
    """Return the address without user info, query and fragment: what logs may show."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return "(an address that cannot be read)"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    if "@" in url and "@" not in parts.netloc:  # a password with / ? or # in it, whose beginning passes for the port
        return f"{parts.scheme}://..."
    return f"{parts.scheme}://{host}{port}{parts.path}"


def address(url: str, change: Change) -> str:
    """Return the address to ask for: placeholders filled, without the user (that becomes a header)."""
    candidate = quote(change.candidate.encode(errors="surrogateescape"))
    parts = urlsplit(Change(change.hash, candidate).fill(url))
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def secrets(step: Http, change: Change, authorization: str) -> frozenset[str]:
    """Return what an answer may repeat and nobody is to read: the value of Authorization that was sent and what it was
    made of, the values of headers, and those of the query.
    """
    found = {change.fill(value) for value in step.headers.values()} | {authorization}
    scheme, _, value = authorization.partition(" ")
    found.add(value)
    if scheme == "Basic":
        found.add(base64.b64decode(value).decode(errors="surrogateescape").partition(":")[2])
    query = urlsplit(change.fill(step.url)).query
    found |= {query, *(value for _, value in parse_qsl(query)), *(pair.partition("=")[2] for pair in query.split("&"))}
    words = {word for text in tuple(found) for word in text.split()}  # `X-Token: Token abc` may come back as `abc`
    return frozenset((found | words) - {"", "Basic", "Bearer", change.hash, change.candidate})


def problems(step: Http, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield (field below `path`, message, remedy) for what can never work; shows no value that may hold a secret."""
    prefix = f"{path}." if path else ""
    for field, message, remedy in _problems(step):
        yield prefix + field, message, remedy


def _problems(step: Http) -> Iterator[tuple[str, str, str]]:
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
    """Credentials and certificates that do not go together."""
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
    """What is wrong with an address, without showing it: a password may be in it."""
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
