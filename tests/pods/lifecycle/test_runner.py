"""The runner itself, where no scenario of the sidecars looks: hooks, failing probes, starts that fail, secrets, fields
of the pod. What it did stands in its event log.
"""

from collections.abc import Iterator

import pytest

from tests.pods.lifecycle.docker_lab import DockerLab
from tests.support.podlab.building import PYTHON, config_map, container, from_pod, mount
from tests.support.podlab.lab import Manifest, PodSeen, until_seen

STAYS = (
    "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); print('up', flush=True); signal.pause()"
)
FLAG = {"name": "flag", "emptyDir": {}}


def stays(name: str, **fields: object) -> Manifest:
    """A container that ends with 0 on TERM."""
    return container(name, "devstack", command=[*PYTHON, "-c", STAYS], **fields)


def bare(name: str, containers: list[Manifest], **spec: object) -> Manifest:
    whole = {"containers": containers, **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": whole}


HOOKS_ORDER = [
    ("", "delete"),
    ("first", "preStop"),
    ("app", "preStop"),
    ("app", "preStop has ended"),
    ("app", "TERM"),
    ("app", "ended"),
    ("first", "TERM"),
    ("first", "ended"),
    ("", "pod is gone"),
]


class Runs:
    """Pods that are gone when the test ends."""

    def __init__(self, lab: DockerLab) -> None:
        self.lab = lab
        self._pods: list[str] = []

    def start(self, manifest: Manifest) -> str:
        self._pods.append(manifest["metadata"]["name"])
        self.lab.apply(manifest)
        return self._pods[-1]

    def until_up(self, pod: str) -> PodSeen:
        return until_seen(self.lab, pod, "all run", lambda seen: all(c.running for c in seen.containers))

    def delete(self, pod: str, grace_seconds: int | None = None) -> PodSeen:
        self.lab.delete(pod, grace_seconds)
        return until_seen(self.lab, pod, "it is gone", lambda seen: seen.gone)

    def events(self, pod: str) -> list[tuple[str, str]]:
        """What happened to which container, in order."""
        return [(str(line["container"]), str(line["event"])) for line in self.lab.events_of(pod)]

    def close(self) -> None:
        for pod in self._pods:
            self.lab.delete(pod, 0)


@pytest.fixture
def runs(lab: DockerLab) -> Iterator[Runs]:
    runs = Runs(lab)
    yield runs
    runs.close()


def sleeps(seconds: int) -> Manifest:
    return {"preStop": {"sleep": {"seconds": seconds}}}


def test_every_pre_stop_is_called_at_once_and_holds_back_term(runs: Runs) -> None:
    first = stays("first", restartPolicy="Always", lifecycle=sleeps(1))
    pod = runs.start(bare("hooks", [stays("app", lifecycle=sleeps(1))], initContainers=[first]))
    runs.until_up(pod)
    end = runs.delete(pod)
    told = runs.events(pod)
    order = [told.index(one) for one in HOOKS_ORDER]
    assert order == sorted(order), told
    assert told.index(("first", "preStop has ended")) < told.index(("first", "TERM"))
    assert [end.end(name).exit_code for name in ("first", "app")] == [0, 0]


def test_a_pre_stop_that_takes_longer_than_the_grace_is_cut_off(runs: Runs) -> None:
    pod = runs.start(bare("long", [stays("app", lifecycle=sleeps(600))]))
    runs.until_up(pod)
    end = runs.delete(pod, 1).end("app")
    told = runs.events(pod)
    assert end.exit_code == 0
    assert told.index(("app", "TERM")) < told.index(("", "pod is gone"))
    assert ("app", "KILL") not in told


def test_the_post_start_of_a_sidecar_gates_the_app(runs: Runs) -> None:
    look = {"exec": {"command": [*PYTHON, "-c", "open('/flag/looked', 'w').close()"]}}
    first = stays("first", restartPolicy="Always", lifecycle={"postStart": look}, volumeMounts=[mount("flag", "/flag")])
    looks = "import os, sys; sys.exit(0 if os.path.exists('/flag/looked') else 1)"
    app = container("app", "devstack", command=[*PYTHON, "-c", looks], volumeMounts=[mount("flag", "/flag")])
    pod = runs.start(bare("gate", [app], initContainers=[first], volumes=[FLAG], restartPolicy="Never"))
    assert until_seen(runs.lab, pod, "over", lambda seen: seen.over).phase == "Succeeded"


def test_a_container_that_fails_its_liveness_probe_is_restarted_and_counts_as_ready_only_then(runs: Runs) -> None:
    alive = "import os, sys; sys.exit(1 if os.path.exists('/flag/sick') else 0)"
    probe = {"exec": {"command": [*PYTHON, "-c", alive]}, "periodSeconds": 1, "timeoutSeconds": 20}
    app = stays(
        "app",
        livenessProbe={**probe, "failureThreshold": 1},
        readinessProbe=probe,
        volumeMounts=[mount("flag", "/flag")],
    )
    pod = runs.start(bare("sick", [app], volumes=[FLAG]))
    until_seen(runs.lab, pod, "ready", lambda seen: seen.ready)
    runs.lab.run(pod, "app", [*PYTHON, "-c", "open('/flag/sick', 'w').close()"])
    until_seen(runs.lab, pod, "restarted", lambda seen: seen["app"].restarts)
    assert ("app", "liveness probe failed") in runs.events(pod)
    before = runs.lab.seen(pod)["app"].ended_before
    assert before is not None
    assert before.exit_code == 0, "it was not told by TERM"


def test_a_program_that_is_not_there_is_said_so(runs: Runs) -> None:
    pod = runs.start(bare("nothing", [container("app", "devstack", command=["/no/such"])], restartPolicy="Never"))
    end = until_seen(runs.lab, pod, "over", lambda seen: seen.over)
    assert end.phase == "Failed"
    assert end.end("app").reason == "StartError"
    assert "/no/such" in end.end("app").message


def test_secrets_and_fields_of_the_pod_reach_the_container(runs: Runs) -> None:
    runs.lab.apply({**config_map("token", {}), "kind": "Secret", "data": {"a": "aGk="}, "stringData": {"b": "ho"}})
    program = "import os; print(open('/s/a').read(), open('/s/b').read(), *[os.environ[n] for n in 'NMI'], sep='|')"
    fields = from_pod(N="metadata.name", M="metadata.namespace", I="status.podIP")
    shown = container(
        "app", "devstack", command=[*PYTHON, "-c", program], env_from_pod=fields, volumeMounts=[mount("s", "/s")]
    )
    secret = {"name": "s", "secret": {"secretName": "token"}}
    pod = runs.start(bare("fields", [shown], volumes=[secret], restartPolicy="Never"))
    end = until_seen(runs.lab, pod, "over", lambda seen: seen.over)
    assert runs.lab.log(pod, "app").strip() == f"hi|ho|fields|default|{end.ip}"
