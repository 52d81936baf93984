"""Settings that have parts: what is understood, what is said when it is wrong, and how they are described."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta

from sidecars.runtime import Context, Settings, SettingsError, Sidecar
from sidecars.runtime.command.flags import parse_arguments
from sidecars.runtime.command.reference import help_text, markdown
from sidecars.runtime.command.schema import schema
from sidecars.runtime.settings.fields import SettingKind, fields_of
from sidecars.runtime.settings.load import load


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Shared(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What parts share."""

    timeout_seconds: Annotated[float, Meta(gt=0, le=60, description="Longest time.", examples=[5.0])] = 10.0
    tries: Annotated[Annotated[int, Meta(ge=0)] | None, Meta(description="How often.")] = None
    colour: Annotated[Colour | None, Meta(description="Which one.")] = None
    sure: Annotated[bool | None, Meta(description="Whether it is.")] = None


class Call(Shared, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Call somebody,
    somewhere.

    More about it.
    """

    timeout_seconds: float = 20.0
    url: Annotated[str, Meta(description="Where to | whom.")]
    headers: Annotated[dict[str, str], Meta(description="Headers.")] = {}
    statuses: Annotated[tuple[str, ...], Meta(description="Which are good.", examples=[200])] = ("2xx",)
    body_bytes: Annotated[int, Meta(ge=1024, description="How much.")] = 1024


class Tell(Shared, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tell somebody."""

    name: Annotated[str, Meta(description="Whom.")] = ""


class Task(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of them."""

    call: Annotated[Call | None, Meta(description="Call.")] = None
    tell: Annotated[Tell | None, Meta(description="Tell.")] = None


class Light(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that may be on; each part has a default."""

    colour: Annotated[Colour, Meta(description="Which one.")] = Colour.RED


class Deep(Settings, frozen=True, kw_only=True):
    """Settings with parts."""

    first: Annotated[Call | None, Meta(description="The first call.")] = None
    tasks: Annotated[tuple[Task, ...], Meta(description="What to do.")] = ()
    light: Annotated[Light | None, Meta(description="The light.")] = None

    def problems(self) -> Any:
        from sidecars.runtime import Problem

        if not self.tasks:
            yield Problem("tasks", "there is nothing to do", "give it something")
        for number, task in enumerate(self.tasks):
            if task.tell and not task.tell.name:
                yield Problem(f"tasks[{number}].tell.name", "nobody is named", "name somebody")


async def nothing(settings: Deep, ctx: Context) -> None:
    """Do nothing."""


DEEP = Sidecar(name="deep", settings=Deep, main=nothing, aliases={"old.first": "first"})


def from_file(folder: Path, text: str) -> Deep:
    path = folder / "deep.yaml"
    path.write_text(text, encoding="utf-8")
    return load(Deep, "DEEP_", {"DEEP_CONFIG": str(path)})


def from_variable(text: str, name: str = "TASKS") -> Deep:
    return load(Deep, "DEEP_", {f"DEEP_{name}": text})


def complaints(text: str, name: str = "TASKS") -> list[str]:
    with pytest.raises(SettingsError) as caught:
        from_variable(text, name)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("{url: u}", Call(url="u")),
        ("{url: u, timeout_seconds: 500ms}", Call(url="u", timeout_seconds=0.5)),
        ("{url: u, timeout_seconds: 3}", Call(url="u", timeout_seconds=3.0)),
        ("{url: u, body_bytes: 1MiB}", Call(url="u", body_bytes=1048576)),
        ("{url: u, tries: 3, colour: blue, sure: yes}", Call(url="u", tries=3, colour=Colour.BLUE, sure=True)),
        ("{url: u, tries: null, colour: , sure: ~, headers: null}", Call(url="u")),
        ("{url: u, statuses: [200, 2xx]}", Call(url="u", statuses=("200", "2xx"))),
        ("{url: u, statuses: '200,204'}", Call(url="u", statuses=("200", "204"))),
        ("{url: u, statuses: '[\"a,b\", 1]'}", Call(url="u", statuses=("a,b", "1"))),
        ("{url: u, headers: {A: 1, B: x}}", Call(url="u", headers={"A": "1", "B": "x"})),
    ],
)
def test_a_part_is_read_like_a_setting_of_its_own(tmp_path: Path, text: str, call: Call) -> None:
    tasks = (Task(tell=Tell(name="x")), Task(call=call))
    assert from_file(tmp_path, f"tasks: [{{tell: {{name: x}}}}, {{call: {text}}}]").tasks == tasks
    assert from_variable(f"[{{tell: {{name: x}}}}, {{call: {text}}}]").tasks == tasks
    assert load(Deep, "DEEP_", {}, {"tasks": f"- tell: {{name: x}}\n- call: {text}"}).tasks == tasks


def test_a_variable_may_hold_json() -> None:
    text = json.dumps([{"call": {"url": "u", "statuses": [200, 204]}}])
    assert from_variable(text).tasks == (Task(call=Call(url="u", statuses=("200", "204"))),)


def test_a_text_or_a_list_may_be_written_as_a_number() -> None:
    found = from_variable("[{call: {url: 1.10, statuses: 200}}]").tasks
    assert found == (Task(call=Call(url="1.10", statuses=("200",))),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[{call: {url: [5]}}]", "cannot use tasks[0].call.url=a list (from DEEP_TASKS): expected a text"),
        ("- call:\n    url: u\n    tries: x", 'tasks[0].call.tries="x" (from DEEP_TASKS, line 3): expected a whole'),
        ("- call:\n    url: u\n    headers: {A: [x]}", "tasks[0].call.headers.A (from DEEP_TASKS, line 3): it is not"),
        ("- call:\n    url: u\n    uri: u", "tasks[0].call.uri (from DEEP_TASKS, line 3): there is no such key"),
        ("[{}, {call: {}}]", "cannot use tasks[1].call.url (from DEEP_TASKS): it is not set: expected a text"),
        ("[{call: {url: u, uri: x}}]", "cannot use tasks[0].call.uri (from DEEP_TASKS): there is no such key; did you"),
        ("[{cal: {url: u}}]", "cannot use tasks[0].cal (from DEEP_TASKS): there is no such key; did you mean call?"),
        ("[{tell: {timeout_seconds: 61}}]", "at most 60; write for example 5"),
        ("[{call: {url: u, timeout_seconds: 61}}]", 'tasks[0].call.timeout_seconds="61" (from DEEP_TASKS): expected'),
        ("[{tell: {tries: -1}}]", 'tasks[0].tell.tries="-1" (from DEEP_TASKS): expected a whole number, at least 0'),
        ("[{tell: {colour: green}}]", "expected one of red, blue; write red or blue"),
        ("[{call: {url: u, statuses: [on, []]}}]", "tasks[0].call.statuses[1] (from DEEP_TASKS): it is not a text"),
        (
            "[{call: http://x}]",
            "cannot use tasks[0].call=a text (from DEEP_TASKS): expected a mapping; write a mapping",
        ),
        ("[{call: [a]}]", "cannot use tasks[0].call=a list (from DEEP_TASKS): expected a mapping"),
        ("[7]", 'cannot use tasks[0]="7" (from DEEP_TASKS): expected a mapping'),
        ("[null]", "cannot use tasks[0]="),
        (
            "{call: {url: u}}",
            "cannot use tasks=a mapping (from DEEP_TASKS): expected a list of mappings; write a list, each",
        ),
        ("call", "cannot use tasks=a text (from DEEP_TASKS): expected a list of mappings"),
        (
            "[{tell: {name: a}, tell: {name: b}}]",
            "it is not valid YAML: line 1, column 20: the key tell is given twice, first in line 1; check that place",
        ),
        ("[{tell: ", "cannot use tasks (from DEEP_TASKS): it is not valid YAML"),
        ("[{tell: {sure: true}}]", "cannot use tasks[0].tell.name (from DEEP_TASKS): nobody is named; name somebody"),
    ],
)
def test_a_wrong_part_is_named_with_its_place_and_a_remedy(text: str, expected: str) -> None:
    (line,) = complaints(text)
    assert expected in line


def test_every_wrong_part_is_told_at_once_and_nothing_that_only_follows_from_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        from_file(tmp_path, "first: {url: u, tries: x}\ntasks: [{tell: {tries: -1, colour: green}}, {call: {}}, 4]\n")
    lines = str(caught.value).splitlines()
    assert [line.split()[2].partition("=")[0] for line in lines] == [
        "first.tries",
        "tasks[0].tell.tries",
        "tasks[0].tell.colour",
        "tasks[1].call.url",
        "tasks[2]",
    ]
    assert f"(from {tmp_path}/deep.yaml:tasks, line 2)" in lines[1]


SECRET = "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        f"[{{call: {{url: [{SECRET}]}}}}]",
        f"[{{call: {{uri: {SECRET}, url: u}}}}]",
        f"[{{call: {{url: u, headers: 'Authorization {SECRET}'}}}}]",
        f"[{{call: {{url: u, headers: {{A: [{SECRET}]}}}}}}]",
        f"[{{call: {{url: u}}}}, {SECRET}]",
        f"[{{call: {{url: u}}}}, '{SECRET}",
        f"{SECRET}",
    ],
)
def test_an_error_never_shows_what_may_be_a_secret(text: str) -> None:
    assert SECRET not in "\n".join(complaints(text))


def test_inherited_parts_keep_bounds_and_description_when_only_the_default_is_new() -> None:
    field = next(field for field in fields_of(Call) if field.name == "timeout_seconds")
    assert (field.default, field.about["description"], field.core.le) == (20.0, "Longest time.", 60)


def test_the_kinds_of_settings_with_parts_are_told_apart() -> None:
    kinds = {field.name: (field.kind, field.struct) for field in fields_of(Deep)}
    assert kinds["first"] == (SettingKind.STRUCTURE, Call)
    assert kinds["tasks"] == (SettingKind.STRUCTURES, Task)


def test_the_reference_has_a_table_for_each_structure_once() -> None:
    text = markdown(DEEP)
    assert [line for line in text.splitlines() if line.startswith("`")] == [
        "`first`: Call somebody, somewhere.",
        "`tasks[]`: One of them.",
        "`tasks[].tell`: Tell somebody.",
        "`light`: Something that may be on; each part has a default.",
    ]
    assert "| `tasks` | list of structures |  | `DEEP_TASKS` | What to do. |" in text
    assert "\n\n`tasks[]`: One of them.\n\n| key | type | default | meaning |\n|---|---|---|---|\n| `call` |" in text
    assert "| `url` | text | `required` | Where to \\| whom. |" in text
    assert "| `timeout_seconds` | seconds, or 500ms, 5s, 2m | `20` | Longest time. |" in text


def test_help_shows_each_key_in_one_line_below_its_setting() -> None:
    lines = help_text(DEEP).splitlines()
    at = lines.index("  --tasks  (list of structures)")
    keys = lines[at + 4 : at + 14]
    assert lines[at + 2] == "      DEEP_TASKS"
    assert keys[0] == "        call (structure): Call."
    assert keys[5] == "          url (text; required): Where to | whom."
    assert keys[9] == "        tell (structure): Tell."
    assert "      DEEP_FIRST, --old.first" in lines
    assert max(map(len, lines)) <= 120


def test_the_schema_allows_what_the_loader_takes_within_structures_too() -> None:
    found = schema(DEEP)
    call = found["$defs"]["Call"]["properties"]
    assert {"type": "string"} in call["timeout_seconds"]["anyOf"]
    assert {"type": "string"} in call["body_bytes"]["anyOf"]
    assert {"type": "array", "items": {"type": ["string", "number", "boolean"]}} in call["statuses"]["anyOf"]
    assert {"type": "number"} in call["statuses"]["anyOf"]
    assert call["headers"]["anyOf"][0]["additionalProperties"] == {"type": ["string", "number", "boolean"]}
    assert call["url"]["type"] == ["string", "number", "boolean"]
    assert call["timeout_seconds"]["description"] == "Longest time."
    assert found["properties"]["tasks"]["items"] == {"$ref": "#/$defs/Task"}


@pytest.mark.parametrize(
    "words", [["--light"], ["--light", "{colour: red}"], ["--light=true"], ["--light", "--tasks=[{}]"]]
)
def test_what_has_only_defaults_may_be_switched_on_by_its_bare_flag(words: list[str]) -> None:
    line = parse_arguments(DEEP, ["--tasks=[{}]", *words])
    assert not line.problems
    made = DEEP.load({}, line.flags)
    assert isinstance(made, Deep)
    assert made.light == Light()


def test_it_may_be_true_in_a_file_and_in_the_schema_and_what_needs_a_part_may_not(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("{tasks: [{}], light: true}")
    assert load(Deep, "DEEP_", {"DEEP_CONFIG": str(file)}).light == Light()
    assert load(Deep, "DEEP_", {"DEEP_TASKS": "[{}]", "DEEP_LIGHT": "true"}).light == Light()
    assert {"const": True} in schema(DEEP)["properties"]["light"]["anyOf"]
    file.write_text("{tasks: [{}], first: true}")
    with pytest.raises(SettingsError, match="cannot use first"):
        load(Deep, "DEEP_", {"DEEP_CONFIG": str(file)})
