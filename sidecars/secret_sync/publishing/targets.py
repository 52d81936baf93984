"""The target folders: what belongs into each, and its generations. All files of a folder change by one rename."""

import errno
import os
import ssl
from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sidecars.kit.files import open_regular
from sidecars.kit.generations import Entry, Generations
from sidecars.runtime.errors import Permanent
from sidecars.secret_sync.core.formats import Format, Unwritable
from sidecars.secret_sync.settings import SecretFile, SecretSettings, SecretSyncSettings

from .files import content

_PAIR = ("certificate", "private_key")
_MOST_BYTES = 64 << 20
_UNTOLD = "..untold"
"""A link in a target folder from just before a generation is published until the app was notified of it."""


@dataclass
class Publication:
    """What came of one attempt: which folders have a new generation, and what could not be written, by secret."""

    folders: list[str] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)


class Targets:
    """All target folders."""

    def __init__(self, settings: SecretSyncSettings) -> None:
        self._settings = settings
        self._folders = {target.name: Generations(target.path, 0o400) for target in settings.all_targets}
        self._paths = {target.name: target.path for target in settings.all_targets}
        self._last: dict[str, dict[str, Entry]] = {name: {} for name in self._folders}
        self._fresh: list[str] = []

    @property
    def had_files(self) -> bool:
        """Whether some folder has a generation already: then an app may use it."""
        return any(folder.current() for folder in self._folders.values())

    def recover(self) -> None:
        """Put in order what a killed process left. Raises Permanent, OSError."""
        for folder in self._folders.values():
            folder.recover()

    @property
    def is_untold(self) -> bool:
        """Whether the app was not notified yet of what is published, be it by a former run that was killed."""
        return any(map(os.path.lexists, self._marks()))

    def told(self) -> None:
        """Note that the app was notified of all that is published."""
        for mark in self._marks():
            with suppress(OSError):  # then the app is notified once more after a restart
                os.unlink(mark)

    def _marks(self) -> Iterator[str]:
        return (os.path.join(path, _UNTOLD) for path in self._paths.values())

    def publish(self, values: Mapping[str, Mapping[str, Any]]) -> Publication:
        """Write a new generation of each folder whose files changed. The files of secrets whose values are not known
        yet stay as they are, also those of a former run; a file that cannot be made keeps its former content, and only
        its secret is at fault. Raises OSError and Permanent when a folder cannot be written; the former generation
        stays then, and what was published before that is told of by the next call that succeeds.
        """
        made, follows = Publication(), self.had_files
        for name, folder in self._folders.items():
            files, path = self._staged(name, values, made)
            if path:
                self._switch(name, path, follows=follows)
            self._last[name] = files or self._last[name]
            if path:
                with suppress(OSError):  # it only tidies up, and is done again with the next one
                    folder.keep(path)
        made.folders, self._fresh = self._fresh, []
        return made

    def _switch(self, name: str, path: str, *, follows: bool) -> None:
        """Publish a staged generation. When one `follows` another, a mark says that the app is to be notified: it
        outlives a kill, and costs no room.
        """
        folder, mark = self._folders[name], os.path.join(self._paths[name], _UNTOLD)
        try:
            if follows and self._settings.notify and not os.path.lexists(mark):
                os.symlink(os.path.basename(path), mark)
            folder.publish(path)
        except (OSError, Permanent):
            folder.discard(path)
            raise
        self._fresh.append(self._paths[name])

    def _staged(
        self, name: str, values: Mapping[str, Mapping[str, Any]], made: Publication
    ) -> tuple[dict[str, Entry], str]:
        """Return the files of a folder and their new generation; "" when there is nothing new."""
        folder, held = self._folders[name], set[str]()
        while True:
            files = self._files(name, values, made, held)
            if not files or folder.same_as_current(files):
                return files, ""
            path = self._stage(folder, files)
            unfit = self._unfit(name, path) - held
            if not unfit:
                return files, path
            folder.discard(path)
            held |= unfit
            made.faults |= dict.fromkeys(unfit, "its private key does not fit its certificate")

    @staticmethod
    def _stage(folder: Generations, files: Mapping[str, Entry]) -> str:
        try:
            return folder.stage(files)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            folder.recover()  # takes away what is kept for slow readers, and what a killed process left
            return folder.stage(files)

    def remove(self) -> None:
        """Remove all files."""
        for name, folder in self._folders.items():
            folder.publish(folder.stage({}))
            folder.keep(folder.current() or "")
            self._last[name] = {}

    def _files(
        self, target: str, values: Mapping[str, Mapping[str, Any]], made: Publication, held: Container[str]
    ) -> dict[str, Entry]:
        """Return the files of a target. Those of the secrets that are held, or not known yet, are the former ones."""
        found: dict[str, Entry] = {}
        for secret, file in self._belonging(target):
            former = secret.name not in values or secret.name in held
            data: bytes | None = None
            if not former:
                try:
                    data = content(file, secret.name, values, partial(self._former, target, file.path))
                except Unwritable as error:
                    made.faults[secret.name] = f"{file.path}: {error}"
            if data is None:
                data = self._former(target, file.path)
            if data is not None:
                uid, gid = (-1 if owner is None else owner for owner in (file.uid, file.gid))
                found[file.path] = Entry(data, file.bits, uid, gid)
        return found

    def _former(self, target: str, path: str) -> bytes | None:
        """Return what a file holds now, also when another run wrote it."""
        if path in self._last[target]:
            return self._last[target][path].content
        current = self._folders[target].current()
        if current is None:
            return None
        try:
            with open(open_regular(os.path.join(current, path), os.O_NOFOLLOW), "rb") as file:
                return file.read(_MOST_BYTES)
        except OSError:
            return None

    def _belonging(self, target: str) -> Iterator[tuple[SecretSettings, SecretFile]]:
        first = self._settings.all_targets[0].name
        for secret in self._settings.all_secrets:
            for file in secret.files:
                if (file.target or first) == target:
                    yield secret, file

    def _unfit(self, target: str, path: str) -> set[str]:
        """Return the secrets whose private key does not fit their certificate. OpenSSL looks at the staged files,
        before anybody else can.
        """
        pairs: dict[str, dict[str, str]] = {}
        for secret, file in self._belonging(target):
            part = "certificate" if file.key == "fullchain" else file.key
            if part in _PAIR and file.format is Format.RAW:
                pairs.setdefault(secret.name, {})[part] = os.path.join(path, file.path)
        return {name for name, pair in pairs.items() if len(pair) == len(_PAIR) and not _fits(pair)}


def _fits(pair: Mapping[str, str]) -> bool:
    asked = False

    def passphrase() -> str:
        nonlocal asked
        asked = True  # OpenSSL would ask at the terminal
        return ""

    if not all(map(os.path.exists, pair.values())):
        return True
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair["certificate"], pair["private_key"], passphrase)
    except PermissionError:
        return True  # another owner's files: the bytes are those of one answer all the same
    except (ssl.SSLError, OSError, ValueError):
        return asked  # an encrypted key cannot be looked at
    return True
