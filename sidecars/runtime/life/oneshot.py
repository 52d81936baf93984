"""The life of what is run once and prints for people: a flag's one-shot, and the main of a sidecar without admin
endpoint.
"""

import asyncio
import signal

from sidecars.runtime.command import extras
from sidecars.runtime.command.printing import say
from sidecars.runtime.errors import Permanent, SettingsError, Transient

from .loop import CANCEL_SECONDS
from .process import SidecarProcess, Unit
from .signals import SIGNALS
from .status import ExitStatus


async def one_shot(process: SidecarProcess, name: str) -> int:
    """Run the main of the only unit, and return its exit status. A signal cancels it."""
    unit = process.units[0]
    with SIGNALS.on_loop(lambda number: process.stop.request(signal.Signals(number).name)):
        unit.task = asyncio.create_task(unit.run(), name=name)
        asked = asyncio.create_task(process.stop.wait(), name="stop")
        await asyncio.wait([unit.task, asked], return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if unit.task.done():
            return _status(unit, unit.task)
        unit.ctx.stop.request(process.stop.reason)
        unit.task.cancel()
        await asyncio.wait({unit.task}, timeout=CANCEL_SECONDS)
        if unit.task.done() and not unit.task.cancelled() and (error := unit.task.exception()):
            unit.ctx.log.error("crashed", action="sidecar.crashed", error=error)
        say(f"cannot finish {name}: interrupted by {process.stop.reason}")
        return ExitStatus.interrupted(SIGNALS.heard[0])


def _status(unit: Unit, task: asyncio.Task[int]) -> int:
    """Return what main returned. A SettingsError goes on to `run`."""
    if task.cancelled():
        return ExitStatus.FAILED
    error = task.exception()
    if isinstance(error, SettingsError):
        raise error
    if isinstance(error, ModuleNotFoundError):
        say(extras.explain(unit.sidecar.name, error))
    elif isinstance(error, Permanent | Transient):
        say(error)
    elif error:
        unit.ctx.log.error("crashed", action="sidecar.crashed", error=error)
    return ExitStatus.FAILED if error else task.result()
