"""Probes as tables: when the next one is due, and after how many results the verdict changes."""

from tests.pods.lifecycle.manifest import HttpGet, Probe
from tests.pods.lifecycle.probing import Probing, Use, answered, begin, is_due, sent

PAGE = HttpGet(port=1)
SPEC = Probe(http_get=PAGE, initial_delay_seconds=2, period_seconds=5, success_threshold=2, failure_threshold=3)


def verdicts(use: Use, results: str, spec: Probe = SPEC) -> list[bool | None]:
    """The verdict after each of these results, `+` or `-`."""
    probing, found = begin(use, spec, 0), []
    for result in results:
        probing = answered(probing, spec, good=result == "+")
        found.append(probing.verdict)
    return found


def test_a_verdict_changes_when_enough_results_in_a_row_say_so() -> None:
    assert verdicts(Use.READINESS, "+-++---") == [False, False, False, True, True, True, False]
    assert verdicts(Use.LIVENESS, "--+--") == [True] * 5
    assert verdicts(Use.LIVENESS, "---") == [True, True, False]
    assert verdicts(Use.STARTUP, "-+++") == [None, None, True, True]


def test_probes_are_due_after_the_delay_and_then_each_period() -> None:
    probing = begin(Use.STARTUP, SPEC, 100)
    assert not is_due(probing, 101.9, started=False)
    assert is_due(probing, 102, started=False)
    probing = sent(probing, SPEC, 102)
    assert not is_due(probing, 110, started=False), "a second one while the first is under way"
    probing = answered(probing, SPEC, good=False)
    assert [is_due(probing, at, started=False) for at in (106.9, 107)] == [False, True]


def test_the_others_wait_for_the_start_which_is_probed_no_more() -> None:
    passed = Probing(Use.STARTUP, verdict=True, due_at=0)
    assert not is_due(passed, 1, started=True)
    for use in (Use.READINESS, Use.LIVENESS):
        assert [is_due(begin(use, Probe(), 0), 1, started=one) for one in (False, True)] == [False, True]
