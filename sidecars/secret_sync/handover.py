"""The handover file: the token, values and leases for the next run, on the memory volume, readable by us alone."""

import os
from contextlib import suppress

from sidecars.kit.atomic import clear_leftovers, write_file
from sidecars.kit.files import open_regular

from .core.handover import Handover, LeftSecret, dumped, fingerprint, loaded, wall
from .core.lease import Lease
from .core.sync import NEVER, SecretState, Spec, Sync
from .settings import SecretSyncSettings


class HandoverFile:
    """Without `handover_file` it does nothing."""

    def __init__(self, settings: SecretSyncSettings) -> None:
        self._path = settings.handover_file
        self._fingerprint = fingerprint(*settings.held_by)
        self._sources = {one.name: fingerprint(one.source) for one in settings.all_secrets}

    def read(self) -> Handover | None:
        """Return what was left for these settings, or None."""
        if not self._path:
            return None
        clear_leftovers(self._path)
        try:
            with open(open_regular(self._path), "rb") as file:
                left = loaded(file.read(64 << 20))
        except OSError:
            return None
        return left if left is not None and left.fingerprint == self._fingerprint else None

    def secrets(self, left: Handover, now: float, wall_now: float) -> dict[str, SecretState]:
        """Return the secrets that were left and still are what the settings want."""
        found = {}
        for name, one in left.secrets.items():
            if self._sources.get(name) != one.fingerprint:
                continue
            ends = NEVER if one.ends is None else now + (one.ends - wall_now)
            if ends <= now:
                continue
            secret = SecretState(Spec(name), dict(one.value), now - max(0.0, wall_now - one.read_at), ends=ends)
            secret.read_due = NEVER if one.read_due is None else now + max(0.0, one.read_due - wall_now)
            if one.lease:
                granted = now - max(0.0, wall_now - one.granted)
                secret.lease = Lease(one.lease, 0, granted, one.duration, one.renewable, 0.5, one.full)
                if secret.lease.ends <= now:
                    continue
            found[name] = secret
        return found

    def write(self, sync: Sync, token: str, now: float, wall_now: float) -> None:
        """Keep what is known now. Raises OSError."""
        if not self._path or sync.token is None:
            return
        lease = sync.token.lease
        secrets = {
            name: self._left(name, secret, now, wall_now)
            for name, secret in sync.secrets.items()
            if secret.value is not None and (secret.lease is None or secret.lease.token == sync.token.generation)
        }
        left = Handover(
            self._fingerprint,
            token,
            wall_now if lease is None else wall_now + (lease.granted - now),
            None if lease is None else lease.duration,
            lease is not None and lease.renewable,
            secrets,
        )
        write_file(self._path, dumped(left), 0o600, durable=False)

    def _left(self, name: str, secret: SecretState, now: float, wall_now: float) -> LeftSecret:
        lease = secret.lease
        return LeftSecret(
            self._sources[name],
            dict(secret.value or {}),
            wall_now + (secret.read_at - now),
            wall(secret.read_due, now, wall_now),
            wall(secret.ends, now, wall_now),
            *(
                (lease.id, wall_now + (lease.granted - now), lease.duration, lease.full, lease.renewable)
                if lease is not None
                else ()
            ),
        )

    def remove(self) -> None:
        """Forget: what was left is revoked."""
        if self._path:
            with suppress(OSError):
                os.unlink(self._path)
