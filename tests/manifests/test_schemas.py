"""Every version of Kubernetes from 1.27 to 1.37 takes what we give it, strictly: no unknown field, no wrong type."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import run

from .rendered import EXAMPLES, FOLDERS, SHOWN, Object, is_native, manifest, shown

ALL = [f"1.{minor}" for minor in range(27, 38)]
NATIVE = [version for version in ALL if version != "1.27"]
"""restartPolicy of an init container came with 1.28 (KEP-753)."""


Answer = list[list[Any]]
"""Version, index of the object, complaint."""


def judge(tools: Path, *questions: tuple[list[str], list[Object]]) -> list[Answer]:
    """Return what the schemas say to each question: versions, and objects that they shall take."""
    asked = json.dumps([{"versions": versions, "objects": objects} for versions, objects in questions])
    done = run(tools / "python", Path(__file__).with_name("strict_schemas.py"), input=asked, check=True, timeout=600)
    return list(json.loads(done.stdout))


def distinct(paths: list[Path]) -> list[Object]:
    """Return the objects of all manifests, each once."""
    return list({json.dumps(found, sort_keys=True): found for path in paths for found in manifest(path)}.values())


def test_every_example_is_valid_in_every_version_and_what_is_not_valid_is_seen(tools: Path) -> None:
    objects = distinct(EXAMPLES)
    natives = [found for found in objects if is_native(found)]
    misspelt, mistyped = copy.deepcopy(objects[0]), copy.deepcopy(objects[0])
    misspelt["metadata"]["lables"] = {}
    mistyped["metadata"]["labels"] = {"replicas": 1}
    always, older, before, wrong = judge(
        tools,
        (NATIVE, objects),
        (["1.27"], [found for found in objects if not is_native(found)]),
        (["1.27"], natives),
        (NATIVE, [objects[0], misspelt, mistyped]),
    )
    assert always == older == []
    assert {index for _, index, _ in before} == set(range(len(natives)))
    assert all("'restartPolicy' was unexpected" in text for _, _, text in before)
    assert [index for _, index, _ in wrong] == [1, 2] * len(NATIVE)


@pytest.mark.usefixtures("kustomize")
def test_every_rendered_object_and_snippet_is_valid_in_every_version(tools: Path) -> None:
    objects, snippets = distinct(FOLDERS), [found for path in SHOWN for found in shown(path)]
    natives = [found for found in objects if is_native(found)]
    assert natives
    others = [found for found in objects if not is_native(found)]
    assert judge(tools, (ALL, others), (NATIVE, natives), (NATIVE, snippets)) == [[], [], []]
