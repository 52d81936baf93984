"""Between a followed file and its place in the checkpoint."""

from sidecars.log_shipper.core.checkpoint import Position
from sidecars.log_shipper.core.identity import FileKey
from sidecars.log_shipper.core.joining import Cut, Joining

from .discovery import look
from .tail import Tail


def position_of(tail: Tail) -> Position:
    return Position(
        path=tail.path,
        place=tail.place,
        key=tail.key,
        head=tail.head,
        mark=tail.kept,
        prefix=tail.prefix,
        first_line=tail.first_line,
        generation=tail.generation,
        modified_ns=tail.intact_ns,
        encoding=tail.encoding_before if tail.encoding is None else tail.encoding,
        cuts=_cuts(tail),
    )


def apply(tail: Tail, position: Position) -> None:
    """Give a tail the identity and place of a checkpoint's position."""
    tail.path, tail.head, tail.prefix = position.path, position.head, position.prefix
    tail.first_line, tail.generation = position.first_line, position.generation
    tail.intact_ns = position.modified_ns
    tail.start_at(position.mark)
    if position.mark.offset:
        tail.encoding = position.encoding or None
    else:
        tail.encoding_before = position.encoding
    tail.joining = Joining(position.cuts) if position.cuts else None


def _cuts(tail: Tail) -> list[Cut]:
    if tail.joining is None:
        return []
    tail.joining.forget(tail.ledger.committed.offset)
    return tail.joining.cuts.copy()


def moved_device(tail: Tail, positions: dict[FileKey, Position]) -> Position | None:
    """Take out the position of this very file under another device number: those change when a node restarts. Inode
    and content must be the same, and the position's own file must be gone.
    """
    for key, position in positions.items():
        if key.inode != tail.key.inode or key.device == tail.key.device or not position.mark.offset:
            continue
        there = look(position.place)
        if (there is None or there.key != key) and resume(tail, position):
            return positions.pop(key)
    return None


def resume(tail: Tail, position: Position) -> bool:
    """Go on from `position` if the open file is the one it was taken of; else the tail stays new."""
    path = tail.path
    apply(tail, position)
    tail.intact_ns = tail.modified_ns
    if tail.resumes():
        return True
    opened = Tail(path)
    tail.path, tail.head, tail.prefix = path, opened.head, opened.prefix
    tail.first_line, tail.generation = opened.first_line, opened.generation
    tail.start_at(opened.ledger.read)
    tail.encoding, tail.encoding_before = None, ""
    return False
