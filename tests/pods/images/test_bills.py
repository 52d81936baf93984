"""The bill of materials in each image: valid CycloneDX, and exactly what is there, in the versions that are locked."""

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.pods.images.rows import DECLARED, ROWS
from tests.pods.images.test_contents import files
from tests.support.engine import docker, image
from tests.support.processes import ROOT

NAMES = [row.name for row in ROWS] + ["devstack", "pause"]
each = pytest.mark.parametrize("name", NAMES)
pytestmark = pytest.mark.usefixtures("lab")  # skips where there is no engine, or no image
# With the tools of requirements/manifests.txt: the library comes along with checkov.
VALIDATE = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(sys.stdin.read())
sys.exit(str(error) if error else 0)
"""


def bill(name: str) -> str:
    made = docker("create", image(name))
    try:
        archive = subprocess.run(
            ["docker", "cp", f"{made}:/usr/share/sbom/{name}.cdx.json", "-"], capture_output=True, check=True
        ).stdout
    finally:
        docker("rm", made)
    return archive[512:].rstrip(b"\0").decode()  # a tar of one file: its header is 512 bytes


def listed(name: str, kind: str) -> Mapping[str, str]:
    """Name -> version of the components of one kind (pypi, deb)."""
    parts = json.loads(bill(name))["components"]
    return {part["name"]: part["version"] for part in parts if part["purl"].startswith(f"pkg:{kind}/")}


@each
def test_it_is_valid(name: str) -> None:
    folder = Path(".cache") / "venv-manifests"
    made = [ROOT / "scripts" / "bootstrap", folder, Path("requirements") / "manifests.txt"]
    subprocess.run(made, cwd=ROOT, check=True, capture_output=True, text=True)
    done = subprocess.run(
        [ROOT / folder / "bin" / "python", "-W", "ignore", "-c", VALIDATE],
        input=bill(name),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@each
def test_it_lists_the_wheels_and_the_packages_that_are_there(name: str) -> None:
    wheels = {
        found[1].lower(): found[2]
        for path in files(name)
        if (found := re.search(r"/([^/]+)-([^/-]+)\.dist-info$", path))
    }
    assert {key.lower().replace("-", "_"): text for key, text in listed(name, "pypi").items()} == {
        key.replace("-", "_"): text for key, text in wheels.items()
    }
    records = {path.rpartition("/")[2] for path in files(name) if re.search(r"/dpkg/status\.d/.+", path)}
    assert set(listed(name, "deb")) == records
    assert {"libc6", "ca-certificates"} <= records or not records  # none where the base is not Debian's


@pytest.mark.parametrize("name", DECLARED)
def test_the_versions_are_the_locked_ones(name: str) -> None:
    lock = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    pins = {key.replace("-", "_"): text for key, text in re.findall(r"^([a-z0-9._-]+)==([^\s;]+)", lock, re.MULTILINE)}
    found = {key.lower().replace("-", "_"): text for key, text in listed(name, "pypi").items()}
    assert found.pop("sidecars")
    assert found.items() <= pins.items()
