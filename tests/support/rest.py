"""Raw HTTP: a page of an endpoint of ours, and Elasticsearch's REST interface with the lines of a bulk request.

Raw on purpose: the contract tests compare replies as they are on the wire, which a client would tidy up.
"""

import http.client
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import urlsplit

_TIMEOUT_SECONDS = 60
_JSON = {"Content-Type": "application/json"}


class Reply(NamedTuple):
    """A whole reply; `body` is the parsed JSON, or the bytes when they are none (`b""` for an empty reply)."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def error_type(self) -> str:
        """The type in an error reply."""
        return str(self.body["error"]["type"])


def call(url: str, method: str, path: str, body: bytes | Mapping[str, Any] | None = None, **headers: str) -> Reply:
    """One request on a connection of its own; `Content_Encoding="gzip"` style keywords become headers."""
    payload = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=_TIMEOUT_SECONDS)
    try:
        with suppress(BrokenPipeError, ConnectionResetError):  # who refuses the size answers before all is sent
            connection.request(method, path, payload, _JSON | named)
        reply = connection.getresponse()
        raw = reply.read()
        lowered = {name.lower(): value for name, value in reply.getheaders()}
        return Reply(reply.status, lowered, _parsed(raw))
    finally:
        connection.close()


def ask(
    place: tuple[str, int], path: str, method: str = "GET", headers: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """One request to an endpoint of ours: status and body; (0, "") when it cannot be reached (yet)."""
    connection = http.client.HTTPConnection(*place, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request(method, path, headers=dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()


def lines(*objects: Mapping[str, Any] | str) -> bytes:
    """The body of a bulk request: one JSON object per line; a string is taken as it is."""
    return b"".join((line if isinstance(line, str) else json.dumps(line)).encode() + b"\n" for line in objects)


def creates(documents: Mapping[str, Mapping[str, Any]]) -> bytes:
    """The body of a bulk request that creates these documents, by id."""
    return b"".join(lines({"create": {"_id": key}}, document) for key, document in documents.items())


def count(url: str, target: str) -> int:
    """How many documents can be found, after a refresh."""
    call(url, "POST", f"/{target}/_refresh")
    return int(call(url, "GET", f"/{target}/_count").body["count"])


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return raw
