"""What became of every line: the books of the demo, and the table a person reads at its end."""

import re
from collections import Counter
from collections.abc import AsyncIterable
from dataclasses import dataclass

import msgspec

from sidecars.devstack.elasticsearch.errors import JsonObject
from sidecars.devstack.terminal import Ink

_NUMBER = re.compile(r"order (\d+): ")
_NAMED = 5
_TEXT_COLUMNS, _COUNT_COLUMNS = 58, 12
_GREEN, _RED, _DIM, _BOLD = "32", "31", "2", "1"


@dataclass(frozen=True)
class Verdict:
    """Counts of lines, and for those that are missing or there too often the first few numbers.

    `doubled` counts the documents beyond one for each number that was written, also such as nobody wrote.
    """

    written: int
    documents: int
    lost: int
    doubled: int
    recognised: int
    lost_numbers: tuple[int, ...] = ()
    doubled_numbers: tuple[int, ...] = ()

    @property
    def ok(self) -> bool:
        """Nothing lost, nothing doubled."""
        return not self.lost and not self.doubled


async def count_numbers(messages: AsyncIterable[str]) -> Counter[int]:
    """How often each line's number is there; 0 stands for a message that is no line of the app."""
    numbers: Counter[int] = Counter()
    async for message in messages:
        found = _NUMBER.match(message)
        numbers[int(found[1]) if found else 0] += 1
    return numbers


def judge(written: int, numbers: Counter[int], recognised: int) -> Verdict:
    """Compares the lines 1 to `written` with the numbers that were read back."""
    lost = [number for number in range(1, written + 1) if number not in numbers]
    doubled = sorted(number for number, times in numbers.items() if times > 1 or not 1 <= number <= written)
    documents = numbers.total()
    return Verdict(
        written=written,
        documents=documents,
        lost=len(lost),
        doubled=documents - (written - len(lost)),
        recognised=recognised,
        lost_numbers=tuple(lost[:_NAMED]),
        doubled_numbers=tuple(doubled[:_NAMED]),
    )


def table(verdict: Verdict, ink: Ink) -> list[str]:
    """The counts in a box, and one sentence."""
    rows = [
        ("written", "lines, by the app's own count", verdict.written, ""),
        ("found", "documents, every one read back by search", verdict.documents, ""),
        ("lost", _named(verdict.lost_numbers), verdict.lost, _RED if verdict.lost else _GREEN),
        ("doubled", _named(verdict.doubled_numbers), verdict.doubled, _RED if verdict.doubled else _GREEN),
        ("recognised", "sent again, stored once (known by id: 409)", verdict.recognised, ""),
    ]
    lines = [f"  ┌{'─' * _TEXT_COLUMNS}┬{'─' * _COUNT_COLUMNS}┐"]
    for name, about, count, color in rows:
        words = f" {ink(_BOLD, name.ljust(12))}{ink(_DIM, about.ljust(_TEXT_COLUMNS - 13))}"
        number = f"{count:,}".rjust(_COUNT_COLUMNS - 1)
        lines.append(f"  │{words}│{ink(color, number) if color else number} │")
    lines.append(f"  └{'─' * _TEXT_COLUMNS}┴{'─' * _COUNT_COLUMNS}┘")
    return lines


def sentence(verdict: Verdict, ink: Ink) -> str:
    """The verdict in words."""
    if verdict.ok:
        return "  " + ink(_GREEN, "Nothing lost, nothing doubled.")
    return "  " + ink(_RED, f"NOT GOOD: {verdict.lost:,} lost, {verdict.doubled:,} doubled.")


def found_line(words: str, document: JsonObject | None, ink: Ink) -> list[str]:
    """One search result, for people."""
    if document is None:
        return [f'  A search for "{words}", a line written while the shipper was dead, finds nothing.']
    pretty = msgspec.json.format(msgspec.json.encode(document), indent=2).decode()
    return [
        f'  A search for "{words}", a line written while the shipper was dead, finds:',
        "",
        *(ink(_DIM, f"    {line}") for line in pretty.splitlines()),
    ]


def _named(numbers: tuple[int, ...]) -> str:
    return f"orders {', '.join(map(str, numbers))} ..." if numbers else ""
