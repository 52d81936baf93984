"""What `--setup` puts: an index template under which a data stream takes every line, whatever its fields held first.

Elasticsearch gives a field the type of its first value, and refuses documents that do not fit. Elastic's own logs
template has answers to that, and ours, which ranks above it, has them too: no dates are detected, values that do not
fit their field and fields over the limit are stored without being indexed, objects are no fields of their own (so that
a name may be an object here and a value there), and what is refused even so goes to the failure store.

Servers differ in which parts of it they know. Those that one refuses are left out, one by one, by the name that its
refusal gives; what is lost by that is said.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

Json: TypeAlias = dict[str, Any]

_PRIORITY = 250
"""Above Elastic's own `logs` template (100) and what Fleet installs (200)."""
_KEYWORD = {"type": "keyword", "ignore_above": 1024}
"""A longer keyword is stored and not indexed; Lucene refuses a document with one over 32,766 bytes."""
_FIELDS: Json = {
    "@timestamp": {"type": "date", "ignore_malformed": False},
    "message": {"type": "text"},
    "stream": _KEYWORD,
    "log.file.path": {"type": "keyword", "ignore_above": 4096},
    "log.offset": {"type": "long"},
    "log.flags": _KEYWORD,
    "log.level": _KEYWORD,
    "log.original": {"type": "keyword", "index": False, "doc_values": False, "ignore_above": 1024},
    "kubernetes.pod.name": _KEYWORD,
    "kubernetes.pod.uid": _KEYWORD,
    "kubernetes.namespace": _KEYWORD,
    "kubernetes.node.name": _KEYWORD,
    "kubernetes.container.name": _KEYWORD,
}
"""Elastic Common Schema types for what this agent writes; everything else is mapped as it comes. A data stream needs
its `@timestamp`, so there a malformed one is an error (servers accept no template that says otherwise)."""
_STRINGS = {"strings": {"match_mapping_type": "string", "mapping": _KEYWORD}}
_OBJECTS = {"objects": {"match_mapping_type": "object", "mapping": {"type": "flat_object"}}}
_MANY_FIELDS = 10_000


class TemplatePart(msgspec.Struct, frozen=True):
    """A part of the template that not every server knows: `sign` stands in the refusal, `loss` is for people."""

    sign: str
    loss: str


FAILURE_STORE = TemplatePart(
    "[data_stream_options]",
    "the failure store (Elasticsearch 8.19, 9.1 and newer). What is refused goes to the dead-letter file alone",
)
RETENTION = TemplatePart(
    "[lifecycle]",
    "the retention (Elasticsearch 8.11 and newer). Documents are kept for ever, unless a policy there says else",
)
ANY_SHAPE = TemplatePart(
    "[index.mapping.total_fields.ignore_dynamic_beyond_limit]",
    f"fields of any shape (Elasticsearch 8.13 and newer). Refused is still: a field over {_MANY_FIELDS:,}, a list that "
    "mixes types where the field is new",
)
FLAT_OBJECTS = TemplatePart("dynamic template [objects]", "")
"""The next best thing, of OpenSearch: an object is one field, in which values of every type are keywords."""
PARTS = (FAILURE_STORE, RETENTION, ANY_SHAPE, FLAT_OBJECTS)
TemplateParts: TypeAlias = frozenset[TemplatePart]


class Target(msgspec.Struct, frozen=True):
    """The data stream, and how long it keeps documents (`30d`; empty: for ever)."""

    data_stream: str
    retention: str


def template(target: Target, left_out: TemplateParts = frozenset()) -> Json:
    """Return the template's body as it is put, in the form in which servers give it back."""
    shapes = ANY_SHAPE not in left_out
    limit = {"ignore_dynamic_beyond_limit": "true"} if shapes else {"limit": str(_MANY_FIELDS)}
    mapping = {"ignore_malformed": "true", "total_fields": limit}
    content: Json = {"settings": {"index": {"mapping": mapping}}, "mappings": _mappings(left_out)}
    if RETENTION not in left_out:
        content["lifecycle"] = {"data_retention": target.retention} if target.retention else {}
    if FAILURE_STORE not in left_out:
        content["data_stream_options"] = {"failure_store": {"enabled": True}}
    return {
        "index_patterns": [target.data_stream],
        "data_stream": {},
        "priority": _PRIORITY,
        "template": content,
        "_meta": {"managed_by": "sidecars log-shipper"},
    }


def _mappings(left_out: TemplateParts) -> Json:
    mappings: Json = {"date_detection": False, "dynamic_templates": [_STRINGS], "properties": _FIELDS}
    if ANY_SHAPE not in left_out:
        return {**mappings, "subobjects": False}
    if FLAT_OBJECTS not in left_out:
        mappings["dynamic_templates"] = [_OBJECTS, _STRINGS]
    properties: Json = {}
    for name, spec in _FIELDS.items():
        *parents, last = name.split(".")
        level = properties
        for parent in parents:
            level = level.setdefault(parent, {"properties": {}})["properties"]
        level[last] = spec
    return {**mappings, "properties": properties}


def losses(left_out: TemplateParts) -> list[str]:
    """Return what is lost by leaving these parts out."""
    found = sorted(part.loss for part in left_out if part.loss)
    more = ", an object where a value was or the reverse"
    if FLAT_OBJECTS not in left_out:
        more = ", a text of over 32,766 bytes within an object"
    return [loss + more if ANY_SHAPE.loss == loss else loss for loss in found]


def refused_part(reply: str, left_out: TemplateParts) -> TemplatePart | None:
    """Return the part because of which a server refused the template, or None when it was something else."""
    return next((part for part in PARTS if part not in left_out and part.sign in reply), None)


def differences(wanted: Mapping[str, Any], present: Mapping[str, Any]) -> list[str]:
    """Return dotted names of what `wanted` says and `present` does not have so.

    What the server adds by itself (defaults, dates) and what others added beside our settings is no difference.
    """
    found: list[str] = []
    for name, value in wanted.items():
        there = present.get(name)
        if isinstance(value, Mapping):
            if not isinstance(there, Mapping):
                found.append(name)
            else:
                found += [f"{name}.{inner}" for inner in differences(value, there)]
        elif there != value:
            found.append(name)
    return found


def outdated(target: Target, left_out: TemplateParts, present: Json) -> list[str]:
    """Return what of the template `present` on the server is not as it should be: an unwanted retention, too."""
    found = differences(template(target, left_out), present)
    lifecycle = present.get("template", {}).get("lifecycle") or {}
    if not target.retention and "data_retention" in lifecycle:
        found.append("template.lifecycle.data_retention")
    return found
