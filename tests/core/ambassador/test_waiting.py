"""The waiting room is bounded in places and time, and the limit in connections."""

from sidecars.ambassador.core.causes import Cause
from sidecars.ambassador.core.waiting import Limit, WaitingRoom


def test_who_finds_no_place_is_refused_at_once_and_a_place_that_is_left_is_free() -> None:
    room = WaitingRoom(2, 10.0)
    one, two, three = room.ticket(), room.ticket(), room.ticket()
    assert [room.enter(ticket, 0.0) for ticket in (one, two, three)] == [None, None, Cause.ROOM_FULL]
    room.leave(one, 1.0)
    assert room.enter(three, 1.0) is None
    assert room.waiting == 2


def test_the_time_of_a_ticket_adds_up_over_several_waits_and_then_it_ends() -> None:
    room = WaitingRoom(1, 10.0)
    ticket = room.ticket()
    for began, ended in ((0.0, 4.0), (100.0, 106.0)):
        assert room.enter(ticket, began) is None
        room.leave(ticket, ended)
    assert ticket.left_seconds == 0.0
    assert room.enter(ticket, 107.0) is Cause.NO_UPSTREAM


def test_the_limit_gives_as_many_places_as_it_has_and_any_number_for_zero() -> None:
    limit = Limit(1)
    assert [limit.take(), limit.take()] == [True, False]
    limit.give_back()
    assert limit.take()
    assert all(Limit(0).take() for _ in range(1000))
