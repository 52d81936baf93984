"""Certificate, key and authorities from files that are replaced while we run: read together, checked, and only then
used; a broken set keeps the one before.
"""

import asyncio
import os
import re
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .files import UnusableFile, read_small
from .net.secured import Sessions
from .tls import trusting
from .watch.backend import WatchBackend
from .watch.folders import folder_watch
from .x509 import CertificateFacts, NotDer, read_certificate

_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\s.*?-----END \1-----", re.DOTALL)
_LOOK_SECONDS = 30.0
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
class Reload:
    """A look at changed files. `problem`: why the set before stays in use; empty when the new one is used."""

    problem: str = ""


class CertificateSet:
    """The set in use. `generation` grows with each set that is taken; contexts are made once for each."""

    def __init__(self, files: CertificateFiles) -> None:
        self._files = files
        self._material: _Material | None = None
        self._contexts: dict[tuple[bool, TlsOptions], ssl.SSLContext] = {}
        self._sessions: dict[TlsOptions, Sessions] = {}
        self.generation = 0

    def load(self) -> None:
        """Read the files now. Raises UnusableFile, and keeps what there was."""
        material = _read(self._files)
        if material != self._material:
            self._material, self._contexts, self._sessions = material, {}, {}
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
                before = self.generation
                try:
                    self.load()
                except UnusableFile as error:
                    if attempt >= len(_SETTLE_SECONDS) and str(error) != problem:
                        problem = str(error)
                        looked(Reload(problem))
                    attempt += 1
                else:
                    if self.generation != before or problem:
                        looked(Reload())
                    problem, attempt = "", 0
                seconds = _SETTLE_SECONDS[attempt - 1] if 0 < attempt <= len(_SETTLE_SECONDS) else _LOOK_SECONDS
                try:
                    async with asyncio.timeout(seconds):
                        await happened.wait()
                except TimeoutError:
                    pass
                happened.clear()
        finally:
            watch.close()

    def _context(self, options: TlsOptions, *, server_side: bool) -> ssl.SSLContext:
        if self._material is None:
            raise ValueError("load comes first")
        found = self._contexts.get((server_side, options))
        if found is None:
            found = self._contexts[server_side, options] = _build(self._material, options, server_side=server_side)
        return found


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


def _read(files: CertificateFiles) -> _Material:
    """Read all files as they are at one moment. Raises UnusableFile."""
    contents = {name: read_small(name, path) for name, path in files.named.items()}
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
    chain = [block for kind, block in _blocks(bundle) if kind == b"CERTIFICATE"]
    keys = contents.get(files.prefix + "key_file", bundle)
    key = next((block for kind, block in _blocks(keys) if kind.endswith(b"PRIVATE KEY")), b"")
    try:
        facts = read_certificate(ssl.PEM_cert_to_DER_cert(chain[0].decode("ascii"))) if chain else None
    except (NotDer, ValueError):
        facts = None
    material = _Material(authorities, b"\n".join(chain), key, facts)
    try:
        _identify(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), material)
    except (OSError, ValueError):
        reason = "certificate and key are not PEM, do not fit together, or the key is encrypted"
        raise UnusableFile(name, files.certificate_file, reason) from None
    return material


def _blocks(pem: bytes) -> Iterator[tuple[bytes, bytes]]:
    for found in _PEM.finditer(pem):
        yield found[1], found[0]


def _folders(files: CertificateFiles) -> set[str]:
    """Return the folders in which a name changes when the files do: theirs, and those that links lead to."""
    paths = files.named.values()
    return {os.path.dirname(os.path.abspath(path)) for path in paths} | {
        os.path.dirname(os.path.realpath(path)) for path in paths
    }
