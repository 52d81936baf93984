"""What is seen from outside without a process: log lines, metrics, tracing."""

import json
import logging
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from sidecars.runtime import Log, Metrics
from sidecars.runtime.observe.logs import JsonFormatter, PeopleFormatter, configure, encode_json
from sidecars.runtime.observe.metrics import expose
from sidecars.runtime.observe.tracing import Tracing


@pytest.fixture(autouse=True)
def json_logs() -> None:
    configure()


def lines(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capfd.readouterr().err.splitlines()]


def test_a_line_has_its_fields_in_order_and_the_extra_ones(capfd: pytest.CaptureFixture[str]) -> None:
    Log("log-shipper").info("shipped the batch", action="bulk.done", records=5)
    (line,) = lines(capfd)
    assert list(line) == ["time", "level", "sidecar", "action", "message", "records"]
    assert line["time"].endswith("Z")
    assert len(line["time"]) == len("2026-01-01T00:00:00.000Z")
    assert (line["level"], line["action"], line["records"]) == ("info", "bulk.done", 5)


def test_an_error_is_one_line_with_its_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="cannot read") as caught:
        raise ValueError("cannot read\nthis")
    Log("toy").error("failed", action="x.failed", error=caught.value)
    (line,) = lines(capfd)
    assert line["error"] == "ValueError: cannot read\nthis"
    assert "test_seen.py" in line["traceback"]


def test_a_field_cannot_take_the_place_of_a_fixed_one(capfd: pytest.CaptureFixture[str]) -> None:
    Log("toy").info("text", action="x.done", time="never", level=3)
    (line,) = lines(capfd)
    assert (line["field_time"], line["field_level"], line["level"]) == ("never", 3, "info")


def test_the_level_of_one_sidecar_is_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    quiet, loud = Log("quiet", "error"), Log("loud", "info")
    quiet.warning("no", action="x")
    loud.info("yes", action="x")
    assert [line["sidecar"] for line in lines(capfd)] == ["loud"]


def test_a_library_warning_has_the_same_shape_and_its_info_is_left_out(capfd: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("some.library").info("chatter")
    logging.getLogger("some.library").warning("slow %s", "node")
    (line,) = lines(capfd)
    assert (line["action"], line["message"], line["level"]) == ("library.some.library", "slow node", "warning")


def test_a_repeated_line_is_held_back_and_counted(capfd: pytest.CaptureFixture[str]) -> None:
    at = 0.0
    log = Log("toy", clock=lambda: at)
    for at in (0.0, 1.0, 29.0, 30.0, 31.0):
        log.warning("still away", action="remote.away", every_seconds=30)
        log.warning("another", action=f"other.{at}", every_seconds=30)
    found = [line for line in lines(capfd) if line["action"] == "remote.away"]
    assert [line.get("held_back") for line in found] == [None, 2]


@pytest.mark.parametrize("value", [{"path": "caf\udce9"}, {"x": object()}, {"n": float("nan")}, {1: {2: b"x"}}])
def test_anything_can_be_logged(value: dict[Any, Any]) -> None:
    assert json.loads(encode_json(value)) is not None
    record = logging.LogRecord("x", logging.INFO, "", 0, "m\udce9", (), None)
    record.fields = value
    assert json.loads(JsonFormatter().format(record))["level"] == "info"


def told(level: int, message: str, **fields: object) -> str:
    record = logging.LogRecord("x", level, "", 0, message, (), None)
    record.fields = fields
    record.action = "toy.done"
    return PeopleFormatter().format(record)


def test_a_line_for_people_is_short_and_cannot_steer_the_terminal() -> None:
    line = told(logging.INFO, "done\x1b[2J", records=5, path="/a b", name="x\ny", odd="caf\udce9")
    assert re.fullmatch(r"\d\d:\d\d:\d\d info .*", line)
    assert line[9:] == r"info done\x1b[2J (toy.done records=5 path='/a b' name='x\ny' odd='caf\udce9')"


LOUD = """
from sidecars.runtime import Log
from sidecars.runtime.observe.logs import configure
configure()
try:
    raise ValueError("cannot read this")
except ValueError as error:
    Log("toy").error("failed", action="toy.failed", error=error)
"""


def test_lines_are_for_people_at_a_terminal_only() -> None:
    ours, theirs = os.openpty()
    try:
        subprocess.run([sys.executable, "-c", LOUD], stderr=theirs, check=True)
        shown = os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert "error failed (toy.failed error='ValueError: cannot read this')\r\nTraceback" in shown
    piped = subprocess.run([sys.executable, "-c", LOUD], stderr=subprocess.PIPE, check=True)
    assert json.loads(piped.stderr)["action"] == "toy.failed"


def text_of(metrics: Metrics, accept: str = "") -> str:
    return expose(metrics.registry, accept)[0].decode()


def test_names_follow_the_rule_and_closed_labels_start_at_zero() -> None:
    metrics = Metrics("log-shipper")
    metrics.counter("retries_total", "Retries.", {"reason": ("429", "cut"), "node": ("a",)})
    metrics.gauge("in_flight_bytes", "Bytes.").set(3)
    text = text_of(metrics)
    assert 'sidecar_log_shipper_retries_total{node="a",reason="429"} 0.0' in text
    assert 'sidecar_log_shipper_retries_total{node="a",reason="cut"} 0.0' in text
    assert "sidecar_log_shipper_in_flight_bytes 3.0" in text
    assert 'sidecar="log-shipper"' in text
    assert "process_cpu_seconds_total" in text
    assert "_created" not in text
    assert "python_gc" not in text


def test_open_metrics_is_given_to_who_asks() -> None:
    body, content_type = expose(Metrics("toy").registry, "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    assert b"_created" not in body


def test_the_same_name_is_the_same_metric_and_never_another_kind() -> None:
    metrics = Metrics("toy")
    assert metrics.counter("x", "X.") is metrics.counter("x_total", "X.")
    with pytest.raises(TypeError, match="cannot make a Gauge called sidecar_toy_x"):
        metrics.gauge("x", "X.")


def test_values_can_be_looked_up_at_the_scrape() -> None:
    from prometheus_client.core import GaugeMetricFamily

    metrics, lag = Metrics("toy"), 1.0
    metrics.collector("lag", lambda: [GaugeMetricFamily(metrics.name("lag_bytes"), "Lag.", value=lag)])
    lag = 2.0
    assert "sidecar_toy_lag_bytes 2.0" in text_of(metrics)


async def test_without_an_endpoint_tracing_does_nothing() -> None:
    tracing = Tracing("toy", {"OTEL_SERVICE_NAME": "x"}, Log("toy"))
    with tracing.tracer("toy").start_as_current_span("work") as span:
        assert not span.is_recording()
        span.set_attribute("records", 1)
        span.record_exception(ValueError("no"))
    tracing.tracer("toy").start_span("work").end()
    await tracing.flush(1)


PROBE = """
import sys
from sidecars.runtime import Log
from sidecars.runtime.observe.logs import configure
from sidecars.runtime.observe.tracing import Tracing
configure()
sys.modules.update({name: None for name in sys.argv[2:]})
Tracing("toy", {"OTEL_EXPORTER_OTLP_ENDPOINT": sys.argv[1]} if sys.argv[1] else {}, Log("toy"))
print([name for name in ("opentelemetry", "yaml", "argparse.x", "requests") if sys.modules.get(name)])
"""


def probe(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", PROBE, *words], capture_output=True, text=True, check=True)


def test_heavy_libraries_are_not_imported_without_need() -> None:
    assert probe("").stdout == "[]\n"


def test_a_missing_sdk_is_one_warning() -> None:
    done = probe("http://127.0.0.1:1", "opentelemetry.sdk", "opentelemetry.exporter")
    (line,) = done.stderr.splitlines()
    assert json.loads(line)["action"] == "tracing.unavailable"
