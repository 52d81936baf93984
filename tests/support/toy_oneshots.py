"""Toys without admin endpoint: run once, alone, with words and a command of their own; and one with nested settings.

In a module of their own, because tests look at what such a process imports.
"""

import sys
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from sidecars.runtime import Basics, Context, Permanent, Problem, SettingsError, Sidecar, Transient

HEAVY = ("aiohttp", "prometheus_client", "opentelemetry", "yaml", "argparse", "difflib", "ast", "json", "ssl.x")


class OnceSettings(Basics, frozen=True, kw_only=True):
    """Settings without admin endpoint."""

    targets: Annotated[tuple[str, ...], Meta(description="What to look at.")] = ()
    command: Annotated[tuple[str, ...], Meta(description="What to run then.")] = ()
    quiet: Annotated[bool, Meta(description="Whether to say less.")] = False
    wait_seconds: Annotated[float, Meta(ge=0, description="How long to wait.")] = 0.0
    status: Annotated[int, Meta(ge=0, le=255, description="Exit status.")] = 0
    fault: Annotated[str, Meta(description="How to fail.")] = ""


FAULTS: dict[str, Exception] = {
    "permanent": Permanent("cannot reach it: no such name"),
    "transient": Transient("cannot reach it: refused"),
    "settings": SettingsError([Problem("targets", "nobody answers there", "name another one")]),
    "crash": RuntimeError("cannot go on"),
}


async def once(settings: OnceSettings, ctx: Context) -> int:
    """Say what it was told, and what was imported for it."""
    print(msgspec.json.encode([settings.targets, settings.command, settings.quiet]).decode())
    print("imported:", [name for name in HEAVY if name in sys.modules], flush=True)
    if settings.fault:
        raise FAULTS[settings.fault]
    await ctx.stop.pause(settings.wait_seconds)
    return settings.status


async def greedy(settings: OnceSettings, ctx: Context) -> None:
    """Ask for what is not there."""
    del settings
    parts: tuple[Any, ...] = (ctx.metrics, ctx.tracer, ctx.admin)
    for part in parts:
        try:
            print(part.anything)
        except TypeError as error:
            print(error)


ONESHOTS = {
    name: Sidecar(
        name=name,
        settings=OnceSettings,
        main=main,
        admin=False,
        words="targets",
        rest="command",
        aliases={"web.wait": "wait_seconds"},
    )
    for name, main in (("once", once), ("greedy", greedy))
}
