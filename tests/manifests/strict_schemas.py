"""Holds objects against the schemas of Kubernetes versions; runs in the environment of requirements/manifests.txt.

Reads questions from stdin, [{"versions": [...], "objects": [...]}, ...], and writes the answer to each: a list of
[version, index of the object, what is wrong].
Not the program kubernetes-validate: that reads the schema, more than a megabyte, again for every object.
"""

import functools
import importlib
import json
import sys
from typing import Any


def complaints(versions: list[str], objects: list[dict[str, Any]]) -> list[tuple[str, int, str]]:
    """Every object that a version would not take."""
    found: Any = importlib.import_module("kubernetes_validate.utils")  # mypy runs where it is not installed
    if not hasattr(found.schema_contents, "cache_info"):
        found.schema_contents = functools.cache(found.schema_contents)
    said: list[tuple[str, int, str]] = []
    for version in versions:
        for index, item in enumerate(objects):
            try:
                found.validate(item, version, strict=True)
            except found.ValidationError as error:
                where = ".".join(str(part) for part in error.absolute_path)
                said.append((version, index, f"{where}: {error.message}"))
            except found.SchemaNotFoundError as error:
                said.append((version, index, error.message))
    return said


if __name__ == "__main__":
    json.dump([complaints(asked["versions"], asked["objects"]) for asked in json.load(sys.stdin)], sys.stdout)
