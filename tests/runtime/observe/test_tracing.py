"""Tracing: nothing is loaded and nothing done without an endpoint."""

import json
import subprocess
import sys
from typing import Any

import pytest

from sidecars.runtime import Log
from sidecars.runtime.observe.logs import configure
from sidecars.runtime.observe.tracing import Tracing


@pytest.fixture(autouse=True)
def json_logs() -> None:
    configure()


def lines(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capfd.readouterr().err.splitlines()]


async def test_without_an_endpoint_tracing_does_nothing() -> None:
    tracing = Tracing("toy", {"OTEL_SERVICE_NAME": "x"}, Log("toy"))
    with tracing.tracer("toy").start_as_current_span("work") as span:
        assert not span.is_recording()
        span.set_attribute("records", 1)
        span.record_exception(ValueError("no"))
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
