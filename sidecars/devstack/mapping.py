"""Field mappings: which type a field has, and whether a document fits.

A shipper must survive a document that Elasticsearch refuses because another one gave the field a different type first.
So the stand-in keeps a mapping per index, from the template and from the documents seen, and refuses what does not fit
with the real error type (`document_parsing_exception`).
"""

import re
from collections.abc import Callable
from collections.abc import Mapping as Map
from typing import Any

from sidecars.devstack.problem import JsonObject, Problem

_DATE = re.compile(
    r"\d{4}(-\d\d(-\d\d(T(\d\d(:\d\d(:\d\d([.,]\d{1,9})?)?)?)?(Z|[+-]\d\d(:?\d\d)?)?)?)?)?$"
    r"|\d{4}/\d\d/\d\d( \d\d:\d\d:\d\d)?$"
)
_DETECTED_DATE = re.compile(r"\d{4}-\d\d-\d\d(T|$)|\d{4}/\d\d/\d\d( |$)")


def _number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return False
        return True
    return isinstance(value, int | float)


def _date(value: Any) -> bool:
    if isinstance(value, str):
        return value.lstrip("-").isdigit() or _DATE.match(value) is not None
    return isinstance(value, int) and not isinstance(value, bool)


def _boolean(value: Any) -> bool:
    return isinstance(value, bool) or value in ("true", "false", "")


_ACCEPTS: Map[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("long", "integer", "short", "byte", "double", "float", "half_float", "unsigned_long"), _number),
    **dict.fromkeys(("date", "date_nanos"), _date),
    "boolean": _boolean,
}
_ANYTHING = frozenset({"flattened", "nested_any", "disabled"})


class Node:
    """One level of the mapping: a leaf has a `kind`, an object `children` (a dotted name is an alias of its leaf)."""

    __slots__ = ("children", "kind", "path")

    def __init__(self, path: str, kind: str | None = None) -> None:
        self.path = path
        self.kind = kind
        self.children: dict[str, Node] = {}


class FieldMapping:
    """The mapping of one index; it grows with the documents it is shown."""

    def __init__(self, declared: JsonObject) -> None:
        self.dynamic = str(declared.get("dynamic", "true")).lower()
        self._root = Node("")
        self._dynamic_string = _dynamic_string(declared)
        self._declare(self._root, declared.get("properties", {}))

    def kind_of(self, field: str) -> str | None:
        """The type of a field by its dotted name, None when it is not mapped."""
        node: Node | None = self._root
        for name in field.split("."):
            node = node.children.get(name) if node else None
        return node.kind if node else None

    def admit(self, document: JsonObject, document_id: str) -> None:
        """Checks a document and learns its new fields.

        Raises: Problem 400 `document_parsing_exception` or `strict_dynamic_mapping_exception`.
        """
        self._admit_object(self._root, document, document_id)

    def properties(self) -> JsonObject:
        """The mapping in Elasticsearch's own shape: `{"properties": {...}}`."""
        return {"properties": _properties(self._root)}

    def _declare(self, parent: Node, properties: JsonObject) -> None:
        for name, spec in properties.items():
            node = self._grow(parent, name)
            if spec.get("enabled") is False:
                node.kind = "disabled"
            elif "properties" in spec:
                self._declare(node, spec["properties"])
            elif spec.get("type", "object") != "object":
                node.kind = spec["type"]

    def _grow(self, parent: Node, name: str) -> Node:
        node = parent
        for part in name.split("."):
            child = node.children.get(part)
            if child is None:
                child = node.children[part] = Node(f"{node.path}.{part}" if node.path else part)
            node = child
        if "." in name:
            parent.children[name] = node
        return node

    def _admit_object(self, parent: Node, document: JsonObject, document_id: str) -> None:
        children = parent.children
        for name, value in document.items():
            if value is None:
                continue
            node = children.get(name)
            if node is None:
                if self.dynamic == "strict":
                    reason = f"mapping set to strict, dynamic introduction of [{name}] within [_doc] is not allowed"
                    raise Problem(400, "strict_dynamic_mapping_exception", reason)
                if self.dynamic == "false":
                    continue
                node = self._grow(parent, name)
            self._admit_value(node, value, document_id)

    def _admit_value(self, node: Node, value: Any, document_id: str) -> None:
        if isinstance(value, list):
            for item in value:
                if item is not None:
                    self._admit_value(node, item, document_id)
            return
        kind = node.kind
        if isinstance(value, dict):
            if kind is None:
                self._admit_object(node, value, document_id)
            elif kind not in _ANYTHING:
                raise _unfit(node, document_id, value)
        elif kind is None:
            if node.children:
                reason = "as object, but found a concrete value"
                reason = f"[1:1] object mapping for [{node.path}] tried to parse field [{node.path}] {reason}"
                raise Problem(400, "document_parsing_exception", reason)
            node.kind = self._kind_for(value)
        elif (accepts := _ACCEPTS.get(kind)) is not None and not accepts(value):
            raise _unfit(node, document_id, value)

    def _kind_for(self, value: Any) -> str:
        if isinstance(value, bool):
            return "boolean"
        if isinstance(value, int):
            return "long"
        if isinstance(value, float):
            return "float"
        if _DETECTED_DATE.match(value) and _date(value):
            return "date"
        return self._dynamic_string


def _unfit(node: Node, document_id: str, value: Any) -> Problem:
    where = f"[1:1] failed to parse field [{node.path}] of type [{node.kind}] in document with id '{document_id}'"
    shown = str(value)[:100]  # the real server, too, repeats what the document said: a reason may hold secrets
    cause = {"caused_by": {"type": "illegal_argument_exception", "reason": f'For input string: "{shown}"'}}
    return Problem(400, "document_parsing_exception", f"{where}. Preview of field's value: '{shown}'", cause)


def _dynamic_string(declared: JsonObject) -> str:
    for rule in declared.get("dynamic_templates", []):
        for spec in rule.values():
            if spec.get("match_mapping_type") in ("string", "*") and "path_match" not in spec and "match" not in spec:
                return str(spec.get("mapping", {}).get("type", "text"))
    return "text"


def _properties(node: Node) -> JsonObject:
    return {
        name: {"type": child.kind} if child.kind else {"properties": _properties(child)}
        for name, child in node.children.items()
        if "." not in name
    }
