"""What is said of an attempt fits into a line of the log."""

import pytest

from sidecars.kit.notify.core.outcome import OK, Outcome, Result, one_line


@pytest.mark.parametrize(
    ("text", "line"), [("a\nb\t c\r\n", "a b c"), ("\x1b[31mred\0", "[31mred"), ("", ""), ("ü…", "ü…")]
)
def test_what_a_program_said_is_one_printable_line(text: str, line: str) -> None:
    assert one_line(text) == line


def test_only_ok_is_ok() -> None:
    assert OK.ok
    assert [result for result in Result if Outcome(result).ok] == [Result.OK]
