"""Keep secrets out of what people read: every value that was read is known, and is replaced wherever it appears.

Covered are the value itself, its lines (of a PEM text), its base64 in both alphabets, at each of the three alignments,
its JSON and URL spellings, and parts of all these, since a text may be cut.

A text is looked through in one pass, whatever the number of values: pieces of each spelling are in a table, and where
one is found in the text the spelling is laid beside it.
"""

import base64
import json
from collections import deque
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

from .formats import texts_of

SHORTEST = 6
"""Shorter values are left alone: they would take away words and numbers everywhere."""
HIDDEN = "[redacted]"
PART = 16
"""So long a part of a longer value is hidden, too."""
GENERATIONS = 3
"""So many values of one owner are remembered: an error about a former one may come late."""
_STEP = PART - SHORTEST + 1
"""Pieces so far apart that each part of a value has a whole one in it."""
_MOST_PIECES, _MOST_LINES = 256, 500


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
    lines = [line.strip() for line in text.splitlines()[:_MOST_LINES]]
    found |= {line for line in lines if len(line) >= 2 * SHORTEST} if len(lines) > 1 else set()
    return {spelling for spelling in found if len(spelling) >= SHORTEST}


Pieces = dict[str, tuple[str, ...]]
"""The spellings that hold each piece."""


class Redaction:
    """The values that must not be seen, by whom they belong to: the last few of each. So what lives is never forgotten,
    and what is remembered does not grow with time.
    """

    def __init__(self) -> None:
        self._known: dict[str, deque[tuple[frozenset[str], Pieces]]] = {}

    def know(self, owner: str, values: Iterable[object]) -> None:
        """Hide these from now on, at any depth of maps and lists."""
        texts = {text for value in values for text in texts_of(value)}
        texts = {text for text in texts if len(text) >= SHORTEST and not text.startswith("-----BEGIN CERTIFICATE")}
        known = self._known.setdefault(owner, deque(maxlen=GENERATIONS))
        if all(texts != before for before, _ in known):
            known.append((frozenset(texts), _pieces({spelling for text in texts for spelling in spellings(text)})))

    def hide(self, text: str) -> str:
        """Return the text without any of the values."""
        tables = [pieces for known in self._known.values() for _, pieces in known if pieces]
        made, end = [], 0
        for left, right in _merged(span for place in range(len(text)) for span in _spans(text, place, tables)):
            made += [text[end:left], HIDDEN]
            end = right
        return "".join([*made, text[end:]]) if made else text


def _pieces(spelled: Iterable[str]) -> Pieces:
    found: Pieces = {}
    for spelling in spelled:
        step = max(_STEP, len(spelling) // _MOST_PIECES)
        for at in range(0, len(spelling) - SHORTEST + 1, step):
            piece = spelling[at : at + SHORTEST]
            if spelling not in (others := found.get(piece, ())):
                found[piece] = (*others, spelling)
    return found


def _spans(text: str, place: int, tables: Iterable[Pieces]) -> Iterator[tuple[int, int]]:
    """Return which parts of a text belong to a value, given that a piece of one begins at this place."""
    piece = text[place : place + SHORTEST]
    for pieces in tables:
        for spelling in pieces.get(piece, ()):
            at = spelling.find(piece)
            while at >= 0:
                left, right = _beside(text, place, spelling, at)
                if right - left >= min(len(spelling), PART):
                    yield left, right
                at = spelling.find(piece, at + 1)


def _beside(text: str, place: int, spelling: str, at: int) -> tuple[int, int]:
    """Return how far text and spelling are the same, to the left and to the right of these places."""
    same = 0
    while same < min(place, at) and text[place - same - 1] == spelling[at - same - 1]:
        same += 1
    further, most = SHORTEST, min(len(text) - place, len(spelling) - at)
    while further < most and text[place + further] == spelling[at + further]:
        further += 1
    return place - same, place + further


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    made: list[tuple[int, int]] = []
    for left, right in sorted(spans):
        if made and left <= made[-1][1]:
            made[-1] = (made[-1][0], max(right, made[-1][1]))
        else:
            made.append((left, right))
    return made
