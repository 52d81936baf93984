"""As whom a request goes out: our files for it (certificates, keys, credentials, a body), and its address without them.

The files are read again at every request, because they are mounted and rotate. Whatever is wrong with one is
`Unusable`, which names the setting and the path and never what is in the file.
"""

import base64
import os
import ssl
import stat
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from sidecars.kit.tls import trusting

from .core.change import Change
from .core.options import Http

_SECRET_BYTES = 64 << 10
_CERTIFICATES_BYTES = 4 << 20


class Unusable(Exception):
    """A file of ours cannot be used; the text is for people."""

    def __init__(self, setting: str, path: str, reason: str) -> None:
        super().__init__(f"cannot use {setting} {path}: {reason}")


def address(url: str, change: Change) -> str:
    """Return the address to ask for: placeholders filled, without the user (that becomes a header)."""
    parts = urlsplit(Change(change.hash, quote(os.fsencode(change.candidate))).fill(url))
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


def secrets(step: Http, change: Change, sent: str) -> frozenset[str]:
    """What an answer may repeat and nobody is to read: `sent` (the value of Authorization) and what it was made of, the
    values of headers, and the values of the query.
    """
    found = {change.fill(value) for value in step.headers.values()} | {sent}
    scheme, _, value = sent.partition(" ")
    found.add(value)
    if scheme == "Basic":
        found.add(base64.b64decode(value).decode().partition(":")[2])
    query = urlsplit(change.fill(step.url)).query
    found |= {query, *(value for _, value in parse_qsl(query)), *(pair.partition("=")[2] for pair in query.split("&"))}
    words = {word for text in tuple(found) for word in text.split()}  # `X-Token: Token abc` may come back as `abc`
    return frozenset((found | words) - {"", "Basic", "Bearer", change.hash, change.candidate})


def _secret(setting: str, path: str) -> str:
    try:
        secret = read(setting, path, _SECRET_BYTES).decode().strip()
    except UnicodeDecodeError:
        raise Unusable(setting, path, "it is not text in UTF-8") from None
    if not secret or not secret.isprintable():
        reason = "it is empty" if not secret else "it holds more than one line, or characters that cannot be sent"
        raise Unusable(setting, path, reason)
    return secret
