"""The shipper against a real Elasticsearch, with the official client as the witness: its data streams, its 409, 400,
404, 413 and 429, its silence and its death.
"""

import json
import secrets
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from sidecars.log_shipper.check import elasticsearch_findings
from tests.services.elasticsearch_server import Server
from tests.services.troubles import TROUBLES
from tests.support.books import assert_balanced
from tests.support.context import settings
from tests.support.log_stage import LogStage
from tests.support.scale import scaled
from tests.support.setting_up import set_up
from tests.support.shapes import KEPT, ODD_LINES

LINES = scaled(5000, 100_000)


@pytest.fixture
def stream() -> str:
    """A data stream nobody else uses."""
    return f"logs-shipped-{secrets.token_hex(6)}"


def witnessed(url: str, target: str) -> list[str]:
    """The messages that the official client finds."""
    with Elasticsearch(url, request_timeout=60) as client:
        client.indices.refresh(index=target)
        total = int(client.count(index=target)["count"])
        found: list[str] = []
        after: list[Any] | None = None
        sort = [{"log.offset": "asc"}]  # one file: unique
        while len(found) < total:
            page = client.search(index=target, size=10_000, sort=sort, search_after=after, source_includes=["message"])
            hits = page["hits"]["hits"]
            assert hits, f"{len(found)} found of {total}"
            found += [hit["_source"]["message"] for hit in hits]
            after = hits[-1]["sort"]
        assert len(found) == total
        return found


def test_kills_and_a_lost_state_double_nothing_in_a_real_data_stream(
    tmp_path: Path, elasticsearch_server: Server, stream: str
) -> None:
    url = elasticsearch_server.url
    first = set_up(url, stream)
    with Elasticsearch(url) as client:
        before = client.indices.get_index_template(name=f"*{stream}*").body
        assert set_up(url, stream) != first
        assert client.indices.get_index_template(name=f"*{stream}*").body == before
    with LogStage(tmp_path, elasticsearch_url=url, data_stream=stream, batch_bytes=64 << 10) as stage:
        stage.write(LINES, " of an app")
        for _ in range(2):
            stage.shipper.start()
            stage.shipper.until(lambda: stage.shipper.metric("records_total") > LINES // 10, "some progress")
            stage.shipper.kill()
        (tmp_path / "state" / "checkpoint.json").unlink(missing_ok=True)
        stage.shipper.start()
        stage.until_delivered(180)
        assert stage.outcomes()["duplicate"] > LINES // 10, "the real server's 409 for what it had already"
        assert sum(stage.outcomes().values()) == LINES
        assert_balanced(stage.lines, witnessed(url, stream))
        with Elasticsearch(url) as client:
            (backing,) = client.indices.get(index=stream).body
            assert backing.startswith(f".ds-{stream}-"), "it must be a data stream, not an index of that name"


async def test_check_tells_what_it_is_and_what_is_blocked(elasticsearch_server: Server, stream: str) -> None:
    url, index = elasticsearch_server.url, stream.replace("logs-", "plain-")
    found = await elasticsearch_findings(settings(elasticsearch_url=(url,), data_stream=stream))
    assert "error" not in {each.level for each in found}  # a node without the module for GET / keeps its version
    assert any(f"{stream} is not there yet" in each.text for each in found)
    with Elasticsearch(url) as client:
        client.indices.create(index=index)
        client.indices.add_block(index=index, block="write")
        found = await elasticsearch_findings(settings(elasticsearch_url=(url,), index=index))
        client.indices.delete(index=index)
    (error,) = [each.text for each in found if each.level == "error"]
    assert error.startswith(f"{index} cannot be written to: {index} has index.blocks.write")


def test_lines_of_every_shape_arrive_in_a_real_data_stream(
    tmp_path: Path, elasticsearch_server: Server, stream: str
) -> None:
    url = elasticsearch_server.url
    set_up(url, stream)
    with LogStage(tmp_path, elasticsearch_url=url, data_stream=stream, parse="json") as stage:
        stage.append(ODD_LINES)
        stage.shipper.start()
        stage.until_delivered(60)
        assert stage.outcomes() == {"indexed": len(ODD_LINES)}, stage.letters()
    with Elasticsearch(url, request_timeout=60) as client:
        client.indices.refresh(index=stream)
        found = client.search(index=stream, size=1000)["hits"]["hits"]
    assert len(found) == len(ODD_LINES), "what is stored is to be found"
    everything = json.dumps([hit["_source"] for hit in found])
    assert [text for text in KEPT if text not in everything] == []


def test_a_real_mapping_conflict_goes_to_the_dead_letters(tmp_path: Path, elasticsearch_server: Server) -> None:
    url, index = elasticsearch_server.url, f"shipped-{secrets.token_hex(6)}"
    with Elasticsearch(url) as client:
        client.indices.create(index=index, mappings={"properties": {"took": {"type": "long"}}})
    with LogStage(tmp_path, elasticsearch_url=url, index=index, parse="json") as stage:
        stage.shipper.start()
        good = [f'{{"message": "request {number}", "took": {number}}}' for number in range(50)]
        bad = ['{"message": "spoilt", "took": "long ago"}', '{"message": "spoilt too", "took": {"of": 3}}']
        stage.append([*good[:20], bad[0], *good[20:], bad[1]])
        stage.until_delivered()
        assert stage.outcomes() == {"indexed": 50, "rejected": 2}
        assert sorted(witnessed(url, index)) == sorted(f"request {number}" for number in range(50))
        assert {letter["error"]["status"] for letter in stage.letters()} == {400}
        assert all(letter["error"]["reason"] for letter in stage.letters()), "the server's own words are kept"
    with Elasticsearch(url) as client:
        client.indices.delete(index=index)


SHOWN = {
    "closed": "target",
    "an alias without a write index": "target",
    "a missing pipeline": "target",
    "missing, and not to be made": "target",
    "no room for shards": "target",
    "blocked": "blocked",
    "the disk is full": "blocked",
}
"""Under which reason."""


@pytest.mark.parametrize("name", SHOWN)
def test_real_trouble_of_the_target_holds_everything_with_the_servers_own_reason(
    tmp_path: Path, own_elasticsearch: Server, name: str
) -> None:
    url, index, trouble = own_elasticsearch.url, f"shipped-{secrets.token_hex(6)}", TROUBLES[name]
    with LogStage(tmp_path, elasticsearch_url=url, index=index) as stage:
        stage.write(100)
        trouble.spoil(url, index)
        try:
            stage.shipper.start()
            stage.shipper.until(lambda: stage.shipper.metric("delivery_held") == 1, "it to hold")
            assert stage.shipper.metric(f'delivery_trouble{{reason="{SHOWN[name]}"}}') == 1
            (line,) = stage.shipper.logged("delivery.held")
        finally:
            trouble.mend(url, index)
        said = f"{trouble.status} {trouble.kind}: {trouble.reason.format(index=index)}"
        assert f"{url}/{index}/_bulk answered HTTP {said}"[:150] in line["message"]
        stage.until_delivered()
        assert stage.letters() == []
        assert_balanced(stage.lines, witnessed(url, index))


def test_requests_that_are_too_large_get_through_in_parts_and_a_record_that_is_alone_is_a_dead_letter(
    tmp_path: Path, own_elasticsearch: Server, stream: str
) -> None:
    """A 413 over 3 MiB; below that a 429 which says "later", but for a request over the limit of the indexing pressure
    there is no later.
    """
    url = own_elasticsearch.url
    set_up(url, stream)
    given = {"data_stream": stream, "batch_bytes": 8 << 20, "max_line_bytes": 4 << 20, "compression": "none"}
    with LogStage(tmp_path, elasticsearch_url=url, **given) as stage:
        stage.write(12_000, " that fills the memory which the server has for requests")
        large = "x" * (7 << 19)
        stage.append([large])
        stage.write(100)
        stage.shipper.start()
        stage.until_delivered(90)
        assert stage.outcomes() == {"indexed": 12_100, "rejected": 1}
        assert stage.shipper.metric('retried_records_total{reason="status_429"}') > 0
        (letter,) = stage.letters()
        assert letter["error"]["status"] == 413
        assert_balanced([line for line in stage.lines if line != large], witnessed(url, stream))


def test_a_real_server_that_freezes_dies_and_comes_back_gets_everything_once(
    tmp_path: Path, own_elasticsearch: Server, stream: str
) -> None:
    server, url = own_elasticsearch, own_elasticsearch.url
    set_up(url, stream)
    given = {"data_stream": stream, "batch_bytes": 64 << 10, "request_timeout_seconds": 2}
    with LogStage(tmp_path, elasticsearch_url=url, **given) as stage:
        stage.shipper.start()
        stage.write(1000)
        stage.until_delivered()
        server.pause()
        stage.write(1000)
        timeouts = 'retried_records_total{reason="timeout"}'
        stage.shipper.until(lambda: stage.shipper.metric(timeouts) > 0, "the silence to be noticed")
        server.resume()
        stage.until_delivered()
        stage.write(1000)
        server.kill()
        stage.write(1000)
        broken = 'retried_records_total{reason="connection"}'
        stage.shipper.until(lambda: stage.shipper.metric(broken) > 0, "the death to be noticed")
        server.restart()
        assert server.url == url
        stage.until_delivered(180)
        assert_balanced(stage.lines, witnessed(url, stream))
