"""How large a scenario is: small in `make test`, whole with SIDECARS_FULL=1 (`make bench` sets it)."""

import os

FULL = os.environ.get("SIDECARS_FULL") == "1"


def scaled(small: int, full: int) -> int:
    """The size to use in this run."""
    return full if FULL else small
