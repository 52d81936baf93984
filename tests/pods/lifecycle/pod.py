"""One pod on the engine, from its first container to its last, in the order that the kubelet keeps.

A thread for the pod, one for each container, and one for the probes of each run. The rules, as read in Kubernetes 1.34:

start      KEP 753: the list of init containers is walked in its order; an entry lets the next one through when it has
           started (a sidecar: its start-up probe passed; readiness is not asked) or ended well (any other)
restart    kuberuntime_manager.go, doBackOff: the first one at once, then after 10 s, doubled up to 5 minutes; a sidecar
           always, whatever the pod says
stop       kuberuntime_container.go, killContainer: all preStop hooks at once, within the same grace; then TERM to the
           main containers; then to one sidecar after the other, the last listed first; at the end of the grace TERM to
           all that wait, and KILL to all, but no sooner than 2 s after their TERM
end        kubelet_pods.go, getPhase: no main container will run again; how sidecars exited is not asked
"""

import contextlib
import http.client
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from tests.pods.lifecycle.arguments import Manifest, Place, bytes_of, check, run_arguments
from tests.support.engine import PODS_LABEL, Container, EngineError, docker, image, seconds_of
from tests.support.kubelet import Volume
from tests.support.podlab.lab import ContainerSeen, Ended, PodSeen

FLOOR_SECONDS = 2.0
_TICK_SECONDS = 0.02


def back_off_seconds(runs: int) -> float:
    """Return how long a container waits after its end, which ran so often."""
    return 0.0 if runs < 2 else min(10.0 * 2 ** (runs - 2), 300.0)


class Member:
    """One container of a pod, over all its runs. `kind`: init, sidecar or main."""

    def __init__(self, pod: "Pod", spec: Manifest, kind: str) -> None:
        self.spec, self.kind, self.name = spec, kind, str(spec["name"])
        self.begun = self.over = self.started = self.ready = False
        self.runs = 0
        self.run: Container | None = None
        self.started_at = 0.0
        self.ended: Ended | None = None
        self.ended_before: Ended | None = None
        self.gone = threading.Event()
        self.gone.set()
        self._pod = pod

    def live(self) -> None:
        """Run it as often as it is to be run."""
        while not self._pod.ending.is_set():
            self._run()
            if not self._runs_again():
                break
            self._pod.ending.wait(back_off_seconds(self.runs))
        self.over = True

    def seen(self) -> ContainerSeen:
        """Return how Kubernetes shows it: as waiting when it has ended and will run again."""
        waits = self.gone.is_set() and not self.over and not self._pod.ending.is_set()
        return ContainerSeen(
            name=self.name,
            started=self.started,
            ready=self.ready,
            restarts=max(0, self.runs - 1),
            waiting_for="" if not waits else "CrashLoopBackOff" if self.runs else "PodInitializing",
            started_at=None if waits or not self.runs else self.started_at,
            ended=None if waits or not self.gone.is_set() else self.ended,
            ended_before=self.ended or self.ended_before if waits else self.ended_before,
        )

    def stop(self, grace_seconds: float, ahead: "Sequence[Member]" = ()) -> None:
        """Stop the present run: preStop, TERM when those ahead are gone, KILL."""
        deadline, run = time.monotonic() + grace_seconds, self.run
        if run is None or self.gone.is_set():
            return
        if (hook := self.spec.get("lifecycle", {}).get("preStop")) and grace_seconds > 0:
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.execute(*hook["exec"]["command"], seconds=grace_seconds)
        for other in ahead:
            other.gone.wait(max(0.0, deadline - time.monotonic()))
        for signal, seconds in (("TERM", max(FLOOR_SECONDS, deadline - time.monotonic())), ("KILL", None)):
            with contextlib.suppress(EngineError):  # it has ended meanwhile
                run.signal(signal)
            if self.gone.wait(seconds):
                return

    def _run(self) -> None:
        self.runs += 1
        name = f"{self._pod.place.pause}-{self.name}-{self.runs}"
        message = self._pod.folder / f"{name}.message"
        message.touch()
        message.chmod(0o666)
        label = f"--label={PODS_LABEL}={self._pod.word}"
        words = run_arguments(self._pod.place, self.spec, message)
        run = self.run = Container(docker("run", "--detach", "--name", name, label, *words))
        self.ended_before, self.ended = self.ended or self.ended_before, None
        self.started_at = run.started_at
        self.gone.clear()
        threading.Thread(target=self._probe, args=[self.runs], daemon=True).start()
        run.wait(seconds=None)
        state = run.state()
        reason = "OOMKilled" if state["OOMKilled"] else "Error" if state["ExitCode"] else "Completed"
        words_left = message.read_text(encoding="utf-8", errors="replace")
        ended_at = seconds_of(state["FinishedAt"])
        self.ended = Ended(state["ExitCode"], reason, words_left, self.started_at, ended_at)
        self.started = self.ready = False
        self.gone.set()

    def _runs_again(self) -> bool:
        policy = self._pod.spec.get("restartPolicy", "Always")
        failed = self.ended is None or self.ended.exit_code != 0
        if self.kind == "sidecar":
            return True
        return policy == "Always" if self.kind == "main" and not failed else failed and policy != "Never"

    def _probe(self, run: int) -> None:
        """Ask in this run: for the start until it has come, then for readiness and liveness, each in its period."""
        kinds = ("startupProbe", "readinessProbe", "livenessProbe")
        probes = {kind: self.spec[kind] for kind in kinds if kind in self.spec}
        due = {kind: time.monotonic() + probe.get("initialDelaySeconds", 0) for kind, probe in probes.items()}
        failed = dict.fromkeys(probes, 0)
        while self.runs == run and not self.gone.wait(_TICK_SECONDS):
            self.started = self.started or "startupProbe" not in probes
            self.begun = self.begun or self.started
            self.ready = self.ready or (self.started and "readinessProbe" not in probes)
            for kind, probe in probes.items():
                if self.started is (kind == "startupProbe") or time.monotonic() < due[kind]:
                    continue
                due[kind] = time.monotonic() + probe.get("periodSeconds", 10)
                good = passes(self._pod.place.ip, probe)
                failed[kind] = 0 if good else failed[kind] + 1
                if kind == "startupProbe":
                    self.started = good
                elif kind == "readinessProbe":
                    self.ready = good
                enough = failed[kind] >= probe.get("failureThreshold", 3)
                if enough and kind != "readinessProbe" and not self._pod.ending.is_set():
                    self.stop(self._pod.grace_seconds)


def passes(ip: str, probe: Manifest) -> bool:
    """Tell whether a probe is passed: asked from outside, at the pod's address, as the kubelet does (pkg/probe)."""
    seconds = probe.get("timeoutSeconds", 1)
    try:
        if page := probe.get("httpGet"):
            connection = http.client.HTTPConnection(ip, page["port"], timeout=seconds)
            with contextlib.closing(connection):
                connection.request("GET", page["path"])
                return 200 <= connection.getresponse().status < 400
        socket.create_connection((ip, probe["tcpSocket"]["port"]), seconds).close()
    except (OSError, http.client.HTTPException):
        return False
    return True


class Pod:
    """Lives until it is deleted and all of it is gone. `word` is the label of its lab."""

    def __init__(self, manifest: Manifest, word: str, folder: Path) -> None:
        check(manifest)
        self.name, self.spec, self.word, self.folder = str(manifest["metadata"]["name"]), manifest["spec"], word, folder
        self.place = Place(manifest, f"{PODS_LABEL}-{word}-{self.name}", "")
        inits = [(one, "sidecar" if "restartPolicy" in one else "init") for one in self.spec.get("initContainers", [])]
        mains = [(one, "main") for one in self.spec["containers"]]
        self.members = {one["name"]: Member(self, one, kind) for one, kind in (*inits, *mains)}
        self.ending = threading.Event()
        self.grace_seconds = float(self.spec.get("terminationGracePeriodSeconds", 30))
        self._deleted = threading.Event()
        self._configs: dict[str, list[Volume]] = {}
        self._gone = False
        self._threads = ThreadPoolExecutor(1 + len(self.members), self.name)
        self._lives: list[Future[None]] = []

    def start(self, configs: Mapping[str, Mapping[str, bytes]]) -> None:
        """Make the volumes, of these ConfigMaps, and begin."""
        self.folder.mkdir(parents=True)
        places = {volume["name"]: self._volume(volume, configs) for volume in self.spec.get("volumes", [])}
        self.place = Place(self.place.pod, self.place.pause, "", places)
        self._lives.append(self._threads.submit(self._live))

    def join(self, seconds: float) -> None:
        """Wait until it is gone."""
        wait(self._lives, seconds)
        self._threads.shutdown(wait=False)

    def update(self, config: str, data: Mapping[str, bytes]) -> None:
        """Write a ConfigMap that has changed into its volumes."""
        for volume in self._configs.get(config, []):
            volume.write(data)

    def delete(self, grace_seconds: float | None) -> None:
        """Begin to end it."""
        if grace_seconds is not None:
            self.grace_seconds = grace_seconds
        self._deleted.set()

    @property
    def seen(self) -> PodSeen:
        """How it stands; raises what one of its threads died of."""
        for life in (life for life in self._lives if life.done()):
            life.result()
        containers = tuple(member.seen() for member in self.members.values())
        return PodSeen(self.name, self._phase(), self.place.ip, containers, self._gone)

    def _live(self) -> None:
        pause = ["--hostname", self.name, "--network", f"{PODS_LABEL}-{self.word}", "--ipc", "shareable", "--read-only"]
        label = f"--label={PODS_LABEL}={self.word}"
        holder = Container(docker("run", "--detach", "--name", self.place.pause, label, *pause, image("pause")))
        self.place = Place(self.place.pod, self.place.pause, holder.address, self.place.volumes)
        for member in self.members.values():
            if self._until(lambda: self._lets_start(member)):  # noqa: B023 -- called at once
                self._lives.append(self._threads.submit(member.live))
        self._until(lambda: False)
        self.ending.set()
        self._stop()
        self._deleted.wait()
        for member in self.members.values():
            if member.run is not None:
                (self.folder / f"{member.name}.log").write_text(member.run.log, encoding="utf-8")
        runs = [f"{self.place.pause}-{one.name}-{run + 1}" for one in self.members.values() for run in range(one.runs)]
        docker("rm", "--force", "--volumes", *runs, holder.id)
        self._gone = True

    def _until(self, condition: Callable[[], bool]) -> bool:
        """Wait for this; return False when the pod has to end before."""
        while not condition():
            if self._deleted.wait(_TICK_SECONDS) or self._done():
                return False
        return True

    def _lets_start(self, member: Member) -> bool:
        names = list(self.members)
        before = [self.members[name] for name in names[: names.index(member.name)] if self.members[name].kind != "main"]
        return all(one.begun if one.kind == "sidecar" else one.over and not _failed(one) for one in before)

    def _done(self) -> bool:
        mains = [one for one in self.members.values() if one.kind == "main"]
        return all(one.over for one in mains) or any(
            one.kind == "init" and one.over and _failed(one) for one in self.members.values()
        )

    def _stop(self) -> None:
        members = list(self.members.values())
        mains = [one for one in members if one.kind == "main"]
        with ThreadPoolExecutor(len(members)) as threads:
            for number, one in enumerate(members):
                later = [*mains, *(other for other in members[number + 1 :] if other.kind == "sidecar")]
                threads.submit(one.stop, self.grace_seconds, later if one.kind == "sidecar" else ())
        for one in members:
            one.gone.wait()

    def _phase(self) -> str:
        members = self.members.values()
        begun = any(one.runs for one in members if one.kind == "main")
        if not self.ending.is_set() or not all(one.gone.is_set() for one in members):
            return "Running" if begun else "Pending"
        good = all(one.ended is not None and not _failed(one) for one in members if one.kind == "main")
        return "Succeeded" if good else "Failed"

    def _volume(self, volume: Manifest, configs: Mapping[str, Mapping[str, bytes]]) -> Path | int:
        folder = self.folder / "volumes" / str(volume["name"])
        name = volume.get("configMap", {}).get("name")
        if volume.get("emptyDir", {}).get("medium") == "Memory":
            return bytes_of(volume["emptyDir"]["sizeLimit"])
        folder.mkdir(parents=True)
        if name is None:
            folder.chmod(0o777)  # pkg/volume/emptydir/empty_dir.go: perm 0777, umask or not
        else:
            self._configs.setdefault(name, []).append(Volume(folder))
            self.update(name, configs[name])
        return folder


def _failed(member: Member) -> bool:
    return member.ended is not None and member.ended.exit_code != 0
