"""What the kernel tells of an open file: where its holes end, and how it is called now."""

import os

_SCAN_BYTES = 1 << 20


def end_of_hole(fd: int, offset: int, size_bytes: int) -> int:
    """Where the run of NULs at `offset` ends, or `offset` when nothing follows it yet: zeros at the end may be space
    that a writer allocated in advance and will fill.
    """
    position = offset
    while position < size_bytes:
        try:
            position = max(position, os.lseek(fd, position, os.SEEK_DATA))
        except OSError:  # ENXIO: nothing but hole up to the end
            return offset
        block = os.pread(fd, _SCAN_BYTES, position)
        rest = block.lstrip(b"\0")
        position += len(block) - len(rest)
        if rest:
            return position
        if not block:
            break
    return offset


def name_of(fd: int, known: str) -> str:
    """The present name of the file, also after a rename; `known` when it has none or that cannot be read."""
    try:
        name = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return known
    return known if name.endswith(" (deleted)") else name
