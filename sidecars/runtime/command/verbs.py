"""The verbs of the command line: check, schema, reference. They start nothing and print for people and scripts."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

import msgspec

from sidecars.runtime.errors import SettingsError
from sidecars.runtime.life.status import ExitStatus
from sidecars.runtime.settings.environment import settled_environment
from sidecars.runtime.sidecar import Finding, Sidecar

from . import reference
from .flags import parse_arguments
from .printing import say, show
from .schema import schema

_OFFLINE = ("--offline", "-offline")


def run_verb(verb: str, sidecar: Sidecar, flags: Sequence[str]) -> int:
    """Run a verb on one sidecar and return the exit status."""
    return _VERBS[verb](sidecar, flags)


def check(sidecar: Sidecar, flags: Sequence[str]) -> int:
    """Say whether the sidecar could start here: DONE yes, FAILED a finding says no, or BAD_SETTINGS."""
    offline = any(flag in _OFFLINE for flag in flags)
    line = parse_arguments(sidecar, [flag for flag in flags if flag not in _OFFLINE])
    problems = list(line.problems)
    try:
        settings = sidecar.load(settled_environment(), line.flags)
    except SettingsError as error:
        problems += error.problems
    if problems:
        say(SettingsError(problems))
        return ExitStatus.BAD_SETTINGS
    findings = list(sidecar.check(settings)) if sidecar.check else []
    if sidecar.check_outside and not offline:
        findings += asyncio.run(_outside(sidecar.check_outside(settings)))
    show(f"ok: the settings of {sidecar.name} can be used")
    for finding in findings:
        show(f"{finding.level}: {finding.text}")
    return ExitStatus.FAILED if any(finding.level == "error" for finding in findings) else ExitStatus.DONE


async def _outside(findings: Awaitable[Iterable[Finding]]) -> list[Finding]:
    return list(await findings)


def _schema(sidecar: Sidecar, flags: Sequence[str]) -> int:
    if flags:
        return _no_flags("schema")
    return show(msgspec.json.format(msgspec.json.encode(schema(sidecar), enc_hook=str), indent=2).decode())


def _reference(sidecar: Sidecar, flags: Sequence[str]) -> int:
    if flags:
        return _no_flags("reference")
    return show(reference.markdown(sidecar))


def _no_flags(verb: str) -> int:
    say(f"cannot {verb} with flags: it depends on the declarations only")
    return ExitStatus.BAD_SETTINGS


_VERBS: dict[str, Callable[[Sidecar, Sequence[str]], int]] = {
    "check": check,
    "schema": _schema,
    "reference": _reference,
}
