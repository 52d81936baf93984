"""What all contents on their way to the app share."""

import asyncio
import math
from collections.abc import Awaitable, Callable

from sidecars.kit.generations import Generations
from sidecars.runtime import Context

from .attempts import Attempts, Ended
from .core.steps import Render
from .mailbox import Mailbox
from .metrics import ReloaderMetrics
from .notifying.notifier import Notifier
from .watching.detection import Detection


class Surroundings:
    """The outside world of a journey, and where the app stands."""

    def __init__(
        self, ctx: Context, metrics: ReloaderMetrics, detection: Detection, telling: Notifier, rules: Render | None
    ) -> None:
        self.ctx = ctx
        self.telling = telling
        self.metrics = metrics
        self.detection = detection
        self.rules = rules
        self.generations = Generations(rules.output, int(rules.mode, 8)) if rules else None
        self.mailbox = Mailbox()
        self.attempts = Attempts(ctx, metrics)
        self.splay_seconds = 0.0
        self.max_wait_seconds = math.inf
        self.behind_since = math.inf
        """Since when the app has not been told the newest content; infinity when it has."""
        self.before_telling: Callable[[str, asyncio.TaskGroup], Awaitable[None]] = _nothing
        """Called before anybody is told the content with this digest; the group owns what it may leave under way."""
        self.taking_over: Callable[[], None] = lambda: None
        """Called before the app is told, or given, content: what was under way before can no longer be applied."""
        self.former_ended: Callable[[Ended, asyncio.TaskGroup], None] = lambda _ended, _tasks: None
        """Called when an attempt with former content ended; the group owns what it may leave under way."""
        self.touched = False
        """Whether the app may have been told, or given, other content than what is applied."""


async def _nothing(digest: str, tasks: asyncio.TaskGroup) -> None:
    del digest, tasks
