"""What a shipper relies on in Elasticsearch, held to by the real server and by the stand-in alike.

Replies are looked at raw, because their exact shape is what the shipper parses; what was stored is counted and
searched by the official client, which shares no code with either.
"""

import gzip
from collections.abc import Iterator
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from tests.services.conftest import Limited
from tests.services.troubles import TROUBLES, make
from tests.support.rest import Reply, call, count, creates, lines

NOW = "2026-11-22T10:00:00.000Z"


@pytest.fixture
def witness(url: str) -> Iterator[Elasticsearch]:
    with Elasticsearch(url) as client:
        yield client


def bulk(url: str, target: str, body: bytes, query: str = "") -> Reply:
    return call(url, "POST", f"/{target}/_bulk{query}", body)


def items(reply: Reply) -> list[dict[str, Any]]:
    assert reply.status == 200, reply
    return [result for item in reply.body["items"] for result in item.values()]


def only_item(reply: Reply) -> dict[str, Any]:
    (item,) = items(reply)
    return item


def record(number: int) -> dict[str, Any]:
    return {"@timestamp": NOW, "message": f"line {number} of many", "log": {"offset": number * 10}}


def test_a_created_document_is_reported_with_all_its_fields(url: str, index: str) -> None:
    reply = bulk(url, index, creates({"a": {"n": 1}}))
    assert set(reply.body) == {"took", "errors", "items"}
    assert reply.body["errors"] is False
    item = only_item(reply)
    fields = {"_index", "_id", "_version", "result", "_shards", "_seq_no", "_primary_term", "status"}
    assert set(item) == fields
    assert (item["_index"], item["_id"], item["status"], item["result"]) == (index, "a", 201, "created")


def test_every_reply_names_the_product(url: str, index: str) -> None:
    replies = [bulk(url, index, creates({"a": {}})), call(url, "GET", "/no-such-index/_count"), bulk(url, index, b"")]
    assert [reply.status for reply in replies] == [200, 404, 400]
    assert {reply.headers["x-elastic-product"] for reply in replies} == {"Elasticsearch"}


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_bulk_request_may_name_the_index_in_its_lines(url: str, index: str, method: str) -> None:
    reply = call(url, method, "/_bulk", lines({"create": {"_index": index, "_id": "a"}}, {"n": 1}))
    assert only_item(reply)["_index"] == index


def test_a_document_created_twice_is_a_409_and_stored_once(url: str, index: str) -> None:
    assert only_item(bulk(url, index, creates({"a": {"n": 1}})))["status"] == 201
    reply = bulk(url, index, creates({"a": {"n": 2}}))
    item = only_item(reply)
    assert (reply.body["errors"], item["status"]) == (True, 409)
    assert item["error"]["type"] == "version_conflict_engine_exception"
    assert item["error"]["reason"] == "[a]: version conflict, document already exists (current version [1])"
    assert call(url, "GET", f"/{index}/_doc/a").body["_source"] == {"n": 1}


def test_a_document_twice_in_one_request_is_created_once(url: str, index: str) -> None:
    body = creates({"a": {"n": 1}}) * 2
    assert [item["status"] for item in items(bulk(url, index, body))] == [201, 409]


def test_index_writes_over_an_older_document(url: str, index: str) -> None:
    body = lines({"index": {"_id": "a"}}, {"n": 1}, {"index": {"_id": "a"}}, {"n": 2})
    outcomes = [(item["status"], item["result"], item["_version"]) for item in items(bulk(url, index, body))]
    assert outcomes == [(201, "created", 1), (200, "updated", 2)]
    assert count(url, index) == 1


def test_without_an_id_the_server_chooses_one(url: str, index: str) -> None:
    chosen = {item["_id"] for item in items(bulk(url, index, lines({"create": {}}, {"n": 1}) * 3))}
    assert len(chosen) == 3
    assert all(isinstance(document_id, str) and document_id for document_id in chosen)


def test_a_value_of_another_type_is_a_400_that_leaves_its_neighbours_alone(url: str, index: str) -> None:
    reply = bulk(url, index, creates({"a": {"n": 1}, "b": {"n": "many"}, "c": {"n": {"deep": 1}}, "d": {"n": 2}}))
    assert [item["status"] for item in items(reply)] == [201, 400, 400, 201]
    assert reply.body["errors"] is True
    error = items(reply)[1]["error"]
    assert error["type"] == "document_parsing_exception"
    assert "failed to parse field [n] of type [long] in document with id 'b'" in error["reason"]
    assert error["caused_by"]["type"] == "illegal_argument_exception"
    assert count(url, index) == 2


def test_a_plain_value_in_place_of_an_object_is_a_400(url: str, index: str) -> None:
    reply = bulk(url, index, creates({"a": {"log": {"offset": 1}}, "b": {"log": "text"}}))
    assert [item["status"] for item in items(reply)] == [201, 400]
    assert "object mapping for [log]" in items(reply)[1]["error"]["reason"]


@pytest.mark.parametrize("source", ["{broken", "[1]", ""])
def test_a_source_that_is_no_object_is_a_400_of_its_item(url: str, index: str, source: str) -> None:
    reply = bulk(url, index, lines({"create": {"_id": "a"}}, source, {"create": {"_id": "b"}}, {"n": 1}))
    assert [item["status"] for item in items(reply)] == [400, 201]
    assert items(reply)[0]["error"]["type"] == "document_parsing_exception"


def test_writing_under_a_template_makes_a_data_stream(url: str, stream: str) -> None:
    item = only_item(bulk(url, stream, creates({"a": record(1)})))
    assert item["status"] == 201
    assert item["_index"].startswith(f".ds-{stream}-")
    assert item["_index"].endswith("-000001")
    assert count(url, stream) == 1


def test_a_data_stream_takes_nothing_but_create(url: str, stream: str) -> None:
    item = only_item(bulk(url, stream, lines({"index": {"_id": "a"}}, record(1))))
    assert (item["status"], item["error"]["type"]) == (400, "illegal_argument_exception")
    assert item["error"]["reason"] == "only write ops with an op_type of create are allowed in data streams"


@pytest.mark.parametrize("document", [{"message": "x"}, {"@timestamp": None}])
def test_a_data_stream_wants_a_timestamp(url: str, stream: str, document: dict[str, Any]) -> None:
    item = only_item(bulk(url, stream, creates({"a": document})))
    assert (item["status"], item["error"]["type"]) == (400, "document_parsing_exception")
    assert item["error"]["reason"].endswith("failed to parse: data stream timestamp field [@timestamp] is missing")


def test_a_timestamp_that_is_no_date_is_a_400(url: str, stream: str) -> None:
    item = only_item(bulk(url, stream, creates({"a": {"@timestamp": "yesterday"}})))
    assert (item["status"], item["error"]["type"]) == (400, "document_parsing_exception")
    assert "failed to parse field [@timestamp] of type [date]" in item["error"]["reason"]


def test_a_data_stream_knows_a_document_again_by_its_id(url: str, stream: str) -> None:
    bulk(url, stream, creates({"a": record(1)}))
    item = only_item(bulk(url, stream, creates({"a": record(1)})))
    assert (item["status"], item["error"]["type"]) == (409, "version_conflict_engine_exception")
    assert item["_index"] == item["error"]["index"]
    assert count(url, stream) == 1


def test_a_required_data_stream_that_no_template_makes_is_a_404(url: str, index: str) -> None:
    item = only_item(bulk(url, index, creates({"a": record(1)}), "?require_data_stream=true"))
    assert (item["status"], item["error"]["type"]) == (404, "index_not_found_exception")


def test_a_bad_index_name_is_a_400_of_its_item(url: str, index: str) -> None:
    item = only_item(bulk(url, index.upper(), creates({"a": {}})))
    assert (item["status"], item["error"]["type"]) == (400, "invalid_index_name_exception")


def test_filter_path_leaves_status_and_error_of_every_item(url: str, index: str) -> None:
    wanted = "?filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason,items.*.failure_store"
    reply = bulk(url, index, creates({"a": {"n": 1}, "b": {"n": "many"}}), wanted)
    assert set(reply.body) == {"errors", "items"}
    created, refused = reply.body["items"]
    assert created == {"create": {"status": 201}}
    assert set(refused["create"]) == {"status", "error"}
    assert set(refused["create"]["error"]) == {"type", "reason"}


def test_items_of_which_filter_path_leaves_nothing_vanish(url: str, index: str) -> None:
    wanted = "?filter_path=errors,items.*.error.type"
    assert bulk(url, index, creates({"a": {}}), wanted).body == {"errors": False}
    one_left = bulk(url, index, creates({"b": {}, "a": {}}), wanted).body["items"]
    assert one_left == [{"create": {"error": {"type": "version_conflict_engine_exception"}}}]


def test_filter_path_can_leave_out(url: str, index: str) -> None:
    reply = bulk(url, index, creates({"a": {}}), "?filter_path=-took,-items.*._*")
    assert reply.body == {"errors": False, "items": [{"create": {"result": "created", "status": 201}}]}


def test_filter_path_does_not_touch_the_error_of_a_whole_request(url: str, index: str) -> None:
    assert bulk(url, index, b"", "?filter_path=items.*.status").error_type == "parse_exception"


REFUSED = {
    "an empty body": (b"", "parse_exception"),
    "no newline at the end": (b'{"create":{"_id":"a"}}\n{"n":1}', "illegal_argument_exception"),
    "an unknown action": (lines({"frobnicate": {}}, {"n": 1}), "illegal_argument_exception"),
    "an action that is no object": (lines({"create": "a"}, {"n": 1}), "illegal_argument_exception"),
    "an action line that is no JSON": (lines("create a", {"n": 1}), "x_content_parse_exception"),
    "an action line that breaks off": (lines('{"create":', {"n": 1}), "x_content_e_o_f_exception"),
    "an action without a source": (lines({"create": {"_id": "a"}}), "action_request_validation_exception"),
    "nothing but a newline": (b"\n", "action_request_validation_exception"),
}


@pytest.mark.parametrize(("body", "kind"), REFUSED.values(), ids=REFUSED.keys())
def test_a_malformed_request_is_refused_as_a_whole(url: str, index: str, body: bytes, kind: str) -> None:
    reply = bulk(url, index, body)
    assert (reply.status, reply.error_type) == (400, kind)
    assert reply.body["status"] == 400
    assert reply.body["error"]["root_cause"][0]["type"] == kind
    assert call(url, "HEAD", f"/{index}").status == 404


def test_an_action_without_an_index_is_refused(url: str) -> None:
    reply = call(url, "POST", "/_bulk", lines({"create": {}}, {"n": 1}))
    assert (reply.status, reply.error_type) == (400, "action_request_validation_exception")


def test_a_gzip_body_is_unpacked(url: str, index: str) -> None:
    packed = gzip.compress(creates({str(number): {"n": number} for number in range(500)}))
    reply = call(url, "POST", f"/{index}/_bulk", packed, Content_Encoding="gzip")
    assert {item["status"] for item in items(reply)} == {201}
    assert count(url, index) == 500


@pytest.mark.parametrize(("content_type", "status"), [("application/x-ndjson", 200), ("text/plain", 406)])
def test_the_content_type_is_looked_at(url: str, index: str, content_type: str, status: int) -> None:
    assert call(url, "POST", f"/{index}/_bulk", creates({"a": {}}), Content_Type=content_type).status == status


@pytest.mark.parametrize("packed", [False, True])
def test_a_body_over_the_limit_is_a_bare_413(limited: Limited, index: str, packed: bool) -> None:
    """The limit is on the unpacked size: a small gzip body can be too large."""
    body = creates({str(number): {"m": "x" * 1000} for number in range(3500)})
    sent, coding = (gzip.compress(body), "gzip") if packed else (body, "identity")
    reply = call(limited.url, "POST", f"/{index}/_bulk", sent, Content_Encoding=coding)
    assert (reply.status, reply.body) == (413, b"")
    assert reply.headers["connection"].lower() == "close"
    assert "x-elastic-product" not in reply.headers
    assert call(limited.url, "HEAD", f"/{index}").status == 404


def test_indexing_pressure_refuses_the_whole_request(limited: Limited, index: str) -> None:
    limited.overload()
    body = creates({str(number): {"m": "x" * 1000} for number in range(2400)})
    reply = call(limited.url, "POST", f"/{index}/_bulk?filter_path=items.*.status", body)
    assert (reply.status, reply.error_type) == (429, "es_rejected_execution_exception")
    assert reply.body["status"] == 429
    assert only_item(bulk(limited.url, index, creates({"0": {"m": "small"}})))["status"] == 201
    assert count(limited.url, index) == 1


def test_search_count_and_get_agree_on_what_was_written(url: str, stream: str, witness: Elasticsearch) -> None:
    bulk(url, stream, creates({f"id-{number}": record(number) for number in range(120)}))
    witness.indices.refresh(index=stream)
    assert witness.count(index=stream)["count"] == 120
    assert witness.search(index=f"{stream}*", size=0, track_total_hits=True)["hits"]["total"]["value"] == 120
    found = witness.search(index=stream, query={"match_phrase": {"message": "line 77 of"}})["hits"]["hits"]
    assert [(hit["_id"], hit["_source"]) for hit in found] == [("id-77", record(77))]


QUERIES: dict[str, tuple[dict[str, Any], set[int]]] = {
    "term": ({"term": {"log.offset": 30}}, {3}),
    "terms": ({"terms": {"log.offset": [30, 50, 51]}}, {3, 5}),
    "match, any word": ({"match": {"message": "4 5"}}, {4, 5}),
    "match, every word": ({"match": {"message": {"query": "line 4", "operator": "and"}}}, {4}),
    "range of numbers": ({"range": {"log.offset": {"gte": 20, "lt": 40}}}, {2, 3}),
    "range of dates": ({"range": {"@timestamp": {"gt": "2026-11-22T10:00:00Z"}}}, set()),
    "bool": (
        {
            "bool": {
                "must": [{"match": {"message": "line"}}],
                "filter": [{"range": {"log.offset": {"gte": 70}}}],
                "must_not": [{"term": {"log.offset": 80}}],
            }
        },
        {7, 9},
    ),
    "should": ({"bool": {"should": [{"term": {"log.offset": 10}}, {"term": {"log.offset": 20}}]}}, {1, 2}),
    "query string": ({"query_string": {"query": 'message:"line 6"'}}, {6}),
    "exists": ({"exists": {"field": "log.offset"}}, set(range(10))),
}


@pytest.mark.parametrize(("query", "numbers"), QUERIES.values(), ids=QUERIES.keys())
def test_a_query_finds_what_it_should(
    url: str, stream: str, witness: Elasticsearch, query: dict[str, Any], numbers: set[int]
) -> None:
    bulk(url, stream, creates({str(number): record(number) for number in range(10)}))
    witness.indices.refresh(index=stream)
    found = witness.search(index=stream, query=query, size=100)["hits"]["hits"]
    assert {int(hit["_id"]) for hit in found} == numbers
    assert witness.count(index=stream, query=query)["count"] == len(numbers)


def test_pages_follow_each_other_by_search_after(url: str, stream: str, witness: Elasticsearch) -> None:
    bulk(url, stream, creates({str(number): record(number) for number in range(25)}))
    witness.indices.refresh(index=stream)
    seen: list[list[int]] = []
    after: list[Any] | None = None
    for _ in range(4):
        page = witness.search(index=stream, size=10, sort=["log.offset"], search_after=after)["hits"]["hits"]
        seen.append([int(hit["_id"]) for hit in page])
        after = page[-1]["sort"] if page else after
    assert seen == [list(range(10)), list(range(10, 20)), list(range(20, 25)), []]


def test_sorting_can_go_down(url: str, stream: str, witness: Elasticsearch) -> None:
    bulk(url, stream, creates({str(number): record(number) for number in range(5)}))
    witness.indices.refresh(index=stream)
    found = witness.search(index=stream, sort=[{"log.offset": {"order": "desc"}}], size=2)["hits"]["hits"]
    assert [(hit["_id"], hit["sort"]) for hit in found] == [("4", [40]), ("3", [30])]


def test_a_template_reads_back_in_the_servers_own_form(url: str, index: str) -> None:
    mappings = {"properties": {"@timestamp": {"type": "date"}, "host.name": {"type": "keyword"}}}
    settings = {"number_of_shards": 1, "index.codec": "best_compression", "index": {"mapping": {"coerce": True}}}
    body = {
        "index_patterns": f"{index}-*",
        "data_stream": {},
        "priority": 300,
        "version": 2,
        "_meta": {"by": "a test"},
        "template": {"settings": settings, "mappings": mappings, "lifecycle": {"data_retention": "7d"}},
    }
    assert call(url, "PUT", f"/_index_template/{index}", body).body == {"acknowledged": True}
    (read,) = call(url, "GET", f"/_index_template/{index}").body["index_templates"]
    stored = read["index_template"]
    assert stored.pop("created_date_millis") <= stored.pop("modified_date_millis")
    nested = {"number_of_shards": "1", "codec": "best_compression", "mapping": {"coerce": "true"}}
    lifecycle = {"enabled": True, "data_retention": "7d"}
    assert read["name"] == index
    assert stored == {
        "index_patterns": [f"{index}-*"],
        "template": {"settings": {"index": nested}, "mappings": mappings, "lifecycle": lifecycle},
        "composed_of": [],
        "priority": 300,
        "version": 2,
        "_meta": {"by": "a test"},
        "data_stream": {"hidden": False, "allow_custom_routing": False},
    }


BAD_TEMPLATES: dict[str, tuple[dict[str, Any], str]] = {
    "no patterns": ({"template": {}}, "illegal_argument_exception"),
    "an unknown field": ({"index_patterns": ["x-*"], "frobnicate": 1}, "x_content_parse_exception"),
    "a missing component": ({"index_patterns": ["x-*"], "composed_of": ["none"]}, "invalid_index_template_exception"),
    "a lifecycle without a data stream": (
        {"index_patterns": ["x-*"], "template": {"lifecycle": {}}},
        "illegal_argument_exception",
    ),
}


@pytest.mark.parametrize(("body", "kind"), BAD_TEMPLATES.values(), ids=BAD_TEMPLATES.keys())
def test_a_bad_template_is_refused(url: str, index: str, body: dict[str, Any], kind: str) -> None:
    reply = call(url, "PUT", f"/_index_template/{index}", body)
    assert (reply.status, reply.error_type) == (400, kind)
    assert call(url, "HEAD", f"/_index_template/{index}").status == 404


def test_a_template_in_the_way_of_another_is_refused(url: str, stream: str) -> None:
    reply = call(url, "PUT", f"/_index_template/{stream}-2", {"index_patterns": [f"{stream}*"], "priority": 900})
    assert (reply.status, reply.error_type) == (400, "illegal_argument_exception")
    assert "same priority [900]" in reply.body["error"]["reason"]


def test_a_template_is_deleted_only_when_no_data_stream_uses_it(url: str, stream: str) -> None:
    assert call(url, "DELETE", f"/_index_template/{stream}-none").error_type == "index_template_missing_exception"
    bulk(url, stream, creates({"a": record(1)}))
    assert call(url, "DELETE", f"/_index_template/{stream}").error_type == "illegal_argument_exception"


def test_a_template_takes_over_from_its_components(url: str, index: str) -> None:
    component = {"template": {"mappings": {"properties": {"n": {"type": "long"}, "m": {"type": "long"}}}}}
    own = {"mappings": {"properties": {"m": {"type": "keyword"}}}}
    body = {"index_patterns": [f"{index}*"], "composed_of": [index], "priority": 901, "template": own}
    assert call(url, "PUT", f"/_component_template/{index}", component).status == 200
    assert call(url, "PUT", f"/_index_template/{index}", body).status == 200
    reply = bulk(url, index, creates({"a": {"m": "text"}, "b": {"n": "text"}}))
    assert [item["status"] for item in items(reply)] == [201, 400]
    assert call(url, "DELETE", f"/_component_template/{index}").error_type == "illegal_argument_exception"


def test_what_does_not_exist_is_a_404(url: str, index: str) -> None:
    for path in (f"/{index}/_search", f"/{index}/_count"):
        reply = call(url, "GET", path)
        assert (reply.status, reply.error_type) == (404, "index_not_found_exception")
    assert call(url, "GET", f"/_index_template/{index}").error_type == "resource_not_found_exception"
    assert call(url, "GET", f"/{index}-*/_count").body["count"] == 0


def test_the_official_client_writes_through_its_bulk_helper(url: str, stream: str, witness: Elasticsearch) -> None:
    from elasticsearch.helpers import streaming_bulk

    actions = [{"_op_type": "create", "_index": stream, "_id": str(n), **record(n)} for n in (1, 2, 2)]
    outcomes = [result["create"]["status"] for _, result in streaming_bulk(witness, actions, raise_on_error=False)]
    assert outcomes == [201, 201, 409]
    assert count(url, stream) == 2


def refused(url: str, index: str) -> tuple[int, str, str]:
    """What a document for the index meets: status, type and reason."""
    item = only_item(bulk(url, index, creates({"a": record(1)})))
    return item["status"], item["error"]["type"], item["error"]["reason"]


def takes_documents(url: str, index: str) -> bool:
    return bool(only_item(bulk(url, index, creates({"z": record(1)})))["status"] == 201)


@pytest.mark.parametrize("name", TROUBLES)
def test_an_index_in_trouble_refuses_its_items_until_that_is_mended(url: str, index: str, name: str) -> None:
    trouble = TROUBLES[name]
    trouble.spoil(url, index)
    try:
        status, kind, reason = refused(url, index)
    finally:
        trouble.mend(url, index)
    assert (status, kind) == (trouble.status, trouble.kind)
    assert reason.startswith(trouble.reason.format(index=index))
    assert takes_documents(url, index)
    assert count(url, index) == 1


def test_an_alias_of_one_index_takes_documents_unless_that_is_ruled_out(url: str, index: str) -> None:
    make(url, f"{index}-1", aliases={f"{index}-to": {}, f"{index}-not": {"is_write_index": False}})
    assert takes_documents(url, f"{index}-to")
    assert refused(url, f"{index}-not")[1] == "illegal_argument_exception"
