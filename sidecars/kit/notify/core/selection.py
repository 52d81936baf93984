"""Which process a signal is for. A signal to the wrong process, or to one without a handler, ends it: everything that
speaks against sending is decided here, on values.
"""

import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from .options import Signal
from .process import Process, ancestry

ANY = "any"
_ENDING = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL}
_HARMLESS = {
    signal.SIGCHLD,
    signal.SIGURG,
    signal.SIGWINCH,
    signal.SIGCONT,
}  # signal(7): by default ignored, or "go on"
_COMM_BYTES = 15  # proc_pid_comm(5): TASK_COMM_LEN is 16, with the null byte at the end
_EXACT, _TITLE, _ARGUMENT, _PART = range(4)
"""The tiers of `process`. From _ARGUMENT on a match may be an accident: a log path among somebody's arguments."""
_LISTED = 8

Above = Mapping[int, frozenset[int]]
"""The ids above each process."""


class Match(StrEnum):
    """How a selection ended."""

    YES = "yes"
    ABSENT = "absent"
    AMBIGUOUS = "ambiguous"
    UNHANDLED = "unhandled"
    """It is there, and the signal would be lost or end it."""
    REFUSED = "refused"
    """What is asked for is never signalled, whatever comes."""


@dataclass(frozen=True, slots=True)
class Selection:
    """`processes`: what to signal (YES), or what it is about. `why`: for people, empty when YES."""

    found: Match
    processes: tuple[Process, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class PidFile:
    """What a pidfile says. `latest_start`: when it was written, in ticks since boot; a process that started later has
    the number by chance.
    """

    pid: int
    latest_start: int


def number(text: str) -> int:
    """Return the number of `SIGHUP`, `HUP` or `1`. Raises ValueError for what is no signal."""
    name = text.strip().upper()
    members = signal.Signals.__members__
    try:
        return int(members.get(name) or members.get(f"SIG{name}") or signal.Signals(int(name)))
    except ValueError:
        raise ValueError(f"cannot use {text!r} as a signal: name one such as SIGHUP, USR1 or 12") from None


def needs_handler(wanted: Signal) -> bool:
    """Return whether a process without a handler is to be left alone."""
    if wanted.require_handler is not None:
        return wanted.require_handler
    return number(wanted.signal) not in _ENDING


def select(processes: Sequence[Process], wanted: Signal, own_pid: int, file: PidFile | None = None) -> Selection:
    """Decide whom to signal. `file`: what `wanted.pidfile` says, if it is used. Raises ValueError or re.error when
    `wanted.signal` or `wanted.argv` cannot be read; whoever took the settings saw to that.
    """
    if not asked(wanted):
        return Selection(Match.REFUSED, (), "cannot choose a process: name it by process, comm, argv, uid or pidfile")
    if wanted.process == ANY and any(p.kernel for p in processes):  # hostPID
        why = "cannot signal `any` process: these are the processes of the whole node, not of the pod; name the process"
        return Selection(Match.REFUSED, (), why)
    above = ancestry(processes)
    fitting = [p for p in processes if _fits(p, wanted, file)]
    allowed = [p for p in fitting if not _never(p, wanted, own_pid, above)]
    ancestors = above.get(own_pid, frozenset())
    if wanted.process == ANY:
        return _all_that_handle([p for p in allowed if p.pid not in ancestors], wanted, above)
    chosen = roots(_best(allowed, wanted, ancestors), above)
    if not chosen:
        reasons = {p.pid: _never(p, wanted, own_pid, above) for p in fitting}
        return _nobody(processes, wanted, reasons, file)
    if len(chosen) > 1:
        return _ambiguous(chosen, wanted)
    return _if_handled(chosen[0], wanted)


def roots(processes: Sequence[Process], above: Above) -> tuple[Process, ...]:
    """Return those that are below none of the others: masters without their workers."""
    ids = {p.pid for p in processes}
    return tuple(p for p in processes if not above[p.pid] & ids)


def asked(wanted: Signal) -> str:
    """Return the selectors in words, or nothing if there are none."""
    given = (
        (f"process {wanted.process!r}", wanted.process),
        (f"comm {wanted.comm!r}", wanted.comm),
        (f"argv {wanted.argv!r}", wanted.argv),
        (f"uid {wanted.uid}", wanted.uid is not None),
        (f"pidfile {wanted.pidfile!r}", wanted.pidfile),
    )
    return ", ".join(words for words, is_given in given if is_given)


def doubt(process: Process, wanted: Signal) -> str:
    """Return why the signal may end this process although it is caught; "" when nothing speaks for that."""
    if number(wanted.signal) != signal.SIGHUP or not process.ends_on_hangup:
        return ""
    return (
        f"{process.label} is a Java virtual machine, which catches SIGHUP in order to exit (status 129) unless the app "
        "has its own handler for it; if it has none, notify it by a webhook, or by another signal"
    )


def _fits(process: Process, wanted: Signal, file: PidFile | None) -> bool:
    """Return whether all selectors but `process` fit."""
    comm = wanted.comm.encode()[:_COMM_BYTES].decode(errors="replace")
    return (
        (not comm or process.comm == comm)
        and (not wanted.argv or re.search(wanted.argv, process.line) is not None)
        and (wanted.uid is None or process.uid == wanted.uid)
        and (file is None or (process.pid == file.pid and process.start_time <= file.latest_start))
    )


def _tier(process: Process, name: str) -> int | None:
    """Return how `process: name` fits, if it does."""
    if process.comm == name:
        return _EXACT
    title = re.match(re.escape(name) + r"(?![\w./-])", "".join(process.argv[:1]))  # `nginx`, not `nginx-exporter`
    if title or process.program == name:
        return _TITLE
    if any(argument.rpartition("/")[2] == name for argument in process.argv[1:]):
        return _ARGUMENT
    return _PART if name in process.line else None


def _best(processes: Sequence[Process], wanted: Signal, ancestors: frozenset[int]) -> list[Process]:
    """Return what fits `process` in the first tier that has any. Where a match may be an accident, our own ancestors
    are none (their arguments are ours), and who only started the app stands back.
    """
    exact = bool(wanted.comm or wanted.pidfile)
    by_tier: dict[int, list[Process]] = {}
    for process in processes:
        tier = _tier(process, wanted.process) if wanted.process else _ARGUMENT
        if tier is not None and (tier < _ARGUMENT or exact or process.pid not in ancestors):
            by_tier.setdefault(tier, []).append(process)
    if not by_tier:
        return []
    tier = min(by_tier)
    if tier < _ARGUMENT or exact:
        return by_tier[tier]
    return [p for p in by_tier[tier] if not p.launcher] or by_tier[tier]


def _never(process: Process, wanted: Signal, own_pid: int, above: Above) -> str:
    """Return why this process is not signalled, whatever fits; nothing if it may be."""
    if process.pid == own_pid:
        return "is this sidecar itself"
    if own_pid in above[process.pid]:
        return "was started by this sidecar"  # a validator: `nginx -t` is called nginx too
    if process.kernel:
        return "belongs to the kernel"
    if process.ended:
        return "has ended"
    if process.pause:
        return "is the pause process of the pod, not the app"
    if process.sidecar and not wanted.pidfile and "sidecar" not in {wanted.comm, wanted.process}:
        return "is another sidecar"
    return ""


def _all_that_handle(processes: Sequence[Process], wanted: Signal, above: Above) -> Selection:
    """Return the roots of what handles the signal, for `process: any`."""
    signal_number = number(wanted.signal)
    handling = [p for p in processes if p.handles(signal_number) and not p.forwarder and not (p.shell and p.terminal)]
    if handling:  # a shell at a terminal is somebody's `kubectl exec`: it handles SIGHUP by ending
        return Selection(Match.YES, roots(handling, above))
    name = signal.Signals(signal_number).name
    if processes:
        return Selection(
            Match.UNHANDLED, tuple(processes), f"cannot signal any process: none handles {name} yet: waiting"
        )
    return Selection(Match.ABSENT, (), f"cannot find a process to send {name} to: {asked(wanted)}")


def _if_handled(process: Process, wanted: Signal) -> Selection:
    signal_number = number(wanted.signal)
    if process.handles(signal_number) or not needs_handler(wanted):
        return Selection(Match.YES, (process,))
    name = signal.Signals(signal_number).name
    if process.ignores(signal_number):
        why = f"ignores {name}: waiting until it does not"
    elif signal_number in _HARMLESS:
        why = f"has no handler for {name} yet: waiting"
    else:
        # sigtimedwait(2) takes the signals out of the blocked mask while it waits (kernel/signal.c, do_sigtimedwait)
        why = f"has no handler for {name} yet, it would be killed: waiting"
        why += " (if it waits with sigwait, which cannot be seen: set require_handler to false)"
    return Selection(Match.UNHANDLED, (process,), f"cannot signal {process.label}: it {why}")


def _ambiguous(chosen: Sequence[Process], wanted: Signal) -> Selection:
    listed = "; ".join(p.command for p in chosen[:_LISTED])
    more = f"; and {len(chosen) - _LISTED} more" if len(chosen) > _LISTED else ""
    why = (
        f"cannot choose between {len(chosen)} processes that fit {asked(wanted)}: {listed}{more}; narrow it with argv, "
    )
    return Selection(Match.AMBIGUOUS, tuple(chosen), why + "uid or pidfile")


def _nobody(
    processes: Sequence[Process], wanted: Signal, reasons: Mapping[int, str], file: PidFile | None
) -> Selection:
    """Say why nobody fits: the number in the pidfile is stale, or who fits is never signalled."""
    why = f"cannot find a process that fits {asked(wanted)}"
    for process in processes:
        meant = file is not None and process.pid == file.pid
        reason = reasons.get(process.pid, "")
        if reason and (meant or not wanted.process or _tier(process, wanted.process) in {_EXACT, _TITLE}):
            found = Match.REFUSED if process.pause or process.kernel else Match.ABSENT
            return Selection(found, (process,), f"{why}: {process.label} does, but {reason}")
        if file is not None and meant:
            late = process.start_time > file.latest_start
            stale = "started after the file was written" if late else "does not fit the rest"
            return Selection(Match.ABSENT, (), f"{why}: the file is stale, its process {process.label} {stale}")
    return Selection(Match.ABSENT, (), why + (f": there is no process {file.pid}" if file else ""))
