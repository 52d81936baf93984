"""One of two sidecars in a process crashes or hangs: the other does not notice, and people do."""

import pytest

from tests.scenarios.together.pair import PairStage, settled


def test_the_shipper_goes_on_while_the_reloader_is_away_and_what_happened_meanwhile_is_told(stage: PairStage) -> None:
    broken = stage.mark("broken-config-reloader")
    pair = stage.unsound().start(wait=False)
    pair.until(lambda: pair.crashes("config-reloader"), "the crash")
    stage.ships(pair)
    assert pair.ask("/startupz") == (503, "not started: config-reloader\n")
    pair.until(lambda: pair.conditions()["config-reloader/main"] == "failing", "/readyz to say so")
    assert pair.ask("/readyz")[0] == 503
    assert pair.conditions()["log-shipper/main"] == "ok"
    broken.unlink()
    stage.begun(pair)
    assert pair.ask("/readyz")[0] == 200
    crashed = pair.crashes("config-reloader")
    assert pair.restarts("config-reloader") == crashed
    stage.changes(pair)
    broken = stage.mark("broken-config-reloader")
    assert pair.ask("/config-reloader/crash", "POST")[0] == 200
    pair.until(lambda: pair.crashes("config-reloader") >= crashed + 2, "the crash, and one more at its start")
    status, text = pair.ask("/config-reloader/reload", "POST")
    assert (status, "crashed and has not been started again" in text) == (503, True)
    assert pair.whole()["config-reloader"] == {}
    assert pair.ask("/startupz")[0] == 200  # what has started has started
    stage.change()
    stage.ships(pair)
    broken.unlink()
    pair.until(lambda: len(stage.reload.told) > 1, "what was missed to be told")
    pair.until(lambda: settled(pair), "the end of it")
    assert len(stage.reload.told) == 2
    assert pair.crashes("log-shipper") == pair.restarts("log-shipper") == 0
    stage.shipping.expect(pair, stage.writer.written)


def test_the_reloader_goes_on_while_the_shipper_is_away_and_no_line_is_lost(stage: PairStage) -> None:
    """Bytes that were in flight are read again, and are not counted as if they were others; a hold from before is not
    shown for ever. (Each look at the metrics is held to the law of the books.)
    """
    pair = stage.begun(stage.unsound().start())
    stage.ships(pair)
    stage.shipping.backend.faults(request_status=403)
    for crash in range(1, 3):
        broken = stage.mark("broken-log-shipper")
        stage.writer.write(3000)
        pair.until(lambda: pair.metric("in_flight_bytes") > 0, "lines in flight")
        if crash == 1:
            pair.until(lambda: pair.metric("delivery_held") == 1, "the hold to show")
        assert pair.ask("/log-shipper/crash", "POST")[0] == 200
        pair.until(lambda crash=crash: pair.crashes("log-shipper") >= crash, "the crash")  # type: ignore[misc]
        stage.writer.write(100)
        stage.changes(pair)
        stage.shipping.backend.faults()
        broken.unlink()
        stage.begun(pair)
        stage.shipping.until_documents(pair, len(stage.writer.written))
        pair.until_caught_up()
        assert pair.metric("delivery_held") == pair.metric("in_flight_bytes") == pair.metric("lag_bytes") == 0
        assert pair.metric("open_files") == 1
        assert pair.series()
        stage.shipping.backend.faults(blocked=True)
    stage.shipping.backend.faults()
    assert pair.crashes("config-reloader") == pair.restarts("config-reloader") == 0
    assert pair.ask("/readyz")[0] == 200
    stage.shipping.expect(pair, stage.writer.written)


def test_a_reloader_that_hangs_at_its_end_takes_nothing_from_the_shipper(stage: PairStage) -> None:
    """Lines that the app writes meanwhile are shipped as well: the shipper has not been asked to stop yet."""
    stage.mark("hangs-config-reloader")
    pair = stage.begun(stage.unsound(grace_seconds=0.5).start())
    pair.signal(15)
    pair.until(lambda: pair.logged("stop.requested"), "the stop")
    stage.writer.write(2000)
    assert pair.wait() == 0
    (overrun,) = pair.logged("stop.overrun")
    assert (overrun["sidecar"], overrun["grace_seconds"]) == ("config-reloader", 0.5)
    assert pair.logged("stop.drained")
    stage.shipping.assert_balanced(stage.writer.written)


def test_a_shipper_that_hangs_at_its_end_leaves_the_other_its_time(stage: PairStage) -> None:
    """Named last it stops first; 2 s in all are shared: 1 s each, so that the whole process keeps to its grace."""
    stage.mark("hangs-config-reloader")
    stage.mark("hangs-log-shipper")
    pair = stage.unsound(grace_seconds=2)
    pair.settings["grace_seconds"] = 2
    stage.begun(pair.start())
    assert pair.terminate() == 0
    overruns = {line["sidecar"]: line["grace_seconds"] for line in pair.logged("stop.overrun")}
    assert list(overruns) == ["config-reloader", "log-shipper"]
    assert overruns["config-reloader"] == pytest.approx(1, abs=0.3)
    assert sum(overruns.values()) <= 2.001
