"""What keeps an index from taking documents, as an administrator brings it about: closed, blocked, a pipeline that is
missing, an alias without a write index, no more shards, no index made by a write.

A shipper meets these as statuses of single items. They are kept apart from `faults`, which are no part of
Elasticsearch's interface.
"""

from typing import Any

from .errors import JsonObject, RestError, bad_request

_BLOCKS = {
    "read_only": (403, "FORBIDDEN/5/index read-only (api)"),
    "write": (403, "FORBIDDEN/8/index write (api)"),
    "read_only_allow_delete": (
        429,
        "TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index has read-only-allow-delete block",
    ),
}
_PIPELINES = ("default_pipeline", "final_pipeline")


def flat(settings: JsonObject, prefix: str = "") -> dict[str, Any]:
    """Settings with dotted names, however they were nested; those of an index without the `index.` before them."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, dict) else {name.removeprefix("index."): value}
    return found


class Obstacles:
    """Of one index: whether it is closed, and the settings that matter."""

    def __init__(self, settings: JsonObject) -> None:
        self.closed = False
        self._settings = flat(settings)

    def set(self, settings: JsonObject) -> None:
        """Take over changed settings; None takes one away."""
        self._settings |= flat(settings)

    def check(self, name: str) -> None:
        """Raise the RestError that a document for this index meets, if any."""
        for key in _PIPELINES:
            pipeline = self._settings.get(key) or "_none"
            if pipeline != "_none":  # the stand-in has no pipelines
                raise bad_request(f"pipeline with id [{pipeline}] does not exist")
        if self.closed:
            raise RestError(400, "index_closed_exception", "closed", {"index_uuid": "devstack", "index": name})
        for block, (status, what) in _BLOCKS.items():
            if str(self._settings.get(f"blocks.{block}")).lower() == "true":
                raise RestError(status, "cluster_block_exception", f"index [{name}] blocked by: [{what}];")


class Cluster:
    """Settings of the whole cluster that stand in the way of an index that a write would make."""

    def __init__(self) -> None:
        self._settings: dict[str, Any] = {}

    def set(self, body: JsonObject) -> None:
        """As PUT /_cluster/settings; None takes one away."""
        for kind in ("persistent", "transient"):
            self._settings |= flat(body.get(kind) or {})

    def check_creation(self, name: str, indices: int, *, by_write: bool) -> None:
        """Raise the RestError that one more index meets, if any."""
        automatic = self._settings.get("action.auto_create_index")
        if by_write and automatic is not None and str(automatic).lower() == "false":
            reason = f"no such index [{name}] and [action.auto_create_index] is [false]"
            raise RestError(404, "index_not_found_exception", reason, {"index_uuid": "_na_", "index": name})
        limit = self._settings.get("cluster.max_shards_per_node")
        if limit is not None and 2 * indices + 2 > int(limit):
            what = f"this cluster currently has [{2 * indices}]/[{limit}] maximum normal shards open"
            reason = f"Validation Failed: 1: this action would add [2] shards, but {what};"
            raise RestError(400, "validation_exception", reason)


class Aliases:
    """Alias -> index -> whether it is said to be the write index (None: nothing is said)."""

    def __init__(self) -> None:
        self._led: dict[str, dict[str, bool | None]] = {}

    def add(self, alias: str, index: str, *, is_write_index: bool | None) -> None:
        """Let the alias lead to this index too."""
        self._led.setdefault(alias, {})[index] = is_write_index

    def remove(self, alias: str, index: str) -> None:
        """Take an index out of an alias."""
        self._led.get(alias, {}).pop(index, None)

    def indices(self, alias: str) -> list[str]:
        """Where the alias leads; empty when it is none."""
        return list(self._led.get(alias, ()))

    def write_index(self, alias: str) -> str:
        """Where documents for the alias go. Raises: RestError when that is not clear."""
        led = self._led[alias]
        chosen = [index for index, is_write in led.items() if is_write]
        if not chosen and len(led) == 1:
            chosen = [index for index, is_write in led.items() if is_write is None]
        if not chosen:
            why = (
                "The write index may be explicitly disabled using is_write_index=false or the alias points to multiple"
                " indices without one being designated as a write index"
            )
            raise bad_request(f"no write index is defined for alias [{alias}]. {why}")
        return chosen[0]
