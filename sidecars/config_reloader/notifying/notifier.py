"""Each step to its adapter: command, signal, HTTP. The only module that knows all of them."""

import asyncio
from collections.abc import Awaitable, Callable

from sidecars.config_reloader.core.advance import Value
from sidecars.config_reloader.core.change import Change
from sidecars.config_reloader.core.outcome import Outcome, Result
from sidecars.config_reloader.core.steps import Confirm, Exec, Options, Signal, Validate, Webhook
from sidecars.runtime.settings.load import process_environment

from . import confirm, webhook
from . import exec as command
from . import signal as signalling


class Telling:
    """Attempts steps. Nothing here decides or repeats."""

    async def act(self, step: Options, change: Change, tasks: asyncio.TaskGroup) -> Outcome:
        """Attempt a step once. The group owns what may be left of it: the end of an answer that nobody waits for."""
        match step:
            case Validate():
                return await self._validate(step, change)
            case Signal():
                return await asyncio.to_thread(signalling.tell, step)
            case Webhook():
                return await webhook.call(step, change, tasks)
            case Exec():
                return await command.run(step.command, change, step.timeout_seconds, process_environment())
            case _:
                raise TypeError(f"cannot attempt a {type(step).__name__}")

    async def ready(self, step: Options) -> bool:
        """Whether somebody is there to be told."""
        match step:
            case Signal():
                return await asyncio.to_thread(signalling.ready, step)
            case Webhook():
                return await webhook.listening(step)
            case _:
                return True

    async def observe(self, step: Confirm, change: Change) -> Value | None:
        """What a confirm step sees before the app is told; None when it sees nothing."""
        return await confirm.observe(step, change)

    async def confirm(
        self,
        step: Confirm,
        change: Change,
        before: Value | None,
        newer: asyncio.Event,
        pause: Callable[[float], Awaitable[None]],
    ) -> Outcome:
        """Wait until it advances, the time is up, or `newer` content came."""
        return await confirm.wait(step, change, before, newer, pause)

    async def _validate(self, step: Validate, change: Change) -> Outcome:
        if not step.command:
            return await webhook.ask(step, change)
        outcome = await command.run(step.command, change, step.timeout_seconds, process_environment())
        return Outcome(Result.REJECTED, outcome.detail) if outcome.result is Result.FAILED else outcome
