"""The errors of Elasticsearch's REST interface, as values and in its own JSON shape.

One module, because the bulk parser, the store, the queries and the server must all answer alike.
"""

from typing import Any

JsonObject = dict[str, Any]


class Problem(Exception):
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


def bad_request(reason: str, kind: str = "illegal_argument_exception") -> Problem:
    """A 400 with the type that Elasticsearch uses for most of them."""
    return Problem(400, kind, reason)


def no_such_index(name: str) -> Problem:
    """A 404 as for an index, an alias or a data stream that does not exist."""
    where = {"resource.type": "index_or_alias", "resource.id": name, "index_uuid": "_na_", "index": name}
    return Problem(404, "index_not_found_exception", f"no such index [{name}]", where)
