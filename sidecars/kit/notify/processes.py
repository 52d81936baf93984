"""Read /proc into values: all processes that share a namespace with us, who we are, and pidfiles."""

import os
import time
from dataclasses import dataclass

from sidecars.declaration import declared_names
from sidecars.kit.files import open_regular
from sidecars.runtime.clock import now

from .core.permissions import Credentials
from .core.process import Process
from .core.selection import PidFile

_KERNEL_THREAD = 0x00200000  # PF_KTHREAD, linux/sched.h
_PARENT, _TERMINAL, _FLAGS, _START_TIME = 1, 4, 6, 19
"""Places in /proc/PID/stat behind the command name, see proc_pid_stat(5)."""
_STATUS_BYTES = 64 * 1024
_COMMAND_BYTES = 32 * 1024
"""Of a command line; it can be megabytes long."""
_PIDFILE_BYTES = 64
_PIDFILE_SLACK_SECONDS = 2.0
"""A clock that is being corrected, and time stamps of files that tick more slowly than processes start."""

_SIDECARS = frozenset(declared_names())


@dataclass(frozen=True, slots=True)
class Table:
    """`own_pid`: ourselves. `hidden`: whether there are processes that we cannot see (hidepid, see proc(5))."""

    processes: tuple[Process, ...]
    own_pid: int
    ours: Credentials
    hidden: bool


def scan(proc: str) -> Table:
    """Read all processes. Raises OSError when this is not the /proc of our own process namespace.

    Call it from a thread: the kernel may let the reader of a command line wait for as long as that process's memory
    cannot be had (it is being swapped in, or mapped from a network file system).
    """
    own_pid = os.getpid()
    if os.readlink(f"{proc}/self") != str(own_pid):  # the numbers in it are not those that kill(2) takes
        raise OSError(f"{proc} belongs to another process namespace than this process")
    pids = sorted(int(name) for name in os.listdir(proc) if name.isdecimal())
    found: list[Process] = []
    unreadable = False
    for pid in pids:
        try:
            process = read(proc, pid)
        except PermissionError:
            unreadable = True
            continue
        if process is not None:
            found.append(process)
    hidden = unreadable or 1 not in pids
    return Table(tuple(found), own_pid, credentials(proc, own_pid), hidden)


def read(proc: str, pid: int) -> Process | None:
    """Read one process, or None when it is gone. Raises PermissionError when it is hidden from us."""
    try:
        folder = os.open(f"{proc}/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        return None
    try:  # all through one descriptor, so that it is the same process even if its number is used again meanwhile
        numbers = _read(folder, "stat", _STATUS_BYTES)
        status = _status(folder)
        line = _read(folder, "cmdline", _COMMAND_BYTES)
        return _process(pid, numbers, status, line, _exe(folder))
    except (FileNotFoundError, ProcessLookupError):
        return None
    finally:
        os.close(folder)


def credentials(proc: str, pid: int) -> Credentials:
    """Read who a process is to the kernel: ourselves. Raises OSError."""
    folder = os.open(f"{proc}/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        status = _status(folder)
    finally:
        os.close(folder)
    real, effective, _ = _uids(status)
    return Credentials(effective, real, int(status.get("CapEff", "0"), 16))


def read_pidfile(path: str) -> PidFile | None:
    """Read a pidfile, or None when it holds no number (yet). Raises OSError when it cannot be read."""
    descriptor = open_regular(path)
    try:
        state = os.fstat(descriptor)
        words = os.read(descriptor, _PIDFILE_BYTES).split()
    finally:
        os.close(descriptor)
    if not words or not words[0].isdigit():  # zero and below mean groups of processes to kill(2); isdigit has no minus
        return None
    since_boot_seconds = state.st_mtime - (now() - time.clock_gettime(time.CLOCK_BOOTTIME))
    ticks = os.sysconf("SC_CLK_TCK")
    return PidFile(int(words[0]), int((since_boot_seconds + _PIDFILE_SLACK_SECONDS) * ticks))


def _process(pid: int, numbers: bytes, status: dict[str, str], line: bytes, exe: str) -> Process:
    name, _, rest = numbers.partition(b"(")[2].rpartition(b")")  # a name may hold spaces and parentheses itself
    fields = rest.split()
    real, effective, saved = _uids(status)
    return Process(
        pid=pid,
        ppid=int(fields[_PARENT]),
        comm=name.decode(errors="replace"),
        argv=tuple(line.rstrip(b"\0").decode(errors="replace").split("\0")) if line.rstrip(b"\0") else (),
        uid=effective,
        real_uid=real,
        saved_uid=saved,
        state=fields[0].decode(),
        start_time=int(fields[_START_TIME]),
        caught=_mask(status, "SigCgt"),
        ignored=_mask(status, "SigIgn"),
        blocked=_mask(status, "SigBlk"),
        kernel=bool(int(fields[_FLAGS]) & _KERNEL_THREAD),
        terminal=fields[_TERMINAL] != b"0",
        exe=exe,
        sidecars=_SIDECARS,
    )


def _status(folder: int) -> dict[str, str]:
    """Return the fields of /proc/PID/status by name; `Uid` always, from the owner of the folder if need be (gVisor)."""
    lines = _read(folder, "status", _STATUS_BYTES).decode(errors="replace").split("\n")
    fields = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    owner = os.fstat(folder).st_uid
    return {"Uid": f"{owner} {owner} {owner}", **fields}


def _exe(folder: int) -> str:
    """Return the program, or "": to read it takes more rights than the rest (ptrace(2))."""
    try:
        return os.readlink("exe", dir_fd=folder)
    except OSError:
        return ""


def _uids(status: dict[str, str]) -> tuple[int, int, int]:
    """Return the real, effective and saved user id."""
    real, effective, saved = (int(word) for word in status["Uid"].split()[:3])
    return real, effective, saved


def _mask(status: dict[str, str], name: str) -> int:
    """Return a mask of signals. A kernel without it (gVisor) shows no handler: rather wait than end the app."""
    return int(status.get(name, "0"), 16)


def _read(folder: int, name: str, limit: int) -> bytes:
    """Read a file of /proc up to the limit; a read there may give less than asked for."""
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        content = b""
        while len(content) < limit and (piece := os.read(descriptor, limit - len(content))):
            content += piece
        return content
    finally:
        os.close(descriptor)
