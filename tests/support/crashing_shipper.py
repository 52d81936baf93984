"""The log shipper and a toy in one process, where the shipper can be made to crash: `python -m ... [ignored words]`.

`POST /log-shipper/crash` lets the next attempt to deliver raise: an error that nobody expects, in the midst of the
work, with lines in flight. It is raised by the tracer, which is handed in, so the shipper is the real one.
"""

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from opentelemetry.trace import NoOpTracer

from sidecars.runtime.life.signals import SIGNALS


class FaultyTracer(NoOpTracer):
    """Raises once, when told to."""

    def __init__(self) -> None:
        self._armed = False

    async def arm(self) -> Mapping[str, object]:
        """The trigger."""
        self._armed = True
        return {"armed": True}

    def start_as_current_span(self, *args: Any, **kwargs: Any) -> Any:
        if self._armed:
            self._armed = False
            raise RuntimeError("cannot go on: a test wants it so")
        return super().start_as_current_span(*args, **kwargs)


def main() -> int:
    """Run both until the stop."""
    SIGNALS.listen()
    from sidecars.log_shipper import agent
    from sidecars.log_shipper.settings import LogShipperSettings
    from sidecars.runtime import Context, run
    from tests.support.toys import TOYS

    async def faulty(settings: LogShipperSettings, ctx: Context) -> None:
        tracer = FaultyTracer()
        ctx.admin.trigger("crash", tracer.arm)
        await agent.main(settings, replace(ctx, tracer=tracer))

    return run([replace(agent.SIDECAR, main=faulty), TOYS["idle"]], [])


if __name__ == "__main__":
    sys.exit(main())
