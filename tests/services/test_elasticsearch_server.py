"""The real server as the tests hold it: killed, frozen and started again, it keeps its address and its data."""

from http.client import HTTPException

import pytest

from tests.services.elasticsearch_node import is_healthy
from tests.support.elastic import StartElasticsearch
from tests.support.rest import call, count, creates


def test_a_killed_server_comes_back_with_its_address_and_its_documents(start_elasticsearch: StartElasticsearch) -> None:
    server = start_elasticsearch({})
    url = server.url
    call(url, "POST", "/kept/_bulk", creates({"a": {}, "b": {}}))
    server.kill()
    with pytest.raises((OSError, HTTPException)):
        call(url, "GET", "/kept/_count")
    server.restart()
    assert server.url == url
    call(url, "GET", "/_cluster/health/kept?wait_for_status=yellow&timeout=30s")
    assert count(url, "kept") == 2
    server.pause()
    assert not is_healthy(url)
    server.resume()
    assert is_healthy(url)
    server.discard()
