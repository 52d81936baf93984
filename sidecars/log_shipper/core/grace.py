"""How the stop spends the grace: its steps by name, and how much of the grace each leaves to those after it."""

from enum import StrEnum

from .choices import Lifecycle

_LEFT_SECONDS = 2.0
"""The sidecar is gone so long before the grace ends, whatever happens: the kubelet's clock began before ours."""
_DRAIN_SECONDS = 1.0
"""In the ordinary lifecycle, half lines count as lines from so long before the end of `drain` on, be the app silent or
not."""


class StopStep(StrEnum):
    """What the stop does, in this order."""

    QUIET = "quiet"
    """Tail on until the app, which got SIGTERM when we did, writes no more. Only in the ordinary lifecycle."""
    DRAIN = "drain"
    """Read all files to their end, half lines too, and deliver."""
    HANG_UP = "hang_up"
    """Give up what is under way."""
    SAVE = "save"
    """Write the last checkpoint."""


def steps(lifecycle: Lifecycle, grace_seconds: float) -> dict[StopStep, float]:
    """Return the steps, each with the seconds of the grace that are left when its time is up."""
    left = min(_LEFT_SECONDS, grace_seconds / 2)
    quiet = left + min(_DRAIN_SECONDS, (grace_seconds - left) / 4)
    all_steps = {StopStep.QUIET: quiet, StopStep.DRAIN: left, StopStep.HANG_UP: left / 2, StopStep.SAVE: left / 4}
    if lifecycle is Lifecycle.NATIVE:
        del all_steps[StopStep.QUIET]
    return all_steps
