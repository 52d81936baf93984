"""How the address of a request is shown."""

import pytest

from sidecars.kit.notify.core import request

SHOWN = {
    "http://h:1/path": "http://h:1/path",
    "https://User:pw@Host/p?token=x#y": "https://host/p",
    "http://[::1]:80/": "http://[::1]:80/",
    "http://user:pa/ss@host/": "(an address that cannot be read)",
    "http://user:12/ss@host/": "http://...",
    "http://user:12?ss@host/": "http://...",
    "http://[::1/": "(an address that cannot be read)",
}


@pytest.mark.parametrize(("url", "text"), SHOWN.items())
def test_an_address_is_shown_without_what_may_be_secret(url: str, text: str) -> None:
    assert request.shown(url) == text
