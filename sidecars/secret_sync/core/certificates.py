"""From a PEM text with a key and certificates in any order to the parts that an app reads.

Key Vault promises no order: leaf first or root first, the key before or behind. So the leaf is the certificate of the
private key, and the chain is built from issuer to issuer; the root is no part of what a server sends.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\s(.+?)-----END \1-----", re.DOTALL)


class NotReadable(ValueError):
    """A text that holds no certificates that belong together. The message names no content."""


@dataclass(frozen=True)
class _Certificate:
    pem: str
    subject: bytes
    issuer: bytes
    key: bytes
    """The public key as it stands within a private key: the modulus of RSA, the point of EC."""

    @property
    def is_root(self) -> bool:
        return self.subject == self.issuer


def parts_of(text: str) -> dict[str, str]:
    """Return `certificate`, `chain` (its issuers but for the root), `fullchain` (both), `private_key` and `bundle`
    (key, certificate, chain) where there is a key, and `ca`, the root, where there is one. Raises NotReadable.
    """
    blocks = [(kind, f"-----BEGIN {kind}-----\n{_lines(body)}\n-----END {kind}-----\n") for kind, body in _blocks(text)]
    certificates = [_read(pem) for kind, pem in blocks if kind == "CERTIFICATE"]
    keys = [pem for kind, pem in blocks if kind.endswith("PRIVATE KEY")]
    if not certificates:
        raise NotReadable("it holds no certificate")
    leaf = _leaf(certificates, keys[0] if keys else "")
    chain = _chain(leaf, [one for one in certificates if one is not leaf])
    found = {"certificate": leaf.pem, "chain": "".join(one.pem for one in chain)}
    found["fullchain"] = found["certificate"] + found["chain"]
    roots = [one.pem for one in certificates if one.is_root and one is not leaf]
    if roots:
        found["ca"] = "".join(dict.fromkeys(roots))
    if keys:
        found |= {"private_key": keys[0], "bundle": keys[0] + found["fullchain"]}
    return found


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    for match in _BLOCK.finditer(text):
        yield match[1], match[2]


def _lines(body: str) -> str:
    return "\n".join(line.strip() for line in body.splitlines() if line.strip())


def _leaf(certificates: list[_Certificate], key: str) -> _Certificate:
    """Return the certificate of the private key. An EC key need not hold its point: then it is the certificate that
    has issued none of the others.
    """
    der = _decoded(key)
    fitting = [one for one in certificates if one.key and one.key in der]
    if fitting:
        return fitting[0]
    if key and any(len(one.key) > _LONGEST_POINT for one in certificates) and _RSA in der:
        raise NotReadable("its private key is that of none of its certificates")
    issuers = {one.issuer for one in certificates if not one.is_root}
    leaves = [one for one in certificates if one.subject not in issuers]
    return leaves[0] if leaves else certificates[0]


_LONGEST_POINT = 133
"""Of P-521; a modulus is longer."""
_RSA = bytes.fromhex("2a864886f70d010101")
"""The object identifier rsaEncryption, as it stands in a PKCS 8 key."""


def _chain(leaf: _Certificate, others: list[_Certificate]) -> list[_Certificate]:
    """Return the issuers of the leaf, one after the other, and behind them what belongs nowhere; without roots."""
    left = [one for one in others if not one.is_root and one.pem != leaf.pem]
    found: list[_Certificate] = []
    wanted = leaf.issuer
    while issuer := next((one for one in left if one.subject == wanted), None):
        found.append(issuer)
        left.remove(issuer)
        wanted = issuer.issuer
    return [*found, *left]


# --- as much of DER as that needs ---


def _decoded(pem: str) -> bytes:
    body = "".join(line for line in pem.splitlines() if line and not line.startswith("-----") and ":" not in line)
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise NotReadable("a block of it is no base64") from None


def _read(pem: str) -> _Certificate:
    """Return what is looked at of a certificate (RFC 5280, 4.1)."""
    try:
        fields = _children(_children(_children(_decoded(pem))[0][1])[0][1])
        if fields[0][0] == 0xA0:  # the version
            fields = fields[1:]
        _, _, issuer, _, subject, key = (body for _, body in fields[:6])
        public = _children(key)[1][1][1:]  # a bit string: its first byte counts unused bits
    except (IndexError, ValueError):
        raise NotReadable("a certificate in it is damaged") from None
    if public[:1] == b"\x30":  # RSA: modulus and exponent
        public = _children(_children(public)[0][1])[0][1]
    return _Certificate(pem, subject, issuer, public)


def _children(der: bytes) -> list[tuple[int, bytes]]:
    """Return the tags and contents of what stands one after the other. Raises IndexError or ValueError."""
    found, at = [], 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length >= 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(der[at : at + size], "big"), at + size
        if at + length > len(der):
            raise ValueError("cut off")
        found.append((tag, der[at : at + length]))
        at += length
    return found
