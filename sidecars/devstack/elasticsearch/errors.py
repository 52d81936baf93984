"""What the stand-in refuses, as values and in Elasticsearch's own JSON shape; and which credentials it accepts.

One module, because the bulk parser, the store, the queries and the server must all answer alike. The node that the
contract tests run has no security module, so only here can a shipper meet a refused credential.
"""

import base64
from dataclasses import dataclass
from typing import Any

JsonObject = dict[str, Any]


class RestError(Exception):
    """A request cannot be served; `status` is the HTTP status, `kind` Elasticsearch's error type."""

    def __init__(self, status: int, kind: str, reason: str, extra: JsonObject | None = None) -> None:
        super().__init__(f"{status} {kind}: {reason}")
        self.status = status
        self.kind = kind
        self.reason = reason
        self.extra = extra or {}

    def cause(self) -> JsonObject:
        """The error object as it stands in a bulk item: `{"type", "reason", ...}`."""
        return {"type": self.kind, "reason": self.reason, **self.extra}

    def body(self) -> JsonObject:
        """The whole reply: `{"error": {"root_cause": [...], "type", "reason"}, "status"}`."""
        root = {key: value for key, value in self.cause().items() if key != "caused_by"}
        return {"error": {"root_cause": [root], **self.cause()}, "status": self.status}


def bad_request(reason: str, kind: str = "illegal_argument_exception") -> RestError:
    """A 400 with the type that Elasticsearch uses for most of them."""
    return RestError(400, kind, reason)


def no_such_index(name: str) -> RestError:
    """A 404 as for an index, an alias or a data stream that does not exist."""
    where = {"resource.type": "index_or_alias", "resource.id": name, "index_uuid": "_na_", "index": name}
    return RestError(404, "index_not_found_exception", f"no such index [{name}]", where)


_CHALLENGE = {"header": {"WWW-Authenticate": ['Basic realm="security", charset="UTF-8"', "ApiKey"]}}


@dataclass(frozen=True)
class Access:
    """The accepted credentials: `(user, password)` pairs, and API keys as `id:secret` before their encoding."""

    users: tuple[tuple[str, str], ...] = ()
    api_keys: tuple[str, ...] = ()

    def check(self, authorization: str | None, path: str) -> None:
        """Raises RestError 401 unless the header holds an accepted credential (or none is asked for)."""
        if not self.users and not self.api_keys:
            return
        scheme, _, credential = (authorization or "").partition(" ")
        accepted = {("basic", _encoded(f"{user}:{password}")) for user, password in self.users}
        accepted |= {("apikey", _encoded(key)) for key in self.api_keys}
        if (scheme.lower(), credential.strip()) in accepted:
            return
        what = (
            "unable to authenticate with provided credentials"
            if authorization
            else "missing authentication credentials"
        )
        raise RestError(401, "security_exception", f"{what} for REST request [{path}]", _CHALLENGE)


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
