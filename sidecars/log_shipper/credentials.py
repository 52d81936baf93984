"""Credentials and certificates for Elasticsearch, from files that may be replaced while we run."""

import base64
import os
import ssl
from urllib.parse import unquote, urlsplit

from .settings import LogShipperSettings


class WatchedFiles:
    """Files that may be replaced while we run; a Secret volume swaps them behind a symlink."""

    def __init__(self, *paths: str) -> None:
        self._paths = [path for path in paths if path]
        self._seen: list[tuple[int, int, int]] | None = None

    def changed(self) -> bool:
        """Whether a file is not what it was when it was last `taken`, or never was. Raises OSError."""
        return self._now() != self._seen

    def taken(self) -> None:
        """What is there now is in use. Raises OSError."""
        self._seen = self._now()

    def _now(self) -> list[tuple[int, int, int]]:
        return [(status.st_ino, status.st_mtime_ns, status.st_size) for status in map(os.stat, self._paths)]


def authorization(settings: LogShipperSettings) -> str:
    """The header for the credentials of the settings, or of the address. Raises OSError when a file cannot be read."""
    if settings.api_key_file:
        return f"ApiKey {_content(settings.api_key_file)}"
    if settings.api_key is not None:
        return f"ApiKey {settings.api_key.reveal()}"
    user, password = settings.username, settings.password.reveal() if settings.password else ""
    if settings.password_file:
        password = _content(settings.password_file)
    if not user and settings.elasticsearch_url:
        parts = urlsplit(settings.elasticsearch_url[0])
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""


def _content(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read().strip()


def tls_context(settings: LogShipperSettings) -> ssl.SSLContext:
    """Trust and identity from the files of the settings; the system's CAs where none are named. Raises OSError."""
    context = ssl.create_default_context(cafile=settings.ca_file or None)
    if settings.client_certificate_file:
        context.load_cert_chain(settings.client_certificate_file, settings.client_key_file or None)
    return context
