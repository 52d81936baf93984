"""What the runner cannot be true to it refuses, so that no scenario passes because a field of it was ignored."""

from pathlib import Path
from typing import Any

import pytest

from tests.pods.lifecycle.arguments import Place, Refused, check, run_arguments
from tests.pods.lifecycle.pod import back_off_seconds
from tests.support.podlab.building import LOGS, STATE, log_shipper, pod, writer

POD = pod("p", [writer()], [log_shipper("http://x:9200", "i")], volumes=[LOGS, STATE])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hostNetwork", True),
        ("volumes", [{"name": "logs", "hostPath": {"path": "/"}}]),
        ("containers", [{**writer(), "stdin": True}]),
        ("containers", [{**writer(), "args": ["$(POD_IP)"]}]),
    ],
)
def test_what_is_not_understood_is_refused(field: str, value: Any) -> None:
    check(POD)
    with pytest.raises(Refused, match=r"^cannot run this pod"):
        check({**POD, "spec": {**POD["spec"], field: value}})


def test_a_container_becomes_the_arguments_that_a_kubelet_would_have_meant() -> None:
    place = Place(POD, "pause", "10.0.0.9", {"logs": Path("/disk"), "state": 1024, "programs": Path("/p")})
    words = run_arguments(place, POD["spec"]["initContainers"][0], Path("/words"))
    assert set(words) >= {
        *("container:pause", "--user=65532:65532", "--security-opt=no-new-privileges", "--read-only", "--cap-drop=ALL"),
        *(f"--memory={100 * 2**20}", f"--memory-swap={100 * 2**20}", "--env=POD_UID=uid-of-p"),
        "type=bind,src=/words,dst=/dev/termination-log",
        "type=bind,src=/disk,dst=/var/log/app,readonly",
        "type=tmpfs,dst=/var/lib/sidecars/log-shipper,tmpfs-mode=0777,tmpfs-size=1024",
    }
    assert "--pid" not in words
    command = run_arguments(place, POD["spec"]["containers"][0], Path("/words"))
    assert "--entrypoint=/usr/bin/python3" in command
    assert command[-2:] == ["-I", "/programs/writer.py"]


def test_restarts_come_at_once_and_then_ever_later() -> None:
    assert [back_off_seconds(runs) for runs in range(1, 9)] == [0, 10, 20, 40, 80, 160, 300, 300]
