"""Field mappings: which type a field has, and whether a document fits.

A shipper must survive a document that Elasticsearch refuses because another one gave the field a different type first.
So the stand-in keeps a mapping per index, from the template and from the documents seen, and refuses what does not fit
with the real error type (`document_parsing_exception`), unless the index is told to ignore that.
"""

from dataclasses import dataclass
from typing import Any, Self

from .errors import JsonObject, RestError
from .fields import detected_date, is_immense, takes

_OBJECT = "object"
_ANYTHING = frozenset({"flattened", "nested_any", "disabled"})
_DEEPEST = 20
_MOST_FIELDS = 1000
_RESERVED = frozenset(
    (
        *("_id", "_index", "_source", "_routing", "_version", "_seq_no", "_field_names", "_nested_path", "_ignored"),
        *("_ignored_source", "_data_stream_timestamp", "_index_mode"),
    )
)
"""Names of metadata, at the top of a document."""


@dataclass(frozen=True)
class Rules:
    """What an index does with fields that it does not know, and with values that do not fit."""

    dynamic: str
    subobjects: bool
    date_detection: bool
    ignore_malformed: bool
    most_fields: int
    beyond_ignored: bool
    strings: JsonObject
    """Type and parameters of new text fields."""

    @classmethod
    def of(cls, mappings: JsonObject, settings: JsonObject) -> Self:
        """The rules by mappings and settings, both in their stored form."""
        mapping = settings.get("index", {}).get("mapping", {})
        total = mapping.get("total_fields", {})
        return cls(
            dynamic=str(mappings.get("dynamic", "true")).lower(),
            subobjects=_truth(mappings.get("subobjects", True)),
            date_detection=_truth(mappings.get("date_detection", True)),
            ignore_malformed=_truth(mapping.get("ignore_malformed", False)),
            most_fields=int(total.get("limit", _MOST_FIELDS)),
            beyond_ignored=_truth(total.get("ignore_dynamic_beyond_limit", False)),
            strings=_dynamic_string(mappings),
        )


class Node:
    """A field: `kind` is its type; an object has `children` (a dotted name is an alias of its leaf)."""

    __slots__ = ("children", "ignore_above", "ignore_malformed", "kind", "path")

    def __init__(self, path: str, spec: JsonObject, rules: Rules) -> None:
        self.path = path
        self.kind = spec.get("type", _OBJECT)
        self.ignore_above: int | None = spec.get("ignore_above")
        self.ignore_malformed = bool(spec.get("ignore_malformed", rules.ignore_malformed))
        self.children: dict[str, Node] = {}


class FieldMapping:
    """The mapping of one index; it grows with the documents it is shown."""

    def __init__(self, declared: JsonObject, settings: JsonObject | None = None) -> None:
        self._rules = Rules.of(declared, settings or {})
        self._root = Node("", {}, self._rules)
        self._count = 0
        self._names = 0
        self._learned: list[tuple[Node, str]] = []
        self._declare("", declared.get("properties", {}))
        self._learned.clear()

    def kind_of(self, field: str) -> str | None:
        """The type of a field by its dotted name, None when it is not mapped."""
        node = self._root.children.get(field) or self._walk(field)
        return node.kind if node and node.kind != _OBJECT else None

    def admit(self, document: JsonObject, document_id: str) -> int:
        """Checks a document and learns its new fields; of one that is refused, none. How many names it looked at.

        Raises: RestError 400 `document_parsing_exception` or `strict_dynamic_mapping_exception`.
        """
        self._names = 0
        self._learned.clear()
        try:
            if self._rules.subobjects:
                self._admit_object(self._root, document, document_id)
            else:
                self._admit_flat("", document, document_id)
        except RestError:
            for parent, name in reversed(self._learned):
                del parent.children[name]
                self._count -= "." not in name or not self._rules.subobjects
            raise
        return self._names

    def properties(self) -> JsonObject:
        """The mapping in Elasticsearch's own shape: `{"properties": {...}}`."""
        top: JsonObject = {} if self._rules.subobjects else {"subobjects": False}
        return top | {"properties": _properties(self._root, dotted=not self._rules.subobjects)}

    def _walk(self, field: str) -> Node | None:
        node: Node | None = self._root
        for name in field.split("."):
            node = node.children.get(name) if node else None
        return node

    def _declare(self, prefix: str, properties: JsonObject) -> None:
        for name, spec in properties.items():
            path = f"{prefix}{name}"
            if "properties" in spec:
                self._declare(f"{path}.", spec["properties"])
            else:
                self._grow(path, {"type": "disabled"} if spec.get("enabled") is False else spec)

    def _grow(self, path: str, spec: JsonObject) -> Node:
        """A new field by its dotted name, and the objects that it stands in."""
        if not self._rules.subobjects:
            return self._add(self._root, path, Node(path, spec, self._rules))
        node = self._root
        *parents, last = path.split(".")
        for part in parents:
            child = node.children.get(part)
            if child is None:
                child = self._add(node, part, Node(f"{node.path}.{part}" if node.path else part, {}, self._rules))
            node = child
        return node.children.get(last) or self._add(node, last, Node(path, spec, self._rules))

    def _add(self, parent: Node, name: str, node: Node) -> Node:
        parent.children[name] = node
        self._count += 1
        self._learned.append((parent, name))
        return node

    def _admit_object(self, parent: Node, document: JsonObject, document_id: str) -> None:
        self._names += len(document)
        for name, value in document.items():
            if value is None:
                continue
            node = parent.children.get(name)
            if node is None and (node := self._new(parent, name, value, document_id)) is None:
                continue
            self._admit_value(node, value, document_id)

    def _new(self, parent: Node, name: str, value: Any, document_id: str) -> Node | None:
        """The field of that name below `parent`, made if it may be; None when it is ignored."""
        _check_name(name, parent.path)
        if parent is self._root and (reserved := name.partition(".")[0]) in _RESERVED:
            raise _metadata(reserved, document_id, value)
        parts = name.rstrip(".").split(".")
        node: Node | None = parent
        for part in parts:
            node = node.children.get(part) if node else None
        if node is None:
            first = _first(value)
            if first is None or not self._may_grow(name):
                return None
            path = f"{parent.path}.{'.'.join(parts)}" if parent.path else ".".join(parts)
            spec = {"type": _OBJECT} if isinstance(first, dict) else self._spec_for(first)
            self._check_way(parent, parts, document_id, value)
            if path.count(".") + (spec["type"] == _OBJECT) >= _DEEPEST:
                raise _parse_failure(
                    f"Limit of mapping depth [{_DEEPEST}] has been exceeded due to object field [{path}]"
                )
            node = self._grow(path, spec)
        if len(parts) > 1 and name == ".".join(parts):
            parent.children[name] = node
            self._learned.append((parent, name))
        return node

    def _check_way(self, parent: Node, parts: list[str], document_id: str, value: Any) -> None:
        """Between `parent` and the last of the parts there are objects only."""
        node: Node | None = parent
        for part in parts[:-1]:
            node = node.children.get(part) if node else None
            if node is not None and node.kind != _OBJECT:
                raise _unfit(node, document_id, {parts[-1]: value})

    def _admit_value(self, node: Node, value: Any, document_id: str) -> None:
        if isinstance(value, list):
            for item in value:
                if item is not None:
                    self._admit_value(node, item, document_id)
        elif isinstance(value, dict):
            if node.kind == _OBJECT:
                self._admit_object(node, value, document_id)
            elif node.kind not in _ANYTHING:
                raise _unfit(node, document_id, value)
        elif node.kind == _OBJECT:
            reason = "as object, but found a concrete value"
            reason = f"[1:1] object mapping for [{node.path}] tried to parse field [{node.path}] {reason}"
            raise RestError(400, "document_parsing_exception", reason)
        else:
            self._admit_leaf(node, value, document_id)

    def _admit_flat(self, prefix: str, document: JsonObject, document_id: str) -> None:
        """Without subobjects only leaves are fields, each under its whole name."""
        self._names += len(document)
        for name, value in document.items():
            if not prefix and name not in self._root.children:
                _check_name(name, "", flat=True)
                if name in _RESERVED:
                    raise _metadata(name, document_id, value)
            self._admit_flat_value(prefix + name, value, document_id)

    def _admit_flat_value(self, path: str, value: Any, document_id: str) -> None:
        if isinstance(value, dict):
            self._admit_flat(f"{path}.", value, document_id)
        elif isinstance(value, list):
            for item in value:
                self._admit_flat_value(path, item, document_id)
        elif value is not None:
            node = self._root.children.get(path)
            if node is None:
                if not self._may_grow(path):
                    return
                node = self._grow(path, self._spec_for(value))
            self._admit_leaf(node, value, document_id)

    def _admit_leaf(self, node: Node, value: Any, document_id: str) -> None:
        if not takes(node.kind, value):
            if not node.ignore_malformed:
                raise _unfit(node, document_id, value)
        elif node.kind == "keyword" and is_immense(value, node.ignore_above):
            raise _unfit(node, document_id, value)

    def _may_grow(self, name: str) -> bool:
        """Whether a new field is mapped (True) or ignored."""
        if self._rules.dynamic == "strict":
            reason = f"mapping set to strict, dynamic introduction of [{name}] within [_doc] is not allowed"
            raise RestError(400, "strict_dynamic_mapping_exception", reason)
        if self._rules.dynamic == "false":
            return False
        if self._count < self._rules.most_fields:
            return True
        if not self._rules.beyond_ignored:
            reason = f"Limit of total fields [{self._rules.most_fields}] has been exceeded while adding new fields [1]"
            raise _parse_failure(reason)
        return False

    def _spec_for(self, value: Any) -> JsonObject:
        if isinstance(value, bool):
            return {"type": "boolean"}
        if isinstance(value, int):
            return {"type": "long"}
        if isinstance(value, float):
            return {"type": "float"}
        if self._rules.date_detection and detected_date(value):
            return {"type": "date"}
        return self._rules.strings


def _first(value: Any) -> Any:
    """What gives a new field its type."""
    while isinstance(value, list):
        value = next((item for item in map(_first, value) if item is not None), None)
    return value


def _check_name(name: str, path: str, *, flat: bool = False) -> None:
    if not name:
        raise _parse_failure("field name cannot be an empty string")
    if not name.strip():
        shown = f"{path}.{name}" if path else name
        raise RestError(
            400, "document_parsing_exception", f"[1:1] Field name cannot contain only whitespace: [{shown}]"
        )
    if flat or "." not in name:
        return
    if not name.strip("."):
        raise _parse_failure("field name cannot contain only dots")
    if not all(part.strip() for part in name.rstrip(".").split(".")):
        raise _parse_failure(f"field name cannot contain only whitespace: ['{name}']")


def _parse_failure(reason: str) -> RestError:
    cause = {"caused_by": {"type": "illegal_argument_exception", "reason": reason}}
    return RestError(400, "document_parsing_exception", f"[1:1] failed to parse: {reason}", cause)


def _metadata(name: str, document_id: str, value: Any) -> RestError:
    where = f"[1:1] failed to parse field [{name}] of type [{name}] in document with id '{document_id}'"
    what = f"Field [{name}] is a metadata field and cannot be added inside a document."
    cause = {"caused_by": {"type": "document_parsing_exception", "reason": f"[1:1] {what}"}}
    return RestError(
        400, "document_parsing_exception", f"{where}. Preview of field's value: '{str(value)[:100]}'", cause
    )


def _unfit(node: Node, document_id: str, value: Any) -> RestError:
    where = f"[1:1] failed to parse field [{node.path}] of type [{node.kind}] in document with id '{document_id}'"
    shown = str(value)[:100]  # the real server, too, repeats what the document said: a reason may hold secrets
    cause = {"caused_by": {"type": "illegal_argument_exception", "reason": f'For input string: "{shown}"'}}
    return RestError(400, "document_parsing_exception", f"{where}. Preview of field's value: '{shown}'", cause)


def _truth(value: Any) -> bool:
    return str(value).lower() == "true"


def _dynamic_string(declared: JsonObject) -> JsonObject:
    for rule in declared.get("dynamic_templates", []):
        for spec in rule.values():
            if spec.get("match_mapping_type") in ("string", "*") and "path_match" not in spec and "match" not in spec:
                return {"type": "text", **spec.get("mapping", {})}
    return {"type": "text"}


def _properties(node: Node, *, dotted: bool) -> JsonObject:
    return {
        name: {"type": child.kind} if child.kind != _OBJECT else {"properties": _properties(child, dotted=False)}
        for name, child in node.children.items()
        if dotted or "." not in name
    }
