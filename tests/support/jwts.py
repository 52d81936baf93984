"""Signs JSON Web Tokens as an issuer of service-account tokens does, and reviews them as Kubernetes does."""

import base64
import http.server
import json
import threading
import time
from typing import Any, Self

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa


class Issuer:
    """Who signs: a name (`iss`) and a key of its own (RS256)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        self.public_pem = self._key.public_key().public_bytes(encoding, form).decode()

    def token(self, **claims: Any) -> str:
        """Return a signed token that is good for ten minutes. `exp` and `nbf` are seconds from now."""
        now = int(time.time())
        body = {"iss": self.name, "sub": "app", "iat": now, "nbf": -10, "exp": 600, **claims}
        body |= {"nbf": now + body["nbf"], "exp": now + body["exp"]}
        if body["exp"] < now:
            body |= {"nbf": body["exp"] - 600, "iat": body["exp"] - 600}
        head = {"alg": "RS256", "typ": "JWT"}
        signed = ".".join(_encoded(json.dumps(part).encode()) for part in (head, body))
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_encoded(signature)}"


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Reviewer:
    """An API server that reviews tokens: every one that is asked about is good, and is what its claims say."""

    def __init__(self) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                body = json.dumps(review | {"status": _reviewed(review["spec"]["token"])}).encode()
                self.send_response(201)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Go away: connections are refused."""
        self._server.shutdown()
        self._server.server_close()


def _reviewed(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    user = {"username": claims["sub"], "uid": "0001", "groups": ["system:serviceaccounts"]}
    return {"authenticated": True, "user": user, "audiences": claims.get("aud", [])}
