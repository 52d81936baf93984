"""Host names that can be, and those that never can."""

import pytest

from sidecars.wait_for.core.address import ascii_name, host_fault

NAMES = {
    "db": "",
    "db.": "",
    "a_b-c.9": "",
    "10.0.0.1": "",
    "fd00::1": "",
    "bücher.example": "",
    "a" * 63: "",
    "a" * 64: "64 characters, a label has at most 63",
    ".".join(["a" * 49] * 6): "299 characters, a name has at most 253",
    "a..b": "one of its labels is empty",
    ".a": "one of its labels is empty",
    "a b": "other characters",
    "a$b": "other characters",
    "ü" * 64: "international domain name",
    "10.0.0.999": "neither an IPv4 address nor a name",
}


@pytest.mark.parametrize(("name", "words"), NAMES.items(), ids=NAMES.keys())
def test_a_name_that_never_can_be_is_told_from_one_that_may_come(name: str, words: str) -> None:
    assert (words in host_fault(name)) if words else host_fault(name) == ""


def test_an_international_name_is_looked_up_in_its_ascii_form() -> None:
    assert (ascii_name("bücher.example"), ascii_name("db")) == ("xn--bcher-kva.example", "db")
