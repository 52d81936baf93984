"""Which process a signal is for: tables of made-up pods."""

import dataclasses
import signal
from typing import Any

import pytest

from sidecars.kit.notify.core.options import Signal
from sidecars.kit.notify.core.process import Process
from sidecars.kit.notify.core.selection import Match, PidFile, Selection, number, select

OWN = 20
HUP = 1 << (signal.SIGHUP - 1)


def process(pid: int, comm: str, *argv: str, **more: Any) -> Process:
    """One that catches SIGHUP, unless said otherwise."""
    ids = {"uid": 0, "real_uid": 0, "saved_uid": 0}
    names = frozenset({"log-shipper", "proxy"})
    given = {"ppid": 0, "state": "S", "start_time": pid, "caught": HUP, "sidecars": names, **ids, **more}
    return Process(pid=pid, comm=comm, argv=argv or (comm,), **given)


PAUSE = process(1, "pause", "/pause", caught=0)
OURSELVES = process(OWN, "python3", "python3", "-m", "sidecars", "config-reloader", "--process=nginx")
SHIPPER = process(21, "sidecar", "/usr/bin/python3", "/usr/bin/sidecar", "log-shipper", "--paths=/var/log/nginx/*")
POD = (PAUSE, OURSELVES, SHIPPER)
MASTER = process(30, "nginx", "nginx: master process nginx -g daemon off;")
WORKERS = tuple(process(pid, "nginx", "nginx: worker process", ppid=30, uid=101) for pid in (31, 32))
NGINX = (MASTER, *WORKERS)


def chosen(selection: Selection) -> list[int]:
    """The ids of what is signalled."""
    return [p.pid for p in selection.processes] if selection.found is Match.YES else []


def pick(*processes: Process, file: PidFile | None = None, **wanted: Any) -> list[int]:
    return chosen(select((*POD, *processes), Signal(**wanted), OWN, file))


NAMES: dict[str, tuple[dict[str, Any], tuple[Process, ...], list[int]]] = {
    "its command name": ({"process": "nginx"}, NGINX, [30]),
    "its title": ({"process": "nginx: master"}, NGINX, [30]),
    "the title of one worker": ({"process": "nginx: worker"}, (MASTER, WORKERS[0]), [31]),
    "its program, when the command name is cut": (
        {"process": "prometheus-config-reloader"},
        (
            process(30, "prometheus-conf", "/bin/prometheus-config-reloader"),
            process(31, "tail", "tail", "/log/prometheus-config-reloader.log"),
        ),
        [30],
    ),
    "its whole program": ({"process": "/usr/bin/app"}, (process(30, "MainThread", "/usr/bin/app"),), [30]),
    "its title before a program that begins alike": (
        {"process": "gunicorn"},
        (process(30, "python3", "gunicorn: master [web]"), process(31, "x", "gunicorn-exporter")),
        [30],
    ),
    "its program before that of another that begins alike": (
        {"process": "nginx"},
        (*NGINX, process(40, "nginx-exporter", "nginx-exporter")),
        [30],
    ),
    "its script": ({"process": "app.py"}, (process(30, "python3", "python3", "/srv/app.py"),), [30]),
    "part of its command line": ({"process": "web.main"}, (process(30, "java", "java", "-cp", "web.main.A"),), [30]),
    "the command name before an argument": (
        {"process": "app"},
        (process(30, "tail", "tail", "app"), process(31, "app")),
        [31],
    ),
    "the script before the shell that started it": (
        {"process": "app.py"},
        (process(30, "sh", "sh", "/run", "app.py"), process(31, "python3", "python3", "app.py", ppid=30)),
        [31],
    ),
    "the app before its init": (
        {"process": "app.py"},
        (process(30, "tini", "/tini", "--", "/app.py"), process(31, "python3", "python3", "/app.py", ppid=30)),
        [31],
    ),
    "a shell script, when there is nothing else": ({"process": "app.sh"}, (process(30, "sh", "sh", "/app.sh"),), [30]),
    "never a sidecar for its arguments": ({"process": "/var/log/nginx"}, (), []),
    "never a sidecar for its interpreter": ({"process": "python3"}, (process(30, "python3", "python3", "a.py"),), [30]),
    "an app of our devstack is an app": (
        {"process": "devstack"},
        (process(30, "python3", "/usr/bin/python3", "-I", "-m", "sidecars.devstack", "shop"),),
        [30],
    ),
    "never a sidecar that is called by its own name": (
        {"process": "proxy"},
        (process(30, "python3", "/usr/bin/python3", "-I", "/usr/bin/proxy", "--listen=:80"),),
        [],
    ),
    "never a health check of ours": (
        {"process": "sidecar-probe"},
        (process(30, "sidecar-probe", "/usr/bin/python3", "-IS", "/usr/bin/sidecar-probe", "livez"),),
        [],
    ),
    "never the pause process of the compose pod": (
        {"process": "python3"},
        (process(1, "python3", "/usr/bin/python3", "-I", "-S", "/pause.py"), process(30, "python3", "python3", "a.py")),
        [30],
    ),
    "a program that is told sidecar is none of ours": (
        {"process": "thanos"},
        (process(30, "thanos", "/bin/thanos", "sidecar", "--x"),),
        [30],
    ),
    "exactly this command name": ({"comm": "nginx"}, NGINX, [30]),
    "a command name given in full": ({"comm": "prometheus-config-reloader"}, (process(30, "prometheus-conf"),), [30]),
    "not a part of the command name": ({"comm": "ngin"}, NGINX, []),
    "a pattern in the command line": ({"argv": r"app\.py -p 80$"}, (process(30, "a", "app.py", "-p", "80"),), [30]),
    "never ourselves for a pattern": ({"argv": "process=nginx"}, (), []),
    "of a user": ({"uid": 101, "process": "nginx"}, (MASTER, WORKERS[0]), [31]),
    "all selectors must fit": ({"comm": "nginx", "argv": "master", "uid": 0}, NGINX, [30]),
    "one that does not fit": ({"comm": "nginx", "argv": "master", "uid": 7}, NGINX, []),
    "never one that has ended": ({"process": "nginx"}, (process(30, "nginx", state="Z"),), []),
    "never the kernel": ({"process": "kworker"}, (process(2, "kworker", kernel=True),), []),
    "never the pause process": ({"process": "pause"}, (), []),
    "never the pause process, by number": ({"comm": "pause", "require_handler": False}, (), []),
    "never what we started ourselves": ({"process": "nginx"}, (process(40, "nginx", ppid=OWN),), []),
    "a master across a process between": (
        {"comm": "app"},
        (process(30, "app"), process(31, "sh", ppid=30), process(32, "app", ppid=31)),
        [30],
    ),
    "no process at all": ({"process": "nginx"}, (), []),
    "nothing said": ({}, NGINX, []),
}  # fmt: skip


@pytest.mark.parametrize(("wanted", "processes", "expected"), NAMES.values(), ids=NAMES.keys())
def test_the_process_is_found_by(wanted: dict[str, Any], processes: tuple[Process, ...], expected: list[int]) -> None:
    assert pick(*processes, **wanted) == expected


FILES: dict[str, tuple[PidFile, dict[str, Any], list[int]]] = {
    "as it says": (PidFile(30, 30), {}, [30]),
    "a worker, if it says so": (PidFile(31, 99), {}, [31]),
    "the rest fits too": (PidFile(30, 99), {"process": "nginx", "uid": 0}, [30]),
    "its number was used again": (PidFile(30, 29), {}, []),
    "the rest does not fit": (PidFile(30, 99), {"process": "envoy"}, []),
    "another user": (PidFile(30, 99), {"uid": 5}, []),
    "it is gone": (PidFile(77, 99), {}, []),
    "it is the pause process": (PidFile(1, 99), {"require_handler": False}, []),
    "it is ourselves": (PidFile(OWN, 99), {}, []),
}


@pytest.mark.parametrize(("file", "wanted", "expected"), FILES.values(), ids=FILES.keys())
def test_a_pidfile_names_the_process(file: PidFile, wanted: dict[str, Any], expected: list[int]) -> None:
    selection = select((*POD, *NGINX), Signal(pidfile="/run/x.pid", **wanted), OWN, file)
    assert chosen(selection) == expected
    assert bool(selection.why) is not bool(expected)


ANY: dict[str, tuple[tuple[Process, ...], list[int]]] = {
    "every app, without its workers": ((*NGINX, process(40, "php-fpm")), [30, 40]),
    "not without a handler": ((MASTER, process(40, "app", caught=0)), [30]),
    "one that blocks it": ((process(40, "app", caught=0, blocked=HUP),), [40]),
    "not what only hands it on": ((process(30, "tini"), process(31, "app", ppid=30)), [31]),
    "nobody's shell at a terminal": ((MASTER, process(40, "bash", terminal=True)), [30]),
    "a script of a shell": ((process(40, "bash", "bash", "app.sh"),), [40]),
    "not one that has ended": ((process(40, "app", state="Z"),), []),
    "nobody yet": ((process(40, "app", caught=0),), []),
    "not on a whole node": ((MASTER, process(2, "kthreadd", kernel=True)), []),
}


@pytest.mark.parametrize(("processes", "expected"), ANY.values(), ids=ANY.keys())
def test_any_is_every_process_that_handles_the_signal(processes: tuple[Process, ...], expected: list[int]) -> None:
    pause = dataclasses.replace(PAUSE, caught=HUP)
    selection = select((pause, OURSELVES, SHIPPER, *processes), Signal(process="any"), OWN)
    assert chosen(selection) == expected


@pytest.mark.parametrize("wanted", [{"process": "run-all"}, {"argv": "run-all"}, {"uid": 0}, {"process": "any"}])
def test_who_started_us_is_not_signalled_for_its_arguments(wanted: dict[str, Any]) -> None:
    parent = process(10, "supervisor", "supervisor", "/etc/run-all")
    own = dataclasses.replace(OURSELVES, ppid=10)
    assert chosen(select((PAUSE, parent, own), Signal(**wanted), OWN)) == []
    assert chosen(select((PAUSE, parent, own), Signal(process="supervisor"), OWN)) == [10]


def test_of_several_none_is_chosen_and_all_are_listed_without_their_secrets() -> None:
    apps = (
        process(30, "python3", "python3", "/srv/web.py", "--token", "hunter2", uid=7),
        process(31, "python3", "python3", "-m", "celery", "worker", "hunter2"),
        process(32, "python3", "python3", "--password=hunter2"),
        process(33, "python3", "python3", "redis://me:hunter2@db"),
    )
    selection = select((*POD, *apps), Signal(process="python3"), OWN)
    assert selection.found is Match.AMBIGUOUS
    assert "hunter2" not in selection.why
    for words in (
        "30: python3 /srv/web.py (uid 7)",
        "31: python3 -m celery (uid 0)",
        "narrow it with argv, uid or pidfile",
    ):
        assert words in selection.why


def test_many_that_fit_do_not_make_a_long_text() -> None:
    apps = [process(pid, "app", "app " * 100) for pid in range(100, 400)]
    selection = select(apps, Signal(process="app"), OWN)
    assert "and 292 more" in selection.why
    assert len(selection.why) < 1000


HANDLING: dict[str, tuple[dict[str, int], dict[str, Any], Match, str]] = {
    "caught": ({"caught": HUP}, {}, Match.YES, ""),
    "blocked": ({"caught": 0, "blocked": HUP}, {}, Match.YES, ""),
    "none": ({"caught": 0}, {}, Match.UNHANDLED, "has no handler for SIGHUP yet, it would be killed: waiting"),
    "another signal's": ({"caught": HUP << 1}, {}, Match.UNHANDLED, "no handler for SIGHUP"),
    "ignored": ({"caught": 0, "ignored": HUP}, {}, Match.UNHANDLED, "ignores SIGHUP"),
    "a harmless one": ({"caught": 0}, {"signal": "WINCH"}, Match.UNHANDLED, "no handler for SIGWINCH yet: waiting"),
    "none is needed": ({"caught": 0}, {"require_handler": False}, Match.YES, ""),
    "the end": ({"caught": 0}, {"signal": "TERM"}, Match.YES, ""),
    "the end, with care": ({"caught": 0}, {"signal": "15", "require_handler": True}, Match.UNHANDLED, "SIGTERM"),
}


@pytest.mark.parametrize(("masks", "wanted", "found", "words"), HANDLING.values(), ids=HANDLING.keys())
def test_a_process_is_told_only_when_it_handles_the_signal(
    masks: dict[str, int], wanted: dict[str, Any], found: Match, words: str
) -> None:
    selection = select((*POD, process(30, "app", **masks)), Signal(process="app", **wanted), OWN)
    assert selection.found is found
    assert words in selection.why


WHY: dict[str, tuple[dict[str, Any], tuple[Process, ...], Match, str]] = {
    "nobody": ({"process": "app", "uid": 5}, (), Match.ABSENT, "cannot find a process that fits process 'app', uid 5"),
    "pause": ({"comm": "pause"}, (), Match.REFUSED, "1 (pause) does, but is the pause process of the pod, not the app"),
    "ended": ({"comm": "app"}, (process(30, "app", state="Z"),), Match.ABSENT, "30 (app) does, but has ended"),
    "our own name": ({"comm": "python3"}, (), Match.ABSENT, "20 (python3) does, but is this sidecar itself"),
    "a name in arguments only": ({"process": "--process=nginx"}, (), Match.ABSENT, "fits process '--process=nginx'"),
    "a name with a line feed": ({"uid": 5}, (process(30, "a\nb", uid=5, caught=0),), Match.UNHANDLED, "30 (a?b)"),
}


@pytest.mark.parametrize(("wanted", "processes", "found", "words"), WHY.values(), ids=WHY.keys())
def test_the_reason_is_said_in_words(
    wanted: dict[str, Any], processes: tuple[Process, ...], found: Match, words: str
) -> None:
    selection = select((*POD, *processes), Signal(**wanted), OWN)
    assert selection.found is found
    assert words in selection.why


@pytest.mark.parametrize("comm", ["pause", "catatonit", "anything"])
def test_the_pause_process_is_known_by_its_number_and_name(comm: str) -> None:
    assert process(1, comm, "/pause").pause
    assert process(1, comm).pause is (comm != "anything")
    assert not process(2, comm, "/pause").pause


def test_parents_that_form_a_ring_do_not_hang() -> None:
    ring = (process(30, "app", ppid=31), process(31, "app", ppid=30), process(OWN, "x", ppid=OWN))
    assert select(ring, Signal(process="app"), OWN).found is not Match.YES


@pytest.mark.parametrize(
    ("text", "expected"),
    [("SIGHUP", 1), ("HUP", 1), ("hup", 1), ("1", 1), (" SIGUSR1 ", 10), ("12", 12), ("SIGRTMIN", 34)]
    + [(text, 0) for text in ("", "0", "-1", "99", "SIG", "SIGNOTHING", "SIGHUP1", "1.5")],
)
def test_signals_have_names_and_numbers_and_what_is_none_is_refused_in_words(text: str, expected: int) -> None:
    if expected:
        assert number(text) == expected
    else:
        with pytest.raises(ValueError, match=r"cannot use .* as a signal"):
            number(text)
