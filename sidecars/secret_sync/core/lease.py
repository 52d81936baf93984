"""The arithmetic of a lease: when it is renewed, when it is replaced, and when it ends. Tokens have leases, too.

As the Go client's LifetimeWatcher does it (api/lifetime_watcher.go), but without its immediate first renewal: the grace
is 10 to 20 % of the lease, a renewal is due after two thirds of what is left plus a third of the grace (70.0 to 73.3 %
of a fresh lease), and within the grace a lease is replaced and not renewed.
"""

from dataclasses import dataclass, replace

GRACE = (0.1, 0.2)
"""The grace as a share of the lease: chance decides between these, so that many replicas spread."""
LEAST_GRACE_SECONDS = 2.0
"""Time to log in, read, publish and notify; of a short lease its fifth."""
FIXED = (0.85, 0.95)
"""After which share of its life a lease that cannot be renewed is replaced."""


@dataclass(frozen=True)
class Lease:
    """One lease. Times are seconds of a monotonic clock, durations are seconds; `duration` is always above 0.

    `token` is the generation of the token that it was made with, and ends with. `spread` is a number from 0 to 1 that
    was drawn when the lease was made.
    """

    id: str
    token: int
    granted: float
    duration: float
    renewable: bool
    spread: float
    full: float = 0.0
    """The longest duration that was granted so far: what a shortened renewal is compared with."""

    @property
    def ends(self) -> float:
        """The moment at which it ends by itself; its token may end sooner."""
        return self.granted + self.duration

    @property
    def grace(self) -> float:
        """The last part of its life, within which it is replaced."""
        low, high = GRACE
        whole = max(self.full, self.duration)
        return max(whole * (low + (high - low) * self.spread), min(LEAST_GRACE_SECONDS, whole * high))

    @property
    def is_capped(self) -> bool:
        """Whether the last renewal granted less than there was once: the maximum is near."""
        return self.duration < self.full * 0.99

    def renew_at(self) -> float:
        """Return when the next renewal is due."""
        return self.granted + max(0.0, self.duration * 2 / 3 + self.grace / 3)

    def replace_at(self, token_ends: float) -> float:
        """Return when it has to be replaced, given the moment at which its token ends."""
        ends = min(self.ends, token_ends)
        if not self.renewable:
            low, high = FIXED
            return min(self.granted + self.duration * (low + (high - low) * self.spread), ends)
        return ends - min(self.grace, (ends - self.granted) * 0.9)

    def renewed(self, duration: float, now: float) -> "Lease":
        """Return the lease after a renewal that granted this duration; 0 leaves it as it was.

        Near its maximum a server grants less than before; then the grace stays that of the full lease, and so the
        replacement comes in time.
        """
        if duration <= 0:
            return self
        return replace(self, granted=now, duration=duration, full=max(self.full, self.duration, duration))


def due(lease: Lease, token_ends: float) -> tuple[float, bool]:
    """Return when something is due, and whether it is the replacement (else it is a renewal)."""
    replacement = lease.replace_at(token_ends)
    if not lease.renewable or lease.renew_at() >= replacement:
        return replacement, True
    return lease.renew_at(), False
