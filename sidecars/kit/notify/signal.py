"""Notify the app by a signal: find its process, make sure that it is still the one, and send. Synchronous: to be called
from a thread, see processes.scan.
"""

import errno
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from .core.options import Signal
from .core.outcome import Outcome, Result
from .core.permissions import explain, explain_uid, may_signal, may_signal_uid
from .core.process import Process, ancestry
from .core.selection import Match, PidFile, Selection, doubt, needs_handler, number, select
from .processes import Table, read, read_pidfile, scan

Finding = tuple[Literal["ok", "warning", "error"], str]


@dataclass(frozen=True, slots=True)
class ProcessSearch:
    """All processes at one moment, and what follows for the step. `table`: None when /proc cannot be read. `denied`:
    that or the pidfile cannot be read.
    """

    selection: Selection
    table: Table | None = None
    denied: bool = False


class _GoneError(Exception):
    """The process that was chosen is not there any more, or not as it was."""


def send(step: Signal, proc: str = "/proc") -> Outcome:
    """Signal the process that the step names. OK, DENIED (EPERM; /proc or the pidfile cannot be read), FAILED (another
    error of the kernel), else UNREACHABLE: no such process, no handler yet, or several that fit.
    """
    return deliver(step, search(step, proc), proc)


def ready(step: Signal, proc: str = "/proc") -> bool:
    """Return whether `send` would find a process to signal now."""
    return search(step, proc).selection.found is Match.YES


def search(step: Signal, proc: str = "/proc") -> ProcessSearch:
    """Search for the process that the step names. Send nothing, raise nothing."""
    try:
        table = scan(proc)
    except OSError as error:
        hint = "" if os.path.lexists(f"{proc}/self") else "; signals need that of Linux: use a webhook"
        why = f"cannot read the processes in {proc}: {_reason(error)}{hint}"
        return ProcessSearch(Selection(Match.REFUSED, (), why), denied=True)
    file: PidFile | None = None
    try:
        if step.pidfile and (file := read_pidfile(step.pidfile)) is None:
            return ProcessSearch(
                Selection(Match.ABSENT, (), f"cannot find the process: {step.pidfile} holds no process id"), table
            )
    except FileNotFoundError:
        return ProcessSearch(
            Selection(Match.ABSENT, (), f"cannot find the process: there is no {step.pidfile} yet"), table
        )
    except OSError as error:
        why = f"cannot read the pidfile {step.pidfile}: {_reason(error)}"
        return ProcessSearch(Selection(Match.REFUSED, (), why), table, denied=True)
    return ProcessSearch(select(table.processes, step, table.own_pid, file), table)


def deliver(step: Signal, seen: ProcessSearch, proc: str = "/proc") -> Outcome:
    """Signal what was found, provided that it is still the same; results as for `send`. If not all of several may be
    signalled, none is.
    """
    if seen.table is None or seen.selection.found is not Match.YES:
        return Outcome(Result.DENIED if seen.denied else Result.UNREACHABLE, _unfound(seen))
    signal_number, needed = number(step.signal), needs_handler(step)
    name = signal.Signals(signal_number).name
    targets = seen.selection.processes
    target = targets[0]
    try:
        for attempt in (0, signal_number):  # signal 0 asks the kernel whether we may
            for target in targets:
                _send_to(target, attempt, signal_number if needed else 0, proc)
    except _GoneError:
        return Outcome(Result.UNREACHABLE, f"cannot signal {target.label}: it ended or changed just now")
    except OSError as error:
        if error.errno == errno.EPERM:
            return Outcome(Result.DENIED, explain(seen.table.ours, target))
        result = Result.DENIED if error.errno == errno.EACCES else Result.FAILED
        return Outcome(result, f"cannot signal {target.label}: {_reason(error)}")
    doubts = "; ".join(text for target in targets if (text := doubt(target, step)))
    return Outcome(Result.OK, f"{name} to {', '.join(target.label for target in targets)}", doubts)


def findings(step: Signal, proc: str = "/proc") -> list[Finding]:
    """Say what `send` would do, for `sidecar check`, as (level, text). Sends nothing."""
    return list(_findings(step, search(step, proc)))


def _findings(step: Signal, seen: ProcessSearch) -> Iterator[Finding]:
    selection, table = seen.selection, seen.table
    if table is None:
        yield "error", selection.why
        return
    if selection.found in {Match.YES, Match.UNHANDLED}:
        yield from _permitted(step, selection, table)
        return
    if step.uid is not None and not may_signal_uid(table.ours, step.uid):
        yield "error", explain_uid(table.ours, "the app", step.uid)
    if selection.found is Match.ABSENT:
        yield _absent(seen, table)
    else:
        yield "error", _why(seen)


def _permitted(step: Signal, selection: Selection, table: Table) -> Iterator[Finding]:
    if selection.found is Match.UNHANDLED:
        yield "warning", selection.why
    if step.process == "any" and selection.found is Match.UNHANDLED:
        return  # nobody is chosen yet
    name = signal.Signals(number(step.signal)).name
    for process in selection.processes:
        if not may_signal(table.ours, process):
            yield "error", explain(table.ours, process)
        elif selection.found is Match.YES:
            yield "ok", f"would send {name} to {process.label}"
            if text := doubt(process, step):
                yield "warning", text


def _absent(seen: ProcessSearch, table: Table) -> Finding:
    """Say that there is no such process: wrong, unless the app may simply not have been started yet."""
    above = ancestry(table.processes)
    below = {pid for pid, ids in above.items() if table.own_pid in ids}
    family = above.get(table.own_pid, frozenset()) | below | {table.own_pid}
    first = next((p for p in table.processes if p.pid == 1), None)
    others = [p for p in table.processes if p.pid not in family and not (p.pause or p.sidecar or p.ended)]
    if any(p.pause for p in table.processes):
        shared = ""
    else:
        shared = "; in a pod, the app's processes are seen only with shareProcessNamespace: true in the pod's spec"
    if others or first is None:
        return "error", _why(seen) + shared
    if first.pause and first.pid not in family:  # catatonit may also be the init of our own container
        return "warning", f"{_why(seen)}; nothing runs yet but the sidecars"
    text = f"{_why(seen)}; there are only our own processes: set shareProcessNamespace: true in the pod's spec"
    return "error", text


def _unfound(seen: ProcessSearch) -> str:
    """Return why nobody is signalled; with the remedy where only the sidecar's own processes are seen."""
    if seen.table is not None and seen.selection.found is Match.ABSENT:
        return _absent(seen, seen.table)[1]
    return _why(seen)


def _send_to(target: Process, attempt: int, needed: int, proc: str) -> None:
    """Send `attempt` to the process if it is the one that was selected, and handles `needed` (unless 0). Raises
    _GoneError, or OSError as kill(2) does.
    """
    try:
        descriptor = os.pidfd_open(target.pid)
    except ProcessLookupError:
        raise _GoneError from None
    except (OSError, AttributeError):  # Linux before 5.3 (or a Python built there), seccomp, no descriptor left
        _verify(target, needed, proc)
        _kill(target.pid, attempt)
        return
    try:
        _verify(target, needed, proc)  # after opening: from here on the descriptor is this process or nobody
        try:
            signal.pidfd_send_signal(descriptor, attempt)
        except ProcessLookupError:
            raise _GoneError from None
        except OSError as error:
            if error.errno not in {errno.ENOSYS, errno.EPERM}:  # either may come from seccomp; kill tells
                raise
            _kill(target.pid, attempt)
    finally:
        os.close(descriptor)


def _verify(target: Process, needed: int, proc: str) -> None:
    """Take a second look. A thread that starts another has all signals blocked for an instant (pthread_create), which
    the first look may have taken for sigwait; twice in a row is not likely.
    """
    try:
        process = read(proc, target.pid)
    except PermissionError:
        process = None
    if process is None or process.ended or process.start_time != target.start_time:
        raise _GoneError
    if needed and not process.handles(needed):
        raise _GoneError


def _kill(pid: int, attempt: int) -> None:
    try:
        os.kill(pid, attempt)
    except ProcessLookupError:
        raise _GoneError from None


def _why(seen: ProcessSearch) -> str:
    hidden = seen.table is not None and seen.table.hidden and seen.selection.found is Match.ABSENT
    hint = "; some processes are hidden from us (/proc is mounted with hidepid): run this container with the app's uid"
    return seen.selection.why + (hint if hidden else "")


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
