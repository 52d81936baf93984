"""Keep secrets out of what people read: every value that was read is known, and is replaced wherever it appears.

Covered are the value itself, its lines (of a PEM text), its base64 in both alphabets, at each of the three alignments,
its JSON and URL spellings.
"""

import base64
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

from .formats import texts_of

SHORTEST = 6
"""Shorter values are left alone: they would take away words and numbers everywhere."""
HIDDEN = "[redacted]"


def spellings(text: str) -> set[str]:
    """Return how a value may appear in a text."""
    found = {
        text,
        json.dumps(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
        quote(text, safe=""),
        quote(text),
    }
    found |= {quote_plus(text), repr(text)[1:-1]}
    raw = text.encode("utf-8", "surrogatepass")
    for shift in range(3):
        # Within a longer text the base64 of a value depends on where it begins: what is certain is its middle.
        encoded = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
        middle = encoded[(0, 2, 3)[shift] :][: None if shift == 0 and len(raw) % 3 == 0 else -1]
        found |= {middle, middle.replace("+", "-").replace("/", "_")}
    lines = [line.strip() for line in text.splitlines()]
    found |= {line for line in lines if len(line) >= 2 * SHORTEST} if len(lines) > 1 else set()
    return {spelling for spelling in found if len(spelling) >= SHORTEST}


class Redaction:
    """The values that must not be seen. Remembers those of earlier generations, too: an error may come late."""

    def __init__(self, remembered: int = 20_000) -> None:
        self._spellings: dict[str, None] = {}
        self._remembered = remembered
        self._pattern: re.Pattern[str] | None = None

    def add(self, values: Iterable[object]) -> None:
        """Hide these from now on, at any depth of maps and lists."""
        for value in values:
            for text in texts_of(value):
                if len(text) >= SHORTEST and not text.startswith("-----BEGIN CERTIFICATE"):
                    self._spellings.update(dict.fromkeys(spellings(text)))
        while len(self._spellings) > self._remembered:
            del self._spellings[next(iter(self._spellings))]
        self._pattern = None

    def hide(self, text: str) -> str:
        """Return the text without any of the values."""
        if not self._spellings:
            return text
        if self._pattern is None:
            longest_first = sorted(self._spellings, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))
        return self._pattern.sub(HIDDEN, text)
