"""Metrics: names, labels, formats, and values that are looked up at the scrape."""

import pytest

from sidecars.runtime import Metrics
from sidecars.runtime.observe.metrics import expose


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
