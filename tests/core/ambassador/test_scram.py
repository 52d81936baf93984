"""SCRAM-SHA-256: what a server checks holds, and a server that lies is refused."""

import hashlib
import hmac
from base64 import b64decode, b64encode

import pytest

from sidecars.ambassador.core.scram import ScramClient, ScramFailed, prepared

# Nonce, salt and password of RFC 7677, 3; the user name is empty, as PostgreSQL takes it from elsewhere.
NONCE = "rOprNGfwEbeRWgbNEkqO"
FIRST = f"r={NONCE}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".encode()


def test_it_proves_that_it_knows_the_password_and_makes_the_server_prove_it_too() -> None:
    client = ScramClient("pencil", NONCE)
    assert client.first() == f"n,,n=,r={NONCE}".encode()
    final = client.final(FIRST).decode()
    bare, _, proof = final.rpartition(",p=")
    whole = f"n=,r={NONCE},{FIRST.decode()},{bare}".encode()
    salted = hashlib.pbkdf2_hmac("sha256", b"pencil", b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    signature = hmac.digest(stored, whole, "sha256")
    key = bytes(a ^ b for a, b in zip(b64decode(proof), signature, strict=True))
    assert hashlib.sha256(key).digest() == stored, "as a server with the stored key checks it"
    verifier = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), whole, "sha256")
    with pytest.raises(ScramFailed):
        client.end()
    client.verify(b"v=" + b64encode(verifier))
    client.end()
    with pytest.raises(ScramFailed):
        client.verify(b"v=" + b64encode(bytes(32)))


@pytest.mark.parametrize(
    "answer",
    [
        b"r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        f"r={NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".encode(),
        f"r={NONCE}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=2147483647".encode(),
        f"r={NONCE}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i={'9' * 5000}".encode(),
        f"r={NONCE}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=0".encode(),
        f"r={NONCE}x,s=not base64!,i=4096".encode(),
        b"e=other-error",
        b"\xff\xfe",
    ],
)
def test_a_server_that_lies_is_refused(answer: bytes) -> None:
    with pytest.raises(ScramFailed):
        ScramClient("pencil", NONCE).final(answer)
    with pytest.raises(ScramFailed):
        ScramClient("pencil", NONCE).verify(b"v=")


def test_a_password_is_prepared_as_the_server_does() -> None:
    assert prepared("I\u00adX") == "IX"
    assert prepared("a\u00a0b") == "a b"
    assert prepared("\u2168") == "IX"
    assert prepared("plain") == "plain"
