"""Bytes of a file become lines: where they start, which are cut, what is a hole.

A line ends at a newline. Half a line at the end of a block is left for the next read, unless the file is
done. A line over the limit is cut, marked, and its rest skipped: the file is never abandoned (Fluent Bit
stops reading a file at a line over 32 KiB). NUL bytes before a line are the hole that a writer without
O_APPEND leaves after copytruncate; they are skipped, and offsets stay true.
"""

from itertools import accumulate

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """How much to take at once."""

    line_bytes: int
    """A line longer than this is cut."""
    lines: int = 1 << 30
    """At most so many lines; the rest of the block is left for the next read."""


class Taken(msgspec.Struct):
    """What was taken of a block.

    `lines` without their newline; `starts` are their offsets in the file; `spans` say how many bytes of the file
    each stands for; `consumed` is how far into the block the taking went (lines, holes and skipped rests);
    `cut` are the indices of lines that were cut, `partial` those of records that left without their end, or are what
    came of one later.
    """

    lines: list[bytes]
    starts: list[int]
    spans: list[int]
    consumed: int
    in_cut_line: bool = False
    cut: frozenset[int] = frozenset()
    partial: frozenset[int] = frozenset()
    skipped_nul_bytes: int = 0


class Intake(msgspec.Struct):
    """What one read of a file brought: bytes of the file taken, records, and what had to be repaired."""

    file_bytes: int = 0
    records: int = 0
    cut_lines: int = 0
    partial_records: int = 0
    invalid_utf8_lines: int = 0
    unparsed_lines: int = 0
    skipped_nul_bytes: int = 0


def flags_of(taken: Taken, index: int) -> list[str]:
    """`log.flags` of a line: what it lacks."""
    return ["truncated"] * (index in taken.cut) + ["partial"] * (index in taken.partial)


def take(block: bytes, offset: int, limits: Limits, *, in_cut_line: bool = False, final: bool = False) -> Taken:
    """Take whole lines from `block`, which stands at `offset` in the file.

    `final`: nothing will follow, so an unterminated last line is a line. Returns nothing consumed when the
    block holds no whole line and is not over the limit: read more and call again.
    """
    if not in_cut_line and b"\0" not in block:
        taken = _take_clean(block, offset, limits, final=final)
        if taken is not None:
            return taken
    return _take_careful(block, offset, limits, in_cut_line=in_cut_line, final=final)


def _take_clean(block: bytes, offset: int, limits: Limits, *, final: bool) -> Taken | None:
    """Take the fast path: no hole and no overlong line; None when there is one."""
    end = len(block) if final and not block.endswith(b"\n") else block.rfind(b"\n") + 1
    if len(block) - end > limits.line_bytes:
        return None
    if end == 0:
        return Taken([], [], [], 0)
    terminated = block[end - 1] == 0x0A
    lines = block[: end - 1 if terminated else end].split(b"\n")
    if len(lines) > limits.lines:
        del lines[limits.lines :]
        terminated = True
    lengths = list(map(len, lines))
    if max(lengths) > limits.line_bytes:
        return None
    spans = [length + 1 for length in lengths]
    if not terminated:
        spans[-1] -= 1
    starts = list(accumulate(spans, initial=offset))
    consumed = starts.pop() - offset
    return Taken(lines, starts, spans, consumed)


def _take_careful(block: bytes, offset: int, limits: Limits, *, in_cut_line: bool, final: bool) -> Taken:
    """Line by line: skips rests of cut lines and holes, cuts overlong lines."""
    taken = Taken([], [], [], 0, in_cut_line=in_cut_line)
    cut: set[int] = set()
    position = 0
    while position < len(block) and len(taken.lines) < limits.lines:
        newline = block.find(b"\n", position)
        end = newline if newline >= 0 else len(block)
        if taken.in_cut_line:
            position = end + 1 if newline >= 0 else end
            taken.in_cut_line = newline < 0
            taken.consumed = position
            continue
        start = position if block[position] != 0 else end - len(block[position:end].lstrip(b"\0"))
        length = end - start
        if newline < 0 and length <= limits.line_bytes and not (final and length):
            break
        kept = length
        if length > limits.line_bytes:
            kept = _whole_characters(block[start : start + limits.line_bytes])
            cut.add(len(taken.lines))
        position = _after(start, kept, length, newline)
        taken.in_cut_line = newline < 0 and kept < length
        taken.lines.append(block[start : start + kept])
        taken.starts.append(offset + start)
        taken.spans.append(position - start)
        taken.skipped_nul_bytes += start - taken.consumed
        taken.consumed = position
    taken.cut = frozenset(cut)
    return taken


def _after(start: int, kept: int, length: int, newline: int) -> int:
    """Return where reading goes on after a line: past its newline, or, where none is in sight, past the kept part."""
    return newline + 1 if newline >= 0 else start + (min(length, kept))


def _whole_characters(cut: bytes) -> int:
    """Return the length of `cut` without a UTF-8 character that the cut split: that is not the writer's mistake."""
    for back in range(1, min(4, len(cut)) + 1):
        byte = cut[-back]
        if byte & 0xC0 != 0x80:
            needs = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
            return len(cut) - back if needs > back else len(cut)
    return len(cut)
