"""The shipper against a real OpenSearch: what `--setup` leaves out there, and what arrives even so."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.services import opensearch_package
from tests.services.elasticsearch_node import Node
from tests.services.maven import Unavailable
from tests.support.books import assert_balanced
from tests.support.elastic import GiveUp
from tests.support.log_stage import LogStage
from tests.support.rest import call, count
from tests.support.setting_up import set_up
from tests.support.shapes import KEPT, ODD_LINES, SHAPES

REFUSED = {"a list of numbers", "a list of everything", "a long text in an object"}
"""What OpenSearch's mapping cannot be made to take, where the field is new or holds objects."""


@pytest.fixture(scope="module")
def opensearch(without_server: GiveUp) -> Iterator[str]:
    """The address of a node."""
    try:
        node = Node(opensearch_package.prepare(), {})
    except Unavailable as reason:
        without_server("opensearch", str(reason))
    yield node.url
    node.discard()


@pytest.fixture
def stream() -> str:
    return f"logs-shipped-{secrets.token_hex(6)}"


def documents(url: str, target: str) -> list[dict[str, Any]]:
    call(url, "POST", f"/{target}/_refresh")
    hits = call(url, "POST", f"/{target}/_search", {"size": 10_000}).body["hits"]["hits"]
    return [hit["_source"] for hit in hits]


def test_the_setup_says_what_is_left_out_and_kills_double_nothing_in_its_data_stream(
    tmp_path: Path, opensearch: str, stream: str
) -> None:
    first, *left_out = set_up(opensearch, stream)
    assert first == f"created the index template sidecars-{stream} for the data stream {stream}"
    assert [line.startswith("left out, as OpenSearch 3.") for line in left_out] == [True] * 3
    assert any("the retention" in line for line in left_out)
    unchanged = f"the index template sidecars-{stream} is as it should be; nothing changed"
    before = call(opensearch, "GET", f"/_index_template/sidecars-{stream}").body
    assert set_up(opensearch, stream) == [unchanged, *left_out]
    assert call(opensearch, "GET", f"/_index_template/sidecars-{stream}").body == before
    with LogStage(tmp_path, elasticsearch_url=opensearch, data_stream=stream, batch_bytes=64 << 10) as stage:
        stage.write(5000, " of an app")
        stage.shipper.start()
        stage.shipper.until(lambda: stage.shipper.metric("records_total") > 500, "some progress")
        stage.shipper.kill()
        (tmp_path / "state" / "checkpoint.json").unlink(missing_ok=True)
        stage.shipper.start()
        stage.until_delivered(120)
        assert stage.outcomes()["duplicate"] > 0
        assert_balanced(stage.lines, [document["message"] for document in documents(opensearch, stream)])


def test_lines_of_every_shape_arrive_but_for_those_that_it_has_no_mapping_for(
    tmp_path: Path, opensearch: str, stream: str
) -> None:
    set_up(opensearch, stream)
    odd = ODD_LINES[len(SHAPES) :]
    shapes = [
        json.dumps({"message": name, f"field{number}": value, "all": value})
        for number, (name, value) in enumerate(SHAPES.items())
        if name not in REFUSED
    ]
    with LogStage(tmp_path, elasticsearch_url=opensearch, data_stream=stream, parse="json") as stage:
        stage.append([*shapes, *odd])
        stage.shipper.start()
        stage.until_delivered(60)
        assert stage.outcomes() == {"indexed": len(shapes) + len(odd)}, stage.letters()
    assert count(opensearch, stream) == len(shapes) + len(odd), "what is stored is to be found"
    everything = json.dumps(documents(opensearch, stream))
    assert [text for text in KEPT if text not in everything] == []
