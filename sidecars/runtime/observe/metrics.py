"""Metrics of one sidecar in a registry of our own, under the names `sidecar_<sidecar>_<what>`.

Our own registry because the library's global one carries whatever any imported package registers; and a label with a
closed list of values gets all its series at once, at zero, so that rates and alerts see the very first increment.
"""

import itertools
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from sidecars import __version__

Labels = Sequence[str] | Mapping[str, Sequence[str]]  # names only, or names with their closed lists of values
M = TypeVar("M", bound=MetricWrapperBase)


class _Scraped(Collector):
    """A function asked at each scrape."""

    def __init__(self, scrape: Callable[[], Iterable[Metric]]) -> None:
        self._scrape = scrape

    def collect(self) -> Iterable[Metric]:
        return self._scrape()


def new_registry(sidecars: Iterable[str]) -> CollectorRegistry:
    """Return the registry of this process: its CPU, memory and descriptors, and `sidecar_build_info` for each sidecar
    in it.
    """
    disable_created_metrics()  # type: ignore[no-untyped-call]  # doubles the number of series and says nothing that a counter's reset does not
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    build = Gauge(
        "sidecar_build_info", "Always 1; the labels say what runs.", ("version", "sidecar", "python"), registry=registry
    )
    for sidecar in sidecars:
        build.labels(__version__, sidecar, platform.python_version()).set(1)
    return registry


def expose(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """Return the body and content type of a scrape: Prometheus text, or OpenMetrics when the Accept header asks for
    it.
    """
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class Metrics:
    """Makes the metrics of one sidecar. Asking again for the same name returns the same metric."""

    def __init__(self, sidecar: str, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else new_registry([sidecar])
        self._prefix = f"sidecar_{sidecar.replace('-', '_')}_"
        self._made: dict[str, MetricWrapperBase] = {}
        self._scraped: dict[str, _Scraped] = {}

    def name(self, what: str) -> str:
        """Return the full name of a metric."""
        return self._prefix + what

    def counter(self, what: str, doc: str, labels: Labels = ()) -> Counter:
        """Return a counter; its exposed name ends in `_total` whether or not `what` does."""
        return self._once(
            Counter,
            what.removesuffix("_total"),
            lambda name: Counter(name, doc, tuple(labels), registry=self.registry),
            labels,
        )

    def gauge(self, what: str, doc: str, labels: Labels = ()) -> Gauge:
        """Return a gauge."""
        return self._once(Gauge, what, lambda name: Gauge(name, doc, tuple(labels), registry=self.registry), labels)

    def histogram(
        self, what: str, doc: str, labels: Labels = (), *, buckets: Sequence[float] = Histogram.DEFAULT_BUCKETS
    ) -> Histogram:
        """Return a histogram with these upper bounds."""
        return self._once(
            Histogram,
            what,
            lambda name: Histogram(name, doc, tuple(labels), buckets=buckets, registry=self.registry),
            labels,
        )

    def collector(self, key: str, scrape: Callable[[], Iterable[Metric]]) -> None:
        """Have `scrape` called at each scrape, for values cheaper to look up than to keep (names by `Metrics.name`). A
        sidecar that was started again replaces its former one by the same key.
        """
        if former := self._scraped.pop(key, None):
            self.registry.unregister(former)
        self._scraped[key] = _Scraped(scrape)
        self.registry.register(self._scraped[key])

    def _once(self, kind: type[M], what: str, make: Callable[[str], M], labels: Labels) -> M:
        found = self._made.get(what)
        if found is None:
            found = self._made[what] = make(self.name(what))
            if isinstance(labels, Mapping):
                for values in itertools.product(*labels.values()):
                    found.labels(*values)
        if not isinstance(found, kind):
            raise TypeError(
                f"cannot make a {kind.__name__} called {self.name(what)}: it exists as a {type(found).__name__}"
            )
        return found
