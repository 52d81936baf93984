"""Whose turn it is among several nodes: one that failed is ejected for a while, longer each time in a row."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
_MOST_DOUBLINGS = 30


@dataclass(slots=True, eq=False)
class _Turn(Generic[T]):
    node: T
    failures: int = 0
    """In a row; a node that is no longer ejected keeps them until it answers."""
    back_at: float = 0.0
    silent: bool = False
    """Whether it did not answer at all the last time."""


class Pool(Generic[T]):
    """Nodes that take turns, in the order in which they are given. `now` is any clock that only goes forward."""

    def __init__(self, nodes: Sequence[T], *, first_seconds: float = 1.0, longest_seconds: float = 30.0) -> None:
        self._turns = [_Turn(node) for node in nodes]
        self._first_seconds = first_seconds
        self._longest_seconds = longest_seconds

    def __len__(self) -> int:
        return len(self._turns)

    def all(self) -> list[T]:
        """Return all nodes, whose turn it is first."""
        return [turn.node for turn in self._turns]

    def next(self, now: float, asked: Collection[T] = ()) -> T:
        """Return the next one that is in turn; where none is, the one that will be first. It goes to the end of the
        line. One that was `asked` in this attempt already can be in turn again, a second after it failed: then one that
        was not asked takes its place, and rather one that answered the last time.
        """
        due = [turn for turn in self._turns if turn.back_at <= now]
        turn = due[0] if due else min(self._turns, key=lambda each: each.back_at)
        self._turns.remove(turn)
        self._turns.append(turn)
        if turn.node not in asked:
            return turn.node
        others = [each for each in self._turns if each.node not in asked]
        return min(others, key=lambda each: each.silent, default=turn).node

    def failed(self, node: T, now: float, *, silent: bool = False) -> None:
        """Eject it: others have the next turns. `silent`: it did not answer at all."""
        turn = self._of(node)
        pause_seconds = self._first_seconds * 2 ** min(turn.failures, _MOST_DOUBLINGS)
        turn.back_at = now + min(pause_seconds, self._longest_seconds)
        turn.failures += 1
        turn.silent = silent

    def answered(self, node: T) -> None:
        """Note that it is well."""
        turn = self._of(node)
        turn.failures, turn.back_at, turn.silent = 0, 0.0, False

    def is_silent(self, node: T) -> bool:
        """Return whether it did not answer at all the last time."""
        return self._of(node).silent

    def _of(self, node: T) -> _Turn[T]:
        return next(turn for turn in self._turns if turn.node == node)
