"""Text files that are not UTF-8: told by their byte order mark, and taken line by line as UTF-8.

A newline is a whole code unit here, so bytes are looked at in steps of it; offsets stay those of the file.
"""

import msgspec

from .lines import Limits, Taken

_UNIT_BYTES = {"utf-16-le": 2, "utf-16-be": 2, "utf-32-le": 4, "utf-32-be": 4}
_MARKS = {  # the longer ones first: that of UTF-32 begins as that of UTF-16 does
    b"\xff\xfe\x00\x00": "utf-32-le",
    b"\x00\x00\xfe\xff": "utf-32-be",
    b"\xff\xfe": "utf-16-le",
    b"\xfe\xff": "utf-16-be",
}
LONGEST_MARK_BYTES = 4


def encoding_of(start: bytes) -> str:
    """Return the encoding that the byte order mark of a file says, or nothing for UTF-8."""
    return next((encoding for mark, encoding in _MARKS.items() if start.startswith(mark)), "")


def still_is(encoding: str, start: bytes) -> bool:
    """Return whether what a writer went on with after a truncation, without a byte order mark, can be in that
    encoding.
    """
    return bool(encoding) and b"\0" in start


class Wide(msgspec.Struct, frozen=True):
    """Takes lines of an encoding with units of two or four bytes."""

    encoding: str

    def take(
        self, block: bytes, offset: int, limits: Limits, *, in_cut_line: bool = False, final: bool = False
    ) -> Taken:
        """Do what `lines.take` does; the lines are UTF-8, their starts and spans those of the file."""
        unit = _UNIT_BYTES[self.encoding]
        taken = Taken([], [], [], 0, in_cut_line=in_cut_line)
        cut: set[int] = set()
        limit = max(unit, limits.line_bytes // unit * unit)
        position = 0
        while position < len(block) and len(taken.lines) < limits.lines:
            newline = self._newline(block, position)
            end = (
                newline if newline >= 0 else len(block) if final else position + (len(block) - position) // unit * unit
            )
            after = newline + unit if newline >= 0 else end
            if taken.in_cut_line:
                taken.in_cut_line = newline < 0
                taken.consumed = position = after
                if newline < 0:
                    break
                continue
            if newline < 0 and not (end - position > limit or (final and end > position)):
                break
            kept = end
            if end - position > limit:
                kept = self._whole_characters(block, position, position + limit)
                cut.add(len(taken.lines))
                if newline < 0:
                    taken.in_cut_line, after = True, kept
            taken.lines.append(self._utf8(block[position:kept], at_start=offset + position == 0))
            taken.starts.append(offset + position)
            taken.spans.append(after - position)
            taken.consumed = position = after
        taken.cut = frozenset(cut)
        return taken

    def _newline(self, block: bytes, position: int) -> int:
        """Return where the next newline is; -1 without one. `position` is that of a unit."""
        newline = "\n".encode(self.encoding)
        found = block.find(newline, position)
        while found >= 0 and (found - position) % len(newline):
            found = block.find(newline, found + 1)
        return found

    def _whole_characters(self, block: bytes, start: int, stop: int) -> int:
        """`stop`, or before it when it would split a pair of surrogates."""
        if self.encoding.startswith("utf-16"):
            high = block[stop - 1 if self.encoding.endswith("le") else stop - 2]
            if 0xD8 <= high <= 0xDB and stop - 2 > start:
                return stop - 2
        return stop

    def _utf8(self, data: bytes, *, at_start: bool) -> bytes:
        """Return UTF-8, without the NULs of a hole before it and without a byte order mark; bad units become U+FFFD."""
        text = data.decode(self.encoding, "replace").lstrip("\0")
        return (text.removeprefix("\ufeff") if at_start else text).encode()
