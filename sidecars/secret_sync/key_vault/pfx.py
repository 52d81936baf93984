"""PFX (PKCS 12) to PEM, for vaults that do not do it themselves. The only module here that knows `cryptography`, which
is not installed with secret-sync: an interface of 2025-07-01 or later needs none of this.
"""

import importlib.util


class NoPfx(ValueError):
    """A PFX that cannot be read. The message says what to do."""


def pem_of(pfx: bytes) -> str:
    """Return its private key and certificates as PEM. Raises NoPfx."""
    if importlib.util.find_spec("cryptography") is None:
        text = "it is PFX, and the vault turns none into PEM: set api_version to 2025-07-01 or later, install the "
        raise NoPfx(text + "package cryptography beside secret-sync, or have the certificate issued as PEM")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.serialization import pkcs12

    try:
        key, certificate, others = pkcs12.load_key_and_certificates(pfx, None)
    except ValueError:
        raise NoPfx("its PFX is damaged, or has a password") from None
    found = []
    if key is not None:
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        found.append(key.private_bytes(*form).decode())
    certificates = [one for one in (certificate, *others) if one is not None]
    found += [one.public_bytes(serialization.Encoding.PEM).decode() for one in certificates]
    return "".join(found)
