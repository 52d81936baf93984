"""The seam to whom secrets come from. A provider is one folder: a class with these methods, and its settings.

A new one is: a Struct in `settings.py` under a key of its own, a folder with the class, a line in `provider_of`, and
what its secrets look like in `core/`. State machine, files, formats, notifying, readiness, metrics, `check`, `--once`
and the hand-over file are the same for all.
"""

import os
from collections.abc import Iterable
from typing import Protocol

from sidecars.runtime import Finding
from sidecars.runtime.errors import Problem

from .core.outcome import Failure
from .core.sync import Granted, ProviderRequest, Reading
from .settings import SecretSyncSettings

Result = Granted | Reading | Failure | float | None


class Provider(Protocol):
    """Who is asked. It makes one attempt for each request, decides nothing about when, and keeps no value.

    `perform` answers each `Kind` so:

    - LOGIN: `Granted`, and the token is kept aside until `adopt` gives it a generation. Files that a login reads are
      read again each time.
    - READ: `Reading`. Without a lease `again` says when to look again; `ends` when the value is worthless.
    - RENEW, RENEW_TOKEN: the seconds granted, or `Granted`. Asked only for what was granted as renewable.
    - LOOKUP_TOKEN: None when the token lives, so that a DENIED was about rights; Failure DENIED when it is dead. Asked
      once after a DENIED, and first after a restart.
    - LOOKUP: None when the lease lives; Failure GONE when not.
    - REVOKE: None. It ends one lease, where the token is not ours to end.
    - REVOKE_TOKEN: None. A provider whose tokens end by themselves alone answers it without a request.
    - HEALTH: None when the provider as a whole answers. Asked about every two seconds of an outage, without a token.

    Trouble is a `Failure`: nothing is raised. `Retry-After` goes into `retry_after`. Its text may hold the server's
    words: values that were read, and `secrets_to_hide`, are taken out of it before anybody sees it. Redirects are not
    followed, and no credential goes to another server than the settings name.
    """

    @property
    def revokes(self) -> bool:
        """Return whether the tokens it logged in for are taken back at the end."""

    def problems(self) -> Iterable[Problem]:
        """Return what forbids a start on this machine, as problems of settings."""

    def close(self) -> None:
        """Let go of connections; never waits."""

    def adopt(self, generation: int, token: str = "") -> None:
        """Take the token of the last login, or the one that is given (of a former run), as that of a generation."""

    def token(self, generation: int) -> str:
        """Return the token of a generation; "" when there is none."""

    def credentials(self) -> object:
        """Return what changes when a file that logins use is replaced: a refused login is tried again then."""

    def secrets_to_hide(self) -> Iterable[str]:
        """Return what is ours and must not be seen: tokens, and what logins are made with."""

    async def perform(self, request: ProviderRequest) -> Result:
        """Make a request and return its result. See above."""

    def findings(self) -> Iterable[Finding]:
        """Return what `check` says of it: what is asked, and the rights that are needed for it, to paste."""

    async def findings_outside(self) -> Iterable[Finding]:
        """Return whether it answers, for `check`. Logs in nowhere."""


def provider_of(settings: SecretSyncSettings) -> Provider:
    """Return the provider that the settings name. Each is imported only where it is used: its libraries cost memory."""
    if settings.key_vault_server is not None:
        from .key_vault.provider import KeyVaultProvider

        return KeyVaultProvider(settings)
    from .vault.provider import VaultProvider

    return VaultProvider(settings)


Seen = tuple[tuple[str, int, int], ...]


def seen(paths: Iterable[str]) -> Seen:
    """Return what changes when one of these files is replaced."""
    found = []
    for path in paths:
        try:
            status = os.stat(path)
            found.append((path, status.st_ino, status.st_mtime_ns))
        except OSError:
            found.append((path, 0, 0))
    return tuple(found)
