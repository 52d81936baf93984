"""The settings file, and settings that are YAML texts: imported only when there is one (PyYAML costs memory that most
sidecars never need).

Exists apart because of two rules: an error may name line and column but never show the line (it can hold a secret),
and a key given twice is a mistake, not a choice.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from sidecars.runtime.errors import Problem, SettingsError


def read_mapping(path: str) -> dict[str, Any]:
    """Return the file's top-level mapping. Raise SettingsError when it cannot be read or is no mapping."""
    at = Problem("config", "", "", value=path)
    try:
        content = _load(Path(path).read_text(encoding="utf-8"), at)
    except OSError as error:
        raise _wrong(at, error.strerror or "it cannot be read", "check the path and the permissions") from None
    except UnicodeDecodeError as error:
        raise _wrong(at, f"byte {error.start} is not UTF-8", "save the file as UTF-8") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise _wrong(at, "it is not a mapping of settings", "write one `name: value` per line")
    return content


def read_yaml(text: str, field: str, source: str) -> Any:
    """Return what a YAML text (or JSON, which is YAML) holds. Raise SettingsError naming field and source."""
    return _load(text, Problem(field, "", "", source))


def _load(text: str, at: Problem) -> Any:
    import yaml  # 1 MiB and more, only for those who use a file

    try:
        return yaml.load(text, _loader())  # noqa: S506 (it is a SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise _wrong(at, f"it is not valid YAML{_where(error.problem_mark)}", "check that place") from None
    except (yaml.YAMLError, RecursionError, ValueError):  # the last: dates and numbers that are none
        raise _wrong(at, "it is not valid YAML", "check it with a YAML linter") from None


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

    return Loader


def _where(mark: Any) -> str:
    return f": line {mark.line + 1}, column {mark.column + 1}" if mark else ""


def _wrong(at: Problem, message: str, remedy: str) -> SettingsError:
    return SettingsError([replace(at, message=message, remedy=remedy)])
