"""When content counts as stable: a quiet period with an upper bound, and what is taken back is not told."""

import pytest

from sidecars.config_reloader.core.settling import Settling


def settled_at(quiet: float, max_wait: float, *seen: tuple[float, str]) -> float | None:
    """When the last content is due; the content `a` was told before."""
    settling = Settling(quiet, max_wait)
    settling.seen("a", 0.0)
    settling.hand_on()
    for at, digest in seen:
        settling.seen(digest, at)
    return settling.due_at()


@pytest.mark.parametrize(
    ("seen", "due_at"),
    [
        pytest.param((), None, id="nothing changed"),
        pytest.param(((5.0, "a"),), None, id="the same content again"),
        pytest.param(((5.0, "b"),), 6.0, id="one change"),
        pytest.param(((5.0, "b"), (5.5, "b")), 6.0, id="looking again does not make it younger"),
        pytest.param(((5.0, "b"), (5.5, "c")), 6.5, id="another change begins the quiet anew"),
        pytest.param(((5.0, "b"), (5.5, "a")), None, id="a change taken back"),
        pytest.param(((5.0, "b"), (5.5, "a"), (9.0, "b")), 10.0, id="taken back, and there again"),
        pytest.param(tuple((5.0 + n * 0.9, f"b{n}") for n in range(8)), 8.0, id="never quiet: the longest wait"),
    ],
)
def test_content_is_due_after_the_quiet_period_or_the_longest_wait(
    seen: tuple[tuple[float, str], ...], due_at: float | None
) -> None:
    assert settled_at(1.0, 3.0, *seen) == due_at


def test_without_a_quiet_period_a_change_is_due_at_once() -> None:
    assert settled_at(0.0, 3.0, (5.0, "b")) == 5.0


def test_what_was_handed_on_is_not_due_again() -> None:
    settling = Settling(1.0, 10.0)
    settling.seen("a", 0.0)
    settling.hand_on()
    assert settling.due_at() is None
    assert settling.told == "a"


def test_a_refused_content_is_due_again_when_it_comes_back() -> None:
    settling = Settling(0.0, 10.0)
    for at, digest in enumerate("abab"):
        assert settling.seen(digest, float(at))
        assert settling.due_at() == at
        settling.hand_on()
