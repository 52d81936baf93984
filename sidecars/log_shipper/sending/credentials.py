"""Credentials and certificates for Elasticsearch, from files that may be replaced while we run."""

import os
import ssl
from urllib.parse import unquote, urlsplit

from sidecars.kit.files import read_secret
from sidecars.kit.http import basic
from sidecars.kit.tls import TlsFiles, client_context
from sidecars.log_shipper.settings import LogShipperSettings

_Stamp = tuple[int, int, int] | None


class WatchedFiles:
    """Files that may be replaced while we run; a Secret volume swaps them behind a symlink."""

    def __init__(self, *paths: str) -> None:
        self._paths = [path for path in paths if path]
        self._seen: list[_Stamp] | None = None
        self._used: list[_Stamp] | None = None

    def changed(self) -> bool:
        """Return whether a file is not what it was when it was last `used`, or never was."""
        self._seen = [_stamp(path) for path in self._paths]
        return self._seen != self._used

    def used(self) -> None:
        """Note that what `changed` saw is in use; what was put in its place since then is a change."""
        self._used = self._seen


def _stamp(path: str) -> _Stamp:
    """Return what tells one content from the next; None while there is no file."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def authorization(settings: LogShipperSettings) -> str:
    """Return the header for the credentials of the settings, or of the address. Raises UnusableFile."""
    if settings.api_key_file:
        return f"ApiKey {read_secret('api_key_file', settings.api_key_file)}"
    if settings.api_key is not None:
        return f"ApiKey {settings.api_key.reveal().strip()}"
    user, password = settings.username, settings.password.reveal() if settings.password else ""
    if settings.password_file:
        password = read_secret("password_file", settings.password_file)
    if not user and settings.elasticsearch_url:
        parts = urlsplit(settings.elasticsearch_url[0])
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return basic(user, password) if user else ""


def tls_context(settings: LogShipperSettings) -> ssl.SSLContext:
    """Return trust and identity by the files of the settings. Raises UnusableFile."""
    return client_context(TlsFiles(settings.ca_file, settings.client_certificate_file, settings.client_key_file))
