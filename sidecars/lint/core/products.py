"""Programs that people run as sidecars, known by their image, name or command: what each one is, and how it behaves.

Exists because a container beside an app does not say what it is. Only what is certain is listed: a program that is not
here counts as an app, and no rule about sidecars looks at it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Job(StrEnum):
    """What a sidecar does for the app."""

    LOGS = "ships logs"
    CONFIG = "reloads the configuration"
    SECRETS = "fetches secrets"
    PROXY = "proxies connections"
    DATABASE = "is the database on localhost"
    TELEMETRY = "collects telemetry"
    SYNC = "fetches files"


@dataclass(frozen=True)
class Product:
    """A known program. `images`: pattern of the last part of an image's name. `ours`: one of this project.
    `once`: pattern of words in its command with which it ends by itself, as an init container has to.
    """

    name: str
    job: Job
    images: re.Pattern[str]
    ours: bool = False
    once: re.Pattern[str] | None = None


def _known(name: str, job: Job, images: str = "", *, once: str = "") -> Product:
    return Product(name, job, re.compile(images or re.escape(name)), once=re.compile(once) if once else None)


def _own(name: str, job: Job, once: str = "") -> Product:
    return Product(name, job, re.compile(re.escape(name)), ours=True, once=re.compile(once) if once else None)


PRODUCTS = (
    _own("log-shipper", Job.LOGS),
    _own("config-reloader", Job.CONFIG, once=r"--once"),
    _own("secret-sync", Job.SECRETS, once=r"--once"),
    _own("ambassador", Job.DATABASE),
    _known("fluent-bit", Job.LOGS, r"fluent-?bit.*"),
    _known("fluentd", Job.LOGS, r"fluentd.*"),
    _known("filebeat", Job.LOGS, r"filebeat.*"),
    _known("vector", Job.LOGS),
    _known("promtail", Job.LOGS),
    _known("logstash", Job.LOGS, r"logstash.*"),
    _known("configmap-reload", Job.CONFIG),
    _known("prometheus-config-reloader", Job.CONFIG),
    _known("k8s-sidecar", Job.CONFIG, once=r"\bMETHOD=LIST\b"),
    _known("vault-agent", Job.SECRETS, once=r"-?-exit-after-auth\b|-?-config\b"),
    _known("bank-vaults vault-env", Job.SECRETS, r"vault-env"),
    _known("spiffe-helper", Job.SECRETS),
    _known("envoy", Job.PROXY, r"envoy(-distroless|-alpine|-dev)?|envoy-.*"),
    _known("istio-proxy", Job.PROXY, r"proxyv2", once=r"istio-iptables|istio-init"),
    _known("linkerd-proxy", Job.PROXY, r"linkerd2?-proxy|proxy"),
    _known("daprd", Job.PROXY),
    _known("ghostunnel", Job.PROXY),
    _known("stunnel", Job.PROXY, r"stunnel4?"),
    _known("oauth2-proxy", Job.PROXY),
    _known("kube-rbac-proxy", Job.PROXY),
    _known("cloud-sql-proxy", Job.DATABASE, r"cloud-sql-proxy|gce-proxy|cloudsql-proxy"),
    _known("pgbouncer", Job.DATABASE, r"pgbouncer.*"),
    _known("twemproxy", Job.DATABASE, r"twemproxy|nutcracker"),
    _known("opentelemetry-collector", Job.TELEMETRY, r"opentelemetry-collector.*|otelcol.*|.*-otel-collector"),
    _known("jaeger-agent", Job.TELEMETRY),
    _known("statsd-exporter", Job.TELEMETRY),
    _known("prometheus exporter", Job.TELEMETRY, r"[a-z0-9-]+[-_]exporter"),
    _known("telegraf", Job.TELEMETRY),
    _known("git-sync", Job.SYNC, once=r"--?one-time\b"),
)
_PROXY_IMAGES = {"proxy": "linkerd"}
"""Images whose last part says too little: the part before has to hold this."""


def product_of(image: str, name: str, words: Sequence[str]) -> Product | None:
    """Return the known program that a container runs, by its image or, for Vault and BusyBox, its command."""
    repository = image.partition("@")[0]
    parts = re.sub(r":[^/]*$", "", repository).split("/")
    last = parts[-1].lower()
    joined = " ".join(words)
    if last in {"vault", "openbao"} and (re.search(r"(^|\s)agent(\s|$)", joined) or "agent" in name):
        return _NAMED["vault-agent"]
    if last in {"busybox", "alpine"} and re.search(r"\btail\s+(-\S+\s+)*-[fF]", joined):
        return STREAMING
    for product in PRODUCTS:
        if product.images.fullmatch(last) and _PROXY_IMAGES.get(last, "") in repository:
            return product
    return None


STREAMING = Product("tail -f", Job.LOGS, re.compile("tail"))
"""The streaming sidecar of the Kubernetes documentation: a shell image that prints a log file."""
_NAMED = {product.name: product for product in PRODUCTS}
