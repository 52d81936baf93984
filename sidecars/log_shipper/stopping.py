"""The stop: steps that each end in time, and meanwhile what is still undelivered, in the log.

SIGKILL may come long before our own deadline, because the app used up the grace of the pod. So what is undelivered is
said as soon as the stop is asked for, and every few seconds again: the last such line stands in the log then.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from sidecars.runtime import Context, Stop

from .core.choices import Lifecycle
from .core.diagnosis import Diagnosis
from .core.grace import StopStep
from .settings import LogShipperSettings

_EVERY_SECONDS = 3.0
_NAMED_FILES = 20


async def take(
    steps: Mapping[StopStep, float], work: Mapping[StopStep, Callable[[], Awaitable[None]]], stop: Stop
) -> list[StopStep]:
    """Do the work of each step, until no more than its seconds are left of the grace; returns those that were cut."""
    cut = []
    for step, left_seconds in steps.items():
        try:
            async with asyncio.timeout(max(0.0, stop.remaining() - left_seconds)):
                await work[step]()
        except TimeoutError:
            cut.append(step)
    return cut


class Report:
    """Says how far the delivery is. `undelivered` gives the bytes of each file that nobody took yet, `diagnosis` why
    nothing goes through at present.
    """

    def __init__(
        self,
        settings: LogShipperSettings,
        ctx: Context,
        undelivered: Callable[[], dict[str, int]],
        diagnosis: Callable[[], Diagnosis | None],
    ) -> None:
        self._settings = settings
        self._ctx = ctx
        self._undelivered = undelivered
        self._diagnosis = diagnosis

    async def repeat(self) -> None:
        """Say it now and every few seconds, as long as there is something to say; runs until cancelled."""
        first = True
        while True:
            if behind := self._undelivered():
                say = self._ctx.log.info if self._is_usual(first=first) else self._ctx.log.warning
                left_seconds = self._ctx.stop.remaining()
                say(
                    f"stopping: {sum(behind.values())} bytes are undelivered so far, {left_seconds:.0f} s of the grace "
                    f"are left{self._why()}",
                    action="stop.undelivered_so_far",
                    left_seconds=round(left_seconds, 1),
                    **_told(behind),
                )
            first = False
            await self._ctx.stop.pause(_EVERY_SECONDS)

    def end(self, refused_records: int, cut: list[StopStep]) -> None:
        """Say what was left behind, or that nothing was."""
        if behind := self._undelivered():
            self._ctx.log.error(
                f"stopping with {sum(behind.values())} bytes undelivered{self._why()} The next start on the same "
                "volumes delivers them; an emptyDir is gone with its pod.",
                action="stop.undelivered",
                cut_steps=cut,
                refused_records=refused_records,
                **_told(behind),
            )
            return
        rejected = f", but for {refused_records} refused records in {self._settings.dead_letters_path}"
        self._ctx.log.info(
            f"{self._all_of_it(cut)}{rejected if refused_records else ''}",
            action="stop.drained",
            undelivered_bytes=0,
            refused_records=refused_records,
        )

    def _is_usual(self, *, first: bool) -> bool:
        """An app has just written its last lines when the stop comes, and beside an ordinary sidecar it goes on."""
        return not self._diagnosis() and (first or self._settings.lifecycle is Lifecycle.ORDINARY)

    def _all_of_it(self, cut: list[StopStep]) -> str:
        """An ordinary sidecar does not know whether its app has ended."""
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

    def _why(self) -> str:
        diagnosis = self._diagnosis()
        return f"; {diagnosis.what}" if diagnosis else "."


def _told(behind: dict[str, int]) -> dict[str, object]:
    return {
        "undelivered_bytes": sum(behind.values()),
        "files": dict(sorted(behind.items())[:_NAMED_FILES]),
    }
