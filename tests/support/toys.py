"""Tiny sidecars for the runtime's own tests; tests/support/toy_process.py runs them as real processes.

Each toy does one thing that the runtime has to cope with.
"""

import asyncio
import threading
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from msgspec import Meta

from sidecars.runtime import Context, Finding, OneShot, Problem, Secret, Settings, SettingsError, Sidecar, State


class ToySettings(Settings, frozen=True):
    """Settings of every supported type."""

    admin_host: Annotated[str, Meta(description="Where the toy listens.")] = "127.0.0.1"
    admin_port: int = 0
    batch_bytes: Annotated[int, Meta(ge=1024, description="Size of a batch.", examples=[65536])] = 1048576
    queue: Annotated[int, Meta(ge=1, le=10, description="Length of the queue.")] = 3
    ratio: Annotated[float, Meta(ge=0, le=1, description="A share.")] = 0.5
    wait_seconds: Annotated[float, Meta(ge=0, description="A wait.")] = 1.5
    loud: Annotated[bool, Meta(description="Whether to be loud.")] = False
    mode: Annotated[Literal["fast", "safe"], Meta(description="How to work.")] = "safe"
    paths: Annotated[tuple[str, ...], Meta(description="Files to read.", examples=[["/var/log/*.log"]])] = ()
    labels: Annotated[dict[str, str], Meta(description="Fields to add.")] = {}
    password: Annotated[Secret | None, Meta(description="A password.")] = None
    limit: Annotated[int, Meta(ge=1, description="Perhaps a limit.")] | None = None
    url: Annotated[str, Meta(description="Where to.")] = ""
    pod_name: Annotated[str, Meta(description="The pod's name.")] = ""

    def problems(self) -> Iterable[Problem]:
        if self.batch_bytes > 10 * 1048576 and self.mode == "safe":
            yield Problem("batch_bytes", "too large for the mode safe", "take mode fast or a smaller batch")

    @classmethod
    def fallbacks(cls, environ: Mapping[str, str]) -> dict[str, tuple[str, str]]:
        names = {"pod_name": "POD_NAME", "url": "SOME_URL", "limit": "SOME_LIMIT"}
        return {field: (environ.get(name, ""), name) for field, name in names.items()}


async def idle(settings: ToySettings, ctx: Context) -> None:
    """Serve until the stop, with a bit of everything on the admin endpoint."""
    pulled = ctx.metrics.counter("pulls", "Pulls of the trigger.", {"how": ("post", "other")})

    async def pull() -> Mapping[str, object]:
        pulled.labels("post").inc()
        return {"pulled": ctx.name}

    ctx.admin.status(lambda: {"mode": settings.mode})
    ctx.admin.trigger("pull", pull)
    ctx.health.set("remote", State.DEGRADED, "a bit slow")
    ctx.health.mark_started()
    await ctx.stop.wait()
    ctx.log.info("drained", action="toy.drained")


async def slow(settings: ToySettings, ctx: Context) -> None:
    """Need longer than any grace, but obey cancellation."""
    del settings
    ctx.health.mark_started()
    try:
        await asyncio.Event().wait()
    finally:
        ctx.log.info("cancelled", action="toy.cancelled")


async def asleep(settings: ToySettings, ctx: Context) -> None:
    """Never get started."""
    del settings
    await ctx.stop.wait()


async def stubborn(settings: ToySettings, ctx: Context) -> None:
    """Refuse to be cancelled."""
    del settings
    ctx.health.mark_started()
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ctx.log.warning("refused to be cancelled", action="toy.refused")


async def stuck(settings: ToySettings, ctx: Context) -> None:
    """Leave a thread behind that never ends."""
    del settings
    thread = asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)
    ctx.health.mark_started()
    await ctx.stop.wait()
    assert not thread.done()


async def crash(settings: ToySettings, ctx: Context) -> None:
    """Crash when started."""
    del ctx
    raise RuntimeError(f"cannot go on in mode {settings.mode}")


async def crash_late(settings: ToySettings, ctx: Context) -> None:
    """Crash while stopping."""
    del settings
    ctx.health.mark_started()
    await ctx.stop.wait()
    raise RuntimeError("cannot finish")


async def done(settings: ToySettings, ctx: Context) -> int:
    """Be done at once, with a status of its own."""
    del ctx
    return settings.queue


async def picky(settings: ToySettings, ctx: Context) -> None:
    """Find out late that a setting cannot be used."""
    del settings, ctx
    raise SettingsError([Problem("url", "nobody answers there", "set another one")])


async def talk(settings: ToySettings, ctx: Context) -> None:
    """Write to stdout and to the log until the stop."""
    ctx.health.mark_started()
    while not await ctx.stop.sleep(settings.wait_seconds):
        print("a document", flush=True)
        ctx.log.info("a line", action="toy.line")


async def setup(settings: ToySettings, ctx: Context) -> int:
    """Print for people; wait for ever when told to be loud."""
    print(f"set up in mode {settings.mode}", flush=True)
    if settings.loud:
        await ctx.stop.sleep(3600)
        await asyncio.Event().wait()
    return 7


def refuse_start(settings: ToySettings) -> Iterable[Problem]:
    if settings.url == "/taken":
        yield Problem("url", "somebody else is there", "choose another one")


def look(settings: ToySettings) -> Iterable[Finding]:
    yield Finding("ok", "the toy is there")
    if settings.loud:
        yield Finding("error", "too loud here")


async def ask(settings: ToySettings) -> Iterable[Finding]:
    return [Finding("warning", f"the server of {settings.queue} is slow")]


_MAINS = (idle, asleep, slow, stubborn, stuck, crash, crash_late, done, picky, talk)
TOYS = {
    main.__name__.replace("_", "-"): Sidecar(
        name=main.__name__.replace("_", "-"),
        settings=ToySettings,
        main=main,
        oneshots=(OneShot("setup", "prepare the remote side", setup),),
        refuse_start=refuse_start,
        check=look,
        check_outside=ask,
    )
    for main in _MAINS
}
