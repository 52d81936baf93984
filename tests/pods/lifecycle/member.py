"""One container of a running pod: what the rules know of it, its probes, and how it is shown."""

import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.pods.lifecycle import manifest, probing, rules
from tests.pods.lifecycle.probing import Probing, Use
from tests.support.engine import Death
from tests.support.podlab.lab import ContainerSeen, Ended

START_ERROR = 128
"""Exit code where there is no process: pkg/kubelet shows what the runtime says, and containerd says 128."""


@dataclass
class Member:
    """Changed only by the worker of its pod."""

    spec: manifest.Container
    rule: rules.Container
    folder: Path
    engine_name: str = ""
    started_at: float | None = None
    ended: Ended | None = None
    ended_before: Ended | None = None
    probings: dict[Use, Probing] = field(default_factory=dict)
    gone: threading.Event = field(default_factory=threading.Event)
    """Set when the present run has ended."""

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def message(self) -> Path:
        """Where the present run leaves its last words."""
        return self.folder / f"{self.name}-{self.rule.runs}.message"

    def probe(self, use: Use) -> manifest.Probe | None:
        match use:
            case Use.STARTUP:
                return self.spec.startup_probe
            case Use.READINESS:
                return self.spec.readiness_probe
            case _:
                return self.spec.liveness_probe

    def change(self, **changes: Any) -> None:
        """Note what the rules have to know."""
        self.rule = replace(self.rule, **changes)
        if self.rule.started:
            self.rule = replace(self.rule, begun=True)

    def next_run(self, pod: str) -> None:
        """A run begins: a new name for the engine, an empty file for last words."""
        self.change(runs=self.rule.runs + 1, stop=None)
        self.engine_name = f"{pod}-{self.name}-{self.rule.runs}"
        self.gone = threading.Event()
        self.ended_before, self.ended = self.ended or self.ended_before, None
        self.message.touch()
        self.message.chmod(0o666)

    def has_started(self, now: float, started_at: float) -> None:
        """Its process runs."""
        self.started_at = started_at
        uses = [(use, probe) for use in Use if (probe := self.probe(use)) is not None]
        self.probings = {use: probing.begin(use, probe, now) for use, probe in uses}
        hooked, probed = self.spec.lifecycle.post_start is None, self.spec.startup_probe is None
        self.change(life=rules.Life.RUNNING, hooked=hooked, probed=probed)

    def has_ended(self, death: Death, reason: str = "", message: str = "") -> None:
        """Its process has ended, or could not be started."""
        said = reason or ("OOMKilled" if death.out_of_memory else "Error" if death.exit_code else "Completed")
        words = message or self.message.read_text(encoding="utf-8", errors="replace")
        self.ended = Ended(death.exit_code, said, words, death.started_at, death.ended_at)
        self.change(life=rules.Life.EXITED, exit_code=death.exit_code, ended_at=death.ended_at)
        self.gone.set()

    @property
    def ready(self) -> bool:
        readiness = self.probings.get(Use.READINESS)
        return self.rule.started and (readiness is None or readiness.verdict is True)

    def seen(self, *, again: bool) -> ContainerSeen:
        """As Kubernetes shows it; `again`: when it has ended it will run again, which is shown as waiting."""
        waits = not self.rule.running and (again or self.rule.life is rules.Life.WAITING)
        return ContainerSeen(
            name=self.name,
            started=self.rule.started,
            ready=self.ready,
            restarts=max(0, self.rule.runs - 1),
            waiting_for=("CrashLoopBackOff" if self.rule.runs else "PodInitializing") if waits else "",
            started_at=None if waits else self.started_at,
            ended=None if waits else self.ended,
            ended_before=self.ended or self.ended_before if waits else self.ended_before,
        )
