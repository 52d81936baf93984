"""What a settings file holds, with how and where it was written.

Exists because YAML turns words into other things (`NO` is false, `1.10` is 1.1, `01234` is 668, `12:30` is 750), while
a setting that is a text means what stands there; and because an error should name the line.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Written:
    """A plain scalar that YAML takes for a number, a boolean or a date: `text` as it stands in the file."""

    text: str
    value: object


class Pairs(dict[str, object]):
    """A mapping, its keys as they stand in the file; `lines` says where, as far as that is worth knowing."""

    lines: dict[str, int]


class Items(list[object]):
    """A list; `lines` as above, by index."""

    lines: dict[int, int]


def line_of(whole: object, part: object) -> int:
    """Return the line of a part of a mapping or list; 0 when it is not known."""
    found = getattr(whole, "lines", {}).get(part, 0)
    return found if isinstance(found, int) else 0


class WrongPart(ValueError):
    """A part of pairs or of a list cannot be used: `part` is the key or the index. Shows no value: a header may hold a
    token.
    """

    def __init__(self, part: str | int, message: str, remedy: str) -> None:
        super().__init__(message)
        self.part, self.message, self.remedy = part, message, remedy

    @property
    def place(self) -> str:
        """The part as it is appended to the name of the setting."""
        if isinstance(self.part, int):
            return f"[{self.part}]"
        return f".{self.part}" if self.part.isprintable() and len(self.part) <= 80 else ""
