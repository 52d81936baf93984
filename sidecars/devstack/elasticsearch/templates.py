"""Composable index templates and component templates: checked, brought into the stored form, and merged.

Elasticsearch does not give a template back as it was put: it nests settings, makes their values text, spells out
defaults and adds dates. Whoever compares "what is there" with "what I want" must meet the same here.
"""

import time
from fnmatch import fnmatchcase
from typing import Any

from .errors import JsonObject, RestError, bad_request

_FIELDS = frozenset(
    {"index_patterns", "template", "composed_of", "priority", "version", "_meta", "data_stream", "allow_auto_create"}
    | {"ignore_missing_component_templates", "deprecated"}
)
_CONTENT = frozenset({"settings", "mappings", "aliases", "lifecycle", "data_stream_options"})


class Templates:
    """All templates of a cluster, by name, in their stored form."""

    def __init__(self) -> None:
        self.index: dict[str, JsonObject] = {}
        self.components: dict[str, JsonObject] = {}

    def put_index(self, name: str, body: JsonObject) -> None:
        """Stores an index template. Raises: RestError 400 for what the real server refuses."""
        self._check(name, body)
        stored: JsonObject = {"index_patterns": _listed(body["index_patterns"])}
        if "template" in body:
            stored["template"] = _stored_content(body["template"])
        stored["composed_of"] = body.get("composed_of", [])
        stored |= {key: body[key] for key in ("priority", "version", "_meta", "allow_auto_create") if key in body}
        if "data_stream" in body:
            stored["data_stream"] = {"hidden": False, "allow_custom_routing": False} | body["data_stream"]
        self.index[name] = stored | _dates(self.index.get(name))

    def put_component(self, name: str, body: JsonObject) -> None:
        """Stores a component template."""
        if "template" not in body:
            raise bad_request("Required [template]")
        stored = {**body, "template": _stored_content(body["template"])}
        self.components[name] = stored | _dates(self.components.get(name))

    def delete_index(self, name: str, used: dict[str, str]) -> None:
        """Forgets index templates by name or pattern; `used` tells which data stream was made from which template."""
        gone = [key for key in self.index if fnmatchcase(key, name)]
        if not gone and "*" not in name:
            raise RestError(404, "index_template_missing_exception", f"index_template [{name}] missing")
        streams = [stream for stream, template in used.items() if template in gone]
        if streams:
            who = f"[{', '.join(gone)}] as they are in use by a data streams [{', '.join(streams)}]"
            raise bad_request(f"unable to remove composable templates {who}")
        for key in gone:
            del self.index[key]

    def delete_component(self, name: str) -> None:
        """Forgets a component template; refused while an index template is composed of it."""
        if name not in self.components:
            raise RestError(404, "resource_not_found_exception", f"{name}")
        users = [key for key, template in self.index.items() if name in template["composed_of"]]
        if users:
            who = f"[{name}] cannot be removed as they are still in use by index templates [{', '.join(users)}]"
            raise bad_request(f"component templates {who}")
        del self.components[name]

    def applying_to(self, target: str) -> str | None:
        """The index template for an index or data stream: of those that match, the one that ranks highest."""
        fitting = [
            (int(template.get("priority", 0)), name)
            for name, template in self.index.items()
            if any(fnmatchcase(target, pattern) for pattern in template["index_patterns"])
        ]
        return max(fitting)[1] if fitting else None

    def makes_stream(self, name: str | None) -> bool:
        """Whether this index template makes data streams."""
        return name is not None and "data_stream" in self.index[name]

    def composed(self, name: str) -> JsonObject:
        """The template's content over that of its components: settings, mappings, lifecycle."""
        body = self.index[name]
        composed: JsonObject = {}
        for component in body["composed_of"]:
            composed = merge(composed, self.components[component]["template"])
        return merge(composed, body.get("template", {}))

    def _check(self, name: str, body: JsonObject) -> None:
        for field in body.keys() - _FIELDS:
            raise bad_request(f"[1:1] [index_template] unknown field [{field}]", "x_content_parse_exception")
        for field in body.get("template", {}).keys() - _CONTENT:
            raise bad_request(f"[1:1] [template] unknown field [{field}]", "x_content_parse_exception")
        if not body.get("index_patterns"):
            raise bad_request("Required [index_patterns]")
        missing = [part for part in body.get("composed_of", []) if part not in self.components]
        if missing:
            cause = f"index template [{name}] specifies component templates [{', '.join(missing)}] that do not exist"
            reason = f"index_template [{name}] invalid, cause [{cause}]"
            raise bad_request(reason, "invalid_index_template_exception")
        if "lifecycle" in body.get("template", {}) and "data_stream" not in body:
            what = "specifies lifecycle configuration that can only be used in combination with a data stream"
            raise bad_request(f"index template [{name}] {what}")
        rank, patterns = body.get("priority", 0), set(_listed(body["index_patterns"]))
        for other, template in self.index.items():
            if other != name and template.get("priority", 0) == rank and patterns & set(template["index_patterns"]):
                clash = f"matching patterns from existing templates [{other}] that have the same priority [{rank}]"
                raise bad_request(f"index template [{name}] has index patterns {sorted(patterns)} {clash}")


def listed(table: dict[str, JsonObject], name: str, what: str) -> list[tuple[str, JsonObject]]:
    """The templates by name or pattern; raises RestError 404 for a plain name that is not there."""
    if "*" not in name and name not in table:
        raise RestError(404, "resource_not_found_exception", f"{what} matching [{name}] not found")
    return [(key, value) for key, value in table.items() if fnmatchcase(key, name)]


def merge(below: JsonObject, above: JsonObject) -> JsonObject:
    """Objects are merged, everything else is replaced by what lies above."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def stored_settings(settings: JsonObject) -> JsonObject:
    """Settings as the server keeps them: nested below `index`, values as text."""
    nested: JsonObject = {}
    for key, value in settings.items():
        path = key.split(".")
        if path[0] != "index":
            path.insert(0, "index")
        if isinstance(value, dict):
            value = stored_settings(value)["index"] if value else {}  # noqa: PLW2901 the stored form of it
        elif not isinstance(value, list):
            value = str(value).lower() if isinstance(value, bool) else str(value)  # noqa: PLW2901 likewise
        for part in reversed(path):
            value = {part: value}  # noqa: PLW2901 wrapped from the inside out
        nested = merge(nested, value)
    return nested


def stored_lifecycle(lifecycle: JsonObject) -> JsonObject:
    """A lifecycle with its default spelt out."""
    return {"enabled": True, **lifecycle}


def _stored_content(content: JsonObject) -> JsonObject:
    stored = dict(content)
    if "settings" in content:
        stored["settings"] = stored_settings(content["settings"])
    if "lifecycle" in content:
        stored["lifecycle"] = stored_lifecycle(content["lifecycle"])
    return stored


def _dates(older: JsonObject | None) -> JsonObject:
    now = int(time.time() * 1000)
    return {"created_date_millis": older["created_date_millis"] if older else now, "modified_date_millis": now}


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
