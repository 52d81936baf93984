"""Every version of Kubernetes from 1.27 to 1.37 takes what we give it, strictly: no unknown field, no wrong type."""

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .rendered import EXAMPLES, FOLDERS, Object, is_native, manifest

ALL = [f"1.{minor}" for minor in range(27, 38)]
NATIVE = [version for version in ALL if version != "1.27"]
"""restartPolicy of an init container came with 1.28 (KEP-753)."""


def judge(tools: Path, versions: list[str], objects: list[Object]) -> list[list[Any]]:
    """What the schemas say: version, index of the object, complaint."""
    asked = json.dumps({"versions": versions, "objects": objects})
    script = Path(__file__).with_name("strict_schemas.py")
    done = subprocess.run([tools / "python", script], input=asked, capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout))


def distinct(paths: list[Path]) -> dict[str, Object]:
    """The objects of all manifests by their JSON, so that each is looked at once."""
    return {json.dumps(found, sort_keys=True): found for path in paths for found in manifest(path)}


@pytest.mark.usefixtures("kustomize")
def test_every_rendered_object_is_valid_in_every_version(tools: Path) -> None:
    objects = [found for found in distinct(FOLDERS).values() if not is_native(found)]
    assert judge(tools, ALL, objects) == []
    natives = [found for found in distinct(FOLDERS).values() if is_native(found)]
    assert natives
    assert judge(tools, NATIVE, natives) == []


def test_every_example_is_valid_in_every_version(tools: Path) -> None:
    objects = list(distinct(EXAMPLES).values())
    assert judge(tools, NATIVE, objects) == []
    assert judge(tools, ["1.27"], [found for found in objects if not is_native(found)]) == []


def test_before_native_sidecars_their_field_is_refused(tools: Path) -> None:
    natives = [found for found in distinct(EXAMPLES).values() if is_native(found)]
    said = judge(tools, ["1.27"], natives)
    assert {index for _, index, _ in said} == set(range(len(natives)))
    assert all("'restartPolicy' was unexpected" in text for _, _, text in said)


def test_a_misspelt_field_and_a_wrong_type_are_seen(tools: Path) -> None:
    good = manifest(EXAMPLES[0])[0]
    misspelt, mistyped = copy.deepcopy(good), copy.deepcopy(good)
    misspelt["metadata"]["lables"] = {}
    mistyped["metadata"]["labels"] = {"replicas": 1}
    assert [index for _, index, _ in judge(tools, NATIVE, [good, misspelt, mistyped])] == [1, 2] * len(NATIVE)
