"""The shared libraries that programs and extension modules need, as the loader of this system finds them."""

import os
import re
import struct
import subprocess
from collections.abc import Iterable

_FOUND = re.compile(r"(?:=> )?(/\S+) \(0x")
_MISSING = re.compile(r"(\S+) => not found")
# Loaded by name at run time: glibc takes it to end a thread.
_BY_NAME = ("libgcc_s.so.1",)
# Of the 64-bit header: where the program headers are, their size and number; where the sections are, and how many.
_PROGRAM_HEADERS, _PROGRAM_HEADER_SIZES, _SECTIONS, _SECTION_SIZES = (32, "<Q"), (54, "<HH"), (40, "<Q"), (58, "<HHH")


def is_elf(path: str) -> bool:
    """Whether a file is a program or a shared object."""
    if not os.path.isfile(path) or os.path.islink(path):
        return False
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


def libraries(files: Iterable[str]) -> set[str]:
    """Return the paths of all libraries that the files load, the loader itself among them.

    Raise FileNotFoundError when one of them is not on this system.
    """
    found: set[str] = set()
    for path in files:
        said = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
        if missing := _MISSING.findall(said):
            raise FileNotFoundError(f"cannot pack {path}: it needs {', '.join(missing)}, which the base image lacks")
        found.update(_FOUND.findall(said))
    return found


def by_name(folders: Iterable[str]) -> set[str]:
    """Return the libraries of the folders that no file names, but the C library loads."""
    candidates = (os.path.join(folder, name) for folder in folders for name in _BY_NAME)
    return {path for path in candidates if os.path.exists(path)}


def drop_debug_sections(path: str) -> None:
    """Cut off what follows the parts that are loaded: wheels come with debug information, up to 4/5 of their size.

    The loader reads program headers only, so the table of sections can go with it (what `sstrip` does). Nothing is done
    to what is not a little-endian 64-bit file. See elf(5).
    """
    with open(path, "r+b") as file:
        head = file.read(64)
        if head[4:6] != b"\x02\x01":
            return
        (offset,) = struct.unpack_from(_PROGRAM_HEADERS[1], head, _PROGRAM_HEADERS[0])
        size, count = struct.unpack_from(_PROGRAM_HEADER_SIZES[1], head, _PROGRAM_HEADER_SIZES[0])
        file.seek(offset)
        table = file.read(size * count)
        ends = [sum(struct.unpack_from("<Q16xQ", table, index * size + 8)) for index in range(count)]
        file.truncate(max([offset + len(table), *ends]))
        file.seek(_SECTIONS[0])
        file.write(struct.pack(_SECTIONS[1], 0))
        file.seek(_SECTION_SIZES[0])
        file.write(struct.pack(_SECTION_SIZES[1], 0, 0, 0))
