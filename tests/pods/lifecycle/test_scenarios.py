"""All scenarios of the pod's life, on the container engine alone; tests/cluster plays the same on a cluster."""

import pytest

from tests.support.podlab.scenarios.catalogue import ALL, Scenario, title
from tests.support.podlab.stage import Stage


@pytest.mark.parametrize("scenario", ALL, ids=title)
def test_on_the_engine(scenario: Scenario, stage: Stage) -> None:
    scenario(stage)
