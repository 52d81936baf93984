"""A certificate set is read whole, in whatever form it lies there; a broken one never takes the place of a good one."""

import asyncio
import datetime as dt
import os
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from sidecars.kit.certificates import CertificateFiles, CertificateSet, Reload, TlsOptions
from sidecars.kit.files import UnusableFile
from sidecars.kit.watch.backend import WatchBackend
from tests.support.kubelet import Volume
from tests.support.waiting import until_async

AUTHORITY = trustme.CA()
INTERMEDIATE = AUTHORITY.create_child_ca()
OTHER = trustme.CA()


def pem(leaf: trustme.LeafCert) -> tuple[list[bytes], bytes]:
    """Its chain, leaf first, and its key."""
    return [blob.bytes() for blob in leaf.cert_chain_pems], leaf.private_key_pem.bytes()


def issued(by: trustme.CA = INTERMEDIATE, days: int = 10) -> tuple[list[bytes], bytes]:
    """A new certificate and key."""
    end = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
    return pem(by.issue_cert("db.example.com", not_after=end))


CHAIN, KEY = issued()
ROOT = AUTHORITY.cert_pem.bytes()
BAG = b"Bag Attributes\n    friendlyName: \xe9\n"


def shakes_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> ssl.SSLObject:
    """A handshake in memory; the client's side of it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname="db.example.com")
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    left = [ours, theirs]
    while left:
        for side in list(left):
            try:
                side.do_handshake()
                left.remove(side)
            except ssl.SSLWantReadError:
                pass
    theirs.write(b"x")
    assert ours.read() == b"x"
    return ours


FORMS: dict[str, dict[str, bytes]] = {
    "two files": {"tls.crt": b"".join(CHAIN), "tls.key": KEY},
    "a bundle, the key first (podCertificate)": {"tls.crt": KEY + b"".join(CHAIN)},
    "a bundle, the key last": {"tls.crt": b"".join(CHAIN) + KEY},
    "the leaf last, and the root with it (a PFX of Key Vault)": {"tls.crt": ROOT + b"".join(CHAIN[::-1]) + KEY},
    "with texts between": {"tls.crt": BAG + CHAIN[0] + BAG + CHAIN[1], "tls.key": BAG + KEY},
    "with Windows' line ends": {"tls.crt": b"".join(CHAIN).replace(b"\n", b"\r\n"), "tls.key": KEY},
}


def written(folder: Path, files: dict[str, bytes]) -> CertificateFiles:
    """Put them there."""
    for name, content in {"ca.crt": ROOT, **files}.items():
        (folder / name).write_bytes(content)
    key = str(folder / "tls.key") if "tls.key" in files else ""
    return CertificateFiles(str(folder / "ca.crt"), str(folder / "tls.crt"), key, "tls.")


@pytest.mark.parametrize("files", FORMS.values(), ids=FORMS)
def test_a_set_serves_and_is_trusted_in_every_form(tmp_path: Path, files: dict[str, bytes]) -> None:
    certificates = CertificateSet(written(tmp_path, files))
    certificates.load()
    shakes_hands(certificates.client(), certificates.server())
    assert certificates.expires_at is not None
    assert certificates.client() is certificates.client(TlsOptions())


BROKEN: dict[str, tuple[dict[str, bytes], str]] = {
    "no certificate": ({"tls.crt": b"", "tls.key": KEY}, "tls.certificate_file"),
    "half a certificate": ({"tls.crt": CHAIN[0][:300], "tls.key": KEY}, "tls.certificate_file"),
    "half a key": ({"tls.crt": CHAIN[0], "tls.key": KEY[:-300]}, "tls.certificate_file"),
    "the key of another": ({"tls.crt": CHAIN[0], "tls.key": issued()[1]}, "do not fit together"),
    "no authority": ({"tls.crt": CHAIN[0], "tls.key": KEY, "ca.crt": b""}, "tls.ca_file"),
    "an authority that is none": ({"tls.crt": CHAIN[0], "tls.key": KEY, "ca.crt": b"x"}, "tls.ca_file"),
    "one that has expired": (dict(zip(("tls.crt", "tls.key"), (issued(days=-1)[0][0], b""), strict=True)), "tls.cert"),
}


@pytest.mark.parametrize(("files", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_set_keeps_the_one_before(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    certificates = CertificateSet(written(tmp_path, FORMS["two files"]))
    certificates.load()
    before = certificates.client()
    written(tmp_path, files)
    with pytest.raises(UnusableFile, match=message):
        certificates.load()
    assert certificates.client() is before
    shakes_hands(before, certificates.server())


def test_an_expired_set_does_not_take_the_place_of_a_good_one(tmp_path: Path) -> None:
    chain, key = issued(days=-1)
    files = written(tmp_path, {"tls.crt": b"".join(chain), "tls.key": key})
    late = CertificateSet(files)
    late.load()  # with nothing better, the other side may say no
    certificates = CertificateSet(written(tmp_path, FORMS["two files"]))
    certificates.load()
    written(tmp_path, {"tls.crt": b"".join(chain), "tls.key": key})
    with pytest.raises(UnusableFile, match="has expired"):
        certificates.load()


def test_a_common_name_is_no_name(tmp_path: Path) -> None:
    leaf = AUTHORITY.issue_cert("other.example.com", common_name="db.example.com")
    chain, key = pem(leaf)
    certificates = CertificateSet(written(tmp_path, {"tls.crt": b"".join(chain), "tls.key": key}))
    certificates.load()
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shakes_hands(certificates.client(), certificates.server(TlsOptions(verify=False)))
    shakes_hands(certificates.client(TlsOptions(check_name=False)), certificates.server(TlsOptions(verify=False)))


def test_a_server_takes_nobody_whom_its_authorities_do_not_know(tmp_path: Path) -> None:
    certificates = CertificateSet(written(tmp_path, FORMS["two files"]))
    certificates.load()
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    AUTHORITY.configure_trust(stranger)
    OTHER.issue_cert("db.example.com").configure_cert(stranger)
    with pytest.raises(ssl.SSLError):
        shakes_hands(stranger, certificates.server())


def kubelet(folder: Path) -> Callable[[dict[str, bytes]], object]:
    """Swaps a mounted volume."""
    return Volume(folder).write


def in_place(folder: Path) -> Callable[[dict[str, bytes]], object]:
    """Truncates and writes, one file after the other, as spiffe-helper does."""

    def write(files: dict[str, bytes]) -> None:
        for name, content in files.items():
            (folder / name).write_bytes(content)

    return write


def renaming(folder: Path) -> Callable[[dict[str, bytes]], object]:
    """Renames one file after the other, as Istio's agent does."""

    def write(files: dict[str, bytes]) -> None:
        for name, content in files.items():
            (folder / f".{name}").write_bytes(content)
            os.rename(folder / f".{name}", folder / name)

    return write


@pytest.mark.parametrize("writer", [kubelet, in_place, renaming])
@pytest.mark.parametrize("backend", [WatchBackend.INOTIFY, WatchBackend.POLLING])
async def test_replaced_files_are_used_together_and_a_broken_set_is_told_of_once(
    tmp_path: Path, writer: Callable[[Path], Callable[[dict[str, bytes]], object]], backend: WatchBackend
) -> None:
    write = writer(tmp_path)
    write({"ca.crt": ROOT, "tls.crt": b"".join(CHAIN), "tls.key": KEY})
    files = CertificateFiles(*(str(tmp_path / name) for name in ("ca.crt", "tls.crt", "tls.key")))
    certificates = CertificateSet(files)
    certificates.load()
    looks: list[Reload] = []
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(certificates.watch(looks.append, backend))
        chain, key = issued(OTHER, days=20)
        write({"ca.crt": OTHER.cert_pem.bytes(), "tls.crt": b"".join(chain), "tls.key": key})
        await until_async(lambda: certificates.generation > 1, "the new set")
        await until_async(lambda: _is_good(certificates), "all of it")
        assert all(not look.problem for look in looks)
        write({"ca.crt": OTHER.cert_pem.bytes(), "tls.crt": b"".join(chain), "tls.key": KEY})
        await until_async(lambda: looks[-1].problem, "the problem to be told")
        assert _is_good(certificates)
        count = len(looks)
        write({"ca.crt": ROOT, "tls.crt": b"".join(CHAIN), "tls.key": KEY})
        await until_async(lambda: len(looks) > count and not looks[-1].problem, "the end of the problem")
        assert _is_good(certificates)
        watching.cancel()


def _is_good(certificates: CertificateSet) -> bool:
    try:
        shakes_hands(certificates.client(), certificates.server())
    except ssl.SSLError:
        return False
    return True
