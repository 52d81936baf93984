"""What the API server says is read right; needs no cluster."""

import pytest

from tests.cluster.kubectl_lab import minor_of, pod_seen
from tests.support.podlab.lab import Ended


@pytest.mark.parametrize(("version", "minor"), [("v1.34.4", 34), ("v1.28.15-eks-7f9249a", 28), ("v1.30+", 30)])
def test_versions_are_read(version: str, minor: int) -> None:
    assert minor_of(version) == minor


def test_a_pod_is_read_with_what_it_does_not_say_yet() -> None:
    times = {"startedAt": "1970-01-01T00:00:01Z", "finishedAt": "1970-01-01T00:00:09Z"}
    first = {
        "name": "first",
        "started": True,
        "ready": True,
        "restartCount": 1,
        "state": {"running": {"startedAt": "1970-01-01T00:00:10Z"}},
        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", **times}},
    }
    pod = {
        "metadata": {"name": "p"},
        "spec": {"initContainers": [{"name": "first"}], "containers": [{"name": "app"}]},
        "status": {"phase": "Pending", "podIP": "10.0.0.1", "initContainerStatuses": [first]},
    }
    seen = pod_seen(pod, gone=False)
    assert [one.name for one in seen.containers] == ["first", "app"]
    assert (seen.phase, seen.ip, seen.gone) == ("Pending", "10.0.0.1", False)
    assert (seen["first"].running, seen["first"].ready, seen["first"].restarts) == (True, True, 1)
    assert seen["first"].ended_before == Ended(137, "OOMKilled", "", 1.0, 9.0)
    assert not seen["app"].running
