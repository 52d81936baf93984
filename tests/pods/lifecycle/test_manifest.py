"""What the runner does not understand it refuses, so that no scenario passes because a field of it was ignored."""

import copy
import itertools
from pathlib import Path
from typing import Any

import pytest

from tests.pods.lifecycle.manifest import Refused, bytes_of, cores_of, read
from tests.pods.lifecycle.placing import Place, run_arguments
from tests.support.podlab.building import LOGS, STATE, log_shipper, pod, writer

POD = pod("p", [writer()], [log_shipper("http://x:9200", "i")], volumes=[LOGS, STATE])


def changed(path: str, value: Any) -> dict[str, Any]:
    """The pod with one more field; `path` as in `containers.0.name`, below the spec."""
    manifest = copy.deepcopy(POD)
    *steps, last = path.split(".")
    part = manifest["spec"]
    for step in steps:
        part = part[int(step)] if step.isdigit() else part[step]
    part[int(last) if last.isdigit() else last] = value
    return manifest


WRONG: dict[str, tuple[str, Any, str]] = {
    "a field nobody knows": ("containers.0.stdin", True, "stdin"),
    "a field of the pod": ("hostNetwork", True, "hostNetwork"),
    "a volume's option": ("volumes.0.configMap", {"name": "x", "items": []}, "items"),
    "another kind of volume": ("volumes.0", {"name": "logs", "hostPath": {"path": "/"}}, "hostPath"),
    "an enumeration": ("restartPolicy", "Sometimes", "Sometimes"),
    "a probe of a plain init container": (
        "initContainers.0",
        {"name": "x", "image": "y", "startupProbe": {"tcpSocket": {"port": 1}}},
        "restartPolicy Always",
    ),
    "a main container with its own policy": ("containers.0.restartPolicy", "Always", "init containers"),
    "a variable within a text": ("containers.0.args", ["$(POD_IP)"], "filled in"),
}


@pytest.mark.parametrize(("path", "value", "named"), WRONG.values(), ids=WRONG.keys())
def test_what_is_not_understood_is_refused(path: str, value: Any, named: str) -> None:
    with pytest.raises(Refused, match=r"^cannot run") as refused:
        read(changed(path, value))
    assert named in str(refused.value)


def test_a_container_becomes_the_arguments_that_a_kubelet_would_have_meant() -> None:
    place = Place(
        read(POD), "the-uid", "pause", "10.0.0.9", {"logs": "/disk/logs", "state": "memory", "programs": "/p"}
    )
    words = run_arguments(place, place.pod.spec.init_containers[0], Path("/words"))
    pairs = set(itertools.pairwise(words))
    assert {
        ("--network", "container:pause"),
        ("--user", "65532:65532"),
        ("--security-opt", "no-new-privileges"),
        ("--memory", str(100 * 2**20)),
        ("--memory-swap", str(100 * 2**20)),
        ("--env", "POD_UID=the-uid"),
        ("--mount", "type=bind,src=/words,dst=/dev/termination-log"),
        ("--mount", "type=bind,src=/disk/logs,dst=/var/log/app,readonly"),
        ("--mount", "type=volume,volume-nocopy,src=memory,dst=/var/lib/sidecars/log-shipper"),
    } <= pairs
    assert {"--read-only", "--cap-drop=ALL"} <= set(words)
    assert "--pid" not in words
    command = run_arguments(place, place.pod.spec.containers[0], Path("/words"))
    assert command[command.index("--entrypoint") + 1] == "/usr/bin/python3"
    assert command[-2:] == ["-I", "/programs/writer.py"]


def test_quantities_are_read() -> None:
    assert [bytes_of(text) for text in ("1Mi", "2k", "7")] == [2**20, 2000, 7]
    assert [cores_of(text) for text in ("100m", "2", "0.5")] == [0.1, 2.0, 0.5]
