"""A cancel goes where the session with this very key is, or nowhere."""

from sidecars.ambassador.core.cancelling import CancelKeys

PID = b"\0\0\0\7"


def test_the_whole_key_decides_since_process_ids_are_the_same_on_many_nodes() -> None:
    keys: CancelKeys[str] = CancelKeys()
    keys.remember(PID + b"aaaa", "node 1")
    keys.remember(PID + bytes(32), "node 2")
    keys.remember(b"", "node 3")
    assert keys.place(PID + b"aaaa") == "node 1"
    assert keys.place(PID + bytes(32)) == "node 2"
    assert [keys.place(key) for key in (PID + b"aaab", PID, b"")] == [None] * 3


def test_what_has_ended_is_forgotten_unless_another_session_has_the_key_now() -> None:
    keys: CancelKeys[str] = CancelKeys()
    keys.remember(PID, "node 1")
    keys.remember(PID, "node 2")
    keys.forget(PID, "node 1")
    assert keys.place(PID) == "node 2"
    keys.forget(PID, "node 2")
    assert len(keys) == 0
