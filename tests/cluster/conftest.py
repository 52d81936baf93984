"""The cluster that KUBECONFIG points to as a lab, for all tests here; without it they are skipped.

Needed: a cluster of Kubernetes 1.29 or newer (older ones play what needs no native sidecars), kubectl, and the right to
create a namespace and what is in it. No registry, no DNS, no Service, no route to the pods; a pod must be able to reach
another one by its address. The images have to be there: load them into the nodes (`make images` builds them; kind:
`kind load docker-image sidecars/log-shipper:dev ...`; k3s: `docker save ... | k3s ctr images import -`), or push them
and name them by SIDECAR_IMAGE_PREFIX (`registry.example/sidecars/`) and SIDECAR_IMAGE_TAG. Used are devstack,
log-shipper, config-reloader, wait-for and sidecar. Then: `KUBECONFIG=... make cluster-test`; with SIDECARS_FULL=1 the
long runs are whole. `make test` never touches a cluster: it takes KUBECONFIG away, and these tests are skipped.
"""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.cluster.kubectl_lab import KubectlLab, without_native
from tests.support.podlab.fixtures import backend, pytest_runtest_makereport, stage

__all__ = ["backend", "lab", "native", "pytest_runtest_makereport", "stage"]
GiveUp = Callable[[str, str], None]


@pytest.fixture(scope="session")
def lab(without_server: GiveUp) -> Iterator[KubectlLab]:
    if not os.environ.get("KUBECONFIG"):
        without_server("cluster", "KUBECONFIG is not set; tests/cluster/conftest.py says what is needed")
    with KubectlLab() as lab:
        yield lab


@pytest.fixture(scope="session")
def native(lab: KubectlLab, without_server: GiveUp) -> None:
    """Skips where there are no native sidecars."""
    if reason := without_native():
        without_server("cluster", reason)
