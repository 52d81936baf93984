"""The circuit breaker: every event in every state, and what is said of a diagnosis, how often."""

import pytest

from sidecars.log_shipper.core.circuit import Circuit, CircuitState
from sidecars.log_shipper.core.diagnosis import Diagnosis

AWAY = Diagnosis("connection", "cannot deliver: away", "connection")
CLOSED_INDEX = Diagnosis("target", "cannot deliver: closed", "target 400 index_closed_exception")


def at(state: CircuitState) -> Circuit:
    circuit = Circuit()
    if state is not CircuitState.CLOSED:
        circuit.failed(AWAY, 0.0)
    if state is CircuitState.HALF_OPEN:
        circuit.probed()
    assert circuit.state is state
    return circuit


@pytest.mark.parametrize("state", CircuitState)
def test_a_failure_opens_the_circuit_and_an_answer_closes_it_from_anywhere(state: CircuitState) -> None:
    circuit = at(state)
    circuit.failed(CLOSED_INDEX, 1.0)
    assert (circuit.state, circuit.diagnosis) == (CircuitState.OPEN, CLOSED_INDEX)
    circuit = at(state)
    circuit.answered()
    assert (circuit.state, circuit.diagnosis) == (CircuitState.CLOSED, None)


def test_a_probe_that_was_cut_off_is_followed_by_the_next() -> None:
    circuit = at(CircuitState.HALF_OPEN)
    circuit.probed()
    assert circuit.state is CircuitState.HALF_OPEN


def test_attempts_are_counted_since_it_opened() -> None:
    circuit = Circuit()
    for now in (5.0, 6.0, 7.0):
        circuit.failed(AWAY, now)
    assert circuit.lasts(8.0) == {"failed_attempts": 3, "for_seconds": 3.0}
    circuit.answered()
    assert circuit.lasts(8.0) == {}
    circuit.failed(AWAY, 9.0)
    assert circuit.lasts(9.0) == {"failed_attempts": 1, "for_seconds": 0.0}


def said_at(circuit: Circuit, diagnosis: Diagnosis, times: range) -> list[int]:
    return [now for now in times if circuit.failed(diagnosis, float(now))]


def test_a_diagnosis_that_goes_on_is_said_at_once_and_then_more_and_more_rarely() -> None:
    assert said_at(Circuit(), AWAY, range(1, 1700)) == [1, 31, 91, 211, 451, 751, 1051, 1351, 1651]


def test_another_diagnosis_is_said_at_once() -> None:
    circuit = Circuit()
    assert circuit.failed(AWAY, 1.0)
    assert circuit.failed(CLOSED_INDEX, 2.0)
    assert not circuit.failed(AWAY, 3.0)
    assert not circuit.failed(CLOSED_INDEX, 4.0)


def test_a_diagnosis_that_comes_and_goes_is_said_every_half_minute_and_its_end_as_often() -> None:
    circuit = Circuit()
    begins, ends = [], []
    for now in range(1, 100):
        if circuit.failed(AWAY, float(now)):
            begins.append(now)
        if circuit.answered():
            ends.append(now)
    assert begins == ends == [1, 31, 61, 91]


def test_a_new_outage_does_not_wait_as_long_as_an_old_one_did_at_its_end() -> None:
    circuit = Circuit()
    said_at(circuit, AWAY, range(1, 800))
    circuit.answered()
    assert circuit.failed(AWAY, 800.0)


def test_kinds_that_the_server_invents_take_no_endless_memory() -> None:
    circuit = Circuit()
    for number in range(1000):
        circuit.failed(Diagnosis("unclear", "t", f"kind {number}"), float(number))
    assert len(circuit._said) == 64
