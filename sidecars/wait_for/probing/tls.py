"""Trust and identity for https and postgres: from files that are read again at every attempt, since they may come late
or be rotated.
"""

import ssl

from sidecars.kit.tls import TlsFiles, client_context
from sidecars.runtime import Permanent, Transient
from sidecars.wait_for.settings import WaitForSettings

_NOT_YET_VALID = 9
"""X509_V_ERR_CERT_NOT_YET_VALID, openssl-verification-options(1)."""


def tls_context(settings: WaitForSettings, *, verify: bool) -> ssl.SSLContext:
    """Return trust and identity as the settings name them: with `verify` the system's CAs where no `ca_file` is named.
    Raise UnusableFile.
    """
    files = TlsFiles(settings.ca_file, settings.client_certificate_file, settings.client_key_file)
    return client_context(files, verify=verify)


def refused_certificate(error: Exception, otherwise: str) -> Permanent | Transient:
    """Return what a refused certificate of the other side means: never, unless it only is not valid yet, since clocks
    of machines differ. `otherwise` is said where OpenSSL gives no reason.
    """
    reason = getattr(error, "verify_message", "") or otherwise
    if getattr(error, "verify_code", 0) == _NOT_YET_VALID:
        return Transient(f"its certificate is refused: {reason}; is this machine's clock, or the other one's, slow?")
    return Permanent(f"its certificate is refused: {reason}")
