"""Notify the app after each generation: the steps in their order, those that fail again until they succeed."""

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sidecars.kit.notify import exec as command
from sidecars.kit.notify import signal as signalling
from sidecars.kit.notify import webhook
from sidecars.kit.notify.core.change import Change
from sidecars.kit.notify.core.options import Exec, OnFailure, Signal, StepOptions, Webhook
from sidecars.kit.notify.core.outcome import Outcome
from sidecars.runtime import Backoff
from sidecars.runtime.settings.environment import process_environment

RETRY_SECONDS = (0.5, 10.0)


@dataclass
class Attempts:
    """One step that is still to be done, and how often it was tried."""

    step: StepOptions
    made: int = 0

    @property
    def is_over(self) -> bool:
        """Whether it is not tried any more."""
        return self.step.retries is not None and self.made > self.step.retries

    @property
    def holds_up(self) -> bool:
        """Whether the steps after it wait for it while it fails."""
        unset = OnFailure.STOP if isinstance(self.step, Exec) else OnFailure.CONTINUE
        return (self.step.on_failure or unset) is OnFailure.STOP


@dataclass(frozen=True)
class Listeners:
    """What is called when something happens. `tried`: every step was tried once, or waits for one that failed; `done`:
    the app was notified of all there is; `attempted`: one attempt ended.
    """

    tried: Callable[[], None]
    done: Callable[[], None]
    attempted: Callable[[StepOptions, Outcome, bool], None]


class Notifying:
    """Notifies the app once for each generation; a newer one takes the place of one that does not get through."""

    def __init__(self, steps: Iterable[StepOptions], folder: str, listeners: Listeners) -> None:
        self._steps = tuple(steps)
        self._folder = folder
        self._listeners = listeners
        self._came = asyncio.Event()
        self._wanted = self._done = 0

    @property
    def is_idle(self) -> bool:
        """Whether the app knows of all there is."""
        return self._wanted == self._done

    def begin(self) -> None:
        """Notify the app of a new generation."""
        self._wanted += 1
        self._came.set()

    async def run(self) -> None:
        """Notify until cancelled."""
        while True:
            await self._came.wait()
            self._came.clear()
            await self._notify(self._wanted)

    async def _notify(self, generation: int) -> None:
        delays = Backoff(*RETRY_SECONDS, random.random)
        left = await self._round([Attempts(step) for step in self._steps])
        if generation == self._wanted:  # one that fails is tried again, and holds up no lease
            self._listeners.tried()
        while left and generation == self._wanted:
            await self._pause(left, delays.next())
            if generation == self._wanted:
                left = await self._round(left)
        if generation == self._wanted:
            self._done = generation
            self._listeners.done()

    async def _round(self, left: list[Attempts]) -> list[Attempts]:
        """Try each step once. Return those that are to be tried again."""
        again: list[Attempts] = []
        for place, one in enumerate(left):
            outcome = await _attempt(one.step, Change("", self._folder))
            one.made += 1
            self._listeners.attempted(one.step, outcome, one.is_over)
            if outcome.ok or one.is_over:
                continue
            again.append(one)
            if one.holds_up:
                return again + left[place + 1 :]
        return again

    async def _pause(self, left: Iterable[Attempts], usual: float) -> None:
        """Wait until the next round, or for a newer generation."""
        steady = [one.step.retry_seconds for one in left if isinstance(one.step, Webhook)]
        pauses = [seconds for seconds in steady if seconds is not None]
        try:
            async with asyncio.timeout(max(min(pauses, default=usual), 0.05)):
                await self._came.wait()
        except TimeoutError:
            pass


async def _attempt(step: StepOptions, change: Change) -> Outcome:
    match step:
        case Signal():
            return await asyncio.to_thread(signalling.send, step)
        case Webhook():
            return await webhook.call(step, change)
        case Exec():
            return await command.run(step.command, change, step.timeout_seconds, process_environment())
    raise TypeError(f"cannot attempt a {type(step).__name__}")
