"""The target folders: what belongs into each, and its generations. All files of a folder change by one rename."""

import os
import ssl
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sidecars.kit.generations import Entry, Generations
from sidecars.runtime.errors import Problem
from sidecars.secret_sync.core.formats import Unwritable
from sidecars.secret_sync.settings import SecretFile, SecretSettings, SecretSyncSettings

from .files import content

_MEMORY = ("tmpfs", "ramfs")


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

    @property
    def had_files(self) -> bool:
        """Whether some folder has a generation already: then an app may use it."""
        return any(folder.current() for folder in self._folders.values())

    def recover(self) -> None:
        """Put in order what a killed process left. Raises Permanent, OSError."""
        for folder in self._folders.values():
            folder.recover()

    def publish(self, values: Mapping[str, Mapping[str, Any]]) -> Publication:
        """Write a new generation of each folder whose files changed. Values that are not known yet leave their files
        out; a file that cannot be made keeps its former content, and only its secret is at fault. Raises OSError and
        Permanent when a folder cannot be written; the former generation stays then.
        """
        made = Publication()
        for name, folder in self._folders.items():
            files = self._files(name, values, made)
            if not files or folder.same_as_current(files):
                self._last[name] = files or self._last[name]
                continue
            path = folder.stage(files)
            try:
                self._check_pairs(name, path, made, values)
            except Unwritable:
                folder.discard(path)
                continue
            folder.publish(path)
            folder.keep(path)
            self._last[name] = files
            made.folders.append(self._paths[name])
        return made

    def remove(self) -> None:
        """Remove all files."""
        for name, folder in self._folders.items():
            folder.publish(folder.stage({}))
            folder.keep(folder.current() or "")
            self._last[name] = {}

    def _files(self, target: str, values: Mapping[str, Mapping[str, Any]], made: Publication) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        for secret, file in self._belonging(target):
            if secret.name not in values:
                continue
            try:
                data = content(file, secret.name, values)
            except Unwritable as error:
                made.faults[secret.name] = f"{file.path}: {error}"
                if file.path in self._last[target]:
                    found[file.path] = self._last[target][file.path]
                continue
            uid, gid = (-1 if owner is None else owner for owner in (file.uid, file.gid))
            found[file.path] = Entry(data, file.bits, uid, gid)
        return found

    def _belonging(self, target: str) -> Iterator[tuple[SecretSettings, SecretFile]]:
        first = self._settings.all_targets[0].name
        for secret in self._settings.all_secrets:
            for file in secret.files:
                if (file.target or first) == target:
                    yield secret, file

    def _check_pairs(self, target: str, path: str, made: Publication, values: Mapping[str, Mapping[str, Any]]) -> None:
        """Let OpenSSL see that each private key fits its certificate, before anybody else can. Raises Unwritable."""
        pairs: dict[str, dict[str, str]] = {}
        for secret, file in self._belonging(target):
            if file.key in ("certificate", "private_key") and secret.name in values:
                pairs.setdefault(secret.name, {})[file.key] = os.path.join(path, file.path)
        for name, pair in pairs.items():
            if len(pair) < 2 or not all(map(os.path.exists, pair.values())):
                continue
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(pair["certificate"], pair["private_key"])
            except PermissionError:
                continue  # another owner's files: the bytes are those of one answer all the same
            except (ssl.SSLError, OSError):
                made.faults[name] = "its private key does not fit its certificate"
                raise Unwritable(made.faults[name]) from None


def refused(settings: SecretSyncSettings) -> Iterable[Problem]:
    """Return what forbids a start: targets that are on a disk, or on memory that may be swapped to one."""
    for number, target in enumerate(settings.all_targets):
        where = f"targets[{number}].path" if settings.targets else "target"
        if target.allow_disk:
            continue
        kind = filesystem(target.path)
        if kind not in _MEMORY:
            remedy = "mount an emptyDir with medium: Memory there, or set allow_disk: true"
            yield Problem(where, f"{target.path} is on {kind or 'no file system'}, not in memory", remedy)


def swaps(settings: SecretSyncSettings) -> bool:
    """Return whether this machine swaps, so that a memory volume may reach a disk."""
    del settings
    try:
        with open("/proc/swaps", encoding="utf-8") as file:
            return len(file.readlines()) > 1
    except OSError:
        return False


def filesystem(path: str) -> str:
    """Return the kind of file system that a path is on, of the nearest folder that exists; "" when it is unknown."""
    here = os.path.realpath(path)
    best, kind = -1, ""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8") as file:
            lines = [line.split() for line in file]
    except OSError:
        return ""
    for words in lines:
        mount = words[4].encode().decode("unicode_escape")
        inside = here == mount or here.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= best:
            best, kind = len(mount), words[words.index("-") + 1]
    return kind
