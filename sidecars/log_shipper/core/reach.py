"""What of `paths` is not shipped, in words: globs without a file, folders that cannot be entered, files that cannot be
read. The usual causes are a mistyped path, a volume that is not mounted here, and another user than the app's.
"""

import msgspec

_NAMED = 3
"""So many of each kind are named; a health check's body is no list of files."""


class Owned(msgspec.Struct, frozen=True):
    """A file or folder that this process may not use, and whose it is."""

    path: str
    mode: int
    uid: int
    gid: int


class Identity(msgspec.Struct, frozen=True):
    """Who this process is."""

    uid: int
    gid: int


class Unmatched(msgspec.Struct, frozen=True):
    """A glob that matches no file. `folder`: where its files should be; `there`: whether that folder exists."""

    pattern: str
    folder: str
    there: bool


class Reach(msgspec.Struct, frozen=True):
    """What was not reached by one look at the files."""

    unmatched: tuple[Unmatched, ...]
    closed: tuple[Owned, ...]
    us: Identity
    unreadable: tuple[Owned, ...] = ()


def said(reach: Reach) -> str:
    """Return all of it in one text, empty when everything is reached."""
    return "; ".join(refusals(reach) + absences(reach))


def refusals(reach: Reach) -> list[str]:
    """Return what permissions keep from being shipped, and the remedy."""
    return [_refused("enter the folder", each, reach.us) for each in reach.closed[:_NAMED]] + [
        _refused("read", each, reach.us) for each in reach.unreadable[:_NAMED]
    ]


def absences(reach: Reach) -> list[str]:
    """Which globs have no file, as far as that is not explained by a folder that cannot be entered."""
    closed = tuple(each.path.rstrip("/") + "/" for each in reach.closed)
    return [
        f"no file matches {each.pattern} (paths): {_absent(each)}"
        for each in reach.unmatched
        if not (each.folder + "/").startswith(closed)
    ][:_NAMED]


def _absent(unmatched: Unmatched) -> str:
    if unmatched.there:
        return f"the folder {unmatched.folder} is there; set it to what the app writes"
    return f"there is no folder {unmatched.folder}; mount the volume there that the app writes to, or set paths"


def _refused(what: str, owned: Owned, us: Identity) -> str:
    return (
        f"cannot {what} {owned.path}: mode {owned.mode:04o}, owner {owned.uid}:{owned.gid}, and this process is "
        f"{us.uid}:{us.gid} (uid:gid); let both containers run as one user (runAsUser), or share a group (fsGroup) "
        "that may read it"
    )
