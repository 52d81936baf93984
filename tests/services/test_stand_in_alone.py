"""What only the stand-in can show: the node of the contract tests has no data stream interface and no `GET /`.

The witness is the official client: it knows the paths and checks the product header.
"""

from collections.abc import Iterator

import pytest
from elasticsearch import Elasticsearch, NotFoundError

from sidecars.devstack.elasticsearch.serving import Served

STREAM = "logs-app-default"


@pytest.fixture
def client(stand_in: Served) -> Iterator[Elasticsearch]:
    with Elasticsearch(stand_in.url) as client:
        template = {"lifecycle": {"data_retention": "7d"}}
        client.indices.put_index_template(
            name="logs", index_patterns=["logs-*-*"], data_stream={}, template=template, priority=200
        )
        yield client


def test_it_says_which_version_it_stands_for(client: Elasticsearch) -> None:
    assert client.info()["version"]["number"].startswith("9.")
    assert client.ping()


def test_a_data_stream_is_listed_with_its_template_and_lifecycle(client: Elasticsearch) -> None:
    client.indices.create_data_stream(name=STREAM)
    (stream,) = client.indices.get_data_stream(name="logs-*")["data_streams"]
    assert (stream["name"], stream["template"]) == (STREAM, "logs")
    assert stream["timestamp_field"] == {"name": "@timestamp"}
    assert stream["indices"][0]["index_name"].startswith(f".ds-{STREAM}-")
    assert stream["lifecycle"] == {"enabled": True, "data_retention": "7d"}


def test_a_lifecycle_can_be_put_read_and_removed(client: Elasticsearch) -> None:
    client.indices.create_data_stream(name=STREAM)
    client.indices.put_data_lifecycle(name=STREAM, data_retention="30d")
    (stream,) = client.indices.get_data_lifecycle(name=STREAM)["data_streams"]
    assert stream == {"name": STREAM, "lifecycle": {"enabled": True, "data_retention": "30d"}}
    client.indices.delete_data_lifecycle(name=STREAM)
    assert client.indices.get_data_lifecycle(name=STREAM)["data_streams"] == [{"name": STREAM}]


def test_a_deleted_data_stream_is_gone(client: Elasticsearch) -> None:
    client.indices.create_data_stream(name=STREAM)
    client.indices.delete_data_stream(name=STREAM)
    with pytest.raises(NotFoundError):
        client.indices.get_data_stream(name=STREAM)
    with pytest.raises(NotFoundError):
        client.indices.get_data_lifecycle(name=STREAM)


def test_documents_survive_while_it_is_down(stand_in: Served, client: Elasticsearch) -> None:
    client.bulk(index=STREAM, operations=[{"create": {"_id": "a"}}, {"@timestamp": 0, "message": "kept"}])
    stand_in.down()
    assert not client.ping()
    stand_in.up()
    assert client.search(index="logs-*", q="kept")["hits"]["total"]["value"] == 1
