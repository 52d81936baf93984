"""In which order addresses are tried."""

import pytest

from sidecars.kit.net.core.eyeballs import interleaved

CASES = {
    "none": ([], []),
    "one family keeps its order": (["10.0.0.2", "10.0.0.1"], ["10.0.0.2", "10.0.0.1"]),
    "families take turns, the first one begins": (["::1", "::2", "::3", "10.0.0.1"], ["::1", "10.0.0.1", "::2", "::3"]),
    "IPv4 may begin, too": (["10.0.0.1", "10.0.0.2", "::1"], ["10.0.0.1", "::1", "10.0.0.2"]),
    "none is tried twice": (["::1", "10.0.0.1", "::1"], ["::1", "10.0.0.1"]),
}


@pytest.mark.parametrize(("given", "order"), CASES.values(), ids=CASES)
def test_order(given: list[str], order: list[str]) -> None:
    assert interleaved([(address, 1) for address in given]) == tuple((address, 1) for address in order)
