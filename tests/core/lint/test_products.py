"""Which programs are known as sidecars, and which are not taken for one."""

import pytest

from sidecars.lint.core.products import product_of


@pytest.mark.parametrize(
    ("image", "words", "name"),
    [
        ("fluent/fluent-bit:3.1", "", "fluent-bit"),
        ("registry:5000/a/envoy@sha256:0", "", "envoy"),
        ("docker.io/istio/proxyv2:1.24", "proxy sidecar", "istio-proxy"),
        ("cr.l5d.io/linkerd/proxy:edge", "", "linkerd-proxy"),
        ("hashicorp/vault:1.18", "agent -config=/a", "vault-agent"),
        ("hashicorp/vault:1.18", "vault agent -config=/a", "vault-agent"),
        ("jimmidyson/configmap-reload:v0.12", "", "configmap-reload"),
        ("quay.io/prometheus-operator/prometheus-config-reloader:v0.78", "", "prometheus-config-reloader"),
        ("gcr.io/cloud-sql-connectors/cloud-sql-proxy:2.14", "", "cloud-sql-proxy"),
        ("oliver006/redis_exporter:v1", "", "prometheus exporter"),
        ("sidecars/log-shipper:1.0", "", "log-shipper"),
        ("busybox:1.36", "sh -c tail -n+1 -F /var/log/1.log", "tail -f"),
        ("hashicorp/vault:1.18", "server -dev", ""),
        ("busybox:1.36", "sh -c sleep 1", ""),
        ("mycompany/proxy:1", "", ""),
        ("mycompany/vector-tiles:1", "", ""),
        ("", "", ""),
    ],
)
def test_a_known_program_is_recognised(image: str, words: str, name: str) -> None:
    found = product_of(image, "", words.split())
    assert (found.name if found else "") == name
