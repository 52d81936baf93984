"""Parts of records through reads, rotations, restarts: nothing waits for ever, nothing is torn, lost or doubled."""

import random
from pathlib import Path

import pytest

from tests.support.reading import Make, Reading, copytruncate, write
from tests.support.records import cri, docker


def committed(one: Reading) -> list[int]:
    return [tail.ledger.committed.offset for tail in one.following.tails.values()]


def test_a_part_on_stdout_holds_no_line_of_stderr_back(reading: Make, log: Path) -> None:
    one = reading("*.log", parse="cri")
    write(log, cri("before"), cri("part", "P"), *[cri(f"line {number}", "F", "stderr") for number in range(900)])
    assert one.go() == ["before", *[f"line {number}" for number in range(900)]]
    assert committed(one) == [len(cri("before")) + 1]  # the checkpoint waits for the record that is open
    write(log, cri(" and end"))
    assert one.go() == ["part and end"]
    assert committed(one) == [log.stat().st_size]
    assert not any(one.flags.values())


def test_a_record_without_an_end_leaves_marked_and_its_rest_later(reading: Make, log: Path) -> None:
    one = reading("*.log", parse="cri")
    write(log, cri("begun", "P"))
    assert one.go() == []
    assert one.go(seconds=4.9) == []
    assert one.go(seconds=0.2) == ["begun"]
    assert committed(one) == [log.stat().st_size]
    write(log, cri("rest"), cri("next"))
    assert one.go() == ["rest", "next"]
    assert one.flags == {"begun": ["partial"], "rest": ["partial"], "next": None}


@pytest.mark.parametrize("saved", ["before it was read", "with the cut"])
def test_a_record_that_left_without_its_end_is_not_doubled_by_a_kill(reading: Make, log: Path, saved: str) -> None:
    one = reading("*.log", parse="cri")
    write(log, cri("a", "P"))
    one.go()
    one.look(seconds=5.1)
    checkpoint = one.checkpoint()
    assert one.take(settle=False) == ["a"]
    checkpoint = one.checkpoint() if saved == "with the cut" else checkpoint
    one.stop()
    write(log, cri("b"))
    one.start(checkpoint)
    one.go()
    one.go(seconds=5.1)
    assert sorted(one.stored.values()) == ["a", "b"] if saved == "with the cut" else ["a", "ab"]
    assert committed(one) == [log.stat().st_size]


def test_what_is_decided_is_saved_before_it_is_sent(reading: Make, log: Path) -> None:
    one = reading("*.log", parse="cri")
    write(log, cri("a"))
    one.go()
    decisions = one.reader.decisions
    write(log, cri("b"))
    one.go()
    assert one.reader.decisions == decisions
    write(log, cri("c", "P"))
    one.go()
    one.go(seconds=5.1)
    assert one.reader.decisions == decisions + 1


def test_dockers_parts_are_joined(reading: Make, log: Path) -> None:
    one = reading("*.log", parse="json")
    write(log, docker("one\\n"), docker("x" * 16_000), docker("y" * 16_000), docker("z\\n"), '{"message":"other"}')
    assert one.go() == ["one", "x" * 16_000 + "y" * 16_000 + "z", "other"]
    write(log, docker("begun"))
    assert one.go() == []
    assert one.go(seconds=5.1) == ["begun"]
    assert one.flags["begun"] == ["partial"]


@pytest.mark.parametrize("parse", ["cri", "json"])
@pytest.mark.parametrize("kill", ["never", "amid", "before all is acknowledged"])
def test_a_record_is_joined_across_a_rotation(reading: Make, log: Path, parse: str, kill: str) -> None:
    one = reading("*.log*", parse=parse)
    halves = (cri("half", "P"), cri(" whole")) if parse == "cri" else (docker("half"), docker(" whole\\n"))
    ends = (cri("a"), cri("b")) if parse == "cri" else (docker("a\\n"), docker("b\\n"))
    write(log, ends[0], halves[0])
    assert one.go() == ["a"]
    if kill == "amid":
        one.restart()
    log.rename(log.with_name("app.log.1"))
    write(log, halves[1], ends[1])
    one.look()
    saved = one.checkpoint()
    one.take(settle=False)
    assert one.sent[-2:] == ["half whole", "b"]
    if kill == "before all is acknowledged":
        one.stop()
        one.start(saved)
        one.go()
    one.settle()
    one.go()
    one.restart()
    one.go(seconds=5.1)
    assert one.counts() == {"a": 1, "half whole": 1, "b": 1}
    assert sorted(committed(one)) == sorted(path.stat().st_size for path in log.parent.iterdir())


def test_a_record_is_joined_across_a_rotation_that_nobody_saw(reading: Make, log: Path) -> None:
    """Found for the first time after it, as after a loss of the state: the names tell which came first."""
    write(log.with_name("app.log.20261122-134500"), cri("a"), cri("half", "P"))
    write(log, cri(" whole"), cri("b"))
    one = reading("*.log*", parse="cri")
    one.go()
    assert one.counts() == {"a": 1, "half whole": 1, "b": 1}


def test_a_record_is_joined_across_copytruncate(reading: Make, log: Path) -> None:
    one = reading("*.log", parse="cri")
    write(log, cri("a"), cri("half", "P"))
    one.go()
    copytruncate(log, log.with_name("app.log.1"))
    write(log, cri(" whole"), cri("b"))
    one.go()
    assert one.counts() == {"a": 1, "half whole": 1, "b": 1}
    one.restart()
    one.go(seconds=5.1)
    assert one.counts() == {"a": 1, "half whole": 1, "b": 1}


def test_a_part_that_was_read_of_a_file_that_is_gone_leaves_all_the_same(reading: Make, log: Path) -> None:
    one = reading("*.log", parse="cri")
    write(log, cri("a"), cri("half", "P"))
    one.go()
    log.write_bytes(b"")
    one.go()
    one.go(seconds=5.1)
    assert one.counts() == {"a": 1, "half": 1}


def test_another_log_goes_on_with_nothing(reading: Make, log: Path) -> None:
    one = reading("*.log", parse="cri")
    write(log, cri("half", "P"))
    one.go()
    write(log.with_name("other.log"), cri("whole"))
    assert one.go() == ["whole"]


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_every_part_is_stored_once(reading: Make, log: Path, seed: int) -> None:
    """Random writing, rotation, pauses and kills with the last checkpoint: each numbered part is in one document."""
    rng = random.Random(seed)
    one = reading("*.log*", parse="cri", max_line_bytes=rng.choice([64, 1 << 20]), batch_bytes=4096)
    number, saved, generation = 0, one.checkpoint(), 0
    for _ in range(60):
        action = rng.randrange(8)
        if action < 4:
            lines = []
            for _ in range(rng.randrange(1, 12)):
                lines.append(cri(f"<{number}>", rng.choice("FP"), rng.choice(["stdout", "stderr"])))
                number += 1
            write(log, *lines)
        elif action == 4 and log.exists():
            generation += 1
            log.rename(log.with_name(f"app.log.{generation}"))
        elif action == 5:
            one.look(seconds=rng.choice([0.5, 6.0]))
        else:
            one.look()
            decisions = one.reader.decisions
            one.take(settle=False, blocks=rng.randrange(1, 5))
            if one.reader.decisions != decisions:
                saved = one.checkpoint()
            for batch in rng.sample(one.unsettled, rng.randrange(len(one.unsettled) + 1)):
                one.unsettled.remove(batch)
                for part in batch.parts:
                    part.ledger.settle(part.segment)
            if rng.randrange(3) == 0:
                saved = one.checkpoint()
            if rng.randrange(4) == 0:
                one.stop()
                one.start(saved)
    one.go()
    one.settle()
    one.go(seconds=6)
    one.go(seconds=6)
    found = "".join(one.stored.values())
    assert {each: found.count(f"<{each}>") for each in range(number) if found.count(f"<{each}>") != 1} == {}
    assert sum(committed(one)) == sum(path.stat().st_size for path in log.parent.iterdir())
