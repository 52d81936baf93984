"""What `sidecar check secret-sync` finds besides wrong settings: what would be asked, written, and is needed for it."""

import os
from collections.abc import Iterable

from sidecars.kit.files import unusable
from sidecars.runtime import Finding
from sidecars.runtime.errors import Problem

from .provider import provider_of
from .publishing.volumes import refused
from .settings import SecretSyncSettings


def refuse_start(settings: SecretSyncSettings) -> Iterable[Problem]:
    """Return what forbids a start on this machine."""
    yield from provider_of(settings).problems()
    yield from refused(settings)
    yield from unusable("handover_file", settings.handover_file, "name a file on the memory volume")


def findings(settings: SecretSyncSettings) -> Iterable[Finding]:
    """Return what would be asked, with the rights that are needed for it, and what would be written."""
    yield from _provider_findings(settings)
    for target in settings.all_targets:
        yield Finding("ok", f"writes generations of files to {target.path}")
        folder = target.path if os.path.isdir(target.path) else os.path.dirname(target.path)
        if not os.access(folder, os.W_OK):
            yield Finding("error", f"cannot write to {target.path} as uid {os.getuid()}: mount a volume, set fsGroup")


def _provider_findings(settings: SecretSyncSettings) -> Iterable[Finding]:
    provider = provider_of(settings)
    try:
        yield from provider.findings()
    finally:
        provider.close()


async def findings_outside(settings: SecretSyncSettings) -> Iterable[Finding]:
    """Return whether the provider answers. Logs in nowhere."""
    provider = provider_of(settings)
    try:
        return await provider.findings_outside()
    finally:
        provider.close()
