"""Where a node is, from its address."""

import pytest

from sidecars.log_shipper.sending.node import NodeAddress

ADDRESSES = {
    "http://es": ("es", 80, "http://es:80"),
    "https://es": ("es", 443, "https://es:443"),
    "http://Es.Lab:9200/": ("es.lab", 9200, "http://es.lab:9200"),
    "https://gate:9200/a/b/": ("gate", 9200, "https://gate:9200/a/b"),
    "http://me:pass%2Fword@es:9200": ("es", 9200, "http://es:9200"),
    "http://[FD00::1]:9200": ("fd00::1", 9200, "http://[fd00::1]:9200"),
    "http://m\u00fcller.example:9200": ("xn--mller-kva.example", 9200, "http://xn--mller-kva.example:9200"),
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_is_a_place_without_credentials(address: str) -> None:
    found = NodeAddress.parse(address)
    assert (found.host, found.port, found.url) == ADDRESSES[address]


def test_the_same_place_is_one_whatever_its_tls() -> None:
    assert len({NodeAddress.parse("https://es:9200/"), NodeAddress.parse("https://ES:9200")}) == 1
