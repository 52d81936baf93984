"""Our own files (token, certificates): read again at every attempt, since they may come late or be rotated."""

import os
import ssl
import stat

from sidecars.kit.tls import trusting
from sidecars.runtime import Permanent, Transient
from sidecars.wait_for.settings import WaitForSettings

from .words import words

_LONGEST_BYTES = 1 << 20
_NOT_YET_VALID = 9
"""X509_V_ERR_CERT_NOT_YET_VALID, openssl-verification-options(1)."""


def bearer_token(settings: WaitForSettings) -> str:
    """Return the token of the settings' file, or an empty text without one. Raise Transient or Permanent."""
    if not settings.bearer_token_file:
        return ""
    text = _content("bearer_token_file", settings.bearer_token_file).decode(errors="replace").strip()
    if not text or not text.isascii() or not text.isprintable():
        raise Transient("bearer_token_file holds something else than one line of text")
    return text


def tls_context(settings: WaitForSettings, *, verify: bool) -> ssl.SSLContext:
    """Return trust and identity as the settings name them: with `verify` the system's CAs where no `ca_file` is named.
    Raise Transient or Permanent.
    """
    context = _trusting(settings) if verify else _blind()
    if settings.client_certificate_file:
        key_file = settings.client_key_file or settings.client_certificate_file
        _content("client_certificate_file", settings.client_certificate_file)
        _content("client_key_file", key_file)
        try:
            # a password is never asked for on a terminal: an encrypted key cannot be used
            context.load_cert_chain(settings.client_certificate_file, key_file, password="")
        except (ssl.SSLError, ValueError):
            raise Transient("client_certificate_file and its key cannot be used (PEM, unencrypted, matching)") from None
        except OSError as error:
            raise Transient(f"cannot read client_certificate_file: {words(error)}") from None
    return context


def refused_certificate(error: Exception, otherwise: str) -> Permanent | Transient:
    """Return what a refused certificate of the other side means: never, unless it only is not valid yet, since clocks
    of machines differ. `otherwise` is said where OpenSSL gives no reason.
    """
    reason = getattr(error, "verify_message", "") or otherwise
    if getattr(error, "verify_code", 0) == _NOT_YET_VALID:
        return Transient(f"its certificate is refused: {reason}; is this machine's clock, or the other one's, slow?")
    return Permanent(f"its certificate is refused: {reason}")


def _trusting(settings: WaitForSettings) -> ssl.SSLContext:
    if not settings.ca_file:
        return trusting(None)
    text = _content("ca_file", settings.ca_file).decode("ascii", "ignore")
    try:
        return trusting(text)
    except (ssl.SSLError, ValueError):
        raise Transient("ca_file holds no certificate (PEM)") from None


def _blind() -> ssl.SSLContext:
    """Encrypt without asking who it is, as libpq does without a root certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _content(setting: str, path: str) -> bytes:
    """Read one of our files. One that is not there yet may come; one that we may not read never will be."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Permanent(f"cannot read {setting} {path}: it is not a regular file")
            return os.read(descriptor, _LONGEST_BYTES)
        finally:
            os.close(descriptor)
    except PermissionError as error:
        raise Permanent(f"cannot read {setting} {path}: {words(error)}") from None
    except OSError as error:
        raise Transient(f"cannot read {setting} {path}: {words(error)}") from None
