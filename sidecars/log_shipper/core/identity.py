"""Who a file is: inode, growing head fingerprint, and a marker of the bytes just before an offset.

A name says nothing (rotation renames), an inode is reused at once in containers, two logs may start with
the same banner, and copytruncate keeps inode and name but replaces the content. Each part catches what the
others miss: the inode tells equal heads apart, the head catches a reused inode, and the marker catches a
file that was truncated and grew past the old offset.
"""

import base64
from hashlib import blake2b

import msgspec

HEAD_BYTES = 1024
"""Bytes at the start of a file that its fingerprint covers at most; a shorter file is covered as far as it goes."""
MARKER_BYTES = 256
"""Bytes before an offset that are remembered. Longer than most lines, so repeated lines rarely look alike."""


def digest(data: bytes) -> str:
    """64-bit hex digest; enough to tell contents of one file system apart, short enough for the checkpoint."""
    return blake2b(data, digest_size=8).hexdigest()


class FileKey(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Device and inode number: unique among the files that exist right now."""

    device: int
    inode: int


class Head(msgspec.Struct, frozen=True, gc=False):
    """Fingerprint of the first `length` bytes; grows with the file up to HEAD_BYTES."""

    length: int = 0
    digest: str = ""

    @classmethod
    def of(cls, start: bytes) -> "Head":
        """Return the fingerprint of a file that begins with `start`."""
        covered = start[:HEAD_BYTES]
        return cls(len(covered), digest(covered))

    def fits(self, start: bytes) -> bool:
        """Return whether a file that begins with `start` can be the one this fingerprint was taken of, grown or not."""
        return len(start) >= self.length and (self.length == 0 or digest(start[: self.length]) == self.digest)

    def grown(self, start: bytes) -> "Head":
        """Return the fingerprint extended to what is there now; the caller has checked that it `fits`."""
        return Head.of(start) if self.length < min(len(start), HEAD_BYTES) else self


class FileIdentity(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Who a file is, but for its inode. One value: it goes as a whole to the copy in which a file goes on, to the
    checkpoint and back.
    """

    path: str
    """The name it was first seen under: `log.file.path` of its documents, also after a rename."""
    head: Head = Head()
    prefix: str = ""
    """Begins the ids of its documents; empty until its first line is known."""
    first_line: str = ""
    """Digest of its first line; known once its documents have got their ids."""
    generation: int = 0
    """Counts the files of one inode with the same first line."""

    def grown(self, start: bytes) -> "FileIdentity":
        """Return the identity with the head extended to what is there now; the caller has checked that it `fits`."""
        head = self.head.grown(start)
        return self if head is self.head else msgspec.structs.replace(self, head=head)

    def named(self, prefix: str, first_line: str, generation: int) -> "FileIdentity":
        """Return the identity with the ids of its documents decided."""
        return FileIdentity(self.path, self.head, prefix, first_line, generation)


class Mark(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A place in a file from which reading can go on after a restart.

    `offset` in bytes; `marker` is the digest of the up to MARKER_BYTES bytes before it; `in_cut_line` is true
    when the place lies within a line whose beginning was shipped cut, so the rest up to the newline is skipped.
    """

    offset: int = 0
    marker: str = ""
    in_cut_line: bool = False


def marker_length(offset: int) -> int:
    """Return how many bytes before `offset` its marker covers."""
    return min(MARKER_BYTES, offset)


def first_line_digest(start: bytes) -> str:
    """What the first line says, up to HEAD_BYTES: known before the first line is shipped and never changing after,
    so it can be found again with no state at all (a grown head fingerprint cannot).
    """
    return digest(start[:HEAD_BYTES].split(b"\n", 1)[0])


def id_prefix(scope: str, key: FileKey, first_line: str, generation: int) -> str:
    """Return the 16 characters that begin the id of every document of one file.

    `scope` keeps pods apart (their inodes are alike); `generation` counts files of the same inode with the
    same first line, which nothing else tells apart.
    """
    material = f"{scope}\0{key.device}\0{key.inode}\0{first_line}\0{generation}"
    return base64.urlsafe_b64encode(blake2b(material.encode(), digest_size=12).digest()).decode()
