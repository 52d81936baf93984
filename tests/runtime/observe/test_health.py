"""Conditions of a sidecar, and what ready means."""

import itertools

import pytest

from sidecars.runtime import Health, State


@pytest.mark.parametrize(
    ("started", "states", "ready"),
    [
        (False, [], False),
        (True, [], True),
        (True, [State.OK, State.DEGRADED], True),
        (True, [State.OK, State.FAILING], False),
        (False, [State.OK], False),
    ],
)
def test_ready_is_started_and_nothing_failing(started: bool, states: list[State], ready: bool) -> None:
    health = Health()
    if started:
        health.mark_started()
    for number, state in enumerate(states):
        health.set(f"condition-{number}", state)
    assert health.ready is ready


def test_since_is_the_first_moment_of_the_present_state() -> None:
    seconds = itertools.count(1)
    health = Health(lambda: next(seconds))
    assert health.set("remote", State.OK, "fine")
    assert not health.set("remote", State.OK, "still fine")
    assert (health.conditions[0].since, health.conditions[0].reason) == (1, "still fine")
    assert health.set("remote", State.FAILING, "gone")
    assert health.conditions[0].since == 2
