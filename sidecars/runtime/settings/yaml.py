"""The settings file, and settings that are YAML texts: imported only when there is one (PyYAML costs memory that most
sidecars never need).

Exists apart because of three rules: an error may name line and column but never show the line (it can hold a secret);
a key given twice is a mistake, not a choice; and what YAML takes for a number or a boolean keeps its text (values.py).
"""

import os
import re
import select
from collections.abc import Container
from dataclasses import replace
from typing import Any

import yaml

from sidecars.runtime.clock import monotonic
from sidecars.runtime.errors import Problem, SettingsError

from .values import Items, Pairs, Written

FILE_BYTES = 4 * 1024 * 1024  # a settings file that is longer is none: a ConfigMap ends at 1 MiB
PIPE_SECONDS = 10.0  # how long a pipe may take, as in `--config <(sops -d settings.yaml)`
_SHOWN_REASON = re.compile(r"""(?:[^'"]|(['"])(?:\\?.|<[a-z ]+>)\1)*""")
_NUMBER_CHARACTERS = 1000  # a whole number that is longer is none, and text from 4300 digits on is a ValueError


def read_mapping(path: str, known: Container[str] = ()) -> Pairs:
    """Return the file's top-level mapping. Raise SettingsError when it cannot be read or is no mapping; an error in it
    names the key, when it is a `known` one.
    """
    at = Problem("config", "", "", value=path)
    try:
        content = _load(_read(path, at).decode(), at, known, lines=True)
    except OSError as error:
        raise _wrong(at, error.strerror or "it cannot be read", "check the path and the permissions") from None
    except UnicodeDecodeError as error:
        raise _wrong(at, f"byte {error.start} is not UTF-8", "save the file as UTF-8") from None
    if content is None:
        return Pairs()
    if not isinstance(content, Pairs):
        raise _wrong(at, "it is not a mapping of settings", "write one `name: value` per line")
    return content


def _read(path: str, at: Problem) -> bytes:
    """Return the file's bytes. Raise OSError, or SettingsError for what does not end: this runs before there is
    anything that SIGTERM could stop.
    """
    # Not blocking: opening a FIFO would wait for its writer (fifo(7)).
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        return _pieces(descriptor, at)
    finally:
        os.close(descriptor)


def _pieces(descriptor: int, at: Problem) -> bytes:
    deadline = monotonic() + PIPE_SECONDS
    found = bytearray()
    while len(found) <= FILE_BYTES:
        if not select.select([descriptor], [], [], max(0.0, deadline - monotonic()))[0]:
            raise _wrong(at, f"nobody wrote it to its end within {PIPE_SECONDS:.0f} s", "give it as a regular file")
        piece = os.read(descriptor, FILE_BYTES)
        if not piece:
            return bytes(found)
        found += piece
    raise _wrong(at, f"it is longer than {FILE_BYTES // 1024**2} MiB", "name the file with the settings")


def read_yaml(text: str, field: str, source: str) -> Any:
    """Return what a YAML text (or JSON, which is YAML) holds. Raise SettingsError naming field and source."""
    return _load(text, Problem(field, "", "", source), (), lines="\n" in text.strip())


def _load(text: str, at: Problem, known: Container[str], *, lines: bool) -> Any:
    try:
        return _Loader(text, lines=lines).get_single_data()
    except yaml.MarkedYAMLError as error:
        reason = _reason(error.problem or "")
        # An open quote is found at the end of the file, and to be looked for where it begins.
        mark = (error.context_mark if "end of stream" in reason else None) or error.problem_mark
        place = f": line {mark.line + 1}, column {mark.column + 1}{_key(text, mark.line, known)}" if mark else ""
        raise _wrong(at, f"it is not valid YAML{place}{reason}{_opened(error)}", "check that place") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _wrong(at, f"it is not valid YAML: line {line}: {error.reason}", "check that place") from None
    except yaml.YAMLError:
        raise _wrong(at, "it is not valid YAML", "check it with a YAML linter") from None
    # What PyYAML's constructors let through: dates that are none, `!!bool foo`, `!!int ""`, `!!timestamp x`.
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        raise _wrong(at, "it is not valid YAML: a value is not what its tag says", "put it in quotes") from None


def _reason(problem: str) -> str:
    """Return the parser's own reason, without what it repeats of the text: an alias or a tag may be a password that
    begins with * or !. Single characters and the names of its tokens stay.
    """
    kept = _SHOWN_REASON.match(problem)
    return f": {kept.group().rstrip()}" if kept and kept.group() else ""


def _opened(error: yaml.MarkedYAMLError) -> str:
    """Return where a bracket was opened that is not closed: that is seldom the line in which it is noticed."""
    begins, noticed = error.context_mark, error.problem_mark
    if begins and noticed and begins.line != noticed.line and "flow" in (error.context or ""):
        return f", in what begins in line {begins.line + 1}"
    return ""


def _key(text: str, line: int, known: Container[str]) -> str:
    """Return the setting that a line belongs to, for a message. Nothing else that stands there is shown."""
    for before in reversed(text.split("\n")[: line + 1]):
        name, colon, _ = before.partition(":")
        if colon and name.rstrip() in known:
            return f", in {name.rstrip()}"
    return ""


class _GivenTwice(yaml.MarkedYAMLError):
    """A key that was there before; its name is no secret, unlike what the parser repeats."""

    def __init__(self, key: yaml.ScalarNode, first: int) -> None:
        super().__init__(None, None, f"the key {key.value[:80]} is given twice, first in line {first}", key.start_mark)


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice (YAML 1.2, 3.2.1.3: keys are unique), and keeps texts and lines."""

    def __init__(self, text: str, *, lines: bool) -> None:
        super().__init__(text)
        self._lines = lines

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        assert isinstance(node, yaml.MappingNode)  # noqa: S101 (tells mypy)
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key that is not a text", key.start_mark)
            if key.value in seen:
                raise _GivenTwice(key, seen[key.value])
            seen[key.value] = key.start_mark.line + 1
        return node

    def construct_mapping_as_written(self, node: yaml.MappingNode) -> Pairs:
        self.flatten_mapping(node)
        found = Pairs((key.value, self.construct_object(value, deep=True)) for key, value in node.value)
        found.lines = {key.value: key.start_mark.line + 1 for key, _ in node.value if self._lines}
        return found

    def construct_list_as_written(self, node: yaml.SequenceNode) -> Items:
        found = Items(self.construct_object(value, deep=True) for value in node.value)
        found.lines = {index: value.start_mark.line + 1 for index, value in enumerate(node.value) if self._lines}
        return found

    def construct_written(self, node: yaml.ScalarNode) -> Written:
        if len(node.value) > _NUMBER_CHARACTERS:
            raise yaml.constructor.ConstructorError(None, None, "a number too long", node.start_mark)
        construct = yaml.SafeLoader.yaml_constructors[node.tag]
        return Written(node.value, construct(self, node))


for kind in ("int", "float", "bool", "timestamp"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{kind}", _Loader.construct_written)
_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.construct_mapping_as_written)
_Loader.add_constructor("tag:yaml.org,2002:seq", _Loader.construct_list_as_written)


def _wrong(at: Problem, message: str, remedy: str) -> SettingsError:
    return SettingsError([replace(at, message=message, remedy=remedy)])
