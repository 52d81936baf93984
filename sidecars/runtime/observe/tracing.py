"""Tracing: by OpenTelemetry when an OTLP endpoint is configured, else by a tracer that does nothing.

The SDK with its exporter costs about 16 MiB once it runs, the API alone half a MiB. A process that exports nothing
loads neither.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from .logs import Log

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class Tracing:
    """Hands out tracers; with an endpoint configured also owns the SDK's provider."""

    def __init__(self, name: str, environ: Mapping[str, str], log: Log) -> None:
        wanted = any(environ.get(key) for key in _ENDPOINTS) and environ.get("OTEL_TRACES_EXPORTER") != "none"
        self._provider = _start_sdk(environ.get("OTEL_SERVICE_NAME") or name, log) if wanted else None

    def tracer(self, name: str) -> "Tracer":
        """Return the tracer of a sidecar; nothing comes of its spans when nothing is exported."""
        if self._provider is None:
            return cast("Tracer", Silent())
        tracer: Tracer = self._provider.get_tracer(f"sidecars.{name}")
        return tracer

    async def flush(self, timeout_seconds: float) -> None:
        """Send what is left, for at most this long; what is not sent by then is lost, as spans may be."""
        if self._provider is None:
            return
        flush: Callable[[int], object] = self._provider.force_flush
        sending = asyncio.get_running_loop().run_in_executor(None, flush, int(timeout_seconds * 1000))
        await asyncio.wait({sending}, timeout=timeout_seconds)


class Silent:
    """A tracer, and a span of it, as the API's own that do nothing."""

    @contextmanager
    def start_as_current_span(self, name: str, **options: object) -> Iterator["Silent"]:
        """Return a span that nobody sees."""
        del name, options
        yield self

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("_"):
            raise AttributeError(name)
        return _nothing  # set_attribute, add_event, record_exception, set_status, end ...


def _nothing(*_: object, **__: object) -> None:
    pass


def _start_sdk(name: str, log: Log) -> Any:
    """Make and register the SDK's provider, or return None with one warning when that is impossible."""
    try:
        provider = _provider(name)
    except ImportError as error:
        log.warning(
            "cannot export traces: the OpenTelemetry SDK is missing; install sidecars[otel] or unset the OTLP endpoint",
            action="tracing.unavailable",
            missing=error.name,
        )
        return None
    except (LookupError, OSError, RuntimeError, StopIteration, TypeError, ValueError) as error:
        # The variables may be meant for the app's SDK: that ours cannot use one is no reason not to work.
        log.warning(
            f"cannot export traces: {error}; correct that variable (OTEL_...), or unset the OTLP endpoint",
            action="tracing.unavailable",
        )
        return None
    return provider


def _provider(name: str) -> Any:
    # imported here: 16 MiB that only those pay who export; some variables are read by the import already
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    # No atexit hook: we flush ourselves, with a limit, and an endpoint that is away must not hold up the exit.
    provider = TracerProvider(resource=Resource.create({"service.name": name}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)  # global, so that libraries' own spans join ours
    return provider
