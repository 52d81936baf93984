"""Lives by chance: writing, rotation, truncation, kills, in any order."""

import random
from pathlib import Path

import pytest

from tests.support.reading import Make, Reading, copytruncate, numbered, once, write


class Life:
    """An app that writes numbered lines, a rotation, and a shipper that is killed, all by chance."""

    def __init__(self, one: Reading, log: Path, rng: random.Random) -> None:
        self.one, self.log, self.rng = one, log, rng
        self.written = self.generation = 0
        self.saved: bytes | None = None

    def append(self) -> None:
        more = self.rng.randint(1, 30)
        write(self.log, *numbered(self.written, self.written + more))
        self.written += more

    def _next_name(self) -> Path:
        self.generation += 1
        return self.log.with_name(self.rng.choice(["app.log.{}", "app-2026{:04}.log"]).format(self.generation))

    def rename(self) -> None:
        self.log.rename(self._next_name())
        self.append()

    def copytruncate(self) -> None:
        """As logrotate does it; only content that can be told apart from what came before."""
        self.append()
        copytruncate(self.log, self._next_name())
        self.append()

    def read(self) -> None:
        if self.saved is None:
            self.one.look(self.rng.choice([0.1, 0.5, 3]))
            self.one.take(settle=self.rng.random() < 0.5, blocks=self.rng.randint(1, 5))

    def settle(self) -> None:
        if self.saved is None:
            self.one.settle()

    def kill(self) -> None:
        if self.saved is None:
            self.saved = self.one.stop()

    def start(self) -> None:
        if self.saved is not None:
            self.one.start(self.saved)
            self.saved = None
            self.one.go(1)


@pytest.mark.parametrize("globs", [("app.log",), ("app*",)])
@pytest.mark.parametrize("run", range(6))
def test_whatever_happens_every_line_has_one_document(
    reading: Make, log: Path, rng: random.Random, globs: tuple[str, ...], run: int
) -> None:
    one = reading(*globs, batch_bytes=4096)
    life = Life(one, log, rng)
    life.append()
    one.look()  # who was never looked at under a matching name is nobody's
    steps = [life.append, life.append, life.read, life.read, life.settle, life.rename, life.copytruncate]
    for _ in range(60):
        rng.choice([*steps, life.kill])()
        if life.saved is not None:
            for _ in range(rng.randint(0, 2)):
                rng.choice([life.append, life.rename])()
            if rng.random() < 0.3:
                life.copytruncate()
            life.start()
        elif rng.random() < 0.7:
            one.go(rng.choice([0.1, 3]))
    for _ in range(4):
        one.go(3)
    assert one.counts() == once(numbered(0, life.written))
