"""Whom a certificate is accepted for: by names in its subjectAltName, or by its key; by nothing else."""

import pytest

from sidecars.kit.tls_identity import NameRule, NotARule, RuleKind, accepted_by, parse_rule

NAMES = (("DNS", "db.example.com"), ("DNS", "*.pool.example.com"), ("URI", "spiffe://x/db"), ("IP Address", "10.0.0.1"))

ACCEPTED = {
    "the exact name": ("dns:db.example.com", NAMES),
    "whatever its case": ("dns:DB.Example.com", (("DNS", "db.EXAMPLE.com"),)),
    "a name written with its last dot": ("dns:db.example.com.", NAMES),
    "one label for the certificate's wildcard": ("dns:a.pool.example.com", NAMES),
    "one label for the rule's wildcard": ("dns:*.example.com", NAMES),
    "the same wildcard": ("dns:*.pool.example.com", NAMES),
    "the exact URI": ("uri:spiffe://x/db", NAMES),
    "what is below a URI": ("uri-prefix:spiffe://x/", NAMES),
    "deep below a URI": ("uri-prefix:spiffe://x/ns/", (("URI", "spiffe://x/ns/a/sa/db"),)),
}

REFUSED = {
    "another name": ("dns:db2.example.com", NAMES),
    "a subdomain of the name": ("dns:a.db.example.com", NAMES),
    "two labels for a wildcard": ("dns:a.b.pool.example.com", NAMES),
    "no label for a wildcard": ("dns:pool.example.com", NAMES),
    "a part of a label": ("dns:db1.example.com", (("DNS", "db*.example.com"),)),
    "a wildcard in the middle": ("dns:a.b.example.com", (("DNS", "a.*.example.com"),)),
    "a wildcard for a top-level domain": ("dns:example.com", (("DNS", "*.com"),)),
    "a NUL in the name": ("dns:db.example.com", (("DNS", "db.example.com\0.evil.com"),)),
    "a rule's wildcard for a wildcard": ("dns:*.example.com", (("DNS", "*.example.org"),)),
    "a name that is given as a URI": ("dns:db.example.com", (("URI", "db.example.com"),)),
    "an address as a name": ("dns:10.0.0.1", (("IP Address", "10.0.0.1"),)),
    "a common name: it is not among the names": ("dns:db.example.com", ()),
    "another case of a URI": ("uri:spiffe://X/db", NAMES),
    "what begins alike": ("uri:spiffe://x/d", NAMES),
    "the prefix itself": ("uri-prefix:spiffe://x/db/", (("URI", "spiffe://x/db/"),)),
    "a way out of the prefix": ("uri-prefix:spiffe://x/db/", (("URI", "spiffe://x/db/../admin"),)),
    "an encoded way out": ("uri-prefix:spiffe://x/db/", (("URI", "spiffe://x/db/%2e%2e/admin"),)),
    "another trust domain": ("uri-prefix:spiffe://x/", (("URI", "spiffe://x.evil/db"),)),
    "a pin of what is no certificate": ("spki-sha256:" + "A" * 43 + "=", NAMES),
}


@pytest.mark.parametrize(("rule", "names"), ACCEPTED.values(), ids=ACCEPTED)
def test_a_rule_accepts(rule: str, names: tuple[tuple[str, str], ...]) -> None:
    assert accepted_by([parse_rule("uri:other://y"), parse_rule(rule)], names, b"") == parse_rule(rule)


@pytest.mark.parametrize(("rule", "names"), REFUSED.values(), ids=REFUSED)
def test_a_rule_refuses(rule: str, names: tuple[tuple[str, str], ...]) -> None:
    assert accepted_by([parse_rule(rule)], names, b"") is None


@pytest.mark.parametrize(
    "text",
    [
        "db.example.com", "cn:db", "dns:", "dns:a b", "dns:*", "dns:*.com*", "dns:a.*.com", "uri:db", "uri-prefix:spiffe://x/db",
        "uri-prefix:x/", "spki-sha256:abc", "spki-sha256:" + "A" * 44,
    ],
)  # fmt: skip
def test_what_is_no_rule_is_refused_with_a_right_one(text: str) -> None:
    with pytest.raises(NotARule):
        parse_rule(text)


def test_a_rule_is_shown_as_it_is_written() -> None:
    assert str(parse_rule("dns:DB.example.com")) == "dns:db.example.com"
    assert parse_rule("uri:spiffe://x/db") == NameRule(RuleKind.URI, "spiffe://x/db")
