"""Copying files into the root folder of an image, and giving it the form that makes two builds the same."""

import importlib.util
import os
import py_compile
import shutil
import stat
from collections.abc import Iterator

# One moment for all files: a layer whose content did not change keeps its digest. Zip knows nothing older than 1980.
EPOCH_SECONDS = 315_532_800


def copy(path: str, root: str) -> None:
    """Copy a file to its own place below `root`; what is a link stays one, and its target is copied too."""
    folder, name = os.path.split(path)
    place = os.path.join(os.path.realpath(folder), name)  # /lib/x is in /usr/lib
    if os.path.lexists(root + place):
        return
    os.makedirs(os.path.dirname(root + place), exist_ok=True)
    if os.path.islink(place):
        os.symlink(os.readlink(place), root + place)
        copy(os.path.join(os.path.dirname(place), os.readlink(place)), root)
    else:
        shutil.copy2(place, root + place)


def read(path: str) -> str:
    """Return the text of a file."""
    with open(path, encoding="utf-8") as file:
        return file.read()


def write(path: str, text: str, mode: int = 0o644) -> None:
    """Write a file, and the folders above it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, mode)


def put_link(target: str, path: str) -> None:
    """Make `path` a link to `target`, and the folders above it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.symlink(target, path)


def entries(root: str) -> Iterator[str]:
    """Return every file, link and folder below `root`, without following links."""
    for folder, folders, files in os.walk(root):
        yield from (os.path.join(folder, name) for name in (*folders, *files))


def drop_dead_links(root: str) -> None:
    """Remove links whose target was not copied."""
    for path in entries(root):
        if os.path.islink(path) and not os.path.exists(os.path.join(os.path.dirname(path), os.readlink(path))):
            os.unlink(path)


def compile_all(library: str, root: str) -> None:
    """Compile a Python library (a folder below `root`, or none there) where it is not compiled yet.

    Unchecked: the files of an image never change, so nobody need compare them with their sources at each start.
    """
    for path in sorted(entries(library)):
        place, source = compiled_name(path), path.endswith(".py")
        if source and not os.path.exists(place):
            unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
            py_compile.compile(path, place, path.removeprefix(root), True, invalidation_mode=unchecked)


def compiled_name(path: str) -> str:
    """Return where the import system looks for the bytecode of a source file."""
    return importlib.util.cache_from_source(path)


def plain_mode(mode: int) -> int:
    """Return the mode that a file or folder gets, whatever umask it was made with: readable for all, its owner's to
    write, and never set-user-id. A folder that is everybody's (sticky: /tmp) stays that.
    """
    if mode & stat.S_ISVTX:
        return 0o1777
    return 0o755 if mode & stat.S_IXUSR else 0o644


def finish(root: str) -> None:
    """Take away what would make two builds differ: times, and modes that come from somebody's umask."""
    for path in [root, *entries(root)]:
        if not os.path.islink(path):
            os.chmod(path, plain_mode(os.stat(path).st_mode))
        os.utime(path, (EPOCH_SECONDS, EPOCH_SECONDS), follow_symlinks=False)
