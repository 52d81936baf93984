"""What an agent gets from the runtime, made of the real parts, for tests without a process."""

import msgspec

from sidecars.log_shipper.settings import LogShipperSettings
from sidecars.runtime import Context, Health, Log, Metrics, Stop
from sidecars.runtime.observe.admin import Admin
from sidecars.runtime.observe.health import Condition
from sidecars.runtime.observe.tracing import Tracing

NAME = "log-shipper"


def context(grace_seconds: float = 30.0, name: str = NAME) -> Context:
    """A context with real Stop, Health, Metrics and Log, without an admin server."""
    health, log = Health(), Log(name)
    tracer = Tracing(name, {}, log).tracer(name)
    return Context(name, Stop(grace_seconds), health, Metrics(name), log, tracer, Admin(name, health))


async def passes(seconds: float) -> None:
    """Let virtual time pass."""
    await Stop().pause(seconds)


def condition(ctx: Context, name: str) -> Condition:
    """One condition of the health."""
    return next(found for found in ctx.health.conditions if found.name == name)


def metric(ctx: Context, what: str, **labels: str) -> float:
    """The value of a metric of the log shipper, by its name without the prefix."""
    value = ctx.metrics.registry.get_sample_value(f"sidecar_log_shipper_{what}", labels)
    assert value is not None, f"no metric {what} {labels}"
    return value


def settings(**given: object) -> LogShipperSettings:
    """Settings of the log shipper for Elasticsearch at an address that nobody uses."""
    usual: dict[str, object] = {"paths": ("/logs/*.log",), "elasticsearch_url": ("http://elasticsearch.invalid:9200",)}
    return msgspec.convert({**usual, **given}, LogShipperSettings)
