"""`--setup` as a person or an init container runs it: what it makes, what it says, what it changes the second time."""

from typing import Any

import pytest

from sidecars.devstack.elasticsearch.errors import Access
from sidecars.devstack.elasticsearch.faults import Faults
from sidecars.devstack.elasticsearch.server import ServerOptions
from sidecars.devstack.elasticsearch.serving import Served
from tests.support.elastic import StartStandIn
from tests.support.rest import call, creates
from tests.support.setting_up import run_setup, set_up

STREAM = "logs-shop-test"
NAME = f"sidecars-{STREAM}"
NOBODY = "http://127.0.0.1:1"
ROLL_OVER = f"{STREAM} keeps its present mapping until it rolls over: POST /{STREAM}/_rollover does it now"


def stored(backend: Served) -> dict[str, Any]:
    (found,) = call(backend.url, "GET", f"/_index_template/{NAME}").body["index_templates"]
    template: dict[str, Any] = found["index_template"]
    return template


def stream(backend: Served) -> dict[str, Any]:
    (found,) = call(backend.url, "GET", f"/_data_stream/{STREAM}").body["data_streams"]
    about: dict[str, Any] = found
    return about


def write_one(backend: Served) -> None:
    body = creates({"a": {"@timestamp": "2026-11-22T10:00:00Z"}})
    assert call(backend.url, "POST", f"/{STREAM}/_bulk", body).body["errors"] is False


def test_it_makes_the_template_once(stand_in: Served) -> None:
    assert set_up(stand_in.url, STREAM) == [f"created the index template {NAME} for the data stream {STREAM}"]
    made = stored(stand_in)
    assert made["template"]["data_stream_options"] == {"failure_store": {"enabled": True}}
    assert made["template"]["lifecycle"]["data_retention"] == "30d"
    assert made["priority"] > 100, "Elastic's own template for logs-*-* has 100"
    assert set_up(stand_in.url, STREAM) == [f"the index template {NAME} is as it should be; nothing changed"]
    assert stored(stand_in) == made


def test_a_stream_that_is_there_gets_another_retention_too(stand_in: Served) -> None:
    set_up(stand_in.url, STREAM)
    write_one(stand_in)
    assert set_up(stand_in.url, STREAM, retention="7d") == [
        f"updated the index template {NAME}: template.lifecycle.data_retention",
        f"set the retention of the data stream {STREAM} to 7d",
    ]
    assert stream(stand_in)["lifecycle"]["data_retention"] == "7d"
    forever = "--retention="
    assert set_up(stand_in.url, STREAM, forever)[-1] == f"set the retention of the data stream {STREAM} to for ever"
    assert "data_retention" not in stored(stand_in)["template"]["lifecycle"]
    assert set_up(stand_in.url, STREAM, forever)[-1].endswith("nothing changed")


def test_what_an_earlier_version_made_is_brought_up_to_date(stand_in: Served) -> None:
    """Its mapping made a date of the first text that looked like one, and refused what came after."""
    earlier = {
        "index_patterns": [STREAM],
        "data_stream": {},
        "priority": 250,
        "template": {"mappings": {"properties": {"message": {"type": "text"}}}, "lifecycle": {"data_retention": "30d"}},
    }
    assert call(stand_in.url, "PUT", f"/_index_template/{NAME}", earlier).status == 200
    write_one(stand_in)
    said = set_up(stand_in.url, STREAM)
    assert said[0].startswith(f"updated the index template {NAME}: template.settings")
    assert said[1:] == [f"switched on the failure store of the data stream {STREAM}", ROLL_OVER]
    assert stream(stand_in)["failure_store"]["enabled"] is True
    assert set_up(stand_in.url, STREAM)[0].endswith("nothing changed")


def test_wrong_credentials_end_it_with_the_privileges_it_needs(start_stand_in: StartStandIn) -> None:
    backend = start_stand_in(ServerOptions(access=Access((("writer", "right-s3cret"),))))
    done = run_setup(backend.url, STREAM, username="writer", password="wrong-s3cret")
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"cannot set up {STREAM}: HTTP 401: security_exception" in done.stderr
    assert "manage_index_templates" in done.stderr
    assert "s3cret" not in done.stderr
    assert run_setup(backend.url, STREAM, username="writer", password="right-s3cret").returncode == 0


def test_a_server_that_is_away_ends_it_with_the_setting(stand_in: Served) -> None:
    done = run_setup(NOBODY, STREAM)
    assert done.returncode == 1
    assert f"cannot set up {STREAM}: " in done.stderr
    assert "(check elasticsearch_url)" in done.stderr


def test_of_two_nodes_one_that_is_away_does_not_matter(stand_in: Served) -> None:
    url = f"{NOBODY},{stand_in.url}"
    assert set_up(url, STREAM)[0].startswith("created")


@pytest.mark.parametrize("status", [403, 500])
def test_the_servers_reason_is_told(start_stand_in: StartStandIn, status: int) -> None:
    backend = start_stand_in(ServerOptions(faults=Faults(request_status=status, scope="all")))
    done = run_setup(backend.url, STREAM)
    assert done.returncode == 1
    assert f"cannot set up {STREAM}: HTTP {status}: " in done.stderr


def test_a_template_of_others_in_the_way_is_named(stand_in: Served) -> None:
    other = {"index_patterns": [STREAM], "data_stream": {}, "priority": 250}
    assert call(stand_in.url, "PUT", "/_index_template/another", other).status == 200
    done = run_setup(stand_in.url, STREAM)
    assert done.returncode == 1
    assert "[another]" in done.stderr


def test_a_plain_index_needs_none(stand_in: Served) -> None:
    done = run_setup(stand_in.url, STREAM, index="plain")
    assert (done.returncode, "nothing to set up" in done.stdout) == (0, True)
