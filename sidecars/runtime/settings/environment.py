"""The environment of this process: what of it is ours to read, and what is for the app.

Exists because a container often gets the variables of its app as well (one ConfigMap or Secret with `envFrom` for all
containers of a pod), and the libraries that we use read some of them by themselves: to write into the app's folder, or
not to start at all. So those are taken out before a library is imported. What we start ourselves (a command, or the
program that wait-for becomes) gets every variable as it was given.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

IGNORED = {
    # files that a library would write: the app's own, in a folder that may not even be here
    "PROMETHEUS_MULTIPROC_DIR": "prometheus_client",
    "prometheus_multiproc_dir": "prometheus_client",
    "SSLKEYLOGFILE": "ssl, urllib3",  # and the keys of our connections in it
    # how the app's metrics look
    "PROMETHEUS_DISABLE_CREATED_SERIES": "prometheus_client",
    "PROMETHEUS_LEGACY_NAME_VALIDATION": "prometheus_client",
    # plug-ins that the app has installed, and we have not
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "opentelemetry",
    "OTEL_PROPAGATORS": "opentelemetry",
    "OTEL_PYTHON_CONTEXT": "opentelemetry",
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER": "opentelemetry",
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER": "opentelemetry",
    "OTEL_PYTHON_ID_GENERATOR": "opentelemetry",
    "OTEL_PYTHON_LOGGER_PROVIDER": "opentelemetry",
    "OTEL_PYTHON_METER_PROVIDER": "opentelemetry",
    "OTEL_PYTHON_TRACER_PROVIDER": "opentelemetry",
    "OTEL_PYTHON_INSTRUMENTATION_ELASTICSEARCH_CAPTURE_SEARCH_QUERY": "elasticsearch",
    "OTEL_PYTHON_INSTRUMENTATION_ELASTICSEARCH_ENABLED": "elasticsearch",
    "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "opentelemetry",
    "DISABLE_WARN_STACKLEVEL": "elasticsearch",
    # credentials and certificates of the app's own requests (OTEL_EXPORTER_OTLP_CERTIFICATE is the one for traces)
    "CURL_CA_BUNDLE": "requests",
    "NETRC": "requests, aiohttp",
    "REQUESTS_CA_BUNDLE": "requests",
    # switches for the libraries' own builds and tests: slower, or broken
    "AIOHTTP_NO_EXTENSIONS": "aiohttp",
    "AIOHTTP_NOSENDFILE": "aiohttp",
    "FROZENLIST_NO_EXTENSIONS": "frozenlist",
    "MULTIDICT_NO_EXTENSIONS": "multidict",
    "PROPCACHE_NO_EXTENSIONS": "propcache",
    "YARL_NO_EXTENSIONS": "yarl",
    "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "protobuf",
    "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION_VERSION": "protobuf",
    "TEMPORARILY_DISABLE_PROTOBUF_VERSION_CHECK": "protobuf",
    "PYTHONASYNCIODEBUG": "asyncio, aiohttp",
    "READTHEDOCS": "asyncinotify",
    # how the app watches its files
    "WATCHFILES_CHANGES": "watchfiles",
    "WATCHFILES_DEBUG": "watchfiles",
    "WATCHFILES_FORCE_POLLING": "watchfiles",
    "WATCHFILES_IGNORE_PERMISSION_DENIED": "watchfiles",
    "WATCHFILES_POLL_DELAY_MS": "watchfiles",
}
"""Variables that are not for us, each with the library that would heed it. docs/settings.md lists them."""

_given: dict[str, str] = {}  # as it was, of each variable that was taken out or shortened


def settle() -> None:
    """Take out what is not for us, and the newline at the end of many a variable from a Secret. To be called before any
    library is imported.
    """
    for name, text in list(os.environ.items()):
        if name in IGNORED:
            _given[name] = os.environ.pop(name)
        elif text.endswith(("\n", "\r")):
            _given[name] = text
            os.environ[name] = text.rstrip("\r\n")


def restore() -> None:
    """Put everything back: this process is about to become another program."""
    os.environ.update(_given)


def ignored() -> list[str]:
    """Return the names of what was taken out."""
    return sorted(_given.keys() & IGNORED.keys())


def settled_environment() -> Mapping[str, str]:
    """Return the variables that settings, ours and those of libraries, are read from."""
    return os.environ


def process_environment() -> Mapping[str, str]:
    """Return the variables as this process was given them: for commands that we start, and for templates."""
    return {**os.environ, **_given}


@contextmanager
def without_certificates() -> Iterator[None]:
    """Hide the system's CA certificates from the import of a library, which would load them."""
    ours = ("SSL_CERT_FILE", "SSL_CERT_DIR")
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(dict.fromkeys(ours, os.devnull))
    try:
        yield
    finally:
        for name, text in before.items():
            if text is None:
                del os.environ[name]
            else:
                os.environ[name] = text
