"""The JSON Schema of a settings file, for editors and for checks before a deployment. From the declarations."""

from collections.abc import Iterable
from typing import Any

import msgspec

from sidecars.runtime.settings.fields import Field, Secret, SettingKind, fields_of
from sidecars.runtime.sidecar import Sidecar

from .reference import reached

_TEXT = ["string", "number", "boolean"]
"""What YAML may take a text for; it is read as it is written."""
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def schema(sidecar: Sidecar) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the YAML file."""
    found = msgspec.json.schema(sidecar.settings, schema_hook=_schema_of)
    fields = fields_of(sidecar.settings)
    declared = found["$defs"].pop(sidecar.settings.__name__)
    _complete(declared["properties"], fields)
    for struct in reached(fields):
        _complete(found["$defs"][struct.__name__]["properties"], fields_of(struct))
    rest = {"$defs": found["$defs"]} if found["$defs"] else {}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Settings of {sidecar.name}",
        **declared,
        **rest,
    }


def _schema_of(kind: type) -> dict[str, Any]:
    if kind is Secret:
        return {"type": _TEXT, "writeOnly": True}
    raise NotImplementedError(f"cannot describe {kind}")


def _complete(properties: dict[str, Any], fields: Iterable[Field]) -> None:
    for field in fields:
        properties[field.name] = _with_texts(field, properties[field.name])


def _bounds(field: Field) -> dict[str, Any]:
    """Return the bounds, which msgspec does not know of a field that was declared again with a bare type."""
    found = {key: getattr(field.core, declared, None) for declared, key in _BOUNDS.items()}
    return {key: limit for key, limit in found.items() if limit is not None}


def _with_texts(field: Field, declared: dict[str, Any]) -> dict[str, Any]:
    """Allow what the loader takes as well: texts such as `1MiB` for a size, and for a text what YAML takes for a number
    or a boolean.
    """
    if "type" in declared:
        declared = {**declared, **_bounds(field)}
    if field.kind is SettingKind.TEXT and declared.get("type") == "string":
        return {**field.about, **declared, "type": _TEXT}
    if field.is_switch:
        return {**field.about, **declared, "anyOf": [*declared.get("anyOf", []), {"const": True}]}
    if field.kind not in {SettingKind.SIZE, SettingKind.DURATION, SettingKind.LIST, SettingKind.MAPPING}:
        return {**field.about, **declared}
    about: dict[str, Any] = dict(field.about)
    about |= {key: declared.pop(key) for key in ("description", "examples", "default") if key in declared}
    for inner in ("items", "additionalProperties"):
        if declared.get(inner) == {"type": "string"}:
            declared = {**declared, inner: {"type": _TEXT}}
    also = [{"type": "string"}, {"type": "number"}] if field.kind is SettingKind.LIST else [{"type": "string"}]
    return {**about, "anyOf": [declared, *also]}
