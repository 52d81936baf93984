"""Certificate, key and authorities from files that are replaced while we run: read together, checked, and only then
used; a broken set keeps the one before.
"""

import asyncio
import os
import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from sidecars.runtime.clock import now

from .files import UnusableFile, read_small
from .net.secured import Sessions
from .tls import trusting
from .watch.backend import WatchBackend
from .watch.folders import folder_watch
from .x509 import CertificateFacts, NotDer, read_certificate

_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\s.*?-----END \1-----", re.DOTALL)
_READS = 5
_LOOK_SECONDS, _POLL_SECONDS = 30.0, 1.0
"""Without an event; and where events cannot be had."""
_SETTLE_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
"""Between attempts at a set that does not fit (yet): others write certificate and key one after the other."""


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Paths of PEM files. Without `ca_file` the system's authorities are trusted; without `certificate_file` we have no
    identity; without `key_file` the key is in `certificate_file` (one bundle). `prefix`: of the settings' names.
    """

    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    prefix: str = ""

    @property
    def named(self) -> dict[str, str]:
        """Return the paths that are given, by their settings' names."""
        paths = {"ca_file": self.ca_file, "certificate_file": self.certificate_file, "key_file": self.key_file}
        return {self.prefix + name: path for name, path in paths.items() if path}


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """What both sides' contexts have. `verify`: whether the other side's certificate must be good; for a server,
    whether it must have one. `check_name`: whether OpenSSL compares the server name; without, rules decide.
    """

    alpn: tuple[str, ...] = ()
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    verify: bool = True
    check_name: bool = True


@dataclass(frozen=True, slots=True)
class _Material:
    """What was read and found to fit. PEM; `facts`: of our certificate."""

    authorities: str | None
    chain: bytes
    key: bytes
    facts: CertificateFacts | None


@dataclass(frozen=True, slots=True)
class _Certificate:
    pem: bytes
    facts: CertificateFacts

    @classmethod
    def read(cls, pem: bytes) -> Self:
        """Read one from PEM. Raise NotDer, ValueError."""
        return cls(pem, read_certificate(ssl.PEM_cert_to_DER_cert(pem.decode("ascii"))))


@dataclass(frozen=True, slots=True)
class Reload:
    """A look at changed files. `problem`: why the set before stays in use; empty when the new one is used."""

    problem: str = ""


class CertificateSet:
    """The set in use. `generation` grows with each set that is taken; contexts are made once for each."""

    def __init__(self, files: CertificateFiles) -> None:
        self._files = files
        self._contents: dict[str, bytes] | None = None
        self._material: _Material | None = None
        self._contexts: dict[tuple[bool, TlsOptions], ssl.SSLContext] = {}
        self._sessions: dict[TlsOptions, Sessions] = {}
        self.generation = 0

    def load(self) -> None:
        """Read the files now. Raise UnusableFile, and keep what there was."""
        contents = _read_all(self._files)
        if contents == self._contents:
            return
        material, before = _checked(self._files, contents), self._material
        if before and before.facts and material.facts and material.facts.not_after <= now() < before.facts.not_after:
            name, path = self._files.prefix + "certificate_file", self._files.certificate_file
            raise UnusableFile(name, path, "the new certificate has expired, and the one in use has not")
        self._contents, self._material = contents, material
        self._contexts, self._sessions = {}, {}
        self.generation += 1

    def client(self, options: TlsOptions = TlsOptions()) -> ssl.SSLContext:
        """Return the context for connections that we make. `load` comes first."""
        return self._context(options, server_side=False)

    def sessions(self, options: TlsOptions = TlsOptions()) -> Sessions:
        """Return where the sessions of the `client` context of these options are kept, to be resumed."""
        return self._sessions.setdefault(options, Sessions())

    def server(self, options: TlsOptions = TlsOptions()) -> ssl.SSLContext:
        """Return the context for connections that we accept. `load` comes first; a set without certificate serves
        nobody.
        """
        return self._context(options, server_side=True)

    @property
    def expires_at(self) -> float | None:
        """Return when our certificate ends, in seconds since 1970; None without one."""
        return self._material.facts.not_after if self._material and self._material.facts else None

    async def watch(self, looked: Callable[[Reload], None], backend: WatchBackend = WatchBackend.AUTO) -> None:
        """Read the files again whenever they may have changed, until cancelled; `looked` is told of each set that is
        taken, and of each problem once.
        """
        happened = asyncio.Event()
        watch = folder_watch(backend, happened)
        problem, attempt = "", 0
        try:
            while True:
                watch.watch(_folders(self._files))
                before, fault = self.generation, self._try_load()
                if not fault:
                    if self.generation != before or problem:
                        looked(Reload())
                    problem, attempt = "", 0
                elif attempt < len(_SETTLE_SECONDS):
                    attempt += 1
                elif fault != problem:
                    problem = fault
                    looked(Reload(problem))
                rest_seconds = _POLL_SECONDS if watch.polling or problem else _LOOK_SECONDS
                await _event(happened, _SETTLE_SECONDS[attempt - 1] if attempt and not problem else rest_seconds)
        finally:
            watch.close()

    def _try_load(self) -> str:
        """Return what is wrong with the files."""
        try:
            self.load()
        except UnusableFile as error:
            return str(error)
        return ""

    def _context(self, options: TlsOptions, *, server_side: bool) -> ssl.SSLContext:
        if self._material is None:
            raise ValueError("load comes first")
        found = self._contexts.get((server_side, options))
        if found is None:
            found = self._contexts[server_side, options] = _build(self._material, options, server_side=server_side)
        return found


async def _event(happened: asyncio.Event, seconds: float) -> None:
    """Return when something happened, or after so many seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await happened.wait()
    happened.clear()


def _build(material: _Material, options: TlsOptions, *, server_side: bool) -> ssl.SSLContext:
    if server_side:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if options.verify:
            context.verify_mode = ssl.CERT_REQUIRED
            if material.authorities is None:
                context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
            else:
                context.load_verify_locations(cadata=material.authorities)
    else:
        context = trusting(material.authorities) if options.verify else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = options.verify and options.check_name
        if not options.verify:
            context.verify_mode = ssl.CERT_NONE
        context.hostname_checks_common_name = False
    context.minimum_version = options.minimum
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # an end without close_notify is not a clean one
    if options.alpn:
        context.set_alpn_protocols(list(options.alpn))
    if material.chain:
        _identify(context, material)
    return context


def _identify(context: ssl.SSLContext, material: _Material) -> None:
    """Give a context our identity. `load_cert_chain` takes paths only: one into memory, since the files may have been
    replaced since they were read. Raises ssl.SSLError when certificate and key do not fit.
    """
    descriptor = os.memfd_create("identity", os.MFD_CLOEXEC)
    with open(descriptor, "wb", buffering=0) as file:
        file.write(material.key + b"\n" + material.chain)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=lambda: b"")


def _read_all(files: CertificateFiles) -> dict[str, bytes]:
    """Return the contents of all files as they are at one moment, by their settings' names. Raise UnusableFile.

    A file may be replaced between two of our reads (`..data` of a mounted volume points elsewhere), or be written in
    place: then what its path leads to differs before and after.
    """
    for _ in range(_READS):
        before = [_what_is_there(path) for path in files.named.values()]
        contents = {name: read_small(name, path) for name, path in files.named.items()}
        if before == [_what_is_there(path) for path in files.named.values()]:
            return contents
    name, path = next(iter(files.named.items()))
    raise UnusableFile(name, path, "it is replaced again and again while it is read")


def _what_is_there(path: str) -> tuple[int, int, int, int] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None  # reading says why
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _checked(files: CertificateFiles, contents: dict[str, bytes]) -> _Material:
    """Return what the files hold, if it fits together. Raise UnusableFile."""
    authorities = None
    if files.ca_file:
        authorities = contents[files.prefix + "ca_file"].decode("ascii", errors="ignore")
        try:
            trusting(authorities)
        except (ssl.SSLError, ValueError):
            raise UnusableFile(files.prefix + "ca_file", files.ca_file, "it holds no certificates in PEM") from None
    if not files.certificate_file:
        return _Material(authorities, b"", b"", None)
    name = files.prefix + "certificate_file"
    bundle = contents[name]
    keys = contents.get(files.prefix + "key_file", bundle)
    key = next((block for kind, block in _blocks(keys) if kind.endswith(b"PRIVATE KEY")), b"")
    try:
        found = [_Certificate.read(block) for kind, block in _blocks(bundle) if kind == b"CERTIFICATE"]
    except (NotDer, ValueError):
        found = []
    for leaf in found:  # most often the first; but Azure Key Vault and others have their own order
        material = _Material(authorities, _chain(leaf, found), key, leaf.facts)
        try:
            _identify(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), material)
        except (OSError, ValueError):  # ssl.SSLError is an OSError
            continue
        return material
    where = f"{files.certificate_file} with {files.prefix}key_file {files.key_file}" if files.key_file else ""
    reason = "certificate and key are not PEM, do not fit together, or the key is encrypted"
    raise UnusableFile(name, where or files.certificate_file, reason)


def _chain(leaf: "_Certificate", found: list["_Certificate"]) -> bytes:
    """Return a certificate and those that vouch for it, in order; without the root, which the other side must have."""
    by_subject = {each.facts.subject: each for each in found if each.facts.subject != each.facts.issuer}
    chain, last = [leaf], leaf
    while (issuer := by_subject.get(last.facts.issuer)) is not None and issuer not in chain:
        chain.append(issuer)
        last = issuer
    return b"\n".join(each.pem for each in chain)


def _blocks(pem: bytes) -> Iterator[tuple[bytes, bytes]]:
    for found in _PEM.finditer(pem):
        yield found[1], found[0]


def _folders(files: CertificateFiles) -> set[str]:
    """Return the folders in which a name changes when the files do: theirs, and those that links lead to."""
    paths = files.named.values()
    return {os.path.dirname(os.path.abspath(path)) for path in paths} | {
        os.path.dirname(os.path.realpath(path)) for path in paths
    }
