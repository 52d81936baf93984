"""Delivery against a scripted backend, on virtual time: every record ends once, and trouble is met with patience."""

import asyncio
import itertools
import json
import random
from array import array
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sidecars.log_shipper.core.batch import Payload, records_of
from sidecars.log_shipper.core.bulk import RETRY_REASONS, Answer
from sidecars.log_shipper.metrics import ShipperMetrics
from sidecars.log_shipper.sending.dead_letters import DeadLetters
from sidecars.log_shipper.sending.delivery import Delivery, OldestFirst
from sidecars.runtime import Context, State
from tests.support.context import condition, context, metric, passes, settings

pytestmark = pytest.mark.looptime

Script = Callable[[list[str]], Answer]
URL = "http://elasticsearch.invalid:9200/logs/_bulk"
DOWN = Answer(0, reason="connection", detail="refused")
PACKED = b"packed:"


def clock() -> float:
    return asyncio.get_running_loop().time()


def payload_of(*names: str) -> Payload:
    """Records called by names; the n-th stands for 10 + n bytes of a file."""
    body = "".join(f'{{"create":{{"_id":"{name}"}}}}\n{{"message":"{name}"}}\n' for name in names)
    return Payload(PACKED + body.encode(), len(names), array("Q", range(10, 10 + len(names))))


def reply(statuses: Sequence[int], kind: str = "t", reason: str = "r") -> Answer:
    items = [{"create": {"status": status, "error": {"type": kind, "reason": reason}}} for status in statuses]
    return Answer(200, json.dumps({"items": items}).encode(), url=URL)


def each(status: int, kind: str = "t", reason: str = "r") -> Script:
    """Every record gets this."""
    return lambda names: reply([status] * len(names), kind, reason)


def spoilt(*bad: str) -> Script:
    """These are refused for what may be their own fault, and all others are taken."""
    return lambda names: reply([400 if name in bad else 201 for name in names])


class Backend:
    """A Transport that answers by a script and keeps what it was sent, and when."""

    def __init__(self, *script: Answer | Script, seconds: float = 0.0) -> None:
        self.script = list(script)
        self.seconds = seconds
        self.requests: list[list[str]] = []
        self.times: list[float] = []
        self.under_way = 0
        self.most_under_way = 0

    def pack(self, pieces: Iterable[bytes]) -> bytes:
        return PACKED + b"".join(pieces)

    def unpack(self, body: bytes) -> bytes:
        assert body.startswith(PACKED)
        return body.removeprefix(PACKED)

    async def send(self, payload: Payload) -> Answer:
        names = [
            json.loads(record.split(b"\n")[1])["message"]
            for record in records_of(self.unpack(payload.body), lines_each=2)
        ]
        assert len(names) == payload.count == len(payload.spans)
        self.requests.append(names)
        self.times.append(clock())
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await passes(self.seconds)
        self.under_way -= 1
        step = self.script.pop(0) if self.script else reply([201] * len(names))
        return step(names) if callable(step) else step

    async def close(self) -> None:
        """Nothing to close."""


class Stage:
    """A Delivery with its context and backend."""

    def __init__(self, tmp_path: Path, backend: Backend, **given: object) -> None:
        self.ctx: Context = context()
        self.backend = backend
        self.dead_letter_path = tmp_path / "refused" / "dead-letter.ndjson"
        chosen = settings(**{"dead_letter_path": str(self.dead_letter_path), **given})
        metrics = ShipperMetrics(self.ctx.metrics)
        self.delivery = Delivery(chosen, self.ctx, metrics, backend, DeadLetters(chosen, self.ctx, metrics))

    async def deliver(self, *names: str) -> int:
        return await self.delivery.deliver(payload_of(*names))

    @asynccontextmanager
    async def delivering(self, *batches: Sequence[str]) -> AsyncIterator[None]:
        """Within the block these are being delivered; after it the backend takes everything, and all has ended."""
        async with asyncio.TaskGroup() as tasks:
            for names in batches:
                tasks.create_task(self.deliver(*names))
            yield
            self.backend.script = []

    def ended(self) -> dict[str, int]:
        """Records by outcome, those with any."""
        outcomes = ("indexed", "duplicate", "failure_store", "written", "rejected")
        counts = {name: int(metric(self.ctx, "records_total", outcome=name)) for name in outcomes}
        return {name: count for name, count in counts.items() if count}

    def retried(self, reason: str) -> int:
        return int(metric(self.ctx, "retried_records_total", reason=reason))

    def dead(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.dead_letter_path.read_bytes().splitlines()]


async def test_an_accepted_batch_is_sent_once(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Backend())
    assert await stage.deliver("a", "b") == 0
    assert stage.backend.requests == [["a", "b"]]
    assert stage.ended() == {"indexed": 2}
    assert condition(stage.ctx, "delivery").state is State.OK


async def test_copies_that_went_out_within_an_attempt_are_counted(tmp_path: Path) -> None:
    taken = reply([201, 201])
    stage = Stage(tmp_path, Backend(Answer(200, taken.body, failovers=("timeout", "connection"))))
    await stage.deliver("a", "b")
    assert (stage.retried("timeout"), stage.retried("connection"), stage.ended()) == (2, 2, {"indexed": 2})


async def test_a_request_that_is_more_than_the_server_takes_at_once_goes_on_in_halves(tmp_path: Path) -> None:
    """Its 429 says "later", but for a request over the limit of its indexing pressure there is no later."""
    little: Script = lambda names: Answer(429) if len(names) > 2 else reply([201] * len(names))  # noqa: E731
    stage = Stage(tmp_path, Backend(*[little] * 2000))
    payload = payload_of(*"abcdefgh")
    payload.spans[:] = array("Q", [100_000] * 8)
    async with asyncio.timeout(600):
        await stage.delivery.deliver(payload)
    assert stage.ended() == {"indexed": 8}


async def test_nothing_is_not_sent(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Backend())
    assert await stage.delivery.deliver(payload_of()) == 0
    assert stage.backend.requests == []


async def test_only_the_records_that_want_it_are_sent_again(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Backend(reply([201, 429, 409, 503, 400]), reply([429, 201])))
    assert await stage.deliver("a", "b", "c", "d", "e") == 14
    assert stage.backend.requests == [["a", "b", "c", "d", "e"], ["b", "d"], ["b"]]
    assert stage.ended() == {"indexed": 3, "duplicate": 1, "rejected": 1}
    assert (stage.retried("status_429"), stage.retried("status_5xx")) == (2, 1)
    (dead_letter,) = stage.dead()
    assert (dead_letter["id"], dead_letter["document"], dead_letter["error"]["status"]) == ("e", {"message": "e"}, 400)


async def test_pauses_grow_are_jittered_and_have_a_limit(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Backend(*[DOWN] * 60))
    await stage.deliver("a")
    times = stage.backend.times
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert len(pauses) == 60
    for number, pause in enumerate(pauses):
        assert 0 <= pause <= min(10.0, 0.1 * 2**number) + 0.001
    assert max(pauses) > 3
    assert len({round(pause, 2) for pause in pauses[10:]}) > 25
    assert stage.retried("connection") == 60


async def test_the_back_off_begins_anew_after_a_recovery(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Backend(*[DOWN] * 20))
    await stage.deliver("a")
    stage.backend.script, stage.backend.times = [DOWN], []
    await stage.deliver("b")
    first, second = stage.backend.times
    assert second - first <= 0.1 + 0.001


@pytest.mark.parametrize("late", [False, True], ids=["all are refused", "more come during the trouble"])
async def test_in_trouble_one_request_at_a_time_probes(tmp_path: Path, late: bool) -> None:
    stage = Stage(tmp_path, Backend(*[DOWN] * 30, seconds=1.0))
    async with asyncio.TaskGroup() as tasks:
        for name in "abcd":
            tasks.create_task(stage.deliver(name))
            await passes(1.5 if late and name == "a" else 0)
        await passes(0 if late else 1.5)
        assert stage.backend.most_under_way == (1 if late else 4)
        stage.backend.most_under_way = 0
        await passes(5.0)
        assert stage.backend.most_under_way == 1
    assert stage.ended() == {"indexed": 4}


MEDIA_TYPE = b'{"error":{"type":"media_type_header_exception","reason":"Invalid media-type value"},"status":400}'
GARBAGE = [b"", b"<html>welcome</html>", b"{}", b'{"items":[]}', b'{"items":[{"create":{"status":201}}', b"\xff", b"7"]
HELD: dict[str, tuple[Answer | Script, bool]] = {  # and whether a person has to act
    "401": (Answer(401), True),
    "403": (Answer(403), True),
    "404": (Answer(404), True),
    "a redirect": (Answer(302, location="https://sso.invalid/"), True),
    "a media type": (Answer(400, MEDIA_TYPE), True),
    "items: 403": (each(403), True),
    "items: 401": (each(401), True),
    "items: closed": (each(400, "index_closed_exception"), True),
    "items: missing": (each(404, "index_not_found_exception"), True),
    "items: shards": (each(400, "validation_exception", "this action would add [2] shards"), True),
    "items: no write index": (each(400, "illegal_argument_exception", "no write index is defined for alias [x]"), True),
    "items: pipeline": (each(400, "illegal_argument_exception", "pipeline with id [x] does not exist"), True),
    "items: full disk": (each(429, "cluster_block_exception", "index [x] blocked by: [flood-stage]"), True),
    "items: 500": (each(500), False),
    **{f"a reply of {body!r}": (Answer(200, body), False) for body in GARBAGE},  # a login page must not look healthy
}


@pytest.mark.parametrize(("refusal", "loud"), HELD.values(), ids=HELD.keys())
async def test_refused_as_such_everything_is_held_and_then_delivered(
    tmp_path: Path, refusal: Answer | Script, loud: bool
) -> None:
    stage = Stage(tmp_path, Backend(*[refusal] * 2000))
    async with stage.delivering("ab"):
        await passes(30)
        assert metric(stage.ctx, "delivery_held") == loud
        assert condition(stage.ctx, "delivery").state is State.DEGRADED
        assert all(names == ["a", "b"] for names in stage.backend.requests)
        assert 2 < len(stage.backend.requests) < 60
        await passes(300)
        assert stage.ended() == {}
    assert stage.ended() == {"indexed": 2}
    assert metric(stage.ctx, "delivery_held") == 0
    assert condition(stage.ctx, "delivery").state is State.OK
    assert not stage.dead_letter_path.exists()
    sent_again = sum(stage.retried(reason) for reason in RETRY_REASONS)
    assert sent_again == 2 * (len(stage.backend.requests) - 1)


SAID = [
    (each(400, "index_closed_exception", "closed"), "target", ["400 index_closed_exception: closed", "_open"]),
    (each(403, "cluster_block_exception", "index [x] blocked"), "blocked", ["403", "index [x] blocked", "Lift"]),
    (each(429, "es_rejected_execution_exception", "queue full"), "status_429", ["429", "queue full"]),
    (each(503, "unavailable_shards_exception", "primary shard"), "status_5xx", ["503", "primary shard"]),
    (Answer(403, b'{"error":{"type":"security_exception","reason":"no role"}}', url=URL), "forbidden", ["no role"]),
    (Answer(404, b'{"error":"no such page"}', url=URL), "status_4xx", ["no such page"]),
    (Answer(502, b"<title>no upstream</title>", url=URL), "status_5xx", ["502", "no upstream"]),
    (Answer(301, url=URL, location="https://new.invalid"), "redirect", ["301", "https://new.invalid"]),
    (Answer(200, b"<title>Log in</title>", url=URL), "unknown", ["Log in"]),
]


@pytest.mark.parametrize(("answer", "reason", "words"), SAID)
async def test_what_the_server_says_is_shown_with_its_address(
    tmp_path: Path, answer: Answer | Script, reason: str, words: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(tmp_path, Backend(*[answer] * 500))
    async with stage.delivering("ab"):
        await passes(100)
        shown = condition(stage.ctx, "delivery")
        assert shown.state is State.DEGRADED
        assert all(word in shown.reason for word in [URL, *words]), shown.reason
        assert stage.delivery.status()["message"] == shown.reason
        assert stage.delivery.status()["reason"] == reason
        assert metric(stage.ctx, "delivery_trouble", reason=reason) == 1
        assert [shown.reason] * 3 == [line.message for line in caplog.records], "at once, and after 30 and 90 s"
    assert stage.delivery.status() == {"circuit": "closed", "held": False}
    assert metric(stage.ctx, "delivery_trouble", reason=reason) == 0
    assert stage.ended() == {"indexed": 2}


async def test_trouble_that_comes_and_goes_fills_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(tmp_path, Backend())
    for number in range(100):
        stage.backend.script = [DOWN]
        await stage.deliver(f"{number}")
        await passes(0.1)
    assert 0 < len(caplog.records) < 5


@pytest.mark.parametrize("whole", [Answer(400), Answer(400, b'{"message":"bad request"}'), Answer(413)])
@pytest.mark.parametrize("count", [1, 200])
async def test_a_refusal_that_every_record_alone_gets_is_not_about_the_records(
    tmp_path: Path, whole: Answer, count: int
) -> None:
    stage = Stage(tmp_path, Backend(*[whole] * 5000))
    async with stage.delivering([f"{number}" for number in range(count)]):
        await passes(600)
        assert stage.ended() == {}
        assert metric(stage.ctx, "delivery_held") == 1
        assert len(stage.backend.requests) < 400
    assert stage.ended() == {"indexed": count}
    assert not stage.dead_letter_path.exists()


async def test_refusals_that_may_mean_both_are_held_while_nothing_is_taken(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Backend(*[each(400)] * 5000))
    async with stage.delivering("abcd", "efgh"):
        await passes(1)
        assert metric(stage.ctx, "delivery_held") == 1
        assert stage.delivery.status()["reason"] == "unclear"
        await passes(3600)
        assert stage.ended() == {}
    assert stage.ended() == {"indexed": 8}


async def test_a_record_that_is_refused_alone_is_at_fault_once_another_is_taken(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Backend(*[spoilt("bad")] * 100))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(stage.deliver("bad"))
        await passes(30)
        assert stage.ended() == {}
        began = clock()
        tasks.create_task(stage.deliver("good"))
    assert clock() - began < 15
    assert stage.ended() == {"indexed": 1, "rejected": 1}
    assert [dead_letter["id"] for dead_letter in stage.dead()] == ["bad"]


async def test_a_record_that_is_refused_alone_for_long_holds_nothing_up(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Backend(*[spoilt("bad")] * 1000))
    assert await stage.deliver("bad") == 10
    assert 120 <= clock() < 140
    assert stage.ended() == {"rejected": 1}


async def test_a_large_record_that_is_too_large_alone_is_a_dead_letter_at_once(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Backend(Answer(413)))
    payload = payload_of("a")
    payload.spans[0] = 1 << 20
    assert await stage.delivery.deliver(payload) == 1 << 20
    assert stage.ended() == {"rejected": 1}
    assert len(stage.backend.requests) == 1


async def test_spoilt_batches_do_not_keep_others_from_being_tried(tmp_path: Path) -> None:
    """Whatever `requests` says: one under way at a time is not one tried at a time."""
    bad = [f"bad {number}" for number in range(5)]
    stage = Stage(tmp_path, Backend(*[spoilt(*bad)] * 1000, seconds=0.1), requests=1)
    async with asyncio.TaskGroup() as tasks:
        for name in bad:
            tasks.create_task(stage.deliver(name))
        await passes(20)
        assert stage.ended() == {}
        tasks.create_task(stage.deliver("good"))
    assert stage.ended() == {"indexed": 1, "rejected": 5}
    assert stage.backend.most_under_way == 1


async def test_spoilt_records_of_a_batch_are_found_among_others(tmp_path: Path) -> None:
    bad = {"3", "4", "90", "199"}
    stage = Stage(
        tmp_path, Backend(*[lambda names: Answer(400) if bad & {*names} else reply([201] * len(names))] * 999)
    )
    await stage.deliver(*[f"{number}" for number in range(200)])
    assert stage.ended() == {"indexed": 196, "rejected": 4}
    assert {dead_letter["id"] for dead_letter in stage.dead()} == bad
    assert metric(stage.ctx, "delivery_held") == 0


def of_two(status: int, kind: str = "t") -> Script:
    """`bad` gets this, all others are taken."""

    def answer(names: list[str]) -> Answer:
        return reply([status if name == "bad" else 201 for name in names], kind)

    return answer


async def test_a_record_that_is_held_is_shown_and_does_not_slow_down_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Elasticsearch may lead some records of a batch elsewhere (reroute), and that place is closed."""
    stage = Stage(tmp_path, Backend(*[of_two(400, "index_closed_exception")] * 5000, seconds=0.01))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(stage.deliver("a", "bad"))
        for number in range(1000):
            await stage.deliver(f"{number}")
            await passes(0.1)
        tried = sum(names == ["bad"] for names in stage.backend.requests)
        assert 20 < tried < 80, "with growing pauses"
        assert metric(stage.ctx, "delivery_held") == 1
        assert "index_closed_exception" in condition(stage.ctx, "delivery").reason
        assert stage.delivery.status()["circuit"] == "closed"
        assert 2 <= len(caplog.records) <= 5
        stage.backend.script = []
    assert stage.ended() == {"indexed": 1002}
    assert condition(stage.ctx, "delivery").state is State.OK
    assert metric(stage.ctx, "delivery_held") == 0


async def test_a_record_over_which_the_server_fails_for_ever_does_not_hold_the_stream_up(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Backend(*[of_two(500, "null_pointer_exception")] * 5000))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(stage.deliver("a", "bad"))
        for number in range(290):
            await stage.deliver(f"{number}")
            await passes(1)
        assert stage.ended() == {"indexed": 291}
        for number in range(30):
            await stage.deliver(f"more {number}")
            await passes(1)
        assert stage.ended() == {"indexed": 321, "rejected": 1}
    assert [dead_letter["error"]["type"] for dead_letter in stage.dead()] == ["null_pointer_exception"]


async def test_some_refused_items_hold_back_only_themselves(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Backend(reply([201, 403]), reply([403]), reply([403])))
    await stage.deliver("a", "b")
    assert stage.backend.requests == [["a", "b"], ["b"], ["b"], ["b"]]
    assert stage.ended() == {"indexed": 2}


def too_large_with(name: str, status: int = 413) -> Script:
    return lambda names: Answer(status) if name in names else reply([201] * len(names))


@pytest.mark.parametrize("status", [413, 400])
async def test_a_request_is_split_down_to_the_record_that_spoils_it(tmp_path: Path, status: int) -> None:
    stage = Stage(tmp_path, Backend(*[too_large_with("f", status)] * 20))
    assert await stage.deliver(*"abcdefg") == 15
    assert stage.ended() == {"indexed": 6, "rejected": 1}
    assert sorted(name for names in stage.backend.requests if "f" not in names for name in names) == list("abcdeg")
    (dead_letter,) = stage.dead()
    assert (dead_letter["id"], dead_letter["error"]["status"]) == ("f", status)
    assert metric(stage.ctx, "rejected_records_total", type="request_too_large" if status == 413 else "other") == 1


async def test_a_dead_letter_file_that_cannot_be_written_holds_the_record(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Backend(reply([201, 400])))
    stage.dead_letter_path.parent.write_text("in the way")
    async with asyncio.TaskGroup() as tasks:
        delivering = tasks.create_task(stage.deliver("a", "b"))
        await passes(60)
        assert not delivering.done()
        assert condition(stage.ctx, "dead-letters").state is State.DEGRADED
        assert stage.retried("dead_letter") > 3
        assert stage.ended() == {}
        stage.dead_letter_path.parent.unlink()
    assert delivering.result() == 11
    assert [dead_letter["id"] for dead_letter in stage.dead()] == ["b"]
    assert stage.ended() == {"indexed": 1, "rejected": 1}
    assert condition(stage.ctx, "dead-letters").state is State.OK


async def test_a_hurry_cuts_the_pauses_short(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Backend(*[DOWN] * 30))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(stage.deliver("a"))
        await passes(30)
        stage.backend.script = [DOWN] * 10
        stage.delivery.hurry()
        told, seen = clock(), len(stage.backend.times)
    times = [told, *stage.backend.times[seen:]]
    assert len(times) > 2
    assert all(after - before <= 1.0 + 0.001 for before, after in itertools.pairwise(times))


async def test_records_that_are_settled_before_others_are_told_by_their_numbers(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Backend(reply([201, 429, 409, 429, 429]), Answer(413), reply([201]), reply([429, 201])))
    told: list[list[int]] = []
    await stage.delivery.deliver(payload_of(*"abcde"), lambda numbers: told.append(list(numbers)))
    assert told[0] == [0, 2]
    assert sorted(number for numbers in told for number in numbers) in ([0, 1, 2, 4], [0, 2, 3, 4])
    assert stage.ended() == {"indexed": 4, "duplicate": 1}


async def test_the_oldest_batch_is_next_when_a_request_may_go_out(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Backend(reply([429]), seconds=1.0), requests=1)
    async with asyncio.TaskGroup() as tasks:
        for name in "abcd":
            tasks.create_task(stage.deliver(name))
    assert [names[0] for names in stage.backend.requests] == ["a", "b", "a", "c", "d"]


async def test_ids_of_the_servers_making_cannot_be_duplicates(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Backend(reply([409])), id_mode="auto")
    assert await stage.deliver("a") == 10
    assert stage.ended() == {"rejected": 1}


async def test_every_record_ends_exactly_once_whatever_the_backend_does(tmp_path: Path, rng: random.Random) -> None:
    stored: set[str] = set()
    refused: set[str] = set()

    def answer(names: list[str]) -> Answer:
        if rng.random() < 0.5:
            broken = [DOWN, Answer(200, b"garbage"), reply([201]), *map(Answer, (401, 413, 429, 500, 503))]
            return rng.choice(broken[:2] if len(names) == 1 else broken)
        statuses = []
        for name in names:
            status = rng.choice([201, 201, 429, 503, 403, 409, 400])
            if name in stored:
                status = 409
            elif name in refused:
                status = 400
            elif status in (201, 409):
                stored.add(name)
            elif status == 400:
                refused.add(name)
            statuses.append(status)
        return reply(statuses)

    stage = Stage(tmp_path, Backend(*[answer] * 5000))
    batches = [[f"{batch}-{number}" for number in range(rng.randint(1, 9))] for batch in range(40)]
    async with asyncio.TaskGroup() as tasks:
        delivering = [tasks.create_task(stage.deliver(*names)) for names in batches]
    everything = {name for names in batches for name in names}
    assert stored | refused == everything
    assert sum(stage.ended().values()) == len(everything)
    assert sorted(dead_letter["id"] for dead_letter in stage.dead()) == sorted(refused)
    spans = {name: 10 + at for names in batches for at, name in enumerate(names)}
    assert sum(task.result() for task in delivering) == sum(spans[name] for name in refused)


async def test_the_oldest_that_waits_is_next_whenever_it_came() -> None:
    turns, order = OldestFirst(2), list[int]()

    async def one(age: int) -> None:
        async with turns.turn(age):
            order.append(age)
            await passes(1)

    async with asyncio.TaskGroup() as tasks:
        for age in (7, 6, 5, 3, 4, 1, 2):
            tasks.create_task(one(age))
    assert order == [7, 6, 1, 2, 3, 4, 5]


async def test_who_is_cancelled_leaves_the_turn_to_the_next() -> None:
    turns, done = OldestFirst(1), list[int]()

    async def one(age: int) -> None:
        async with turns.turn(age):
            await passes(1)
            done.append(age)

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(one(age)) for age in range(5)]
        await passes(0.5)
        running[0].cancel()
        running[2].cancel()
        await passes(0)
        running[1].cancel()  # just when its turn came
        await passes(10)
        await one(9)
    assert done == [3, 4, 9]
