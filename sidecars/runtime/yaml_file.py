"""The settings file: YAML, imported only when there is one (PyYAML costs memory that most sidecars never need).

Exists apart because of two rules: an error may name line and column but never show the line (it can hold a secret),
and a key given twice is a mistake, not a choice.
"""

from pathlib import Path
from typing import Any

from sidecars.runtime.errors import Problem, SettingsError


def read_mapping(path: str) -> dict[str, Any]:
    """Return the file's top-level mapping. Raise SettingsError when it cannot be read or is no mapping."""
    import yaml  # 1 MiB and more, only for those who use a file

    try:
        content = _load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise _problem(path, error.strerror or "it cannot be read", "check the path and the permissions") from None
    except UnicodeDecodeError as error:
        raise _problem(path, f"byte {error.start} is not UTF-8", "save the file as UTF-8") from None
    except yaml.MarkedYAMLError as error:
        raise _problem(path, f"it is not valid YAML{_where(error.problem_mark)}", "check that place") from None
    except (yaml.YAMLError, RecursionError, ValueError):  # the last: dates and numbers that are none
        raise _problem(path, "it is not valid YAML", "check the file with a YAML linter") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise _problem(path, "it is not a mapping of settings", "write one `name: value` per line")
    return content


def _load(text: str) -> Any:
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

    return yaml.load(text, Loader)  # noqa: S506 (Loader is a SafeLoader)


def _where(mark: Any) -> str:
    return f": line {mark.line + 1}, column {mark.column + 1}" if mark else ""


def _problem(path: str, message: str, remedy: str) -> SettingsError:
    return SettingsError([Problem("config", message, remedy, value=path)])
