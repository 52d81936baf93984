"""The settings file, and settings that are YAML texts: imported only when there is one (PyYAML costs memory that most
sidecars never need).

Exists apart because of two rules: an error may name line and column but never show the line (it can hold a secret),
and a key given twice is a mistake, not a choice.
"""

import os
import select
from dataclasses import replace
from typing import Any

from sidecars.runtime.errors import Problem, SettingsError
from sidecars.runtime.stop import monotonic

FILE_BYTES = 4 * 1024 * 1024  # a settings file that is longer is none: a ConfigMap ends at 1 MiB
PIPE_SECONDS = 10.0  # how long a pipe may take, as in `--config <(sops -d settings.yaml)`
_NUMBER_CHARACTERS = 1000  # a whole number that is longer is none, and text from 4300 digits on is a ValueError


def read_mapping(path: str) -> dict[str, Any]:
    """Return the file's top-level mapping. Raise SettingsError when it cannot be read or is no mapping."""
    at = Problem("config", "", "", value=path)
    try:
        content = _load(_read(path, at).decode(), at)
    except OSError as error:
        raise _wrong(at, error.strerror or "it cannot be read", "check the path and the permissions") from None
    except UnicodeDecodeError as error:
        raise _wrong(at, f"byte {error.start} is not UTF-8", "save the file as UTF-8") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
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
    return _load(text, Problem(field, "", "", source))


def _load(text: str, at: Problem) -> Any:
    import yaml  # 1 MiB and more, only for those who use a file

    try:
        return yaml.load(text, _loader())  # noqa: S506 (it is a SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise _wrong(at, f"it is not valid YAML{_where(error.problem_mark)}", "check that place") from None
    except yaml.YAMLError:
        raise _wrong(at, "it is not valid YAML", "check it with a YAML linter") from None
    # What PyYAML's constructors let through: dates that are none, `!!bool foo`, `!!int ""`, `!!timestamp x`.
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        raise _wrong(at, "it is not valid YAML: a value is not what its tag says", "put it in quotes") from None


def _loader() -> Any:
    import yaml  # 1 MiB and more, only for those who use a file

    class Loader(yaml.SafeLoader):
        """SafeLoader that refuses a key given twice (YAML 1.2, 3.2.1.3: keys are unique)."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 (its signature)
            seen: set[object] = set()
            for key, _ in node.value:
                if key.value in seen if isinstance(key, yaml.ScalarNode) else False:
                    raise yaml.constructor.ConstructorError(None, None, "a key given twice", key.start_mark)
                seen.add(getattr(key, "value", None) if isinstance(key, yaml.ScalarNode) else key)
            return super().construct_mapping(node, deep)

        def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
            if len(node.value) > _NUMBER_CHARACTERS:
                raise yaml.constructor.ConstructorError(None, None, "a number too long", node.start_mark)
            return int(super().construct_yaml_int(node))

    Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_yaml_int)
    return Loader


def _where(mark: Any) -> str:
    return f": line {mark.line + 1}, column {mark.column + 1}" if mark else ""


def _wrong(at: Problem, message: str, remedy: str) -> SettingsError:
    return SettingsError([replace(at, message=message, remedy=remedy)])
