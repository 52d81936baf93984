"""One pod on the engine, from its first container to its last: does what the rules decide, in a thread of its own as
the kubelet's pod worker does. Everything that happens comes in by one queue, so nothing here needs a lock.
"""

import queue
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from tests.pods.lifecycle import asking, manifest, probing, rules, stopping
from tests.pods.lifecycle.member import START_ERROR, Member
from tests.pods.lifecycle.placing import Place, run_arguments
from tests.pods.lifecycle.probing import Use
from tests.pods.lifecycle.stopping import Action, Verb
from tests.pods.lifecycle.volumes import Objects, PodVolumes
from tests.support.engine import Death, Engine, EngineError, image
from tests.support.podlab.events import EventLog
from tests.support.podlab.lab import PodSeen

_TICK_SECONDS = 0.02


class PodWorker:
    """Lives until the pod is deleted and all of it is gone."""

    def __init__(self, pod: manifest.Pod, engine: Engine, folder: Path, events: EventLog) -> None:
        self._pod = pod
        self._engine = engine
        self._events = events
        self._folder = folder
        self._inbox: queue.Queue[Callable[[], None]] = queue.Queue()
        self._askers = ThreadPoolExecutor(16, f"{pod.metadata.name}-asks")
        self.volumes = PodVolumes(engine, folder / "volumes", pod)
        self._members = {spec.name: Member(spec, rules.Container(spec.name, kind), folder) for spec, kind in _all(pod)}
        self._place = Place(pod, "", "", "")
        self._ending_by: float | None = None
        self._deleted = False
        self._gone = False
        self._failure: BaseException | None = None
        self._shown = self._show()
        self._thread = threading.Thread(target=self._live_or_say_why, name=pod.metadata.name, daemon=True)

    @property
    def name(self) -> str:
        return self._pod.metadata.name

    @property
    def seen(self) -> PodSeen:
        """How it stands; raises what the worker died of."""
        if self._failure is not None:
            raise self._failure
        return self._shown

    def start(self, objects: Objects) -> None:
        """Make the volumes of this data, and begin."""
        self._folder.mkdir(parents=True)
        self.volumes.make(objects)
        self._thread.start()

    def died(self, engine_name: str) -> None:
        """The engine says that this container ended; it may be another pod's."""
        self._inbox.put(lambda: self._died(engine_name))

    def delete(self, grace_seconds: int | None) -> None:
        """Begin to end it; a second time shortens the grace."""
        own = self._pod.spec.termination_grace_period_seconds
        self._inbox.put(lambda: self._delete(own if grace_seconds is None else grace_seconds))

    def join(self, seconds: float) -> None:
        """Wait until it is gone."""
        self._thread.join(seconds)

    def engine_name(self, container: str) -> str:
        """What the engine calls the present run of this container."""
        return self._members[container].engine_name

    def log(self, container: str) -> str:
        """What the present run of this container wrote, also when it is gone."""
        name = self.engine_name(container)
        kept = self._folder / f"{name}.log"
        if kept.exists():
            return kept.read_text(encoding="utf-8")
        return self._engine.log(name) if name else ""

    def _live_or_say_why(self) -> None:
        try:
            self._live()
        except BaseException as error:
            self._failure = error
            raise

    def _live(self) -> None:
        self._open()
        while not (self._deleted and self._rule.quiet):
            self._listen()
            self._act()
            self._shown = self._show()
        self._close()
        self._shown = self._show()

    def _listen(self) -> None:
        try:
            happened = self._inbox.get(timeout=_TICK_SECONDS)
        except queue.Empty:
            return
        happened()

    def _open(self) -> None:
        """The pause container owns the pod's network, and its processes where they are shared."""
        pause = f"{self._engine.network}-{self.name}"
        own = ["--hostname", self.name, "--network", self._engine.network, "--ipc", "shareable", "--read-only"]
        self._engine.start(pause, [*own, *self.volumes.hold(), image("pause")])
        ip = self._engine.address(pause)
        self._place = Place(self._pod, str(uuid.uuid4()), pause, ip, self.volumes.places)
        self._say("", "pod has an address", ip=ip)

    def _close(self) -> None:
        """Nothing runs any more: keep the logs, remove the rest."""
        names = [member.engine_name for member in self._members.values() if member.engine_name]
        for name in names:
            (self._folder / f"{name}.log").write_text(self._engine.log(name), encoding="utf-8")
        runs = [f"{self._place.pause}-{m.name}-{n}" for m in self._members.values() for n in range(1, m.rule.runs + 1)]
        self._engine.remove([*runs, self._place.pause])
        self.volumes.remove()
        self._askers.shutdown(wait=False, cancel_futures=True)
        self._gone = True
        self._say("", "pod is gone")

    @property
    def _rule(self) -> rules.Pod:
        """What the rules know of this pod."""
        containers = tuple(member.rule for member in self._members.values())
        return rules.Pod(containers, self._pod.spec.restart_policy, self._ending_by is not None)

    def _act(self) -> None:
        """Do all that the rules say is to be done now."""
        if self._ending_by is None and rules.work_is_done(self._rule):
            self._end(self._pod.spec.termination_grace_period_seconds, "work is done")
        while (name := rules.next_start(self._rule, time.time())) is not None:
            self._start(self._members[name])
        for action in stopping.stops(self._rule, time.time()):
            self._stop(action)
        for member in self._members.values():
            if member.rule.running:
                self._probe(member)

    def _delete(self, grace_seconds: float) -> None:
        self._deleted = True
        self._end(grace_seconds, "delete")

    def _end(self, grace_seconds: float, why: str) -> None:
        self._say("", why, grace_seconds=grace_seconds)
        by = time.time() + grace_seconds
        self._ending_by = by if self._ending_by is None else min(by, self._ending_by)
        for member in self._members.values():
            if stop := member.rule.stop:
                member.change(stop=replace(stop, deadline=min(by, stop.deadline)) if member.rule.running else None)

    def _start(self, member: Member) -> None:
        member.next_run(self._place.pause)
        self._say(member.name, "start", run=member.rule.runs)
        now = time.time()
        try:
            self._engine.start(member.engine_name, run_arguments(self._place, member.spec, member.message))
        except EngineError as error:
            member.has_ended(Death(START_ERROR, False, now, now), "StartError", str(error))
            self._say(member.name, "cannot start", error=str(error))
            return
        member.has_started(time.time(), self._engine.started_at(member.engine_name))
        if hook := member.spec.lifecycle.post_start:
            self._call_hook(member, hook, "postStart", self._post_started)

    def _died(self, engine_name: str) -> None:
        member = next((m for m in self._members.values() if m.engine_name == engine_name), None)
        if member is None or not member.rule.running:
            return
        death = self._engine.death(engine_name)
        if death is None:  # told before it is so: look again
            self.died(engine_name)
            return
        member.has_ended(death)
        self._say(member.name, "ended", exit_code=death.exit_code, out_of_memory=death.out_of_memory, at=death.ended_at)

    def _stop(self, action: Action) -> None:
        member = self._members[action.container]
        if action.verb is Verb.BEGIN:
            self._begin_stop(member, self._ending_by or time.time())
            return
        self._say(member.name, action.verb)
        self._engine.signal(member.engine_name, action.verb)
        stop = member.rule.stop
        if stop is not None:
            killed = action.verb is Verb.KILL
            member.change(stop=replace(stop, term_at=stop.term_at or time.time(), killed=killed))

    def _begin_stop(self, member: Member, deadline: float) -> None:
        hook = member.spec.lifecycle.pre_stop if deadline > time.time() else None
        member.change(stop=rules.Stop(deadline, pre_stop_done=hook is None))
        if hook is not None:
            self._call_hook(member, hook, "preStop", self._pre_stopped)

    def _call_hook(self, member: Member, hook: manifest.Hook, name: str, done: Callable[[Member, bool], None]) -> None:
        run, gone, engine_name = member.rule.runs, member.gone, member.engine_name

        def report(good: bool) -> None:
            self._say(member.name, f"{name} has ended", good=good)
            if member.rule.runs == run and member.rule.running:
                done(member, good)

        def call() -> None:
            good = asking.hook(self._engine, self._place.ip, engine_name, hook, gone)
            self._inbox.put(lambda: report(good))

        self._say(member.name, name)
        self._askers.submit(call)

    def _post_started(self, member: Member, good: bool) -> None:
        member.change(hooked=True)
        if not good:
            self._restart(member, "postStart failed")

    def _pre_stopped(self, member: Member, _good: bool) -> None:
        if stop := member.rule.stop:
            member.change(stop=replace(stop, pre_stop_done=True))

    def _restart(self, member: Member, why: str) -> None:
        """End this run; the rules start the next one."""
        if member.rule.stop is None:
            self._say(member.name, why)
            self._begin_stop(member, time.time() + self._pod.spec.termination_grace_period_seconds)

    def _probe(self, member: Member) -> None:
        """Send the probes that are due. In a pod that ends only readiness is asked (prober_manager.go,
        StopLivenessAndStartup).
        """
        now = time.time()
        for use, state in member.probings.items():
            spec = member.probe(use)
            asked = use is Use.READINESS or member.rule.stop is None
            if spec is not None and asked and probing.is_due(state, now, started=member.rule.started):
                member.probings[use] = probing.sent(state, spec, now)
                self._askers.submit(self._ask, member, use, spec, member.engine_name)

    def _ask(self, member: Member, use: Use, spec: manifest.Probe, engine_name: str) -> None:
        good = asking.probe(self._engine, self._place.ip, engine_name, spec)
        self._inbox.put(lambda: self._probed(member, use, engine_name, good))

    def _probed(self, member: Member, use: Use, engine_name: str, good: bool) -> None:
        spec = member.probe(use)
        if spec is None or member.engine_name != engine_name or not member.rule.running:
            return
        before = member.probings[use].verdict
        after = probing.answered(member.probings[use], spec, good=good)
        member.probings[use] = after
        if after.verdict is before:
            return
        self._say(member.name, f"{use} probe {'passes' if after.verdict else 'fails'}")
        if use is not Use.READINESS and after.verdict is False:
            self._restart(member, f"{use} probe failed")
        elif use is Use.STARTUP:
            member.change(probed=True)

    def _show(self) -> PodSeen:
        rule = self._rule
        again = {
            m.name: not rule.ending
            and m.rule.life is rules.Life.EXITED
            and rules.runs_again(m.rule, rule.restart_policy)
            for m in self._members.values()
        }
        containers = tuple(member.seen(again=again[member.name]) for member in self._members.values())
        return PodSeen(self.name, rules.phase(rule), self._place.ip, containers, self._gone)

    def _say(self, container: str, event: str, **facts: object) -> None:
        self._events.add(self.name, container, event, **facts)


def _all(pod: manifest.Pod) -> list[tuple[manifest.Container, rules.Kind]]:
    """Every container and what it is, init containers first."""
    inits = [(c, rules.Kind.SIDECAR if c.restart_policy else rules.Kind.INIT) for c in pod.spec.init_containers]
    return [*inits, *((c, rules.Kind.MAIN) for c in pod.spec.containers)]
