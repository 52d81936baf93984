"""Whom our TLS clients trust, and who they are: from files that are mounted and rotate, so they are read again for
every context.
"""

import ssl
from dataclasses import dataclass

from .files import UnusableFile, read_small


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of PEM files, as the settings of these names give them. Without `ca_file` the system's authorities are
    trusted; without `client_key_file` the key is in `client_certificate_file`.
    """

    ca_file: str = ""
    client_certificate_file: str = ""
    client_key_file: str = ""


def client_context(files: TlsFiles, *, verify: bool = True) -> ssl.SSLContext:
    """Return what a TLS client needs. Raises UnusableFile. Without `verify` the connection is encrypted, and whoever
    answers is believed (as libpq does without a root certificate).
    """
    context = _trust(files.ca_file) if verify else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if files.client_certificate_file:
        _identify(context, files)
    return context


def trusting(authorities: str | None) -> ssl.SSLContext:
    """Return a context for a client that trusts these authorities (PEM), or the system's for None.

    Not ssl.create_default_context: for an empty text it would trust the system's authorities instead, and since Python
    3.13 it refuses authorities without a key identifier (VERIFY_X509_STRICT), as many clusters have them. Raises
    ValueError (ssl.SSLError) when the text holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if authorities is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(cadata=authorities or "-")
    return context


def _trust(ca_file: str) -> ssl.SSLContext:
    if not ca_file:
        return trusting(None)
    text = read_small("ca_file", ca_file).decode("ascii", errors="ignore")  # comments may be in other encodings
    try:
        return trusting(text)
    except (ssl.SSLError, ValueError):
        raise UnusableFile("ca_file", ca_file, "it holds no certificates in PEM") from None


def _identify(context: ssl.SSLContext, files: TlsFiles) -> None:
    certificate, key = files.client_certificate_file, files.client_key_file
    read_small("client_certificate_file", certificate)  # load_cert_chain names no file, and waits at a pipe
    if key:
        read_small("client_key_file", key)
    try:
        context.load_cert_chain(certificate, key or None, password=lambda: b"")  # never asks at a terminal
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        with_key = f" with client_key_file {key}" if key else ""
        reason = "certificate and key are not PEM, do not fit together, or the key is encrypted"
        raise UnusableFile("client_certificate_file", certificate + with_key, reason) from None
