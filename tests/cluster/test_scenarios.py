"""All scenarios of the pod's life, on a cluster; tests/pods/lifecycle plays the same on the container engine alone."""

import pytest

from tests.support.podlab.scenarios.catalogue import ANYWHERE, NATIVE, Scenario, title
from tests.support.podlab.stage import Stage


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("scenario", NATIVE, ids=title)
def test_with_native_sidecars(scenario: Scenario, stage: Stage) -> None:
    scenario(stage)


@pytest.mark.parametrize("scenario", ANYWHERE, ids=title)
def test_on_any_cluster(scenario: Scenario, stage: Stage) -> None:
    scenario(stage)
