"""Key and certificates in any order become parts that fit each other."""

import random
import re
from contextlib import suppress

import pytest

from sidecars.devstack.key_vault.issuing import Authority, Issued, pem_of
from sidecars.secret_sync.core.certificates import NotReadable, parts_of

AUTHORITY = Authority()
NOW = 1_790_000_000.0
PARTS = ("certificate", "chain", "fullchain", "ca", "private_key", "bundle")


def shuffled(issued: Issued, seed: int) -> str:
    """Key and certificates as one text, in some order, with what others write between them."""
    blocks = re.findall(r"-----BEGIN.+?-----END [A-Z ]+-----\n", issued.pem, re.DOTALL)
    random.Random(seed).shuffle(blocks)
    return "Bag Attributes\n    friendlyName: web\n".join(["", *blocks]).replace("\n", "\r\n" if seed % 2 else "\n")


@pytest.mark.parametrize("kind", ["EC", "RSA"])
@pytest.mark.parametrize("seed", range(6))
def test_the_order_of_the_content_does_not_matter(kind: str, seed: int) -> None:
    issued = AUTHORITY.issue("web.svc", NOW, kind=kind)
    found = parts_of(shuffled(issued, seed))
    leaf, middle, root = (pem_of(None, (one,)) for one in (issued.certificate, *issued.others))
    key = pem_of(issued.key, ())
    wanted = {"certificate": leaf, "chain": middle, "fullchain": leaf + middle, "ca": root, "private_key": key}
    assert found == wanted | {"bundle": key + leaf + middle}


def test_one_that_signs_itself_is_a_certificate_without_a_chain() -> None:
    issued = AUTHORITY.issue("web.svc", NOW, own=True)
    found = parts_of(issued.pem)
    assert (found["certificate"], found["chain"], "ca" in found) == (pem_of(None, (issued.certificate,)), "", False)


def test_without_an_exportable_key_there_are_only_certificates() -> None:
    issued = AUTHORITY.issue("web.svc", NOW)
    found = parts_of(pem_of(None, (*issued.others, issued.certificate)))
    assert sorted(found) == ["ca", "certificate", "chain", "fullchain"]
    assert found["certificate"] == pem_of(None, (issued.certificate,))


def test_a_key_of_another_certificate_is_refused() -> None:
    one, other = (AUTHORITY.issue("web.svc", NOW, kind="RSA") for _ in range(2))
    with pytest.raises(NotReadable, match="none of its certificates"):
        parts_of(pem_of(one.key, (other.certificate, *other.others)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hunter2",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nMP//////////\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
    ],
)
def test_what_holds_no_certificate_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(NotReadable) as refused:
        parts_of(text)
    assert "hunter2" not in str(refused.value)


def test_a_damaged_certificate_never_crashes() -> None:
    rng, pem = random.Random(7), AUTHORITY.issue("web.svc", NOW).pem
    for _ in range(500):
        at = rng.randrange(len(pem))
        damaged = pem[:at] + rng.choice("AZaz09+/=\n-") + pem[at + rng.randint(0, 3) :]
        with suppress(NotReadable):
            assert parts_of(damaged)["certificate"]
