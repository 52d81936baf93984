"""When a content is due: a quiet period with an upper bound, what is taken back is no change, and pods spread."""

import pytest

from sidecars.config_reloader.core.schedule import Debounce, splay_seconds
from sidecars.config_reloader.core.snapshot import Snapshot, combined
from tests.support.snapshots import made_up


def snapshot(**entries: str) -> Snapshot:
    return made_up(entries)


def due_at(quiet: float, max_wait: float, *seen: tuple[float, str]) -> float | None:
    """When the last content is due; the content `a` was handed on before."""
    debounce = Debounce(quiet, max_wait)
    debounce.see(snapshot(x="a"), 0.0)
    debounce.hand_on()
    for at, held in seen:
        debounce.see(snapshot(x=held), at)
    return None if debounce.due_at == float("inf") else debounce.due_at


@pytest.mark.parametrize(
    ("seen", "due"),
    [
        pytest.param((), None, id="nothing changed"),
        pytest.param(((5.0, "a"),), None, id="the same content again"),
        pytest.param(((5.0, "b"),), 6.0, id="one change"),
        pytest.param(((5.0, "b"), (5.5, "b")), 6.0, id="looking again does not make it younger"),
        pytest.param(((5.0, "b"), (5.5, "c")), 6.5, id="another change begins the quiet anew"),
        pytest.param(((5.0, "b"), (5.5, "a")), None, id="a change taken back"),
        pytest.param(((5.0, "b"), (5.5, "a"), (9.0, "b")), 10.0, id="taken back, and there again"),
        pytest.param(tuple((5.0 + n * 0.9, f"b{n}") for n in range(8)), 8.0, id="never quiet: the longest wait"),
        pytest.param(((5.0, ""),), None, id="what is missing is as it was"),
        pytest.param(((5.0, "b"), (5.5, "")), None, id="and not as it was seen while it was being deleted"),
        pytest.param(((5.0, "?"),), None, id="what could not be read says nothing"),
    ],
)
def test_content_is_due_after_the_quiet_period_or_the_longest_wait(
    seen: tuple[tuple[float, str], ...], due: float | None
) -> None:
    assert due_at(1.0, 3.0, *seen) == due
    assert due_at(0.0, 3.0, (5.0, "b")) == 5.0, "without a quiet period at once"


def test_what_was_handed_on_is_due_again_when_it_comes_back() -> None:
    debounce = Debounce(0.0, 10.0)
    for at, held in enumerate("abab"):
        assert debounce.see(snapshot(x=held), float(at))
        assert debounce.due_at == at
        assert debounce.hand_on() == debounce.handed_on == combined({"x": held})
        assert debounce.due_at > at


def test_before_anything_is_there_is_no_content() -> None:
    debounce = Debounce(1.0, 10.0)
    assert not debounce.see(snapshot(x=""), 0.0)
    assert (debounce.present, debounce.has_content) == (None, False)


def test_at_the_start_a_part_that_is_not_there_yet_is_waited_for_but_not_for_ever() -> None:
    debounce = Debounce(1.0, 10.0, patient_until=10.0)
    assert not debounce.see(snapshot(x="a", y=""), 0.0)
    assert debounce.has_content
    assert debounce.look_at == 10.0
    assert debounce.see(snapshot(x="a", y=""), 10.0)
    assert debounce.present == combined({"x": "a"})
    early = Debounce(1.0, 10.0, patient_until=10.0)
    assert early.see(snapshot(x="a", y="b"), 1.0)
    assert early.present == combined({"x": "a", "y": "b"})


@pytest.mark.parametrize(
    ("pods", "most"),
    [
        ([f"web-{number}" for number in range(50)], 3),  # of a StatefulSet, evenly
        ([f"web-7d9f4c-{chr(97 + n % 26)}{n:03x}z" for n in range(50)], 6),
    ],
)
def test_pods_spread_over_the_span(pods: list[str], most: int) -> None:
    seconds = [int(splay_seconds(pod, 30.0)) for pod in pods]
    assert max(map(seconds.count, seconds)) <= most


@pytest.mark.parametrize("pod", ["web-0", "web-999999999", "web-7d9f4c-abcde", "x", "", "\udcff"])
def test_the_wait_lies_within_the_span_and_is_always_the_same(pod: str) -> None:
    assert 0.0 <= splay_seconds(pod, 7.0) == splay_seconds(pod, 7.0) < 7.0
    assert splay_seconds(pod, 0.0) == 0.0
