"""The stop: steps that each end in time, and meanwhile what is still undelivered, in the log.

SIGKILL may come long before our own deadline, because the app used up the grace of the pod. So what is undelivered is
said as soon as the stop is asked for, and every few seconds again: the last such line stands in the log then.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from sidecars.runtime import Context

from .core import grace
from .core.choices import Lifecycle
from .core.diagnosis import Diagnosis
from .core.grace import StopStep
from .settings import LogShipperSettings

_EVERY_SECONDS = 3.0
_NAMED_FILES = 20

Work = Mapping[StopStep, Callable[[], Awaitable[None]]]


@dataclass(frozen=True, slots=True)
class DeliveryProgress:
    """How far the delivery is: bytes by file that nobody took yet, why nothing goes through at present, and how many
    records were refused for good.
    """

    undelivered: Mapping[str, int]
    diagnosis: Diagnosis | None
    refused_records: int

    @property
    def undelivered_bytes(self) -> int:
        """Of all files."""
        return sum(self.undelivered.values())

    @property
    def fields(self) -> dict[str, object]:
        """Return its parts for a log line."""
        named = dict(sorted(self.undelivered.items())[:_NAMED_FILES])
        return {"undelivered_bytes": self.undelivered_bytes, "files": named}

    @property
    def why(self) -> str:
        """Return the end of a sentence that says what is undelivered."""
        return f"; {self.diagnosis.what}" if self.diagnosis else "."


class Stopping:
    """Runs the steps of the stop, and says how far the delivery is."""

    def __init__(self, settings: LogShipperSettings, ctx: Context, progress: Callable[[], DeliveryProgress]) -> None:
        self._settings = settings
        self._ctx = ctx
        self._progress = progress

    async def run(self, work: Work) -> list[StopStep]:
        """Do the work of each step, until its share of the grace is used up. Return the steps that were cut."""
        stop, cut = self._ctx.stop, list[StopStep]()
        async with asyncio.TaskGroup() as tasks:
            report = tasks.create_task(self._report(), name="report")
            for step, left_seconds in grace.steps(self._settings.lifecycle, stop.grace_seconds).items():
                try:
                    async with asyncio.timeout(max(0.0, stop.remaining() - left_seconds)):
                        await work[step]()
                except TimeoutError:
                    cut.append(step)
            report.cancel()
        return cut

    def conclude(self, cut: list[StopStep]) -> None:
        """Say what was left behind, or that nothing was."""
        progress = self._progress()
        refused_records = progress.refused_records
        if progress.undelivered:
            self._ctx.log.error(
                f"stopping with {progress.undelivered_bytes} bytes undelivered{progress.why} The next start on the "
                "same volumes delivers them; an emptyDir is gone with its pod.",
                action="stop.undelivered",
                cut_steps=cut,
                refused_records=refused_records,
                **progress.fields,
            )
            return
        rejected = f", but for {refused_records} refused records in {self._settings.dead_letter_file}"
        self._ctx.log.info(
            f"{self._all_of_it(cut)}{rejected if refused_records else ''}",
            action="stop.drained",
            undelivered_bytes=0,
            refused_records=refused_records,
        )

    async def _report(self) -> None:
        """Say it now and every few seconds, as long as there is something to say; runs until cancelled."""
        first = True
        while True:
            progress = self._progress()
            if progress.undelivered:
                say = self._ctx.log.info if self._is_usual(progress, first=first) else self._ctx.log.warning
                left_seconds = self._ctx.stop.remaining()
                say(
                    f"stopping: {progress.undelivered_bytes} bytes are undelivered so far, {left_seconds:.0f} s of the "
                    f"grace are left{progress.why}",
                    action="stop.undelivered_so_far",
                    left_seconds=round(left_seconds, 1),
                    **progress.fields,
                )
            first = False
            await self._ctx.stop.pause(_EVERY_SECONDS)

    def _is_usual(self, progress: DeliveryProgress, *, first: bool) -> bool:
        """Tell whether bytes are behind because an app has just written its last lines, or goes on beside an ordinary
        sidecar.
        """
        return not progress.diagnosis and (first or self._settings.lifecycle is Lifecycle.ORDINARY)

    def _all_of_it(self, cut: list[StopStep]) -> str:
        """Say what is delivered; an ordinary sidecar does not know whether its app has ended."""
        if self._settings.lifecycle is Lifecycle.NATIVE:
            return "everything is delivered"
        if StopStep.QUIET in cut:
            return (
                "what was written until now is delivered; the grace is over, and what the app writes from now on is not"
            )
        return (
            f"what was written until now is delivered; nothing came for {self._settings.quiet_seconds:g} s "
            "(quiet_seconds), and should the app write more, it is not"
        )
