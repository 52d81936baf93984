"""The steps of the tour: what is done to the pod, and what has to be seen then. `STEPS` is the order."""

import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

from sidecars.devstack.compose.pod import Happening
from sidecars.devstack.shop.__main__ import version

from .scene import Scene
from .view import StepError

_KILLED = 137
_NAMED = 5
_LAST_LINES = 8
START_ORDER = ("pause", "log-shipper", "config-reloader", "secret-sync", "wait-for", "app")
STOP_ORDER = ("app", "secret-sync", "config-reloader", "log-shipper", "pause")
_BROKEN = b'{"greeting": "Good evening", "currency": "EUR", "prices": {"espresso": -1}}'


async def start(scene: Scene) -> None:
    """The order, the gates and the secrets' volume."""
    began = time.time()
    await scene.pod.up()
    await scene.happening("app", "healthy")
    pod = scene.pod
    scene.guests.shop = await pod.address("pause", 8080)
    scene.search.url = await pod.address("elasticsearch", 9200)
    scene.reloader = await pod.address("pause", 9102)
    scene.vault = await pod.address("vault", 8200)
    passed: list[Happening] = []
    for service in START_ORDER:
        started = await scene.happening(service, "start")
        through = await scene.happening(service, _gate(service))
        _check_order([*passed, started], "the start only when the one before is through")
        passed += [started, through]
        words = {
            "start": "",
            "healthy": f", healthy at {through.at - began:.1f} s",
            "die": f", done at {through.at - began:.1f} s",
        }
        scene.board.fact(f"{service:<16} started at {started.at - began:.1f} s{words[through.what]}")
        if through.what == "die" and through.status != 0:
            raise StepError(f"{service} to end with 0", f"{through.status}")
    mounts = await pod.run_in("app", "/usr/bin/python3", "-I", "-c", "print(open('/proc/self/mounts').read())")
    volume = next((line.split() for line in mounts.splitlines() if " /run/secrets " in line), [])
    if volume[2:3] != ["tmpfs"] or "ro" not in volume[3].split(","):
        raise StepError("/run/secrets in memory (tmpfs) and read-only in the app", " ".join(volume) or "no such mount")
    scene.board.fact("/run/secrets is in memory (tmpfs), and read-only in the app")


async def request(scene: Scene) -> None:
    """From the answer to the search result."""
    answer = await scene.answered(scene.greeting)
    began = time.monotonic()
    document = await scene.found(answer.request)
    scene.board.fact(f'GET / is answered "{answer.greeting}", X-Request-Id: {answer.request}')
    scene.board.fact(f"found by that id {time.monotonic() - began:.1f} s later: {document['message']}")


async def reload(scene: Scene) -> None:
    """A good configuration."""
    await _change(scene, "Good evening")


async def rotate(scene: Scene) -> None:
    """A new value in Vault: secret-sync writes it and signals the app, which reads it."""
    coupon = f"free-{secrets.token_hex(8)}"
    await scene.put_coupon(coupon)
    began = time.monotonic()

    async def look() -> str | None:
        seen = await scene.shop_config()
        return None if seen.get("secret") == version(coupon.encode()) else f"the secret {seen.get('secret')}"

    await scene.until(look, "the app to have read the new coupon")
    scene.board.fact(f"a new coupon is in Vault, and {time.monotonic() - began:.1f} s later the app has read it")


async def refuse(scene: Scene) -> None:
    """A broken one."""
    scene.config.write({"shop.json": _BROKEN})
    began = time.monotonic()
    status: dict[str, Any] = {}

    async def look() -> str | None:
        status.update(await scene.reloader_status())
        return None if status["refused"] else f"refused: {status['refused']}"

    await scene.until(look, "the config-reloader to refuse the price -1")
    scene.board.fact(f"a price of -1: refused after {time.monotonic() - began:.1f} s: {status['refused']['reason']}")
    answer = await scene.answered(scene.greeting)
    said = [line for line in await scene.pod.last_lines(_LAST_LINES, "app") if "cannot use" in line]
    scene.board.fact(f"the reason, in the log of the app: {said[-1].partition('| ')[2] if said else 'not there'}")
    scene.board.fact(f'GET / is still answered "{answer.greeting}"')


async def kill_app(scene: Scene) -> None:
    """With the broken configuration still there: the app finds the last good one."""
    async with scene.load():
        await scene.under_load()
        killed = await _kill(scene, "app", "sidecars.devstack shop")
        scene.board.fact(f"kill -9 under load: the app is healthy again {killed:.1f} s later, with the last good menu")
        await scene.answered(scene.greeting)
        await scene.under_load()


async def kill_shipper(scene: Scene) -> None:
    """What is written meanwhile waits in the log file."""
    async with scene.load():
        killed = await _kill(scene, "log-shipper", "bin/log-shipper")
        answer = await scene.answered(scene.greeting)
        await scene.under_load()
    began = time.monotonic()
    await scene.found(answer.request)
    scene.board.fact(f"kill -9 under load: the log shipper is healthy again {killed:.1f} s later")
    scene.board.fact(f"the newest line is found {time.monotonic() - began:.1f} s after the last guest left")


async def correct(scene: Scene) -> None:
    """The way out of a refusal."""
    await _change(scene, "Good night")


async def stop(scene: Scene) -> None:
    """In reverse, while guests ask, and each with 0."""
    since = time.time()
    async with scene.load():
        await scene.under_load()
        began = time.time()
        await scene.pod.stop()
        ends = [await scene.happening(service, "die", since) for service in STOP_ORDER]
    for end in ends:
        scene.board.fact(f"{end.service:<16} ended at {end.at - began:.1f} s with status {end.status}")
    _check_order(ends, "the end of the app first, of the pause service last")
    if any(end.status for end in ends):
        raise StepError("exit status 0 of all", ", ".join(f"{end.service} {end.status}" for end in ends))


async def books(scene: Scene) -> None:
    """Every answered request once; what was logged and not answered, because the app was killed, at most once."""
    found = await scene.search.all_requests()
    scene.board.found = found.total()
    answered = [answer.request for answer in scene.guests.answers]
    lost = [name for name in answered if name not in found]
    doubled = [name for name, times in found.items() if times > 1]
    unanswered = len(found.keys() - set(answered))
    scene.board.fact(f"{len(answered):,} requests answered, {found.total():,} documents found in Elasticsearch")
    scene.board.fact(
        f"{len(lost)} lost, {len(doubled)} doubled, {unanswered} logged and not answered: kill -9 came between"
    )
    if lost or doubled:
        raise StepError("nothing lost, nothing doubled", f"lost: {lost[:_NAMED]}, doubled: {doubled[:_NAMED]}")


STEPS: tuple[tuple[str, Callable[[Scene], Awaitable[None]]], ...] = (
    ("the pod starts in its order, each gated by the one before", start),
    ("a request is logged, and found in the search", request),
    ("a new configuration reloads the app", reload),
    ("a secret is rotated, and the app follows", rotate),
    ("a broken configuration is refused", refuse),
    ("the app is killed", kill_app),
    ("the log shipper is killed", kill_shipper),
    ("the corrected configuration is applied", correct),
    ("everything stops under load, in reverse order", stop),
    ("nothing is lost", books),
)


def _gate(service: str) -> str:
    """What the next one waits for."""
    return {"pause": "start", "wait-for": "die"}.get(service, "healthy")


def _check_order(happenings: list[Happening], expected: str) -> None:
    if [one.at for one in happenings] != sorted(one.at for one in happenings):
        began = min(one.at for one in happenings)
        seen = (f"{one.service} {one.what} at {one.at - began:.3f} s" for one in happenings)
        raise StepError(expected, ", ".join(seen))


async def _change(scene: Scene, greeting: str) -> None:
    scene.put_menu(greeting)
    began = time.monotonic()
    await scene.answered(greeting)
    scene.greeting = greeting
    scene.board.fact(f'"{greeting}" is in shop.json, and {time.monotonic() - began:.1f} s later in the answer')


async def _kill(scene: Scene, service: str, words: str) -> float:
    """Seconds from the death to good health."""
    before = time.time()
    await scene.pod.kill_9(words)
    died = await scene.happening(service, "die", before)
    if died.status != _KILLED:
        raise StepError(f"{service} to be killed (status {_KILLED})", f"status {died.status}")
    healthy = await scene.happening(service, "healthy", died.at)
    return healthy.at - died.at
