"""The life of a followed file: what may follow what."""

import itertools

import pytest

from sidecars.log_shipper.core.file_state import FileEvent, FileState, after

LIVES = {
    "renamed, then deleted": (
        [FileEvent.OPENED, FileEvent.UNLISTED, FileEvent.UNLINKED, FileEvent.FINISHED],
        FileState.OVER,
    ),
    "at rest, and written again": ([FileEvent.OPENED, FileEvent.CLOSED, FileEvent.OPENED], FileState.FOLLOWED),
    "at rest, and gone": ([FileEvent.OPENED, FileEvent.CLOSED, FileEvent.FINISHED], FileState.OVER),
    "truncated while closed": ([FileEvent.REPLACED], FileState.OVER),
    "renamed out of the globs and back": (
        [FileEvent.OPENED, FileEvent.UNLISTED, FileEvent.LISTED, FileEvent.LISTED],
        FileState.FOLLOWED,
    ),
    "deleted, and looked at in vain": (
        [FileEvent.OPENED, FileEvent.UNLINKED, FileEvent.UNLISTED, FileEvent.UNLISTED],
        FileState.DELETED,
    ),
}


@pytest.mark.parametrize("life", LIVES)
def test_a_file_goes_through_its_life(life: str) -> None:
    events, end = LIVES[life]
    state = FileState.CLOSED
    for event in events:
        state = after(state, event)
    assert state is end


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (FileState.DELETED, FileEvent.CLOSED),
        (FileState.CLOSED, FileEvent.CLOSED),
        (FileState.FOLLOWED, FileEvent.OPENED),
        (FileState.FOLLOWED, FileEvent.FINISHED),
        *itertools.product([FileState.OVER], FileEvent),
    ],
)
def test_what_would_lose_lines_or_descriptors_cannot_happen(state: FileState, event: FileEvent) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        after(state, event)
