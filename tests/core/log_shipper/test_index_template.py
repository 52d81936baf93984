"""The index template: what is wanted, what a server does not know, what differs."""

import json
from typing import Any

import pytest

from sidecars.log_shipper.core.fields import places
from sidecars.log_shipper.core.index_template import (
    ANY_SHAPE,
    FAILURE_STORE,
    FLAT_OBJECTS,
    PARTS,
    RETENTION,
    Target,
    TemplatePart,
    differences,
    losses,
    outdated,
    refused_part,
    template,
)

TARGET = Target("logs-lifecycle-flat_object", "30d")


def stored(body: dict[str, Any]) -> dict[str, Any]:
    """A template as Elasticsearch gives it back."""
    extra = {"composed_of": [], "created_date_millis": 1, "data_stream": {"hidden": False}}
    content = {**body["template"]}
    if "lifecycle" in content:
        content["lifecycle"] = {"enabled": True, **content["lifecycle"]}
    found: dict[str, Any] = json.loads(json.dumps({**body, **extra, "template": content}))
    return found


REFUSALS: dict[str, tuple[str, TemplatePart | None]] = {
    "OpenSearch 3.9: retention": ("[1:511] [template] unknown field [lifecycle]", RETENTION),
    "OpenSearch 3.9: failure store": ("[1:511] [template] unknown field [data_stream_options]", FAILURE_STORE),
    "OpenSearch 3.9: fields beyond the limit": (
        "unknown setting [index.mapping.total_fields.ignore_dynamic_beyond_limit] please check that any plugins are",
        ANY_SHAPE,
    ),
    "Elasticsearch 9.5: OpenSearch's type": (
        'dynamic template [objects] has invalid content [{"match_mapping_type":"object","mapping":{"type":"flat_obj',
        FLAT_OBJECTS,
    ),
    "the name of the stream is not meant": (
        "index template [sidecars-logs-lifecycle-flat_object] has index patterns [logs-lifecycle-flat_object] matching",
        None,
    ),
    "nothing to do with it": ("action [indices:admin/index_template/put] is unauthorized for user [a]", None),
}


@pytest.mark.parametrize(("reply", "part"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_refusal_names_the_part_that_the_server_does_not_know(reply: str, part: TemplatePart | None) -> None:
    assert refused_part(reply, frozenset()) == part
    if part:
        assert refused_part(reply, frozenset({part})) is None, "a part that is left out already is not the reason"


def test_what_is_left_out_is_not_in_the_body() -> None:
    whole, least = json.dumps(template(TARGET)), json.dumps(template(TARGET, frozenset(PARTS)))
    for word in ("data_stream_options", "data_retention", "ignore_dynamic_beyond_limit", "subobjects"):
        assert word in whole
        assert word not in least
    assert "flat_object" not in whole.replace(TARGET.data_stream, ""), "Elasticsearch does not know that type"
    assert '"type": "flat_object"' in json.dumps(template(TARGET, frozenset({ANY_SHAPE})))
    assert '"type": "flat_object"' not in least


@pytest.mark.parametrize("left_out", [frozenset(), frozenset({ANY_SHAPE}), frozenset(PARTS)])
def test_every_field_of_ours_has_a_type(left_out: frozenset[TemplatePart]) -> None:
    properties = template(TARGET, left_out)["template"]["mappings"]["properties"]

    def leaves(level: dict[str, Any], prefix: str = "") -> set[str]:
        found: set[str] = set()
        for name, spec in level.items():
            path = f"{prefix}{name}"
            found |= leaves(spec["properties"], f"{path}.") if "properties" in spec else {path}
        return found

    def known(level: dict[str, Any], prefix: str = "") -> set[str]:
        found: set[str] = set()
        for name, place in level.items():
            found |= known(place, f"{prefix}{name}.") if isinstance(place, dict) else {f"{prefix}{name}"}
        return found

    assert leaves(properties) == {"@timestamp"} | known(places({}))


@pytest.mark.parametrize("left_out", [frozenset(), frozenset({FAILURE_STORE}), frozenset(PARTS)])
@pytest.mark.parametrize("retention", ["30d", ""])
def test_what_the_server_gives_back_is_no_difference(left_out: frozenset[TemplatePart], retention: str) -> None:
    target = Target("logs-a-b", retention)
    assert outdated(target, left_out, stored(template(target, left_out))) == []


CHANGED: dict[str, tuple[Target, dict[str, Any], list[str]]] = {
    "another retention": (
        Target("logs-a-b", "7d"),
        template(Target("logs-a-b", "30d")),
        ["template.lifecycle.data_retention"],
    ),
    "no retention any more": (
        Target("logs-a-b", ""),
        template(Target("logs-a-b", "30d")),
        ["template.lifecycle.data_retention"],
    ),
    "a template of before": (
        Target("logs-a-b", "30d"),
        template(Target("logs-a-b", "30d"), frozenset({FAILURE_STORE})),
        ["template.data_stream_options"],
    ),
}


@pytest.mark.parametrize(("target", "present", "expected"), CHANGED.values(), ids=CHANGED.keys())
def test_what_is_not_as_it_should_be_is_named(target: Target, present: dict[str, Any], expected: list[str]) -> None:
    assert outdated(target, frozenset(), stored(present)) == expected


def test_what_others_added_is_no_difference() -> None:
    assert differences({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}, "d": 3}) == []
    assert differences({"a": {"b": 1}, "c": [1]}, {"a": 1, "c": [2]}) == ["a", "c"]


def test_what_is_lost_is_said_for_the_server_at_hand() -> None:
    assert losses(frozenset()) == []
    assert losses(frozenset({FLAT_OBJECTS})) == []
    opensearch = " ".join(losses(frozenset({ANY_SHAPE, RETENTION, FAILURE_STORE})))
    assert all(word in opensearch for word in ("retention", "failure store", "32,766", "8.13"))
    older = " ".join(losses(frozenset({ANY_SHAPE, FLAT_OBJECTS})))
    assert "an object where a value was" in older
    assert "32,766" not in older
