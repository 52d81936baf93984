"""Limits of this process, for a while: what a full disk or a machine without descriptors does."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def files_of_at_most(limit_bytes: int) -> Iterator[None]:
    """Let writing beyond this fail with EFBIG, half way in the file, as a full disk does."""
    with _limited(resource.RLIMIT_FSIZE, limit_bytes):
        yield


@contextmanager
def descriptors_left(room: int) -> Iterator[None]:
    """Let so many more be opened."""
    lowest = os.dup(0)
    os.close(lowest)
    with _limited(resource.RLIMIT_NOFILE, lowest + room):
        yield


def open_descriptors() -> int:
    """Return how many descriptors are open."""
    return len(os.listdir("/proc/self/fd"))


@contextmanager
def _limited(what: int, limit: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(what)
    resource.setrlimit(what, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(what, (soft, hard))
