"""The client's half of SCRAM-SHA-256 (RFC 5802, RFC 7677), for the login of a check. Pure: the nonce is handed in."""

import base64
import binascii
import hashlib
import hmac
import stringprep
import unicodedata

MECHANISM = "SCRAM-SHA-256"
_HEADER = "n,,"
"""No channel binding, no other identity."""
_MOST_ITERATIONS = 200_000  # about 0.1 s; a hostile server must not hold the loop up for longer


class ScramFailed(Exception):
    """The server's half does not fit: it is broken, or it does not know the password."""


class ScramClient:
    """One login. PostgreSQL takes the user from the StartupMessage, so that the one here is empty."""

    def __init__(self, password: str, nonce: str) -> None:
        self._password = prepared(password).encode()
        self._nonce = nonce
        self._first = f"n=,r={nonce}"
        self._server_signature = b""
        self._is_verified = False

    def first(self) -> bytes:
        """Return the client-first-message."""
        return (_HEADER + self._first).encode()

    def final(self, server_first: bytes) -> bytes:
        """Return the client-final-message. Raise ScramFailed."""
        text = _ascii(server_first)
        fields = _fields(text)
        nonce, iterations = fields.get("r", ""), fields.get("i", "")
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise ScramFailed("the server's nonce does not begin with ours")
        if not iterations.isdigit() or len(iterations) > 9 or not 1 <= int(iterations) <= _MOST_ITERATIONS:
            raise ScramFailed("the server asks for an impossible number of iterations")
        salted = hashlib.pbkdf2_hmac("sha256", self._password, _decoded(fields.get("s", "")), int(iterations))
        client_key = _mac(salted, b"Client Key")
        bare = f"c={base64.b64encode(_HEADER.encode()).decode()},r={nonce}"
        whole = f"{self._first},{text},{bare}".encode()
        signature = _mac(hashlib.sha256(client_key).digest(), whole)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        self._server_signature = _mac(_mac(salted, b"Server Key"), whole)
        return f"{bare},p={base64.b64encode(proof).decode()}".encode()

    def verify(self, server_final: bytes) -> None:
        """Raise ScramFailed unless the server has shown that it knows the password, too."""
        given = _decoded(_fields(_ascii(server_final)).get("v", ""))
        if not self._server_signature or not hmac.compare_digest(given, self._server_signature):
            raise ScramFailed("the server does not know the password")
        self._is_verified = True

    def end(self) -> None:
        """Raise ScramFailed when the server lets us in and has not shown that it knows the password: whoever answers at
        its address could pass for the primary.
        """
        if not self._is_verified:
            raise ScramFailed("the server has not shown that it knows the password")


def prepared(password: str) -> str:
    """Return a password after the mapping and normalization of SASLprep (RFC 4013); the server does the same."""
    if password.isascii():
        return password
    kept = (" " if stringprep.in_table_c12(c) else c for c in password if not stringprep.in_table_b1(c))
    return unicodedata.normalize("NFKC", "".join(kept))


def _mac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


def _ascii(data: bytes) -> str:
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        raise ScramFailed("what the server says is not SCRAM") from None


def _fields(text: str) -> dict[str, str]:
    return {part[0]: part[2:] for part in text.split(",") if part[1:2] == "="}


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ScramFailed("what the server says is not SCRAM") from None
