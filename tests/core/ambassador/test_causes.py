"""The list of causes is closed, short, and has a word for everything that kit.net may say."""

from sidecars.ambassador.core.causes import CONNECT_FAILURES, Cause, cause


def test_people_can_learn_the_causes() -> None:
    assert len(Cause) <= 25
    assert set(CONNECT_FAILURES) <= set(Cause)
    assert [cause(word) for word in ("refused", "ended", "tls_broken", "half_closed", "reset")] == [
        Cause.REFUSED,
        Cause.REFUSED,
        Cause.TLS_FAILED,
        Cause.IDLE,
        Cause.RESET,
    ]
