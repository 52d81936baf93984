"""What the states of all targets amount to, and how that is said."""

import pytest

from sidecars.wait_for.core.wait_state import End, WaitState


def state(*states: str, any_suffices: bool = False) -> WaitState:
    """`r` is ready, `h` hopeless, `w` waiting."""
    made = WaitState(tuple(f"tcp://{place}:1" for place in range(len(states))), any_suffices=any_suffices)
    for place, one in enumerate(states):
        if one == "r":
            made.ready(place)
        elif one == "h":
            made.hopeless(place, "never")
        else:
            made.blocked(place, "connection refused")
    return made


ENDS = [
    ("rrr", End.READY, End.READY),
    ("rrw", None, End.READY),
    ("www", None, None),
    ("wwh", End.HOPELESS, None),
    ("rwh", End.HOPELESS, End.READY),
    ("hhh", End.HOPELESS, End.HOPELESS),
]


@pytest.mark.parametrize(("states", "of_all", "of_any"), ENDS)
def test_what_the_states_amount_to(states: str, of_all: End | None, of_any: End | None) -> None:
    assert state(*states).end() is of_all
    assert state(*states, any_suffices=True).end() is of_any


def test_the_progress_names_what_still_blocks_and_why() -> None:
    line = state("r", "w", "w").progress(10.4)
    assert line == (
        "still waiting after 10 s for 2 of 3: tcp://1:1 (connection refused), tcp://2:1 (connection refused)"
    )
    assert "for one of 2: tcp://0:1" in state("w", "w", any_suffices=True).progress(1)


def test_the_end_is_explained() -> None:
    assert state("w", "r").explanation(End.TIMED_OUT, 300.0) == (
        "cannot go on: timed out after 300 s waiting for 1 of 2: tcp://0:1 (connection refused)"
    )
    assert state("w").explanation(End.INTERRUPTED, 1234.56).startswith("cannot go on: interrupted after 1234.6 s")
    explained = state("w", "h").explanation(End.HOPELESS, 0.0)
    assert "tcp://1:1 (never)" in explained
    assert "tcp://0:1" not in explained


def test_what_comes_from_the_other_side_is_one_short_printable_line() -> None:
    made = state("w")
    made.blocked(0, "a\nb\x1b[2J" + "x" * 1000)
    assert made.progress(0).isprintable()
    assert len(made.progress(0)) < 300
