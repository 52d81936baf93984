"""Who a certificate says its owner is, and whether that is whom we asked for: rules on subjectAltName, and pins.

The common name is never looked at (RFC 9525, 2). Pure: names and bytes in, an answer out.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from .x509 import NotDer, public_key_info

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_PIN_BYTES = 32

Names = Iterable[tuple[str, str]]
"""Of subjectAltName, as `ssl` gives them: ("DNS", name), ("URI", uri), ("IP Address", text)."""


class RuleKind(StrEnum):
    """What a rule compares."""

    DNS = "dns"
    URI = "uri"
    URI_PREFIX = "uri-prefix"
    PIN = "spki-sha256"


@dataclass(frozen=True, slots=True)
class NameRule:
    """One identity that is accepted, such as `uri:spiffe://x/db`."""

    kind: RuleKind
    value: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"


class NotARule(ValueError):
    """A text is no rule; the message says why, and names a right one."""


def parse_rule(text: str) -> NameRule:
    """Read `dns:NAME`, `dns:*.DOMAIN`, `uri:URI`, `uri-prefix:URI/`, or `spki-sha256:BASE64`. Raises NotARule."""
    kind, colon, value = text.partition(":")
    if not colon or kind not in set(RuleKind) or not value:
        raise NotARule("a rule is dns:db.example.com, dns:*.example.com, uri:spiffe://x/db, uri-prefix:spiffe://x/ or "
                       "spki-sha256:<base64>")  # fmt: skip
    rule = NameRule(RuleKind(kind), value)
    match rule.kind:
        case RuleKind.DNS:
            plain = value.lower().removesuffix(".")
            labels = plain.removeprefix("*.").split(".")
            if not all(map(_LABEL.fullmatch, labels)) or (plain.startswith("*.") and len(labels) < 2):
                raise NotARule("it is no host name; a * stands for one whole label in front of two others")
            return NameRule(rule.kind, plain)
        case RuleKind.URI_PREFIX if not value.endswith("/") or "://" not in value:
            raise NotARule("end the prefix with a /: else spiffe://x/db would take spiffe://x/db-admin, too")
        case RuleKind.URI if "://" not in value:
            raise NotARule("it is no URI")
        case RuleKind.PIN:
            _pin(value)
    return rule


def accepted_by(rules: Iterable[NameRule], names: Names, certificate_der: bytes) -> NameRule | None:
    """Return the first rule that a certificate fulfils; None when it fulfils none."""
    names = tuple(names)
    return next((rule for rule in rules if _fulfils(rule, names, certificate_der)), None)


def spki_sha256(certificate_der: bytes) -> str:
    """Return the pin of a certificate: SHA-256 of its public key with algorithm, in base64 (RFC 7469). Raise NotDer."""
    return base64.b64encode(hashlib.sha256(public_key_info(certificate_der)).digest()).decode()


def _fulfils(rule: NameRule, names: tuple[tuple[str, str], ...], certificate_der: bytes) -> bool:
    match rule.kind:
        case RuleKind.DNS:
            return any(kind == "DNS" and _is_host(rule.value, name) for kind, name in names)
        case RuleKind.URI:
            return ("URI", rule.value) in names
        case RuleKind.URI_PREFIX:
            return any(kind == "URI" and _is_below(rule.value, name) for kind, name in names)
        case _:
            try:
                return hashlib.sha256(public_key_info(certificate_der)).digest() == _pin(rule.value)
            except NotDer:
                return False


def _is_host(wanted: str, name: str) -> bool:
    """A certificate's `*` stands for the first label as a whole and for nothing else; a rule's `*` as well."""
    name = name.lower()
    if not name.isascii() or not all(map(_LABEL.fullmatch, name.removeprefix("*.").split("."))):
        return False
    if name == wanted:
        return True
    wildcard, plain = (wanted, name) if wanted.startswith("*.") else (name, wanted)
    if not wildcard.startswith("*.") or plain.startswith("*."):
        return False
    return wildcard.count(".") >= 2 and plain.partition(".")[2] == wildcard[2:]


def _is_below(prefix: str, uri: str) -> bool:
    """No segment may lead out again: a URI is compared as text, and others may resolve its dots."""
    rest = uri.removeprefix(prefix)
    if rest == uri or not rest or "%" in rest or "?" in rest or "#" in rest:
        return False
    return not {"", ".", ".."} & set(rest.split("/"))


def _pin(value: str) -> bytes:
    try:
        digest = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != _PIN_BYTES:
        raise NotARule("it is no SHA-256 in base64 (44 signs)")
    return digest
