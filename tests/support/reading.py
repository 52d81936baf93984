"""The reading half of the log shipper without a process: real files, a clock that tests set, a memory for a backend."""

import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from sidecars.log_shipper.core.batch import Batch
from sidecars.log_shipper.core.checkpoint import Checkpoint, dump, load
from sidecars.log_shipper.core.documents import Shape
from sidecars.log_shipper.core.lag import FileFigures
from sidecars.log_shipper.core.notices import Notice
from sidecars.log_shipper.tailing.discovery import Globs
from sidecars.log_shipper.tailing.files import Tail, Truncated
from sidecars.log_shipper.tailing.follow import Following
from sidecars.log_shipper.tailing.reader import Reader
from tests.support.context import settings

Make = Callable[..., "Reading"]
TIME = "2026-11-22T13:45:00.000Z"


class Reading:
    """Follows files and takes their lines. What it stored outlives a restart, as in Elasticsearch: by id."""

    def __init__(
        self, *paths: str, exclude: tuple[str, ...] = (), descriptors: int = 100, held: int = 256, **given: object
    ) -> None:
        self.now = 1000.0
        self.stored: dict[str, str] = {}
        self.sent: list[str] = []
        self.flags: dict[str, list[str] | None] = {}
        self.notices: list[tuple[Notice, str, str]] = []
        self._settings = settings(**{"paths": paths, **given})
        self._descriptors = descriptors
        self._held = held
        self._begin(Checkpoint())

    def _begin(self, checkpoint: Checkpoint) -> None:
        globs = Globs(self._settings.paths, self._settings.exclude)
        self.following = Following(globs, checkpoint, self._descriptors, self._held)
        self.reader = Reader(self._settings, Shape({}), "pod", self.following.ended)
        self.unsettled: list[Batch] = []

    def look(self, seconds: float = 0.0) -> None:
        """Let time pass, then scan."""
        self.now += seconds
        self.following.scan(self.now)
        if self.reader.joins_records:
            self.following.link_generations()
        self._take_notices()

    def take(
        self, only: Tail | None = None, *, final: bool = False, settle: bool = True, blocks: int = 1 << 30
    ) -> list[str]:
        """Read what there is (at most so many blocks, of all files or of one) and store it; returns the messages, also
        those that were there.
        """
        batch, messages = Batch(), list[str]()
        for tail in [only] if only else list(self.following.tails.values()):
            while blocks > 0 and self._read(tail, batch, final=final or tail.is_finished(self.now)):
                blocks -= 1
        lines = batch.take_payload().body.decode().split("\n")
        for action, document in zip(lines[0:-1:2], lines[1::2], strict=True):
            message = json.loads(document)["message"]
            identity = json.loads(action)["create"]["_id"]
            assert self.stored.setdefault(identity, message) == message, "two lines have one id: one of them is lost"
            messages.append(message)
            self.flags[message] = json.loads(document)["log"].get("flags")
        self.sent += messages
        self.unsettled.append(batch)
        if settle:
            self.settle()
        self._take_notices()
        return messages

    def _read(self, tail: Tail, batch: Batch, *, final: bool) -> bool:
        former = tail.former
        if former is not None and not tail.ledger.read.offset and self.reader.joins(former) and former.readable:
            return False
        try:
            self.following.refresh(tail, self.now)
            if tail.has_open_record and not tail.unread_bytes:
                return self._release(tail, batch, final=final)
            return self.following.tails.get(tail.key) is tail and bool(
                self.reader.read(tail, batch, TIME, final=final).file_bytes
            )
        except Truncated:
            self.following.truncated(tail, self.now)
            return False

    def _release(self, tail: Tail, batch: Batch, *, final: bool) -> bool:
        """Records without an end leave when their time has come, unless they go on in the next generation."""
        if tail.joining is None or any(each.former is tail and each.readable for each in self.following.tails.values()):
            return False
        tail.joining.deadline(self.now)
        return self.reader.release(tail, batch, TIME, math.inf if final else self.now).records > 0

    def go(self, seconds: float = 0.0) -> list[str]:
        """Look and take until there is nothing more."""
        self.look(seconds)
        messages = self.take()
        while more := self.take():
            messages += more
        return messages

    def settle(self) -> None:
        """All that is under way is acknowledged."""
        for batch in self.unsettled:
            for part in batch.parts:
                part.ledger.settle(part.segment)
        self.unsettled.clear()

    def checkpoint(self) -> bytes:
        """What would be on the disk now."""
        return dump(self.following.checkpoint())

    def stop(self) -> bytes:
        """Killed: all descriptors are gone; returns the last checkpoint."""
        saved = self.checkpoint()
        for tail in self.following.tails.values():
            tail.close()
        return saved

    def start(self, saved: bytes | None) -> None:
        """Started anew with a checkpoint, or without one."""
        self._begin(load(saved).checkpoint if saved else Checkpoint())

    def restart(self) -> None:
        self.start(self.stop())

    def figures(self) -> list[FileFigures]:
        """For the metrics."""
        return [tail.figures(self.now) for tail in self.following.tails.values()]

    def counts(self) -> dict[str, int]:
        """How many documents each message has."""
        found: dict[str, int] = {}
        for message in self.stored.values():
            found[message] = found.get(message, 0) + 1
        return found

    def said(self, notice: Notice) -> list[str]:
        """The names of the files of which this was noticed."""
        return [Path(path).name for found, path, _ in self.notices if found is notice]

    def _take_notices(self) -> None:
        self.notices += self.following.notices()


def write(path: Path, *lines: str, end: str = "\n") -> None:
    """Append lines."""
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(line + "\n" for line in lines[:-1]) + lines[-1] + end)


def numbered(start: int, stop: int) -> list[str]:
    return [f"line {number} {'x' * (number % 60)}" for number in range(start, stop)]


def copytruncate(log: Path, copy: Path) -> None:
    shutil.copyfile(log, copy)
    os.truncate(log, 0)


def once(lines: list[str]) -> dict[str, int]:
    return dict.fromkeys(lines, 1)
