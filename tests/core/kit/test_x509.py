"""What is read from a certificate, held against what the cryptography library reads; and bytes that are none."""

import base64
import hashlib
from datetime import UTC, datetime

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sidecars.kit.tls_identity import accepted_by, parse_rule, spki_sha256
from sidecars.kit.x509 import NotDer, read_certificate

KINDS = {kind.name: kind for kind in trustme.KeyType}


def made(kind: trustme.KeyType, until: datetime | None = None) -> x509.Certificate:
    leaf = trustme.CA(key_type=kind).issue_cert("db.example.com", key_type=kind, not_after=until)
    return x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("until", [None, datetime(2061, 3, 4, 5, 6, 7, tzinfo=UTC)], ids=["soon", "after 2049"])
def test_a_certificate_is_read_as_others_read_it(kind: trustme.KeyType, until: datetime | None) -> None:
    known = made(kind, until)
    der = known.public_bytes(Encoding.DER)
    facts = read_certificate(der)
    assert facts.not_after == known.not_valid_after_utc.timestamp()
    assert facts.not_before == known.not_valid_before_utc.timestamp()
    assert facts.issuer == known.issuer.public_bytes()
    assert facts.subject == known.subject.public_bytes()
    key = known.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert facts.public_key_info == key
    pin = base64.b64encode(hashlib.sha256(key).digest()).decode()
    assert spki_sha256(der) == pin
    assert accepted_by([parse_rule(f"spki-sha256:{pin}")], (), der)


def test_every_cut_certificate_is_none() -> None:
    der = made(trustme.KeyType.ECDSA).public_bytes(Encoding.DER)
    for length in range(len(der)):
        with pytest.raises(NotDer):
            read_certificate(der[:length])


@pytest.mark.parametrize(
    "data", [b"", b"x", b"\x30\x00", b"\x30\x03\x30\x01\x00", b"\x04\x84\xff\xff\xff\xff" + b"\0" * 50]
)
def test_other_bytes_are_no_certificate(data: bytes) -> None:
    with pytest.raises(NotDer):
        read_certificate(data)
