"""PFX (PKCS 12) to PEM, for vaults that do not do it themselves: interfaces before 2025-07-01. It imports cryptography
when such an answer has come and not before: 11 MiB.
"""


class NoPfx(ValueError):
    """A PFX that cannot be read. The message holds nothing of it."""


def pem_of(pfx: bytes) -> str:
    """Return its private key and certificates as PEM. Raises NoPfx."""
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
