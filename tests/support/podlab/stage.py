"""Where one scenario plays: its pods have names of their own and are gone afterwards; Elasticsearch's stand-in, a pod
too, is shared by all scenarios of a lab.
"""

import json
import time
from collections.abc import Callable
from typing import Any

from tests.support.books import assert_balanced
from tests.support.podlab.building import PROGRAMS, PYTHON, container, mount, pod, programs
from tests.support.podlab.lab import Lab, Manifest, PodSeen, Unable, until_seen
from tests.support.waiting import until

BACKEND = "elasticsearch"
Table = Callable[[str, str], None]


def set_up_backend(lab: Lab, name: str = BACKEND) -> str:
    """The programs of all scenarios, and the stand-in for Elasticsearch: its address."""
    lab.apply(programs())
    server = container(
        "elasticsearch",
        "devstack",
        args=["elasticsearch", "--host", "0.0.0.0", "--port", "9200"],
        startupProbe={"tcpSocket": {"port": 9200}, "periodSeconds": 1, "failureThreshold": 60},
        volumeMounts=[mount("programs", PROGRAMS, read_only=True)],
    )
    lab.apply(pod(name, [server], terminationGracePeriodSeconds=1))
    seen = until_seen(lab, name, "the stand-in for Elasticsearch runs", lambda seen: seen["elasticsearch"].started)
    return f"http://{seen.ip}:9200"


class Stage:
    """For one scenario."""

    def __init__(self, lab: Lab, url: str, word: str, table: Table) -> None:
        self.lab = lab
        self.url = url
        """Of the stand-in for Elasticsearch."""
        self.word = word
        self._table = table
        self.pods: list[str] = []

    def name(self, suffix: str = "") -> str:
        """A name that only this scenario has."""
        return f"{self.word}-{suffix}" if suffix else self.word

    def start(self, manifest: Manifest) -> str:
        """Run this pod: its name."""
        name = str(manifest["metadata"]["name"])
        self.pods.append(name)
        self.lab.apply(manifest)
        return name

    def figure(self, line: str) -> None:
        """A measured figure, for the table at the end of the run."""
        self._table("pods: measured", line)

    def until(self, pod: str, what: str, condition: Callable[[PodSeen], object]) -> PodSeen:
        return until_seen(self.lab, pod, what, condition)

    def until_over(self, pod: str) -> PodSeen:
        return self.until(pod, "it is over", lambda seen: seen.over)

    def delete(self, pod: str, grace_seconds: int | None = None) -> PodSeen:
        """Delete it, and wait until it is gone: how it was seen last."""
        self.lab.delete(pod, grace_seconds)
        return self.until(pod, "it is gone", lambda seen: seen.gone)

    def arrived(self, index: str) -> list[str]:
        """Every message that stands in this index."""
        program = [*PYTHON, f"{PROGRAMS}/arrived.py", index]
        messages: list[str] = json.loads(self.lab.run(BACKEND, "elasticsearch", program))
        return messages

    def until_arrived(self, index: str, count: int) -> None:
        """Wait until so many messages stand in this index."""
        until(
            lambda: len(self.arrived(index)) >= count, f"{count} lines in the index {index}", self.lab.patience_seconds
        )

    def assert_all_arrived(self, end: PodSeen, index: str, *writers: str) -> int:
        """Every line that these containers of the pod (none named: `app`) wrote is there, once: how many."""
        written: list[str] = []
        for name in writers or ("app",):
            message = end.end(name).message
            assert message.isdigit(), f"{name} did not leave the number of its lines: {end[name]}"
            written += [f"{name} {number}" for number in range(int(message))]
        assert_balanced(written, self.arrived(index))
        return len(written)

    def until_said(self, pod: str, container: str, text: str) -> float:
        """Wait until this stands in a container's log: after how many seconds."""
        begun = time.monotonic()
        until(
            lambda: text in self._said(pod, container), f"{container} of {pod} says {text!r}", self.lab.patience_seconds
        )
        return time.monotonic() - begun

    def _said(self, pod: str, container: str) -> str:
        try:
            return self.lab.log(pod, container)
        except Unable:  # not started yet
            return ""

    def close(self) -> None:
        """End all pods, without waiting."""
        for name in self.pods:
            if not self.lab.seen(name).gone:
                self.lab.delete(name, 0)


def assert_exits(end: PodSeen, **codes: int) -> None:
    """These containers (`_` for `-`) ended with these statuses."""
    got: dict[str, Any] = {name: end.end(name.replace("_", "-")).exit_code for name in codes}
    assert got == codes, f"{got}: {end}"
