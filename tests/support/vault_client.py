"""Raw HTTP against Vault's interface: what exactly came back."""

import http.client
import json
import ssl
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit


class Reply(NamedTuple):
    """A whole reply; `body` is the parsed JSON, None when there is none. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def data(self) -> dict[str, Any]:
        """The `data` of a success."""
        assert self.status in (200, 404), self
        found: dict[str, Any] = self.body["data"]
        return found

    @property
    def errors(self) -> tuple[int, list[str]]:
        """The status and the texts of a refusal."""
        return self.status, self.body["errors"]


class VaultClient:
    """Requests to one server with one token, each on a connection of its own."""

    def __init__(self, url: str, token: str = "", namespace: str = "", tls: ssl.SSLContext | None = None) -> None:
        self.url = url
        self.token = token
        self.namespace = namespace
        self._tls = tls

    def using(self, token: str, namespace: str = "") -> "VaultClient":
        """Return a client with another token."""
        return VaultClient(self.url, token, namespace or self.namespace, self._tls)

    def call(self, method: str, path: str, body: object = None, **headers: str) -> Reply:
        """Make one request; `X_Vault_Wrap_TTL="30s"` style keywords become headers."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token:
            named.setdefault("X-Vault-Token", self.token)
        if self.namespace:
            named.setdefault("X-Vault-Namespace", self.namespace)
        place = urlsplit(self.url).netloc
        connection = (
            http.client.HTTPSConnection(place, timeout=60, context=self._tls)
            if self._tls
            else http.client.HTTPConnection(place, timeout=60)
        )
        try:
            connection.request(method, f"/v1/{path}", None if body is None else json.dumps(body), named)
            reply = connection.getresponse()
            raw = reply.read()
            lowered = {name.lower(): value for name, value in reply.getheaders()}
            return Reply(reply.status, lowered, json.loads(raw) if raw else None)
        finally:
            connection.close()

    def read(self, path: str, **headers: str) -> Reply:
        """GET."""
        return self.call("GET", path, **headers)

    def write(self, path: str, body: object = None, **headers: str) -> Reply:
        """POST."""
        return self.call("POST", path, body if body is not None else {}, **headers)

    def set(self, path: str, body: object = None) -> Reply:
        """POST what has to succeed."""
        reply = self.write(path, body)
        assert reply.status in (200, 204), reply
        return reply
