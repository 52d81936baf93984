"""How long to wait before the next try: exponential growth, a cap, full jitter. Pure: the source of randomness is
passed in.

Full jitter (a uniform draw from zero to the ceiling) because it spreads a crowd of clients best when a backend comes
back: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from collections.abc import Callable

_MAX_DOUBLINGS = 1000  # 2.0**1024 overflows a float; any sane cap is reached long before


class Backoff:
    """A sequence of delays in seconds. `random` gives floats in [0, 1)."""

    def __init__(self, base_seconds: float, cap_seconds: float, random: Callable[[], float]) -> None:
        """Raise ValueError unless 0 < base_seconds <= cap_seconds."""
        if not 0 < base_seconds <= cap_seconds:
            raise ValueError(f"cannot back off from {base_seconds} s up to {cap_seconds} s: want 0 < base <= cap")
        self._base_seconds = base_seconds
        self._cap_seconds = cap_seconds
        self._random = random
        self.tries = 0

    def next(self) -> float:
        """Return the next delay in seconds, below min(cap, base * 2**tries)."""
        ceiling = min(self._cap_seconds, self._base_seconds * 2.0 ** min(self.tries, _MAX_DOUBLINGS))
        self.tries += 1
        return self._random() * ceiling

    def reset(self) -> None:
        """Start again from the base: the last try worked."""
        self.tries = 0
