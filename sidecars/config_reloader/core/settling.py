"""When content counts as stable, and so is told: quiet for a while, or waited for long enough. Pure: the time is an
argument.
"""


class Settling:
    """Watches digests go by. `told` is the content that was handed on last; nothing is due while it is the present
    one, so a change that is taken back in time is never told.
    """

    def __init__(self, quiet_seconds: float, max_wait_seconds: float) -> None:
        self._quiet_seconds = quiet_seconds
        self._max_wait_seconds = max_wait_seconds
        self.told: str | None = None
        self.present: str | None = None
        self.changed_at = 0.0
        """When the present content was first seen."""
        self._left_at: float | None = None
        """Since when the present content is not the told one."""

    def seen(self, digest: str, at: float) -> bool:
        """Take note of what is there; whether it differs from what was there."""
        if digest == self.present:
            return False
        self.present = digest
        self.changed_at = at
        if digest == self.told:
            self._left_at = None
        elif self._left_at is None:
            self._left_at = at
        return True

    def due_at(self) -> float | None:
        """When the present content is to be handed on; None when there is nothing to hand on."""
        if self._left_at is None:
            return None
        return min(self.changed_at + self._quiet_seconds, self._left_at + self._max_wait_seconds)

    def hand_on(self) -> None:
        """The present content is handed on now."""
        self.told = self.present
        self._left_at = None
