"""wait-for as a process, and a probe of it in this loop.

run = WaitForProcess(tmp_path, "tcp://db:5432", timeout_seconds=5).start()
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from sidecars.runtime import Permanent, Transient
from sidecars.wait_for.core.parse import parse
from sidecars.wait_for.probing.probes import probe_of
from sidecars.wait_for.settings import WaitForSettings
from tests.support.sidecar_process import SidecarProcess

PATIENCE_SECONDS = 30.0


async def outcome(text: str, limit_seconds: float = PATIENCE_SECONDS, **settings: object) -> str:
    """One attempt at a target: the word ready, or why not; it begins with never when it can never be."""
    probe = probe_of(parse(text), WaitForSettings(targets=(text,), **settings))  # type: ignore[arg-type] # any setting
    try:
        await probe.within(limit_seconds)
    except Transient as error:
        return str(error)
    except Permanent as error:
        return f"never: {error}"
    finally:
        probe.close()
    return "ready"


class WaitForProcess(SidecarProcess):
    """`words` are the command line. The termination log is the file `termination-log` of the folder, which is there
    (the kubelet makes it), and empty.
    """

    name = "wait-for"

    def __init__(self, folder: Path, *words: str, prefix: tuple[str, ...] = (), **settings: object) -> None:
        super().__init__(folder, {}, prefix=prefix)
        self._termination = folder / "termination-log"
        self._termination.touch()
        self.settings = {"termination_log": self._termination, "interval_seconds": 0.2, **settings}
        self.flags = words

    def start(self, *, wait: bool = False) -> Self:
        """Run it. There is no admin endpoint to wait for."""
        assert not wait
        return super().start(wait=False)

    @property
    def left(self) -> str:
        """What it left for `kubectl describe pod`."""
        return self._termination.read_text(encoding="utf-8")

    @property
    def ready_targets(self) -> list[str]:
        """The targets it has said to be ready, in their order."""
        return [str(line["target"]) for line in self.logged("wait.ready")]

    def wait_until_blocked(self, reason: str = "") -> None:
        """Until it has said that it waits, and why."""
        self.wait_until(lambda: any(reason in line["message"] for line in self.logged("wait.blocked")), "its progress")

    @contextlib.contextmanager
    def running_while(self) -> Iterator[Self]:
        """Start it, and let nothing of it be left."""
        try:
            yield self.start()
        finally:
            self.kill()
