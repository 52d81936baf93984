"""When a lease is renewed, when it is replaced, and that there is time for it."""

import pytest

from sidecars.secret_sync.core.lease import LEAST_GRACE_SECONDS, Lease, due


def lease(duration: float, spread: float = 0.5, *, renewable: bool = True) -> Lease:
    return Lease("l", 1, 0.0, duration, renewable, spread)


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0])
def test_a_renewal_is_due_at_70_to_73_percent_and_a_replacement_in_the_grace(spread: float) -> None:
    at, replacing = due(lease(100, spread), 1e9)
    assert 70.0 <= at <= 73.4
    assert not replacing
    assert 80.0 <= lease(100, spread).replace_at(1e9) <= 90.0


@pytest.mark.parametrize("duration", [3.0, 5.0, 10.0, 15.0])
def test_a_short_lease_keeps_time_to_log_in_read_and_publish(duration: float) -> None:
    shortest = lease(duration, 0.0)
    assert shortest.grace == pytest.approx(min(LEAST_GRACE_SECONDS, duration / 5))
    assert shortest.renew_at() < shortest.replace_at(1e9) < shortest.ends


def test_a_lease_that_cannot_be_renewed_is_replaced_at_85_to_95_percent() -> None:
    assert due(lease(100, 0.0, renewable=False), 1e9) == (85.0, True)
    assert due(lease(100, 1.0, renewable=False), 1e9) == (95.0, True)


def test_a_lease_ends_with_its_token() -> None:
    assert lease(100).replace_at(50.0) < 50.0


def test_near_the_maximum_a_lease_is_replaced_and_not_renewed_for_ever() -> None:
    capped = lease(100).renewed(100, 70.0).renewed(12, 140.0)
    assert capped.is_capped
    assert due(capped, 1e9)[1]
    assert lease(100).renewed(0, 70.0) == lease(100)
