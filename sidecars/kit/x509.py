"""As much of a certificate as `ssl` does not tell of one that is ours: from its DER (X.690, RFC 5280, 4.1).

Not `cryptography`: its import costs more memory than a whole sidecar may.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

_SEQUENCE, _VERSION, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18


class NotDer(ValueError):
    """Bytes are no certificate."""


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """Of one certificate. Issuer and subject as they are encoded; times in seconds since 1970."""

    issuer: bytes
    subject: bytes
    not_before: float
    not_after: float
    public_key_info: bytes


def read_certificate(der: bytes) -> CertificateFacts:
    """Read a certificate. Raises NotDer."""
    tag, body, _ = _element(der, 0)
    to_be_signed, contents, _ = _element(der, body)
    if (tag, to_be_signed) != (_SEQUENCE, _SEQUENCE):
        raise NotDer("it is no certificate")
    at = contents
    if der[at] == _VERSION:
        at = _end(der, at)
    at = _end(der, _end(der, at))  # serial number, signature algorithm
    issuer, at = _whole(der, at)
    validity, at = _element(der, at)[1], _end(der, at)
    subject, at = _whole(der, at)
    key, _ = _whole(der, at)
    return CertificateFacts(issuer, subject, _time(der, validity), _time(der, _end(der, validity)), key)


def public_key_info(der: bytes) -> bytes:
    """Return the SubjectPublicKeyInfo of a certificate. Raises NotDer."""
    return read_certificate(der).public_key_info


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Return tag, begin and end of the content of what stands there."""
    if at + 2 > len(der):
        raise NotDer("it ends too early")
    tag, length, at = der[at], der[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length = int.from_bytes(der[at : at + size], "big")
        at += size
    if not length or at + length > len(der):
        raise NotDer("it ends too early")
    return tag, at, at + length


def _end(der: bytes, at: int) -> int:
    return _element(der, at)[2]


def _whole(der: bytes, at: int) -> tuple[bytes, int]:
    end = _end(der, at)
    return der[at:end], end


def _time(der: bytes, at: int) -> float:
    tag, begin, end = _element(der, at)
    text = der[begin:end].decode("ascii", errors="replace")
    if tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise NotDer("its validity is no time")
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise NotDer("its validity is no time") from None
