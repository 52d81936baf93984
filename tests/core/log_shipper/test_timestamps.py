"""The time of a line: what is a date, which unit a count has, what is neither."""

import re
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecars.log_shipper.core.timestamps import is_date, recognised
from tests.support.timestamps import DATES, NEARLY


@pytest.mark.parametrize("text", DATES)
def test_a_date_that_servers_take_is_sent_as_it_is(text: str) -> None:
    assert recognised(text) == text


@pytest.mark.parametrize("text", NEARLY)
def test_a_near_date_is_none(text: str) -> None:
    assert recognised(text) is None


COUNTS: dict[str, tuple[object, object]] = {
    "seconds": (1795355100, "2026-11-22T13:45:00.000Z"),
    "seconds as text": ("1795355100", "2026-11-22T13:45:00.000Z"),
    "seconds with a fraction": (1795355100.123, "2026-11-22T13:45:00.123Z"),
    "seconds with microseconds, as Python writes them": (1795355100.123456, "2026-11-22T13:45:00.123456Z"),
    "seconds with nanoseconds as text": ("1795355100.123456789", "2026-11-22T13:45:00.123456789Z"),
    "more digits than nanoseconds": ("1795355100.1234567899", "2026-11-22T13:45:00.123456789Z"),
    "milliseconds": (1795355100123, 1795355100123),
    "milliseconds as text": ("1795355100123", "1795355100123"),
    "milliseconds with a fraction": (1795355100123.5, "2026-11-22T13:45:00.123500Z"),
    "microseconds": (1795355100123456, "2026-11-22T13:45:00.123456Z"),
    "microseconds that end in zeros": (1795355100123000, "2026-11-22T13:45:00.123Z"),
    "microseconds as a float": (1795355100123456.0, "2026-11-22T13:45:00.123456Z"),
    "nanoseconds": (1795355100123456789, "2026-11-22T13:45:00.123456789Z"),
    "nanoseconds as text": ("1795355100123456789", "2026-11-22T13:45:00.123456789Z"),
    "nanoseconds as a float": (1.795e18, "2026-11-18T11:06:40.000Z"),
    "the first of seconds": (100000000, "1973-03-03T09:46:40.000Z"),
    "the last of seconds": (9999999999, "2286-11-20T17:46:39.000Z"),
    "the last of nanoseconds": (9999999999999999999, "2286-11-20T17:46:39.999999999Z"),
    "nothing": (0, None),
    "an uptime": (86400, None),
    "an uptime with a fraction": (86400.5, None),
    "before 1970": (-1795355100, None),
    "a date without its dashes": (20261122, None),
    "date and time without anything between": ("20261122134500", None),
    "a length between the units": (17953551001, None),
    "leading zeros": ("0001795355100", None),
    "more than nanoseconds": (10**20, None),
    "more digits than Python writes": (10**5000, None),
    "a very large float": (1e300, None),
    "a sign": ("+1795355100", None),
    "an exponent": ("1.7953551E9", None),
    "digits of another script": ("\u0661795355100", None),
    "true": (True, None),
    "null": (None, None),
    "an object": ({"seconds": 1795355100}, None),
    "a list": ([1795355100], None),
}


@pytest.mark.parametrize(("value", "expected"), COUNTS.values(), ids=COUNTS.keys())
def test_the_unit_of_a_count_shows_in_its_length(value: object, expected: object) -> None:
    assert recognised(value) == expected


@given(st.integers(10**17, 10**19 - 1).filter(lambda count: count < 9 * 10**18))
def test_no_digit_of_nanoseconds_is_lost(count: int) -> None:
    said = recognised(count)
    if isinstance(said, int):  # milliseconds, which stay
        return
    assert isinstance(said, str)
    assert is_date(said)
    whole, _, fraction = said.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(whole + "+00:00").timestamp())
    assert seconds * 10**9 + int(fraction.ljust(9, "0")) == count


@given(
    st.from_regex(re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII), fullmatch=True)
)
def test_every_usual_date_is_one_exactly_if_the_calendar_and_the_clock_have_it(text: str) -> None:
    """Python is the judge, but for year 0 and offsets beyond 18 hours."""
    try:
        datetime.fromisoformat(text.replace("0000-", "2000-", 1))
    except ValueError:
        assert not is_date(text)
        return
    offset = text[-6:]
    assert is_date(text) == (text.endswith("Z") or offset[1:] <= "18:00")
