"""What is not shipped is said with the reason and the remedy."""

import pytest

from sidecars.log_shipper.core.reach import Identity, Owned, Reach, Unmatched, said

US = Identity(65532, 65532)
PRIVATE = Owned("/logs/app", 0o700, 1000, 1001)
NOTHING = Reach((), (), US)
THERE = Unmatched("/logs/*.log", "/logs", there=True)
GONE = Unmatched("/log/*.log", "/log", there=False)
BEHIND = Unmatched("/logs/app/*.log", "/logs/app", there=False)


def test_nothing_is_said_when_everything_is_reached() -> None:
    assert said(NOTHING) == ""


SAID: dict[str, tuple[Reach, list[str], list[str]]] = {
    "a folder without such files": (Reach((THERE,), (), US), ["/logs/*.log", "/logs is there"], []),
    "no such folder": (Reach((GONE,), (), US), ["/log/*.log", "no folder /log;", "mount"], []),
    "a folder that cannot be entered": (
        Reach((BEHIND,), (PRIVATE,), US),
        ["enter the folder /logs/app", "0700", "1000:1001", "65532:65532", "fsGroup", "runAsUser"],
        ["no file matches"],
    ),
    "beside one that can": (Reach((THERE,), (PRIVATE,), US), ["/logs/app", "/logs/*.log"], []),
    "a file": (Reach((), (), US, (Owned("/logs/a.log", 0o600, 0, 0),)), ["read /logs/a.log", "0600", "0:0"], ["enter"]),
    "many": (Reach((), (), US, tuple(Owned(f"/{n}.log", 0, 0, 0) for n in range(9))), ["/0.log", "/2.log"], ["/3.log"]),
}


@pytest.mark.parametrize(("reach", "words", "others"), SAID.values(), ids=SAID.keys())
def test_it_is_said_with_reason_and_remedy(reach: Reach, words: list[str], others: list[str]) -> None:
    text = said(reach)
    assert [word for word in words if word not in text] == []
    assert [word for word in others if word in text] == []
