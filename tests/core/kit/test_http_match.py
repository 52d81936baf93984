"""Which statuses are expected, and what is said of texts that are none."""

import pytest

from sidecars.kit.http_match import status_set

SETS: list[tuple[tuple[str, ...], set[int], str]] = [
    (("200",), {200}, "200"),
    (("2xx",), set(range(200, 300)), "2xx"),
    (("2XX",), set(range(200, 300)), "2XX"),
    (("200-204",), {200, 201, 202, 203, 204}, "200-204"),
    (("204-204",), {204}, "204-204"),
    ((" 200 ", "204"), {200, 204}, "200 or 204"),
    (("200", "204", "3xx"), {200, 204, *range(300, 400)}, "200, 204 or 3xx"),
    (("100-599",), set(range(100, 600)), "100-599"),
]
FAULTS: list[tuple[tuple[str, ...], str]] = [
    ((), "every answer would be a failure"),
    (("",), "'' is no status"),
    (("ok",), "'ok' is no status"),
    (("20",), "'20' is no status"),
    (("2000",), "'2000' is no status"),
    (("099",), "'099' is no status"),
    (("600",), "'600' is no status"),
    (("6xx",), "'6xx' is no status"),
    (("20x",), "'20x' is no status"),
    (("204-200",), "ends before it begins"),
    (("200-",), "'200-' is no status"),
    (("2xx-3xx",), "'2xx-3xx' is no status"),
    (("200", "x"), "'x' is no status"),
    (("٢٠٠",), "is no status"),
    (("200\n200",), "is no status"),
]


@pytest.mark.parametrize(("texts", "statuses", "words"), SETS)
def test_a_set_holds_the_statuses_that_were_written(texts: tuple[str, ...], statuses: set[int], words: str) -> None:
    expected = status_set(texts)
    assert {status for status in range(1000) if status in expected} == statuses
    assert str(expected) == words


@pytest.mark.parametrize(("texts", "words"), FAULTS)
def test_what_is_no_set_is_said(texts: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        status_set(texts)
