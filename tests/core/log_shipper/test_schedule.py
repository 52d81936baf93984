"""When to look and when to hand on: as tables, on a clock of numbers."""

import pytest

from sidecars.log_shipper.core.schedule import POLL_SECONDS, ReadSchedule, Scan, is_hot


def scanned(took: float, *, polling: bool = False) -> ReadSchedule:
    """A scan began at 100 and took so long."""
    schedule = ReadSchedule(batch_seconds=0.5)
    schedule.scanned(100.0, 100.0 + took, Scan.ALL, polling=polling)
    return schedule


def test_the_first_step_scans() -> None:
    assert ReadSchedule(0.5).scan_due(0.0, names_changed=False) is Scan.ALL


@pytest.mark.parametrize(
    ("took", "polling", "pause"),
    [(0.001, False, 2.0), (0.001, True, 0.5), (0.1, False, 20.0), (0.1, True, 0.5), (5.0, False, 30.0)],
)
def test_the_longer_a_scan_takes_the_rarer_it_is(took: float, polling: bool, pause: float) -> None:
    schedule = scanned(took, polling=polling)
    assert schedule.scan_due(100.0 + pause - 0.01, names_changed=False) is Scan.NONE
    assert schedule.scan_due(100.0 + pause + 0.2, names_changed=False) is Scan.ALL


@pytest.mark.parametrize(("took", "pause"), [(0.001, 0.01), (0.02, 0.2), (0.2, 0.5), (3.0, 0.5)])
def test_new_names_are_looked_at_within_a_second_but_not_all_the_time(took: float, pause: float) -> None:
    schedule = scanned(took)
    end = 100.0 + took
    assert schedule.scan_due(end + pause * 0.9, names_changed=True) is Scan.NONE
    assert schedule.scan_due(end + pause * 1.1, names_changed=True) is Scan.NAMES
    assert schedule.next_at(end, hot=False, has_room=True, names_changed=True) == pytest.approx(end + pause)


def test_what_a_scan_could_not_do_is_tried_again_soon() -> None:
    schedule = scanned(0.001)
    schedule.scan_soon(100.5)
    assert schedule.next_at(100.5, hot=False, has_room=True, names_changed=False) == 100.5 + POLL_SECONDS
    assert schedule.scan_due(100.5 + POLL_SECONDS, names_changed=False) is Scan.NAMES
    schedule.scanned(100.6, 100.61, Scan.NAMES, polling=False)
    assert schedule.scan_due(101.9, names_changed=False) is Scan.NONE
    assert schedule.scan_due(102.0, names_changed=False) is Scan.ALL, "a look at the names puts nothing else off"


def test_a_hot_file_is_polled_and_without_room_all_files_are_looked_at_now_and_then() -> None:
    schedule = scanned(0.001)
    assert schedule.next_at(100.1, hot=True, has_room=True, names_changed=False) == 100.1 + POLL_SECONDS
    assert schedule.next_at(100.1, hot=True, has_room=False, names_changed=False) == pytest.approx(100.6)
    assert schedule.next_at(100.1, hot=False, has_room=True, names_changed=False) == pytest.approx(102.0)
    assert is_hot(100.0, 100.9)
    assert not is_hot(100.0, 101.1)


def test_all_open_files_are_looked_at_when_the_kernel_told_of_a_write_and_twice_a_second() -> None:
    schedule = scanned(0.001)
    assert not schedule.must_refresh_all(100.1, told=False)
    assert schedule.must_refresh_all(100.1, told=True)
    assert not schedule.must_refresh_all(100.5, told=False)
    assert schedule.must_refresh_all(100.7, told=False)


def test_closed_files_are_looked_at_only_when_something_happens() -> None:
    assert ReadSchedule.share_of_closed(told=False, hot=False) == 0.0
    assert ReadSchedule.share_of_closed(told=True, hot=False) == 1.0
    polls_a_second = 1 / POLL_SECONDS
    assert 1.0 < ReadSchedule.share_of_closed(told=True, hot=True) * polls_a_second < 2.0


def test_a_batch_waits_for_company_but_not_for_ever() -> None:
    schedule = scanned(0.001)
    assert not schedule.must_flush(1e9)
    schedule.flushed(100.0)
    assert not schedule.must_flush(1e9)
    schedule.batch_begun(100.2)
    assert not schedule.must_flush(100.4)
    assert schedule.must_flush(100.5)
    assert schedule.next_at(100.2, hot=False, has_room=True, names_changed=False) == 100.5


@pytest.mark.parametrize(("batch_seconds", "waits_seconds"), [(0.5, 0.05), (60.0, 0.05), (0.01, 0.01), (0.0, 0.0)])
def test_the_first_batch_after_a_pause_hardly_waits(batch_seconds: float, waits_seconds: float) -> None:
    schedule = ReadSchedule(batch_seconds)
    schedule.flushed(100.0)
    schedule.batch_begun(200.0)
    assert not schedule.must_flush(199.99 + waits_seconds)
    assert schedule.must_flush(200.01 + waits_seconds)
