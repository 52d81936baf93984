"""The folders that apps read: what belongs together changes together, and one bad secret keeps to itself."""

import errno
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme

from sidecars.secret_sync.publishing.targets import Targets
from sidecars.secret_sync.settings import SecretSyncSettings

ROTATIONS, READERS, ISSUES = 2000, 4, 8
MEMORY = Path("/dev/shm")
FILES = [
    {"path": "tls.crt", "format": "raw", "key": "certificate"},
    {"path": "tls.key", "format": "raw", "key": "private_key"},
    {"path": "chain.pem", "format": "raw", "key": "ca_chain"},
    {"path": "bundle.pem", "format": "pem-bundle"},
]


def targets(volume: Path, *secrets: dict[str, Any]) -> Targets:
    usual = {"engine": "dynamic", "path": "any"}
    given = {"targets": [{"name": "main", "path": str(volume)}], "secrets": [usual | secret for secret in secrets]}
    return Targets(msgspec.convert(given, SecretSyncSettings))


def issue() -> dict[str, Any]:
    """What PKI answers: a pair and the chain of an authority of its own."""
    authority = trustme.CA()
    leaf = authority.issue_cert("web.svc")
    return {
        "certificate": leaf.cert_chain_pems[0].bytes().decode().strip(),
        "private_key": leaf.private_key_pem.bytes().decode().strip(),
        "ca_chain": [authority.cert_pem.bytes().decode().strip()],
    }


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is one."""
    folder = Path(tempfile.mkdtemp(prefix="targets-", dir=MEMORY if os.access(MEMORY, os.W_OK) else tmp_path))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


class Reader(threading.Thread):
    """Opens the current generation again and again, and looks whether its files are of one issue."""

    def __init__(self, volume: Path, known: dict[str, int], ended: threading.Event) -> None:
        super().__init__()
        self._volume = volume
        self._known = known
        self._ended = ended
        self.rounds = self.wrong = self.gone = 0
        self.issues: set[int] = set()

    def run(self) -> None:
        while not self._ended.wait(0.0005):  # else the interpreter has no time for the writer
            folder = os.path.realpath(self._volume / "..data")
            try:
                found = [Path(folder, str(file["path"])).read_text() for file in FILES]
            except FileNotFoundError:  # a reader so slow that two more came meanwhile
                self.gone += 1
                continue
            here = {self._known.get(text, -1) for text in found}
            self.rounds += 1
            self.wrong += len(here) != 1 or -1 in here
            self.issues |= here


def test_readers_of_many_rotations_never_see_files_of_two_issues(volume: Path) -> None:
    issues = [issue() for _ in range(ISSUES)]
    known: dict[str, int] = {}
    for number, made in enumerate(issues):
        pem = [made["private_key"], made["certificate"], made["ca_chain"][0]]
        texts = [made["certificate"], made["private_key"], made["ca_chain"][0], "".join(f"{one}\n" for one in pem)]
        known |= dict.fromkeys(texts, number)
    folder = targets(volume, {"name": "tls", "files": FILES})
    folder.publish({"tls": issues[0]})
    ended = threading.Event()
    readers = [Reader(volume, known, ended) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    for number in range(1, ROTATIONS + 1):
        assert folder.publish({"tls": issues[number % ISSUES]}).folders
    ended.set()
    for reader in readers:
        reader.join()
    assert sum(reader.rounds for reader in readers) >= ROTATIONS / 2
    assert len(set.union(*(reader.issues for reader in readers))) == ISSUES
    assert sum(reader.wrong for reader in readers) == 0
    assert len([name for name in os.listdir(volume) if name.startswith("..2")]) <= 2


def test_a_key_that_does_not_fit_holds_up_its_own_secret_alone(volume: Path) -> None:
    folder = targets(volume, {"name": "tls", "files": FILES}, {"name": "app", "files": [{"path": "app.json"}]})
    good, other = issue(), issue()
    folder.publish({"tls": good, "app": {"a": "1"}})
    made = folder.publish({"tls": other | {"private_key": good["private_key"]}, "app": {"a": "2"}})
    assert made.faults == {"tls": "its private key does not fit its certificate"}
    assert json.loads((volume / "app.json").read_text()) == {"a": "2"}
    assert (volume / "tls.crt").read_text() == good["certificate"]
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(volume / "tls.crt", volume / "tls.key")
    assert not folder.publish({"tls": other, "app": {"a": "2"}}).faults
    assert (volume / "tls.crt").read_text() == other["certificate"]


def test_a_key_with_a_passphrase_asks_nobody(volume: Path) -> None:
    made, key = issue(), volume / "key"
    key.write_text(made["private_key"])
    command = ["openssl", "ec", "-in", str(key), "-aes128", "-passout", "pass:secret"]
    encrypted = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
    folder = targets(volume / "out", {"name": "tls", "files": FILES})
    assert not folder.publish({"tls": made | {"private_key": encrypted}}).faults
    assert (volume / "out" / "tls.key").read_text() == encrypted


@pytest.mark.parametrize("passphrase", ["s3cret äß", ""], ids=["encrypted", "open"])
def test_a_store_is_read_by_openssl_and_stays_as_it_is_while_its_content_does(volume: Path, passphrase: str) -> None:
    first, second, word = issue(), issue(), {"password": passphrase}
    second = {"chain" if key == "ca_chain" else key: part for key, part in second.items()}  # as Key Vault's is called
    store = {"path": "tls.p12", "format": "pkcs12"} | ({"passphrase_from": "word#password"} if passphrase else {})
    secrets = {"name": "tls", "files": [store]}, {"name": "word", "files": [{"path": "word.json"}]}
    folder = targets(volume, *secrets)
    assert not folder.publish({"tls": first, "word": word}).faults
    command = ["openssl", "pkcs12", "-in", str(volume / "tls.p12"), "-nodes", "-passin", f"pass:{passphrase}"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
    for part in (first["certificate"], first["ca_chain"][0], "BEGIN PRIVATE KEY", "friendlyName: tls"):
        assert part in shown
    made = (volume / "tls.p12").read_bytes()
    assert folder.publish({"tls": first, "word": word}).folders == []
    restarted = targets(volume, *secrets)
    assert restarted.publish({"tls": first, "word": word | {"more": "1"}}).folders
    assert (volume / "tls.p12").read_bytes() == made
    assert restarted.publish({"tls": second, "word": word}).folders
    assert (volume / "tls.p12").read_bytes() != made
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
    assert second["chain"][0] in shown
    unfit = restarted.publish({"tls": second | {"private_key": first["private_key"]}, "word": word})
    assert unfit.faults == {"tls": "tls.p12: its private key does not fit its certificate"}


def test_modes_and_owners_are_those_that_are_set_when_a_file_can_first_be_seen(volume: Path) -> None:
    uid, gid = (65532, 65533) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    files = [{"path": "open.json", "mode": "0444", "uid": uid, "gid": gid}, {"path": "closed.json"}]
    folder = targets(volume, {"name": "app", "files": files})
    seen, ended = set(), threading.Event()

    def look() -> None:
        while not ended.is_set():
            for name in ("open.json", "closed.json"):
                try:
                    found = os.stat(volume / name)
                    seen.add((name, oct(found.st_mode & 0o777), found.st_uid, found.st_gid))
                except FileNotFoundError:
                    continue

    watching = threading.Thread(target=look)
    watching.start()
    for number in range(200):
        folder.publish({"app": {"n": number}})
    ended.set()
    watching.join()
    assert seen == {("open.json", "0o444", uid, gid), ("closed.json", "0o400", os.geteuid(), os.getegid())}


FULL = """
import os, sys
from pathlib import Path
from tests.agents.secret_sync.test_targets import targets
volume = Path(sys.argv[1])
folder = targets(volume, {"name": "app", "files": [{"path": "app.json"}]})
for number in range(9):
    folder.publish({"app": {"text": str(number) * 20_000}})
print("rotated")
for attempt in range(3):
    try:
        folder.publish({"app": {"text": "x" * 100_000}})
    except OSError as error:
        print(error.errno)
    print((volume / "app.json").read_text()[12])
folder.publish({"app": {"text": "again"}})
print((volume / "app.json").read_text()[12:17])
"""


@pytest.mark.skipif(not shutil.which("unshare"), reason="needs unshare(1) to mount a small file system")
def test_a_volume_with_room_for_two_generations_is_enough_and_a_full_one_recovers(tmp_path: Path) -> None:
    script = 'mount -t tmpfs -o size=64k none "$0" || exit 77; exec "$@"'
    command = ["unshare", "-rm", "sh", "-c", script, str(tmp_path), sys.executable, "-c", FULL, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"needs to mount a small file system: {done.stderr.strip()}")
    assert done.stdout.split() == ["rotated", *[str(errno.ENOSPC), "8"] * 3, "again"], done.stderr
