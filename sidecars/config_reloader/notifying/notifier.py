"""Each step to its adapter: command, signal, HTTP. The only module that knows all of them."""

import asyncio
from collections.abc import Awaitable, Callable

from sidecars.config_reloader.core.advance import Value
from sidecars.config_reloader.core.steps import Confirm, Validate
from sidecars.kit.notify import exec as command
from sidecars.kit.notify import signal as signalling
from sidecars.kit.notify import webhook
from sidecars.kit.notify.core.change import Change
from sidecars.kit.notify.core.options import Exec, Signal, StepOptions, Webhook
from sidecars.kit.notify.core.outcome import Outcome, Result
from sidecars.runtime.settings.environment import process_environment

from . import confirm


class Notifier:
    """Attempts steps. Nothing here decides or repeats."""

    async def act(self, step: StepOptions, change: Change, tasks: asyncio.TaskGroup) -> Outcome:
        """Attempt a step once. The group owns what may be left of it: the end of an answer that nobody waits for."""
        match step:
            case Validate():
                return await self._validate(step, change)
            case Signal():
                return await asyncio.to_thread(signalling.send, step)
            case Webhook():
                return await webhook.call(step, change, tasks)
            case Exec():
                return await command.run(step.command, change, step.timeout_seconds, _environment(change))
            case _:
                raise TypeError(f"cannot attempt a {type(step).__name__}")

    async def ready(self, step: StepOptions) -> bool:
        """Return whether somebody is there to be notified."""
        match step:
            case Signal():
                return await asyncio.to_thread(signalling.ready, step)
            case Webhook():
                return await webhook.listening(step)
            case _:
                return True

    async def observe(self, step: Confirm, change: Change) -> Value | None:
        """Return what a confirm step sees before the app is notified; None when it sees nothing."""
        return await confirm.observe(step, change)

    async def confirm(
        self, step: Confirm, change: Change, before: Value | None, pause: Callable[[float], Awaitable[None]]
    ) -> Outcome:
        """Wait until the value advances, or the time is up."""
        return await confirm.wait(step, change, before, pause)

    async def _validate(self, step: Validate, change: Change) -> Outcome:
        if not step.command:
            return await webhook.ask(step, change)
        outcome = await command.run(step.command, change, step.timeout_seconds, _environment(change))
        return Outcome(Result.REJECTED, outcome.detail) if outcome.result is Result.FAILED else outcome


def _environment(change: Change) -> dict[str, str]:
    """Return what a command of ours gets: our own environment, and the content that it runs for."""
    ours = {"CONFIG_RELOADER_HASH": change.hash, "CONFIG_RELOADER_CANDIDATE": change.candidate}
    return {**process_environment(), **ours}
