"""The log shipper and the config reloader in one process, where either can be made to crash or to hang:
`python -m tests.scenarios.together.unsound_pair FOLDER [ignored words]`.

While `FOLDER/broken-NAME` is there, NAME crashes at its start. `POST /NAME/crash` lets it crash in the midst of its
work, as an error in any of its tasks would: the rest of them is cancelled, and the error goes up. While
`FOLDER/hangs-NAME` is there, NAME does not come to its end.
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sidecars.__main__ import find
from sidecars.runtime.life.signals import SIGNALS


def main(folder: str) -> int:
    """Run both until the stop."""
    SIGNALS.listen()
    from sidecars.runtime import Context, Sidecar, run

    def unsound(sidecar: Sidecar) -> Sidecar:
        async def main(settings: Any, ctx: Context) -> None:
            if os.path.exists(f"{folder}/broken-{ctx.name}"):
                raise RuntimeError("cannot begin: a test wants it so")
            await crashing(sidecar, settings, ctx)
            while os.path.exists(f"{folder}/hangs-{ctx.name}"):
                await ctx.stop.pause(0.01)

        return replace(sidecar, main=main)

    return run([unsound(find(name)) for name in ("log-shipper", "config-reloader")], [])


async def crashing(sidecar: Any, settings: Any, ctx: Any) -> None:
    """Run the sidecar's main until the crash is asked for."""
    asked = asyncio.Event()

    async def ask() -> Mapping[str, object]:
        asked.set()
        return {"asked": True}

    async def crash() -> None:
        await asked.wait()
        raise RuntimeError("cannot go on: a test wants it so")

    ctx.admin.trigger("crash", ask)
    async with asyncio.TaskGroup() as tasks:
        bomb = tasks.create_task(crash())
        await sidecar.main(settings, ctx)
        bomb.cancel()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
