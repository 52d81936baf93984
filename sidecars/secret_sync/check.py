"""What `sidecar check secret-sync` finds besides wrong settings: what would be asked, written, and is needed for it."""

import os
from collections.abc import Iterable

from sidecars.kit.files import unusable
from sidecars.runtime import Finding
from sidecars.runtime.errors import Problem

from .core.engines import policy
from .core.outcome import Endpoint, Failure
from .publishing.targets import refused, swaps
from .settings import SecretSyncSettings
from .vault.client import VaultClient, VaultRequest
from .vault.login import files


def refuse_start(settings: SecretSyncSettings) -> Iterable[Problem]:
    """Return what forbids a start on this machine."""
    yield from refused(settings)
    yield from unusable("handover_file", settings.handover_file, "name a file on the memory volume")


def findings(settings: SecretSyncSettings) -> Iterable[Finding]:
    """Return what would be done, and the policy that Vault needs for it, to paste."""
    yield Finding("ok", f"asks {settings.server.address}, logged in by {settings.login.method}")
    for path in files(settings.login):
        if not os.path.exists(path):
            yield Finding("error", f"there is no file {path}: mount what the login needs")
    for target in settings.all_targets:
        yield Finding("ok", f"writes generations of files to {target.path}")
        folder = target.path if os.path.isdir(target.path) else os.path.dirname(target.path)
        if not os.access(folder, os.W_OK):
            yield Finding("error", f"cannot write to {target.path} as uid {os.getuid()}: mount a volume, set fsGroup")
    if swaps(settings):
        yield Finding("warning", "this machine swaps: what is on a memory volume may reach a disk")
    lines = {path: words for secret in settings.all_secrets for path, words in policy(secret.source)}
    text = "\n".join(
        f'path "{path}" {{ capabilities = [{", ".join(f"{word!r}" for word in words)}] }}'.replace("'", '"')
        for path, words in lines.items()
    )
    yield Finding("ok", f"needs this policy:\n{text}")


async def findings_outside(settings: SecretSyncSettings) -> Iterable[Finding]:
    """Return whether Vault answers. Logs in nowhere: five wrong logins would lock a role out."""
    client = VaultClient(settings.server)
    try:
        outcome = await client.ask(VaultRequest(Endpoint.HEALTH, "GET", "sys/health"))
    finally:
        client.close()
    if isinstance(outcome, Failure):
        return [Finding("error", f"{settings.server.address}: {outcome.text} (check vault.address and vault.ca_file)")]
    return [Finding("ok", f"{settings.server.address} answers: version {outcome.body.get('version', 'unknown')}")]
