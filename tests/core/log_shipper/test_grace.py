"""The steps of the stop and what each leaves of the grace."""

import itertools

import pytest

from sidecars.log_shipper.core.choices import Lifecycle
from sidecars.log_shipper.core.grace import StopStep, steps

NATIVE, ORDINARY = Lifecycle.NATIVE, Lifecycle.ORDINARY


@pytest.mark.parametrize(
    ("lifecycle", "grace_seconds", "expected"),
    [
        (NATIVE, 30.0, {StopStep.DRAIN: 2.0, StopStep.HANG_UP: 1.0, StopStep.SAVE: 0.5}),
        (ORDINARY, 30.0, {StopStep.QUIET: 3.0, StopStep.DRAIN: 2.0, StopStep.HANG_UP: 1.0, StopStep.SAVE: 0.5}),
        (ORDINARY, 5.0, {StopStep.QUIET: 2.75, StopStep.DRAIN: 2.0, StopStep.HANG_UP: 1.0, StopStep.SAVE: 0.5}),
        (NATIVE, 2.0, {StopStep.DRAIN: 1.0, StopStep.HANG_UP: 0.5, StopStep.SAVE: 0.25}),
        (NATIVE, 0.0, {StopStep.DRAIN: 0.0, StopStep.HANG_UP: 0.0, StopStep.SAVE: 0.0}),
    ],
)
def test_the_steps_are(lifecycle: Lifecycle, grace_seconds: float, expected: dict[StopStep, float]) -> None:
    found = steps(lifecycle, grace_seconds)
    assert found == expected
    assert list(found) == list(expected), "in this order"


@pytest.mark.parametrize("lifecycle", list(Lifecycle))
@pytest.mark.parametrize("grace_seconds", [0.1, 1.0, 3.0, 10.0, 600.0])
def test_every_step_has_time_of_its_own(lifecycle: Lifecycle, grace_seconds: float) -> None:
    lefts = [grace_seconds, *steps(lifecycle, grace_seconds).values(), 0.0]
    assert all(before > after for before, after in itertools.pairwise(lefts))
