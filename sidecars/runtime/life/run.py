"""The life of a sidecar process, from its settings to its exit status. `run` is the place to start reading."""

import os
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from sidecars.runtime.command.flags import CommandLine, parse_arguments
from sidecars.runtime.command.printing import say, show
from sidecars.runtime.errors import Problem, SettingsError
from sidecars.runtime.observe.logs import configure
from sidecars.runtime.settings import environment
from sidecars.runtime.settings.fields import fields_of
from sidecars.runtime.settings.load import Basics
from sidecars.runtime.sidecar import Sidecar

from .loop import run_loop
from .oneshot import one_shot
from .process import SidecarProcess, build
from .status import TERMINATION_LOG, ExitStatus, leave


def run(sidecars: Sidecar | Sequence[Sidecar], argv: Sequence[str]) -> int:
    """Run one sidecar, or several in one process, and return the exit status: an ExitStatus, or what `main` returned.

    The last thing that a process does: signals are ignored afterwards.
    """
    chosen = [sidecars] if isinstance(sidecars, Sidecar) else list(sidecars)
    line = read_arguments(chosen, argv)
    if line.help:
        return show_help(chosen[0])
    try:
        settings = read_settings(chosen, line)
        configure()
        process = build(chosen, settings, line.oneshot)
        log_ignored_variables(process)
        return run_loop(report_late(life_of(process, line.oneshot), chosen, line), process.log_abandoned)
    except SettingsError as error:
        return report(error, chosen, line)


def show_help(sidecar: Sidecar) -> int:
    """Print the help of a sidecar, and return the exit status."""
    from sidecars.runtime.command import reference  # only to print it

    return show(reference.help_text(sidecar))


def log_ignored_variables(process: SidecarProcess) -> None:
    """Name the variables that are not for a sidecar, so that nobody wonders why they do nothing."""
    if names := environment.ignored():
        process.log.info(
            "some variables are for the app, not for a sidecar: ignored", action="environment.ignored", names=names
        )


async def report_late(life: Coroutine[Any, Any, int], chosen: Sequence[Sidecar], line: CommandLine) -> int:
    """Return the status of a life, also when a main found out late that its settings cannot be used. That is reported
    here, because the end of the loop does not come back when something refuses to end.
    """
    try:
        return await life
    except SettingsError as error:
        return report(error, chosen, line)


def report(error: SettingsError, chosen: Sequence[Sidecar], line: CommandLine) -> int:
    """Say what is wrong with the settings, on stderr and in the termination log, and return the exit status."""
    say(error)
    with suppress(OSError):  # it is on stderr
        leave(termination_log(chosen, line), str(error))
    return ExitStatus.BAD_SETTINGS


def termination_log(chosen: Sequence[Sidecar], line: CommandLine) -> str:
    """Return the path, also where the settings that could name another one cannot be used."""
    variables, prefix = environment.settled_environment(), chosen[0].prefix
    for given in (line.flags.get("termination_log"), variables.get(f"{prefix}TERMINATION_LOG")):
        if isinstance(given, str):
            return given
    file = str(line.flags.get("config") or variables.get(f"{prefix}CONFIG", ""))
    if not os.path.isfile(file):  # a pipe was read to its end before
        return TERMINATION_LOG
    from sidecars.runtime.settings.yaml import read_mapping  # only when there is a file

    try:
        found = read_mapping(file).get("termination_log")
    except SettingsError:
        return TERMINATION_LOG
    return found if isinstance(found, str) else TERMINATION_LOG


def read_arguments(chosen: Sequence[Sidecar], argv: Sequence[str]) -> CommandLine:
    """Return what the command line asks for; several sidecars take no flags, since a flag would not say whose it is."""
    if len(chosen) == 1:
        return parse_arguments(chosen[0], argv)
    names = ", ".join(sidecar.name for sidecar in chosen)
    for bare in (sidecar.name for sidecar in chosen if not sidecar.admin):
        message = f"{bare} runs once and ends, so it cannot share a process ({names})"
        return CommandLine(problems=[Problem("the command line", message, f"run {bare} in a container of its own")])
    remedy = "set environment variables, or PREFIX_CONFIG to a YAML file"
    problem = Problem("the command line", f"flags are not possible with several sidecars ({names})", remedy)
    return CommandLine(problems=[problem] if argv else [])


def read_settings(chosen: Sequence[Sidecar], line: CommandLine) -> list[Basics]:
    """Return the settings of each sidecar. Raise SettingsError with the problems of all of them."""
    found: list[Basics] = []
    problems = list(line.problems)
    several = len(chosen) > 1
    for sidecar in chosen:
        if several and not sidecar.admin:  # refused already
            continue
        try:
            its = sidecar.load(environment.settled_environment(), line.flags, line.oneshot)
            problems += elsewhere(chosen[0], found[0], sidecar, its) if found else ()
            found.append(its)
        except SettingsError as error:
            problems += (
                replace(problem, field=f"{sidecar.name}/{problem.field}") if several else problem
                for problem in error.problems
            )
    if problems:
        raise SettingsError(problems)
    return found


def elsewhere(first: Sidecar, firsts: Basics, other: Sidecar, others: Basics) -> Iterable[Problem]:
    """Return what is wrong when another sidecar of the process is set to listen elsewhere than the first: the process
    has one admin endpoint, and a probe of the other address would fail without a word of why.
    """
    for name in ("admin_host", "admin_port"):
        taken, wanted = getattr(firsts, name), getattr(others, name)
        default = next(setting.default for setting in fields_of(other.settings) if setting.name == name)
        # A default is no wish. A variable that is set to the default is one.
        if wanted != taken and (
            wanted != default or environment.settled_environment().get(f"{other.prefix}{name.upper()}") == str(wanted)
        ):
            yield Problem(
                f"{other.name}/{name}",
                f"the process has one admin endpoint, that of {first.name}, named first, and its {name} is {taken}",
                f"leave it out, or set {first.prefix}{name.upper()} to it",
                value=str(wanted),
            )


def life_of(process: SidecarProcess, oneshot: str | None) -> Coroutine[Any, Any, int]:
    """Return what is to be run: a flag's one-shot, a main that is one, or mains with all that is around them."""
    if oneshot or process.shared is None:
        return one_shot(process, f"--{oneshot}" if oneshot else process.units[0].sidecar.name)
    from .serving import live  # with an HTTP server, which a one-shot does not pay

    return live(process, process.shared)
