"""Fixtures of the rules: one running sidecar of each kind, shared by the tests."""

from collections.abc import Callable, Iterator

import pytest

from tests.rules.agents import Shipped
from tests.support import stand_in

Fleet = Callable[[str], Shipped]


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """`fleet("log-shipper")` is a running log shipper, started when it is first asked for."""
    running: dict[str, Shipped] = {}
    backend = stand_in.shared()

    def one(name: str) -> Shipped:
        if name not in running:
            running[name] = Shipped(name, tmp_path_factory.mktemp("fleet"), backend.url)
            running[name].outlives_the_test = True
            running[name].start()
        return running[name]

    yield one
    for each in running.values():
        each.terminate()
