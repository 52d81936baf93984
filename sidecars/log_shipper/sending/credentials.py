"""Credentials and certificates for Elasticsearch, from files that may be replaced while we run."""

import base64
import errno
import os
import ssl
from urllib.parse import unquote, urlsplit

from sidecars.kit.tls import trusting
from sidecars.log_shipper.settings import LogShipperSettings


class WatchedFiles:
    """Files that may be replaced while we run; a Secret volume swaps them behind a symlink."""

    def __init__(self, *paths: str) -> None:
        self._paths = [path for path in paths if path]
        self._seen: list[tuple[int, int, int]] | None = None
        self._taken: list[tuple[int, int, int]] | None = None

    def changed(self) -> bool:
        """Whether a file is not what it was when it was last `taken`, or never was. Raises OSError."""
        self._seen = [(status.st_ino, status.st_mtime_ns, status.st_size) for status in map(os.stat, self._paths)]
        return self._seen != self._taken

    def taken(self) -> None:
        """What `changed` saw is in use; what was put in its place since then is a change."""
        self._taken = self._seen


def authorization(settings: LogShipperSettings) -> str:
    """The header for the credentials of the settings, or of the address. Raises OSError when a file cannot be read."""
    if settings.api_key_file:
        return f"ApiKey {_content(settings.api_key_file)}"
    if settings.api_key is not None:
        return f"ApiKey {settings.api_key.reveal().strip()}"
    user, password = settings.username, settings.password.reveal() if settings.password else ""
    if settings.password_file:
        password = _content(settings.password_file)
    if not user and settings.elasticsearch_url:
        parts = urlsplit(settings.elasticsearch_url[0])
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""


def _content(path: str) -> str:
    """The one line in a file. Raises OSError, also when there is something else in it: a header cannot carry that."""
    with open(path, "rb") as file:
        text = file.read().decode(errors="replace").strip()
    if not text.isprintable() or "\ufffd" in text:
        raise OSError(errno.EINVAL, "it holds something else than one line of text", path)
    return text


def tls_context(settings: LogShipperSettings) -> ssl.SSLContext:
    """Trust and identity from the files of the settings; the system's CAs where none are named. Raises OSError."""
    authorities: str | None = None
    if settings.ca_file:
        with open(settings.ca_file, encoding="ascii", errors="ignore") as file:  # comments may be in other encodings
            authorities = file.read()
    context = trusting(authorities)
    if settings.client_certificate_file:
        context.load_cert_chain(settings.client_certificate_file, settings.client_key_file or None)
    return context
