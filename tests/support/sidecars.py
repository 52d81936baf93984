"""Our sidecars as processes, seen as an operator sees them: signals, exit status, log, admin endpoint, memory.

shipper = ShipperProcess(tmp_path, {"paths": f"{logs}/*.log", "elasticsearch_url": backend.url}).start()
shipper.until_shipped(logs_bytes)         # acknowledged + dead-lettered, and the law of the books holds
assert shipper.terminate() == 0

reloader = ReloaderProcess(tmp_path, {"watch": volume.folder, "webhook_url": app.url}).start()
waiting = WaitForProcess(tmp_path, "tcp://db:5432", timeout_seconds=5).start()
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.support.books import Samples, assert_law, samples
from tests.support.processes import SIDECARS, Done, Process, Word, run, variables_of
from tests.support.rest import ask
from tests.support.waiting import PATIENCE_SECONDS

PREFIX = "sidecar_log_shipper_"
TOGETHER = ("log-shipper", "config-reloader")
"""What a test runs in one process that wants two."""


class SidecarProcess(Process):
    """One sidecar; may be started again after it ended.

    `settings`: names without the sidecar's prefix and in lower case. Settings and `flags` (more words of the command
    line) may be changed between two starts.
    """

    name = ""
    program: Sequence[Word] = ()
    """What runs it, without its flags; nothing: this interpreter."""

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, object],
        environment: Mapping[str, str] | None = None,
        prefix: tuple[str, ...] = (),
    ) -> None:
        super().__init__(folder, environment=environment, prefix=prefix)
        usual = {"admin_host": "127.0.0.1", "admin_port": 0, **self.usual(folder)}
        self.settings: dict[str, object] = {**usual, **settings}
        self.flags: tuple[str, ...] = ()
        self._port = 0

    def usual(self, folder: Path) -> dict[str, object]:
        """Settings that the tests of this sidecar usually want, unless others are given."""
        del folder
        return {}

    def start(self, *, wait: bool = True) -> Self:
        """Run it; with `wait` until it has started."""
        self.command = (*(self.program or (*SIDECARS, self.name)), *self.flags)
        self._port = 0
        super().start()
        if wait:
            self.until(lambda: self.ask("/startupz")[0] == 200, "its start")
        return self

    def variables(self) -> dict[str, str]:
        """Return its settings, and what else it is given, as variables."""
        return {**self.environment, **variables_of(self.name, self.settings)}

    def check(self) -> Done:
        """Run `sidecar check` with the same settings, prefix and flags."""
        return run(*self.prefix, *SIDECARS, "check", self.name, *self.flags, variables=self.variables())

    def ask(self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        """One request to the admin endpoint: status and body; (0, "") when it cannot be reached (yet)."""
        if not self._port:
            lines = self.logged("admin.listening")
            if not lines:
                return 0, ""
            self._port = int(lines[0]["port"])
        return ask(("127.0.0.1", self._port), path, method, headers)

    def status(self) -> dict[str, Any]:
        """/status: what the sidecar says about itself."""
        whole: dict[str, Any] = json.loads(self.ask("/status")[1])
        return whole

    def metrics(self) -> Samples:
        """One scrape: `{'name{label="value"}': number}`, full names."""

        def answered() -> str:
            status, text = self.ask("/metrics")
            return text if status == 200 else ""

        return samples(self.until(answered, "its metrics"))

    def metric(self, name: str) -> float:
        """One value by its name without the sidecar's prefix; without labels it is the sum over all labels."""
        scrape, whole = self.metrics(), f"sidecar_{self.name.replace('-', '_')}_{name}"
        return sum(value for key, value in scrape.items() if key == whole or key.startswith(whole + "{"))

    def memory_bytes(self, field: str = "VmRSS") -> int:
        """A line of /proc/PID/status: VmRSS is what it takes now, VmHWM the most it ever took."""
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


class ShipperProcess(SidecarProcess):
    """One log shipper, with its state in `folder`."""

    name = "log-shipper"

    def usual(self, folder: Path) -> dict[str, object]:
        return {"state_dir": folder / "state", "batch_seconds": 0.1}

    def until_shipped(self, settled_bytes: int, within_seconds: float = PATIENCE_SECONDS) -> None:
        """Until so many bytes of log were acknowledged or dead-lettered since this start."""
        what = f"{settled_bytes} bytes to be settled"
        self.until(lambda: self.settled_bytes() >= settled_bytes, what, within_seconds)

    def until_caught_up(self, within_seconds: float = PATIENCE_SECONDS) -> None:
        """Until every file it knows is acknowledged to its end (a file it does not know yet is no reason to wait)."""

        def caught_up() -> bool:
            status = self.status()
            return not status["in_flight_bytes"] and all(not file["lag_bytes"] for file in status["files"])

        self.until(caught_up, "everything to be acknowledged", within_seconds)

    def metrics(self) -> Samples:
        """One scrape, held to the law of the books."""
        scrape = super().metrics()
        assert_law(scrape)
        return scrape

    def settled_bytes(self) -> int:
        """Bytes of log acknowledged or dead-lettered since this start."""
        scrape = self.metrics()
        return int(scrape[PREFIX + "acknowledged_bytes_total"] + scrape[PREFIX + "dead_letter_bytes_total"])


class ReloaderProcess(SidecarProcess):
    """One config reloader with its state file in `folder`; a short quiet period, so that tests are quick."""

    name = "config-reloader"

    def usual(self, folder: Path) -> dict[str, object]:
        return {"quiet_seconds": 0.1, "state_file": folder / "state.json"}

    def steps(self, *steps: Mapping[str, Any]) -> Self:
        """Do these steps; each is one key with its options, as in the settings file."""
        self.settings["steps"] = json.dumps(steps)
        return self

    @property
    def applied(self) -> str:
        """The hash that /status says is applied; empty when none is."""
        applied = self.status()["applied"]
        return applied["hash"] if applied else ""

    def until_begun(self) -> str:
        """Until it has taken the content that is there as the one to begin with; the hash."""
        self.until(lambda: self.ask("/startupz")[0] == 200 and self.applied, "the first content")
        self.until_settled()
        return self.applied

    def until_settled(self, within_seconds: float = PATIENCE_SECONDS) -> None:
        """Until nothing is pending."""
        self.until(lambda: self.status()["pending"] is None, "everything to be told", within_seconds)


class AmbassadorProcess(SidecarProcess):
    """One ambassador. Its settings may be those of the settings file: what is no text or number is written as YAML."""

    name = "ambassador"

    def usual(self, folder: Path) -> dict[str, object]:
        return {"listen": "127.0.0.1:0"}

    def variables(self) -> dict[str, str]:
        """Return its settings as variables, structures among them."""
        parts = {name: json.dumps(value) for name, value in self.settings.items() if isinstance(value, dict | list)}
        return {**self.environment, **variables_of(self.name, {**self.settings, **parts})}

    def port(self, listener: int = 0) -> int:
        """The port of a listener, in the order of the settings."""
        return int(self.logged("listener.up")[listener]["address"].rpartition(":")[2])

    def nodes(self) -> dict[str, dict[str, Any]]:
        """What /status says of the nodes, by name."""
        return {node["name"]: node for node in self.status()["upstreams"]}

    def until_usable(self) -> Self:
        """Until each listener has an upstream."""
        self.until(lambda: all(one["usable"] for one in self.status()["listeners"]), "an upstream for each listener")
        return self

    def closed(self) -> list[dict[str, Any]]:
        """The lines of the connections that have ended."""
        return self.logged("connection.closed")


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

    def until_blocked(self, reason: str = "") -> None:
        """Until it has said that it waits, and why."""
        self.until(lambda: any(reason in line["message"] for line in self.logged("wait.blocked")), "its progress")
