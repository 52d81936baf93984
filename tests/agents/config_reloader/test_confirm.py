"""Whether the app took the content: a value at a status URL, looked at before and after."""

import asyncio
from typing import Any

import pytest

from sidecars.config_reloader.core.advance import Value
from sidecars.config_reloader.core.steps import Confirm
from sidecars.config_reloader.notifying.confirm import observe, wait
from sidecars.kit.notify.core.change import Change
from sidecars.kit.notify.core.outcome import Outcome, Result
from tests.support.scripted_http import CUTS, HANGS, Play, ScriptedHttp, answer, answer_json
from tests.support.waiting import until_async

CHANGE = Change("0a1b", "/content")
BRIEF_SECONDS, LONG_SECONDS = 1.5, 60.0


def versions(*values: object) -> list[Any]:
    return [answer_json({"version": value}) for value in values]


def step(target: ScriptedHttp, **options: Any) -> Confirm:
    given: dict[str, Any] = {"json": "version", "interval_seconds": 0.01, "timeout_seconds": LONG_SECONDS} | options
    return Confirm(url=target.url + "/status?token=secret", **given)


async def confirmed(confirm: Confirm, before: Value | None) -> Outcome:
    return await wait(confirm, CHANGE, before, asyncio.sleep)


async def test_the_value_is_looked_at_until_it_advances() -> None:
    async with ScriptedHttp(*versions(7, 7, 7, 8)) as target:
        before = await observe(step(target), CHANGE)
        outcome = await confirmed(step(target), before)
    assert before == 7
    assert outcome == Outcome(Result.OK, f"version at {target.url}/status is 8")
    assert target.connections == 4


async def test_trouble_on_the_way_is_looked_over() -> None:
    trouble = [CUTS, answer(500), answer(200, b"<html>"), answer_json({}), *versions(None, 7), answer(503)]
    async with ScriptedHttp(*trouble, *versions(8)) as target:
        assert (await confirmed(step(target), 7)).ok
    assert target.connections == len(trouble) + 1


@pytest.mark.parametrize(
    ("plays", "options", "before", "words"),
    [
        (versions(7), {}, 7, "did not advance within 1.5 s: it is 7"),
        (versions(1795350000.0), {}, 1795350000.5, "did not advance within 1.5 s: it is 1795350000"),
        (versions("x" * 200), {}, "x" * 200, "did not advance within 1.5 s: it is " + "x" * 80 + "..."),
        (versions("a\nb"), {"equals": "{hash}"}, None, "did not become 0a1b within 1.5 s: it is a b"),
        ([answer(500, b"secret")], {}, 7, "status answered 500, expected 2xx"),
        ([HANGS], {}, 7, "did not answer within 1."),
        ([answer_json({})], {}, 7, "there is no version in the JSON"),
    ],
)
async def test_what_does_not_advance_in_time_is_unconfirmed(
    plays: list[Any], options: dict[str, Any], before: Value | None, words: str
) -> None:
    async with ScriptedHttp(*plays) as target:
        outcome = await confirmed(step(target, timeout_seconds=BRIEF_SECONDS, **options), before)
    assert outcome.result is Result.UNCONFIRMED
    assert outcome.detail.startswith(f"version at {target.url}/status did not")
    assert words in outcome.detail
    assert "secret" not in outcome.detail


@pytest.mark.parametrize(
    ("then", "words"),
    [(HANGS, "within 2 s: it is 7"), (answer(500), ": it is 7, then: ")],
    ids=["cut short", "an error"],
)
async def test_the_last_request_does_not_hide_the_last_value(then: Play, words: str) -> None:
    async with ScriptedHttp(*versions(7), then) as target:
        outcome = await confirmed(step(target, timeout_seconds=2.0), 7)
    assert words in outcome.detail
    assert then is not HANGS or outcome.detail.endswith(words)


async def test_an_app_that_was_not_there_before_has_advanced_when_it_is() -> None:
    async with ScriptedHttp(CUTS, *versions(7)) as target:
        before = await observe(step(target), CHANGE)
        assert before is None
        assert (await confirmed(step(target), before)).ok


async def test_who_is_there_and_cannot_say_it_is_asked_again() -> None:
    """Or the value that it has anyway would count as an advance."""
    async with ScriptedHttp(answer(500), answer_json({}), *versions(7)) as target:
        assert await observe(step(target), CHANGE) == 7


async def test_the_hash_of_the_content_is_waited_for() -> None:
    async with ScriptedHttp(*versions("0a1a", "0a1c", "0a1b")) as target:
        assert (await confirmed(step(target, equals="{hash}"), "0a1a")).ok
    assert target.connections == 3


async def test_metrics_and_texts_are_confirmed_too() -> None:
    metric = {"json": "", "metric": 'reloads_total{result="ok"}'}
    async with ScriptedHttp(answer(200, b'reloads_total{result="ok"} 2\nreloads_total{result="bad"} 9\n')) as target:
        assert await observe(step(target, **metric), CHANGE) == 2
        assert (await confirmed(step(target, **metric), 1.0)).ok
    async with ScriptedHttp(answer(200, b"generation: abc")) as target:
        text = step(target, json="", text="generation: (.*)")
        assert await observe(text, CHANGE) == "abc"
        assert (await confirmed(text, "abd")).detail.startswith("what matches generation: (.*) at ")


async def test_one_hung_look_does_not_take_all_the_time() -> None:
    async with ScriptedHttp(HANGS, *versions(8)) as target:
        assert (await confirmed(step(target), 7)).ok
    assert target.connections == 2


async def test_cancelling_leaves_no_connection() -> None:
    async with ScriptedHttp(HANGS) as target, asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(confirmed(step(target), 7))
        await until_async(lambda: target.requests, "the first look")
        waiting.cancel()
        await target.alone()
    assert waiting.cancelled()
