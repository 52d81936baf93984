"""What a setting is: read off its declaration once, for parsing it, for `--help`, and for the reference. Pure.

Exists because a setting is declared in one place and everything said about it elsewhere must follow from there.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from typing import Any, get_type_hints

import msgspec
import msgspec.inspect as inspected


class Secret:
    """A text that must not be seen: shows and encodes as ***; `reveal()` gives it to the one who needs it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text."""
        return self._text

    def __str__(self) -> str:
        return "***"

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


class SettingKind(StrEnum):
    """What a setting holds; the value is what `--help` calls it."""

    INTEGER = "number"
    FLOAT = "decimal"
    SIZE = "size"
    DURATION = "time"
    BOOLEAN = "yes/no"
    TEXT = "text"
    CHOICE = "choice"
    LIST = "list"
    MAPPING = "pairs"
    SECRET = "secret"
    STRUCTURE = "structure"
    STRUCTURES = "list of structures"


_EXPECTED = {
    SettingKind.INTEGER: "a whole number",
    SettingKind.FLOAT: "a number",
    SettingKind.SIZE: "a size in bytes",
    SettingKind.DURATION: "a time in seconds",
    SettingKind.BOOLEAN: "true or false",
    SettingKind.TEXT: "a text",
    SettingKind.LIST: "a comma-separated list",
    SettingKind.MAPPING: "pairs",
    SettingKind.SECRET: "a text",
    SettingKind.STRUCTURE: "a mapping",
    SettingKind.STRUCTURES: "a list of mappings",
}
_KINDS: dict[type[inspected.Type], SettingKind] = {
    inspected.IntType: SettingKind.INTEGER,
    inspected.FloatType: SettingKind.FLOAT,
    inspected.BoolType: SettingKind.BOOLEAN,
    inspected.StrType: SettingKind.TEXT,
    inspected.LiteralType: SettingKind.CHOICE,
    inspected.EnumType: SettingKind.CHOICE,
    inspected.VarTupleType: SettingKind.LIST,
    inspected.DictType: SettingKind.MAPPING,
    inspected.CustomType: SettingKind.SECRET,
    inspected.StructType: SettingKind.STRUCTURE,
}


@dataclass(frozen=True)
class Field:
    """One setting as declared. `default` is msgspec.NODEFAULT when there is none."""

    name: str
    kind: SettingKind
    annotation: Any
    default: Any
    core: Any  # the msgspec.inspect type, for bounds and choices
    about: dict[str, Any]  # description and examples

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed texts of a CHOICE."""
        if isinstance(self.core, inspected.EnumType):
            return tuple(str(member.value) for member in self.core.cls)
        return tuple(map(str, self.core.values)) if isinstance(self.core, inspected.LiteralType) else ()

    @property
    def struct(self) -> type[msgspec.Struct] | None:
        """What a STRUCTURE is, and each item of STRUCTURES."""
        core = self.item.core if self.kind is SettingKind.STRUCTURES else self.core
        return core.cls if isinstance(core, inspected.StructType) else None

    @property
    def is_switch(self) -> bool:
        """Whether `true` is enough for a STRUCTURE that is unset by default: every part of it has a default."""
        if self.kind is not SettingKind.STRUCTURE or self.default is not None or self.struct is None:
            return False
        return all(part.default is not msgspec.NODEFAULT for part in fields_of(self.struct))

    @property
    def item(self) -> "Field":
        """One item of STRUCTURES."""
        return replace(self, kind=SettingKind.STRUCTURE, core=_unwrap(self.core.item_type)[0], about={})

    @property
    def expected(self) -> str:
        """What a value has to be, in words, with its bounds."""
        if self.kind is SettingKind.CHOICE:
            return f"expected one of {', '.join(self.choices)}"
        bounds = [
            f"{words} {show(self, limit)}"
            for key, words in (("ge", "at least"), ("gt", "more than"), ("le", "at most"), ("lt", "less than"))
            if (limit := getattr(self.core, key, None)) is not None
        ]
        if getattr(self.core, "min_length", None):
            bounds.append("not empty")
        if pattern := getattr(self.core, "pattern", None):
            bounds.append(f"matching {pattern}")
        return ", ".join([f"expected {_EXPECTED[self.kind]}", *bounds])

    @property
    def remedy(self) -> str:
        """What to write instead: the declared examples, else one made from the default."""
        if examples := self.about.get("examples"):
            return f"write for example {' or '.join(show(self, example) for example in examples)}"
        default = self.default if isinstance(self.default, int | float) else 1
        made = {
            SettingKind.INTEGER: f"a number such as {default}",
            SettingKind.FLOAT: f"a number such as {default}",
            SettingKind.SIZE: f"a number such as {int(default)} or {show_size(int(default))}",
            SettingKind.DURATION: f"a number such as {default:g}, or 500ms, 5s, 2m",
            SettingKind.BOOLEAN: "true or false",
            SettingKind.CHOICE: " or ".join(self.choices),
            SettingKind.LIST: 'for example one,two or ["one", "two"]',
            SettingKind.MAPPING: 'for example a=b,c=d or {"a": "b"}',
        }
        if self.struct:
            keys = f"a mapping with some of the keys {', '.join(self.struct.__struct_fields__)}"
            return f"write {'a list, each item ' if self.kind is SettingKind.STRUCTURES else ''}{keys}"
        return f"write {made.get(self.kind, 'a text; in YAML put it in quotes')}"


@cache
def fields_of(settings: type[msgspec.Struct]) -> tuple[Field, ...]:
    """Return what a settings Struct, or one nested in it, declares, in order. Raise TypeError for a type that no text
    can be turned into.

    A field declared again with a bare type (`admin_port: int = 9101`) changes the default and keeps bounds and
    description.
    """
    hints = get_type_hints(settings, include_extras=True)
    parent = settings.__base__
    inherited: dict[str, Field] = {}
    if parent is not None and issubclass(parent, msgspec.Struct) and parent is not msgspec.Struct:
        inherited = {field.name: field for field in fields_of(parent)}
    struct = inspected.type_info(settings)
    assert isinstance(struct, inspected.StructType)  # noqa: S101 (tells mypy what type_info of a Struct is)
    found = [_field(settings, declared, hints[declared.name]) for declared in struct.fields]
    return tuple(_completed(field, inherited.get(field.name)) for field in found)


def _completed(field: Field, inherited: Field | None) -> Field:
    """Return the field with what its parent's declaration said, when its own says nothing."""
    if field.about or inherited is None or inherited.kind is not field.kind:
        return field
    return replace(inherited, default=field.default)


def _field(settings: type[msgspec.Struct], declared: inspected.Field, annotation: Any) -> Field:
    core, about = _unwrap(declared.type)
    kind = _KINDS.get(type(core))
    if isinstance(core, inspected.VarTupleType) and isinstance(_unwrap(core.item_type)[0], inspected.StructType):
        kind = SettingKind.STRUCTURES
    if kind is None:
        raise TypeError(f"cannot declare the setting {settings.__name__}.{declared.name}: its type is not possible")
    if kind in {SettingKind.INTEGER, SettingKind.FLOAT}:
        kind = SettingKind.SIZE if declared.name.endswith("_bytes") else kind
        kind = SettingKind.DURATION if declared.name.endswith("_seconds") else kind
    default = declared.default
    if declared.default_factory is not msgspec.NODEFAULT:
        default = declared.default_factory()
    return Field(declared.name, kind, annotation, default, core, about)


def _unwrap(declared: inspected.Type) -> tuple[inspected.Type, dict[str, Any]]:
    """Return the one type behind Metadata and `| None`, and what the Metadata said."""
    if isinstance(declared, inspected.Metadata):
        core, about = _unwrap(declared.type)
        return core, about | (declared.extra_json_schema or {})
    if isinstance(declared, inspected.UnionType):
        members = [member for member in declared.types if not isinstance(member, inspected.NoneType)]
        return _unwrap(members[0]) if len(members) == 1 else (declared, {})
    return declared, {}


def show_size(size_bytes: int) -> str:
    """Return `1MiB` for 1048576; a size that is no round number of units stays a number."""
    for power, unit in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        if size_bytes and size_bytes % 1024**power == 0:
            return f"{size_bytes // 1024**power}{unit}"
    return str(size_bytes)


def show(field: Field, value: object) -> str:
    """Return a value of this field as a person would write it in a variable."""
    if isinstance(value, bool):
        return str(value).lower()
    if field.kind is SettingKind.SIZE and isinstance(value, int):
        return show_size(value)
    if isinstance(value, float):
        return f"{value:g}"
    if field.struct and not isinstance(value, str):
        return msgspec.json.encode(value, enc_hook=str).decode()
    if isinstance(value, dict):
        return ",".join(f"{key}={item}" for key, item in value.items())
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
