"""What this machine says to the settings: what forbids a start, and what `sidecar check wait-for` finds. Resolves and
asks nothing.
"""

import os
from collections.abc import Iterator

from sidecars.kit.files import unusable
from sidecars.runtime import Finding, Problem

from .core.address import host_fault
from .core.target import File, Socket
from .settings import WaitForSettings

_FILES = ("bearer_token_file", "ca_file", "client_certificate_file", "client_key_file")


def refuse_start(settings: WaitForSettings) -> Iterator[Problem]:
    """Yield what forbids a start: something else than a file in the place of one that we write."""
    yield from unusable("termination_log", settings.termination_log, "name a file, or leave it empty to have none")


def findings(settings: WaitForSettings) -> Iterator[Finding]:
    """Yield what would be waited for, and which of our own files are missing yet."""
    for target in settings.parsed:
        reason = "" if isinstance(target, File | Socket) else host_fault(target.host)
        if reason:
            yield Finding("error", f"cannot wait for {target.shown}: {reason}")
        else:
            yield Finding("ok", f"would wait for {target.shown}")
    limit = f"at most {settings.timeout_seconds:g} s" if settings.timeout_seconds else "without a time limit"
    yield Finding("ok", f"would wait for {'any' if settings.any else 'all'} of them, {limit}")
    for field in _FILES:
        path = getattr(settings, field)
        if path and not os.access(path, os.R_OK):
            yield Finding("warning", f"cannot read {path} ({field}) yet")
    import shutil  # 1 MiB of archive formats, which who waits does not need

    if settings.command and not shutil.which(settings.command[0]):
        yield Finding("warning", f"cannot run {settings.command[0]} yet: it is not there, or not executable")
