"""What a line says about its own time: a date that Elasticsearch takes, or a count since 1970 in some unit.

A data stream refuses a document whose `@timestamp` it cannot read, and reads any number as milliseconds. So what is
nearly a date has to be known as such before it is sent, and seconds, microseconds and nanoseconds by their length.
"""

import re
from datetime import UTC, datetime

_DATE = re.compile(
    r"\d{4}(?:-(?:0[1-9]|1[0-2])(?:-(?:0[1-9]|[12]\d|3[01])(?:T"
    r"(?:(?:[01]\d|2[0-3])(?::[0-5]\d(?::[0-5]\d(?:[.,]\d{1,9})?)?)?"
    r"(?:Z|UTC|GMT|[+-](?:(?:0\d|1[0-7])(?::?[0-5]\d)?|18(?::?00)?))?)?)?)?)?",
    re.ASCII,
)
"""What strict_date_optional_time of Elasticsearch 9.5 and OpenSearch 2.19 and 3.9 all take, as tried on them; other
names of zones than UTC and GMT, which depend on the version, are left out. Days are counted by `_is_in_calendar`."""
_USUAL = re.compile(
    r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?"
    r"(?:Z|[+-](?:0\d|1[0-7]):[0-5]\d)",
    re.ASCII,
)
"""The part of `_DATE` that nearly all logs are written in; looked at first, because it takes half the time."""
_COUNT = re.compile(r"([1-9]\d{8,18})(?:\.(\d+))?", re.ASCII)
_EXPONENTS = {9: 0, 10: 0, 12: 3, 13: 3, 15: 6, 16: 6, 18: 9, 19: 9}
"""Digits of a count since 1970 and what power of ten of them is a second. So counted, times from 1973 to 2286 have no
length in common; a count of another length (0, an uptime, 20261122) is no time."""
_MILLISECONDS = 3
_EXACT_FLOAT = 1e15
"""From here on, Python writes floats with an exponent, and a fraction says nothing any more."""


def recognised(value: object) -> str | int | float | None:
    """Return the value of `@timestamp` to send, or None when `value` is no time.

    Dates and whole milliseconds are sent as they are, other counts as a date with all their digits.
    """
    if isinstance(value, str):
        if is_date(value):
            return value
        text = value
    elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e19:
        return None
    else:
        text = str(value if value < _EXACT_FLOAT else int(value))
    count = _COUNT.fullmatch(text)
    exponent = _EXPONENTS.get(len(count[1])) if count else None
    if count is None or exponent is None:
        return None
    if exponent == _MILLISECONDS and not count[2]:
        return value
    return _date(count[1], count[2] or "", exponent)


def is_date(text: str) -> bool:
    """Return whether Elasticsearch takes it as a date."""
    if _USUAL.fullmatch(text) is None and _DATE.fullmatch(text) is None:
        return False
    return text[8:10] < "29" or _is_in_calendar(text)


def _is_in_calendar(text: str) -> bool:
    """Return whether the 29th, 30th or 31st of this month exists."""
    year, month, day = int(text[:4]), int(text[5:7]), int(text[8:10])
    if month == 2:
        return day == 29 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return day < 31 or month not in (4, 6, 9, 11)


def _date(digits: str, fraction: str, exponent: int) -> str:
    """Return a count in units of 10**-exponent seconds as RFC 3339, to the nanosecond."""
    cut = len(digits) - exponent
    parts = (digits[cut:] + fraction)[:9].rstrip("0")
    width = 3 if len(parts) <= 3 else 6 if len(parts) <= 6 else 9
    return f"{datetime.fromtimestamp(int(digits[:cut]), UTC):%Y-%m-%dT%H:%M:%S}.{parts.ljust(width, '0')}Z"
