"""When a file was made. Python's os.stat does not tell on Linux (os.statx comes with Python 3.15); the kernel does."""

import ctypes
from sys import byteorder

_AT_EMPTY_PATH = 0x1000
_STATX_BTIME = 0x800
_MASK_AT, _BTIME_AT, _STRUCT_BYTES = 0, 80, 256
"""Offsets in struct statx (linux/stat.h), the same on every architecture."""


def born_ns(fd: int) -> int | None:
    """When the open file was made, in nanoseconds of wall-clock time; None where file system or libc do not tell."""
    try:
        statx = ctypes.CDLL(None, use_errno=True).statx
    except (OSError, AttributeError):
        return None
    result = ctypes.create_string_buffer(_STRUCT_BYTES)
    if statx(fd, b"", _AT_EMPTY_PATH, _STATX_BTIME, result) != 0:
        return None
    data = result.raw
    if not int.from_bytes(data[_MASK_AT : _MASK_AT + 4], byteorder) & _STATX_BTIME:
        return None
    seconds = int.from_bytes(data[_BTIME_AT : _BTIME_AT + 8], byteorder, signed=True)
    return seconds * 1_000_000_000 + int.from_bytes(data[_BTIME_AT + 8 : _BTIME_AT + 12], byteorder)
