"""The life of a followed file as a table: what may happen to it in each state, and what it is then."""

from enum import StrEnum


class FileState(StrEnum):
    """What a file is to us."""

    CLOSED = "closed"
    """Known by its position alone: of the checkpoint and not met yet, or at rest."""
    FOLLOWED = "followed"
    """Open, found under a name that matches."""
    RENAMED = "renamed"
    """Open, under no name that matches; read on as long as it exists."""
    DELETED = "deleted"
    """Open, and without any name: its space is free once we let go."""
    OVER = "over"
    """Never read again: let go, or its content was replaced."""


class FileEvent(StrEnum):
    """What can happen to it."""

    OPENED = "opened"
    """A name that matches leads to it."""
    OPENED_ELSEWHERE = "opened_elsewhere"
    """It was found by its content or inode, under a name that does not match."""
    LISTED = "listed"
    """A name that matches led to it in this scan."""
    UNLISTED = "unlisted"
    """None did."""
    UNLINKED = "unlinked"
    """It has no name left."""
    CLOSED = "closed"
    """All of it is read and acknowledged, and it is still, or its descriptor is needed."""
    REPLACED = "replaced"
    """Its content is not what was read: truncated, or the inode was reused."""
    FINISHED = "finished"
    """It is gone, and all of it is acknowledged."""


_OPEN = (FileState.FOLLOWED, FileState.RENAMED, FileState.DELETED)
_TABLE: dict[tuple[FileState, FileEvent], FileState] = {
    (FileState.CLOSED, FileEvent.OPENED): FileState.FOLLOWED,
    (FileState.CLOSED, FileEvent.OPENED_ELSEWHERE): FileState.RENAMED,
    (FileState.CLOSED, FileEvent.FINISHED): FileState.OVER,
    (FileState.CLOSED, FileEvent.REPLACED): FileState.OVER,
    (FileState.FOLLOWED, FileEvent.UNLISTED): FileState.RENAMED,
    (FileState.RENAMED, FileEvent.UNLISTED): FileState.RENAMED,
    (FileState.DELETED, FileEvent.UNLISTED): FileState.DELETED,
    (FileState.FOLLOWED, FileEvent.CLOSED): FileState.CLOSED,
    (FileState.RENAMED, FileEvent.CLOSED): FileState.CLOSED,
    (FileState.DELETED, FileEvent.FINISHED): FileState.OVER,
    # A name may come back: a link made anew, a file system that counts links late.
    **{(state, FileEvent.LISTED): FileState.FOLLOWED for state in _OPEN},
    **{(state, FileEvent.UNLINKED): FileState.DELETED for state in _OPEN},
    **{(state, FileEvent.REPLACED): FileState.OVER for state in _OPEN},
}


def after(state: FileState, event: FileEvent) -> FileState:
    """Return the state that follows. Raises ValueError for what cannot happen in this state."""
    try:
        return _TABLE[state, event]
    except KeyError:
        message = f"a file that is {state} cannot be {event}"
        raise ValueError(message) from None
