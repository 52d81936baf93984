"""Whom a request goes to and as whom: its address, and our files for it (certificates, keys, credentials, a body).

The files are read again at every request, because they are mounted and rotate. Whatever is wrong with one is
`Unusable`, which names the setting and the path and never what is in the file. What can be said of the settings
without a file and without a network is said by `problems`.
"""

import base64
import os
import re
import ssl
import stat
from collections.abc import Iterator
from urllib.parse import quote, unquote, urlsplit

from sidecars.kit.tls import trusting

from .core.advance import faults
from .core.change import Change
from .core.status_set import parse
from .core.steps import Call, Confirm, Http

_SECRET_BYTES = 64 << 10
_CERTIFICATES_BYTES = 4 << 20
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FRAMING = frozenset({"content-length", "transfer-encoding"})
_SOCKET_PATH_BYTES = 107  # unix(7): sun_path has 108, with its NUL
_TLS_FILES = ("ca_file", "client_certificate_file", "client_key_file", "server_name")


class Unusable(Exception):
    """A file of ours cannot be used; the text is for people."""

    def __init__(self, setting: str, path: str, reason: str) -> None:
        super().__init__(f"cannot use {setting} {path}: {reason}")


def shown(url: str) -> str:
    """Return the address without user info, query and fragment: what logs may show."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return "(an address that cannot be read)"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    if (
        "@" in url and "@" not in parts.netloc
    ):  # a password with a slash, ? or # in it: its beginning passes for the port
        return f"{parts.scheme}://..."
    return f"{parts.scheme}://{host}{port}{parts.path}"


def address(url: str, change: Change) -> str:
    """Return the address to ask for: placeholders filled, without the user (that becomes a header)."""
    parts = urlsplit(Change(change.hash, quote(change.candidate)).fill(url))
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def read(setting: str, path: str, limit_bytes: int) -> bytes:
    """Return the content. Raises Unusable; never waits for the other end of a pipe."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Unusable(setting, path, "it is not a regular file")
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read(limit_bytes + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        reason = f"{error.strerror}; mount it, and let this container's user read it"
        raise Unusable(setting, path, reason) from None
    except ValueError:  # a NUL in the path
        raise Unusable(setting, path, "it is no path") from None
    if len(content) > limit_bytes:
        raise Unusable(setting, path, f"it is larger than {limit_bytes} bytes")
    return content


def context(step: Http) -> ssl.SSLContext:
    """Return what https needs; the server is always verified. Raises Unusable."""
    pem: str | None = None
    if step.ca_file:
        pem = read("ca_file", step.ca_file, _CERTIFICATES_BYTES).decode("ascii", errors="ignore")  # comments may be not
    try:
        made = trusting(pem)
    except (ssl.SSLError, ValueError):
        raise Unusable("ca_file", step.ca_file, "it holds no certificates in PEM") from None
    if step.client_certificate_file:
        _load_client(made, step)
    return made


def _load_client(made: ssl.SSLContext, step: Http) -> None:
    certificate, key = step.client_certificate_file, step.client_key_file
    read(
        "client_certificate_file", certificate, _CERTIFICATES_BYTES
    )  # load_cert_chain names no file, and waits at a pipe
    if key:
        read("client_key_file", key, _CERTIFICATES_BYTES)
    try:
        made.load_cert_chain(certificate, key or None, password=lambda: b"")  # never asks at a terminal
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        with_key = f" with client_key_file {key}" if key else ""
        reason = "certificate and key are not PEM, do not fit together, or the key is encrypted"
        raise Unusable("client_certificate_file", certificate + with_key, reason) from None


def authorization(step: Http) -> str:
    """Return the value of the header Authorization, or "". Raises Unusable."""
    if step.bearer_token_file:
        return f"Bearer {_secret('bearer_token_file', step.bearer_token_file)}"
    parts = urlsplit(step.url)
    if step.username:
        username = step.username
        password = _secret("password_file", step.password_file) if step.password_file else ""
    elif parts.username is not None:  # as users of configmap-reload have it
        username, password = unquote(parts.username), unquote(parts.password or "")
    else:
        return ""
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"


def _secret(setting: str, path: str) -> str:
    try:
        secret = read(setting, path, _SECRET_BYTES).decode().strip()
    except UnicodeDecodeError:
        raise Unusable(setting, path, "it is not text in UTF-8") from None
    if not secret or not secret.isprintable():
        reason = "it is empty" if not secret else "it holds more than one line, or characters that cannot be sent"
        raise Unusable(setting, path, reason)
    return secret


def problems(step: Http, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield (field below `path`, message, remedy) for what can never work. Reads no file and talks to nobody; shows no
    value that may hold a secret.
    """
    prefix = f"{path}." if path else ""
    for field, message, remedy in _problems(step):
        yield prefix + field, message, remedy


def _problems(step: Http) -> Iterator[tuple[str, str, str]]:
    if fault := _address_fault(step.url):
        yield "url", fault, "give an address such as http://127.0.0.1:9090/-/reload"
    else:
        yield from _identity_problems(step)
    try:
        parse(step.expect_status)
    except ValueError as error:
        yield "expect_status", str(error), "list statuses such as 200, 2xx or 200-204"
    for name, value in step.headers.items():
        if not _HEADER_NAME.fullmatch(name) or not value.isprintable():
            yield "headers", f"the name or the value of {name!r} cannot be sent", "correct it"
        elif name.lower() in _FRAMING:
            yield "headers", f"{name} is set by the request itself", "leave it out"
    if len(os.fsencode(step.unix_socket)) > _SOCKET_PATH_BYTES:
        yield "unix_socket", f"it is longer than {_SOCKET_PATH_BYTES} bytes", "use a shorter path"
    if isinstance(step, Call) and step.body and step.body_file:
        yield "body_file", "there is a body too", "keep one of them"
    if isinstance(step, Confirm):
        yield from faults(step)


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
