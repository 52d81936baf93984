"""The books over several lives of a shipper in one process, whose metrics live on: read = acknowledged + dead-lettered
+ in flight, and a byte in flight at a crash is the same byte when it is read again.
"""

import random

from sidecars.log_shipper.core.bulk import OUTCOMES, REJECT_TYPES, RETRY_REASONS
from sidecars.log_shipper.core.diagnosis import TROUBLE_REASONS
from sidecars.log_shipper.core.lines import Intake
from sidecars.log_shipper.core.notices import Notice
from sidecars.log_shipper.metrics import ShipperMetrics, every_metric
from sidecars.runtime import Context
from tests.support.context import context, metric


def books(ctx: Context) -> tuple[float, float, float, float]:
    """Read, acknowledged, dead-lettered, in flight; the law holds."""
    read, acknowledged, dead = (metric(ctx, f"{name}_bytes_total") for name in ("read", "acknowledged", "dead_letter"))
    in_flight = metric(ctx, "in_flight_bytes")
    assert read == acknowledged + dead + in_flight
    assert in_flight >= 0
    return read, acknowledged, dead, in_flight


def test_bytes_in_flight_at_a_crash_are_not_counted_as_read_twice() -> None:
    ctx = context()
    first = ShipperMetrics(ctx.metrics)
    first.taken(Intake(file_bytes=100))
    first.settled(30, 10)
    assert books(ctx) == (100, 20, 10, 70)
    second = ShipperMetrics(ctx.metrics)
    assert books(ctx) == (100, 20, 10, 70)
    second.taken(Intake(file_bytes=50))
    assert books(ctx) == (100, 20, 10, 70)
    second.taken(Intake(file_bytes=50))
    assert books(ctx) == (130, 20, 10, 100), "20 read again, 30 for the first time"
    second.settled(100, 0)
    assert books(ctx) == (130, 120, 10, 0)


def test_the_law_holds_over_any_number_of_crashes(rng: random.Random) -> None:
    ctx = context()
    for _ in range(50):
        metrics, held = ShipperMetrics(ctx.metrics), 0
        for _ in range(rng.randrange(20)):
            if rng.random() < 0.6:
                size = rng.randrange(1, 1000)
                metrics.taken(Intake(file_bytes=size))
                held += size
            else:
                size = rng.randrange(held + 1)
                metrics.settled(size, rng.randrange(size + 1))
                held -= size
            books(ctx)
            assert metric(ctx, "in_flight_bytes") >= held


def test_a_hold_ends_with_the_life_that_met_it() -> None:
    ctx = context()
    ShipperMetrics(ctx.metrics).held.set(1)
    ShipperMetrics(ctx.metrics)
    assert metric(ctx, "delivery_held") == 0


def test_what_an_alert_asks_for_is_there_before_its_first_event() -> None:
    """A counter that appears with its first event misses that event."""
    ctx = context()
    every_metric(ctx.metrics)
    for name, label, values in (
        ("retried_records_total", "reason", RETRY_REASONS),
        ("records_total", "outcome", OUTCOMES),
        ("rejected_records_total", "type", REJECT_TYPES),
        ("delivery_trouble", "reason", TROUBLE_REASONS),
        ("file_events_total", "event", [each.value for each in Notice]),
    ):
        assert {metric(ctx, name, **{label: value}) for value in values} == {0}
    for name in ("read_bytes_total", "in_flight_bytes", "open_files", "pinned_deleted_files", "checkpoint_age_seconds"):
        assert metric(ctx, name) == 0
    assert metric(ctx, "checkpoint_writable") == 1


def test_what_was_repaired_is_counted() -> None:
    ctx = context()
    repairs = ("cut_lines", "partial_records", "invalid_utf8_lines", "unparsed_lines", "skipped_nul_bytes")
    ShipperMetrics(ctx.metrics).taken(Intake(file_bytes=9, **{name: at for at, name in enumerate(repairs, 1)}))
    assert [metric(ctx, f"{name}_total") for name in repairs] == [1, 2, 3, 4, 5]
