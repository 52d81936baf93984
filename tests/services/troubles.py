"""What can be wrong with the index that documents go to, made and mended over REST, and what a server says of it."""

from collections.abc import Callable
from typing import Any, NamedTuple

from tests.support.rest import call

Act = Callable[[str, str], None]


class Trouble(NamedTuple):
    """`spoil(url, index)` makes it, `mend` ends it; an item meets this status, type and start of a reason."""

    spoil: Act
    mend: Act
    status: int
    kind: str
    reason: str


def make(url: str, index: str, **body: Any) -> None:
    assert call(url, "PUT", f"/{index}", body).status == 200


def change(url: str, index: str, settings: dict[str, Any]) -> None:
    assert call(url, "PUT", f"/{index}/_settings", settings).status == 200


def set_cluster(url: str, name: str, value: Any) -> None:
    assert call(url, "PUT", "/_cluster/settings", {"persistent": {name: value}}).status == 200


def _blocked(kind: str, status: int, said: str) -> Trouble:
    def spoil(url: str, index: str) -> None:
        make(url, index)
        change(url, index, {f"index.blocks.{kind}": True})

    mend = lambda url, index: change(url, index, {f"index.blocks.{kind}": None})  # noqa: E731
    return Trouble(spoil, mend, status, "cluster_block_exception", f"index [{{index}}] blocked by: [{said}")


def _misled(kind: str) -> Trouble:
    """Into a pipeline that is not there."""
    return Trouble(
        lambda url, index: make(url, index, settings={f"index.{kind}": "nowhere"}),
        lambda url, index: change(url, index, {f"index.{kind}": "_none"}),
        400,
        "illegal_argument_exception",
        "pipeline with id [nowhere] does not exist",
    )


def _close(url: str, index: str) -> None:
    make(url, index)
    assert call(url, "POST", f"/{index}/_close").status == 200


def _open(url: str, index: str) -> None:
    assert call(url, "POST", f"/{index}/_open").status == 200


def _two_of_one_alias(url: str, index: str) -> None:
    for number in (1, 2):
        make(url, f"{index}-{number}", aliases={index: {}})


def _choose_one(url: str, index: str) -> None:
    to = {"index": f"{index}-1", "alias": index, "is_write_index": True}
    assert call(url, "POST", "/_aliases", {"actions": [{"add": to}]}).status == 200


def _leave_no_room(url: str, index: str) -> None:
    make(url, f"{index}-first")
    set_cluster(url, "cluster.max_shards_per_node", 1)


TROUBLES = {
    "closed": Trouble(_close, _open, 400, "index_closed_exception", "closed"),
    "blocked": _blocked("write", 403, "FORBIDDEN/8/index write (api)"),
    "read only": _blocked("read_only", 403, "FORBIDDEN/5/index read-only (api)"),
    "the disk is full": _blocked(
        "read_only_allow_delete", 429, "TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark"
    ),
    "a missing pipeline": _misled("default_pipeline"),
    "a missing last pipeline": _misled("final_pipeline"),
    "an alias without a write index": Trouble(
        _two_of_one_alias,
        _choose_one,
        400,
        "illegal_argument_exception",
        "no write index is defined for alias [{index}]. The write index may be",
    ),
    "no room for shards": Trouble(
        _leave_no_room,
        lambda url, _: set_cluster(url, "cluster.max_shards_per_node", None),
        400,
        "validation_exception",
        "Validation Failed: 1: this action would add [2] shards, but this cluster currently has [",
    ),
    "missing, and not to be made": Trouble(
        lambda url, _: set_cluster(url, "action.auto_create_index", "false"),
        lambda url, _: set_cluster(url, "action.auto_create_index", None),
        404,
        "index_not_found_exception",
        "no such index [{index}] and [action.auto_create_index] is [false]",
    ),
}
