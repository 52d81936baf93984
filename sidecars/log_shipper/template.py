"""`--setup`: make the index template of the data stream, or bring it up to date; changes nothing the second time.

Runs once (an init container, or a person), so it may use the full official client, which costs about 10 MiB more than
the transport that the running agent loads.
"""

import re
import sys
from collections.abc import Mapping
from typing import Any

from elasticsearch import ApiError, AsyncElasticsearch, NotFoundError, TransportError

from sidecars.runtime import Problem, SettingsError

from .credentials import authorization
from .elastic import node_configs
from .settings import LogShipperSettings

_PRIORITY = 250
"""Above Elastic's own `logs` template (100) and what Fleet installs (200)."""
_MAPPINGS: dict[str, Any] = {
    "dynamic_templates": [
        {"strings_as_keywords": {"match_mapping_type": "string", "mapping": {"type": "keyword", "ignore_above": 1024}}}
    ],
    "properties": {
        "@timestamp": {"type": "date"},
        "message": {"type": "text"},
        "log": {
            "properties": {
                "file": {"properties": {"path": {"type": "keyword"}}},
                "offset": {"type": "long"},
                "flags": {"type": "keyword"},
                "level": {"type": "keyword"},
            }
        },
        "stream": {"type": "keyword"},
        "kubernetes": {
            "properties": {
                "pod": {"properties": {"name": {"type": "keyword"}, "uid": {"type": "keyword"}}},
                "namespace": {"type": "keyword"},
                "node": {"properties": {"name": {"type": "keyword"}}},
                "container": {"properties": {"name": {"type": "keyword"}}},
            }
        },
    },
}
"""Elastic Common Schema types for what this agent writes; everything else is mapped as it comes."""


async def set_up(settings: LogShipperSettings) -> int:
    """Create or update the template, say what changed; exit status 0, or 1 when Elasticsearch did not let us."""
    if not settings.elasticsearch_url:
        raise SettingsError(
            [Problem("elasticsearch_url", "no address is known", "set it, such as http://elasticsearch:9200")]
        )
    if settings.index:
        print(f"nothing to set up: {settings.index} is a plain index (index), and templates are for data streams")
        return 0
    try:
        async with AsyncElasticsearch(node_configs(settings), headers=_headers(settings), max_retries=0) as client:
            for line in await _apply(client, settings):
                print(line)
    except (ApiError, TransportError, OSError) as error:
        print(f"cannot set up {settings.data_stream}: {_explained(error)}", file=sys.stderr)
        return 1
    return 0


def wanted_template(settings: LogShipperSettings) -> dict[str, Any]:
    """The template's body as it is put."""
    lifecycle = {"data_retention": settings.retention} if settings.retention else {}
    return {
        "index_patterns": [settings.data_stream],
        "data_stream": {},
        "priority": _PRIORITY,
        "template": {"mappings": _MAPPINGS, "lifecycle": lifecycle},
        "_meta": {"managed_by": "sidecars log-shipper"},
    }


def differences(wanted: Mapping[str, Any], present: Mapping[str, Any]) -> list[str]:
    """Dotted names of what `wanted` says and `present` does not have so.

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


async def _apply(client: AsyncElasticsearch, settings: LogShipperSettings) -> list[str]:
    name, wanted = template_name(settings), wanted_template(settings)
    try:
        reply = await client.indices.get_index_template(name=name)
        present = reply["index_templates"][0]["index_template"]
    except NotFoundError:
        await client.indices.put_index_template(name=name, body=wanted)
        said = [f"created the index template {name} for the data stream {settings.data_stream}"]
    else:
        changed = differences(wanted, present)
        changed += _retention_left_over(settings, present)
        said = []
        if changed:
            await client.indices.put_index_template(name=name, body=wanted)
            said = [f"updated the index template {name}: {', '.join(changed)}"]
    said += await _apply_to_stream(client, settings)
    return said or [f"the index template {name} is as it should be; nothing changed"]


def _retention_left_over(settings: LogShipperSettings, present: Mapping[str, Any]) -> list[str]:
    """A retention that is set on the server and no longer wanted."""
    lifecycle = present.get("template", {}).get("lifecycle") or {}
    return ["template.lifecycle.data_retention"] if not settings.retention and "data_retention" in lifecycle else []


async def _apply_to_stream(client: AsyncElasticsearch, settings: LogShipperSettings) -> list[str]:
    """A stream that exists already keeps its own lifecycle: give it the template's. Mappings follow at its rollover."""
    try:
        reply = await client.indices.get_data_stream(name=settings.data_stream)
        if (reply["data_streams"][0].get("lifecycle") or {}).get("data_retention", "") == settings.retention:
            return []
        await client.indices.put_data_lifecycle(
            name=settings.data_stream, data_retention=settings.retention or None, enabled=True
        )
    except NotFoundError:
        return []
    except ApiError as error:
        if error.status_code in (400, 405):
            return []
        raise
    return [f"set the retention of the data stream {settings.data_stream} to {settings.retention or 'for ever'}"]


def template_name(settings: LogShipperSettings) -> str:
    """One template for each data stream."""
    return "sidecars-" + re.sub(r"[^a-z0-9_.-]", "-", settings.data_stream)


def _headers(settings: LogShipperSettings) -> dict[str, str]:
    value = authorization(settings)
    return {"authorization": value} if value else {}


def _explained(error: ApiError | TransportError | OSError) -> str:
    """What a person needs: the server's reason, or that it was not reached; never the credentials."""
    if isinstance(error, ApiError):
        hint = (
            " (check the credentials and their privilege manage_index_templates)"
            if error.status_code in (401, 403)
            else ""
        )
        return f"HTTP {error.status_code}: {error.message}{hint}"
    if isinstance(error, OSError):
        what = error.filename or "the TLS files (ca_file, client_certificate_file, client_key_file)"
        return f"cannot read {what}: {error.strerror}"
    return f"{error.message} (check elasticsearch_url)"
