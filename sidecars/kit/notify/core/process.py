"""A process as /proc shows it, and what kind of process it is: the pause process, a sidecar of ours, one that only
started another.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_FORWARDERS = {"tini", "tini-static", "docker-init", "dumb-init", "catatonit"}
_SHELLS = {"sh", "bash", "dash", "ash", "busybox"}
_MODULE = re.compile(r"(?:^| )-m ?sidecars(?: |$)")  # and not sidecars.devstack, which has apps
_PROGRAM = re.compile(r"^(?:-\S+ )*(?:exec )?(?:\S*/)?([a-z-]+)(?: |$)")
# The probe is a health check, every second, in a namespace that all containers share.
_PROGRAMS = {"sidecar", "sidecar-probe"}
_SHOWN_LETTERS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """`start_time`: clock ticks since boot. `uid`: the effective one. `state`: a letter, Z is a zombie. `caught`,
    `ignored`, `blocked`: masks, bit N-1 is signal N. `terminal`: whether it has a controlling terminal.
    """

    pid: int
    ppid: int
    comm: str
    argv: tuple[str, ...]
    uid: int
    real_uid: int
    saved_uid: int
    state: str
    start_time: int
    caught: int = 0
    ignored: int = 0
    blocked: int = 0
    kernel: bool = False
    terminal: bool = False
    exe: str = ""
    """The file of its program; "" where we may not know."""
    sidecars: frozenset[str] = frozenset()
    """The names of all sidecars of this project, which their programs are called."""

    @property
    def program(self) -> str:
        """Return the name of what was started, without its folder."""
        return self.argv[0].rpartition("/")[2] if self.argv else ""

    @property
    def line(self) -> str:
        """Return the command line, for matching; never to be shown whole: it may hold a password."""
        return " ".join(self.argv)

    @property
    def label(self) -> str:
        """Return how people know it: `42 (nginx)`."""
        return f"{self.pid} ({_printable(self.comm)})"

    @property
    def command(self) -> str:
        """Return the pid and what distinguishes the process, for people. Of the arguments only the script or module."""
        title = re.match(r"\S+: \S+(?: \w+)?", self.argv[0]) if self.argv else None
        words = [title[0] if title else self.argv[0].partition(" ")[0] if self.argv else self.comm]
        rest = self.argv[1:]
        if rest[:1] == ("-m",):
            words += rest[:2]
        elif rest and re.fullmatch(r"[\w./][\w./-]*", rest[0]):  # no option, no name=value, no user:password@host
            words.append(rest[0])
        return f"{self.pid}: {_printable(' '.join(words))[:_SHOWN_LETTERS]} (uid {self.uid})"

    def handles(self, number: int) -> bool:
        """Return whether the signal is caught, or blocked: sigwait(3) and signalfd(2) ask for it to be blocked."""
        return bool((self.caught | self.blocked) >> (number - 1) & 1)

    def ignores(self, number: int) -> bool:
        """Return whether the signal would be thrown away."""
        return bool(self.ignored >> (number - 1) & 1)

    @property
    def ended(self) -> bool:
        """Return whether only its entry is left (a zombie)."""
        return self.state in {"Z", "X", "x"}

    @property
    def pause(self) -> bool:
        """Return whether it holds the pod's namespaces open: PID 1 in each pod with shareProcessNamespace."""
        ours = self.argv[-1:] == ("/pause.py",)  # of compose.yaml
        named = ours or self.comm in {"pause", "catatonit"} or "".join(self.argv[:1]).endswith("/pause")
        return self.pid == 1 and named

    @property
    def sidecar(self) -> bool:
        """Return whether it is one of these sidecars (not a program that is told `sidecar`, as in `thanos sidecar`)."""
        if self.program == "sidecar":
            return True
        runs_others = self.program.startswith("python") or self.launcher
        line = " ".join(self.argv[1:])
        script = _PROGRAM.match(line)
        named = script is not None and script[1] in _PROGRAMS | self.sidecars
        return runs_others and (named or _MODULE.search(line) is not None)

    @property
    def ends_on_hangup(self) -> bool:
        """Return whether it is a Java virtual machine, which catches SIGHUP in order to exit with status 129 (as it
        does INT and TERM, unless told -Xrs) where the app has no handler of its own; from outside both look the same.
        """
        java = self.program == "java" or self.exe.removesuffix(" (deleted)").endswith("/bin/java")
        return java and "-Xrs" not in self.argv

    @property
    def launcher(self) -> bool:
        """Return whether it may have the app's name in its arguments only because it started the app."""
        return self.forwarder or self.shell

    @property
    def forwarder(self) -> bool:
        """Return whether it hands every signal on to the app, which may not have its handler yet."""
        return self.program in _FORWARDERS or self.comm in _FORWARDERS

    @property
    def shell(self) -> bool:
        """Return whether it is a shell, or a script of one."""
        return self.program.removeprefix("-") in _SHELLS


def ancestry(processes: Sequence[Process]) -> dict[int, frozenset[int]]:
    """Return the ids above each process: parent, grandparent, ... as far as they can be seen."""
    parents = {p.pid: p.ppid for p in processes}
    return {pid: frozenset(_above(pid, parents)) for pid in parents}


def _above(pid: int, parents: dict[int, int]) -> set[int]:
    """Return the ids above. /proc is not read at one instant: with ids used again the parents may form a ring."""
    above: set[int] = set()
    at = parents.get(pid, 0)
    while at and at not in above:
        above.add(at)
        at = parents.get(at, 0)
    return above


def _printable(text: str) -> str:
    """Replace line feeds and escape sequences, which are not for our log: a process chooses its own name."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
