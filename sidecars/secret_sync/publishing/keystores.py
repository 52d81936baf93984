"""Stores in the format of PKCS 12: private key, certificate and chain in one file, as Java, .NET and browsers take it.
It imports cryptography, and is imported when such a file is configured and not before: 11 MiB.
"""

from collections.abc import Mapping
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from sidecars.secret_sync.core.formats import Unwritable, as_text


def store(name: str, value: Mapping[str, Any], passphrase: str, former: bytes | None) -> bytes:
    """Return a store with the `private_key`, `certificate` and `ca_chain` of a value, under this name in it. Salts are
    drawn anew for each store, so a former one that holds the same under the same passphrase is returned as it is.

    Raises Unwritable, whose text holds no value.
    """
    parts = _parts(value)
    if former is not None and _held(former, passphrase) == (name.encode(), *_texts(*parts)):
        return former
    key, certificate, chain = parts
    secret = passphrase.encode()
    how = serialization.BestAvailableEncryption(secret) if secret else serialization.NoEncryption()
    return pkcs12.serialize_key_and_certificates(name.encode(), key, certificate, chain, how)


def _parts(value: Mapping[str, Any]) -> tuple[Any, x509.Certificate, list[x509.Certificate]]:
    texts = {part: as_text(value.get(part) or "").encode() for part in ("private_key", "certificate", "ca_chain")}
    texts["ca_chain"] = texts["ca_chain"] or as_text(value.get("chain") or "").encode()  # as Key Vault's is called
    if not (texts["private_key"] and texts["certificate"]):
        raise Unwritable("pkcs12 needs the keys private_key and certificate")
    try:
        key: Any = serialization.load_pem_private_key(texts["private_key"], None)
        certificate, *chain = x509.load_pem_x509_certificates(texts["certificate"])
        if texts["ca_chain"]:
            chain += x509.load_pem_x509_certificates(texts["ca_chain"])
    except (TypeError, ValueError, UnsupportedAlgorithm):
        raise Unwritable("private_key, certificate or ca_chain is no PEM without a passphrase") from None
    if key.public_key() != certificate.public_key():
        raise Unwritable("its private key does not fit its certificate")
    return key, certificate, [one for one in dict.fromkeys(chain) if one != certificate]


def _held(content: bytes, passphrase: str) -> tuple[bytes, ...] | None:
    """Return what a store holds, as `store` compares it; None when it cannot be opened."""
    try:
        found = pkcs12.load_pkcs12(content, passphrase.encode() or None)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return None
    if found.key is None or found.cert is None:
        return None
    chain = [one.certificate for one in found.additional_certs]
    return (found.cert.friendly_name or b"", *_texts(found.key, found.cert.certificate, chain))


def _texts(key: Any, certificate: x509.Certificate, chain: list[x509.Certificate]) -> tuple[bytes, ...]:
    pem = serialization.Encoding.PEM
    plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return plain, certificate.public_bytes(pem), *sorted(one.public_bytes(pem) for one in chain)
