"""The programs that judge manifests, and a reason where one cannot be had."""

import subprocess
from pathlib import Path

import pytest

from tests.conftest import GiveUp

from . import rendered

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def kustomize(without_server: GiveUp) -> None:
    """Asks for kustomize, alone or in kubectl."""
    if rendered.KUSTOMIZE is None:
        without_server("kustomize", "neither kubectl nor kustomize is on PATH (Debian has a package kustomize)")


@pytest.fixture(scope="session")
def tools() -> Path:
    """The folder of the programs of requirements/manifests.txt, an environment of its own."""
    folder = Path(".cache") / "venv-manifests"
    made = [ROOT / "scripts" / "bootstrap", folder, Path("requirements") / "manifests.txt"]
    subprocess.run(made, cwd=ROOT, check=True, capture_output=True, text=True)
    return ROOT / folder / "bin"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`path`: every manifest there is; folders are skipped without kustomize."""
    if "path" in metafunc.fixturenames:
        paths = [*rendered.FOLDERS, *rendered.EXAMPLES]
        metafunc.parametrize("path", paths, ids=[rendered.name_of(path) for path in paths])


@pytest.fixture
def manifest(path: Path, request: pytest.FixtureRequest) -> Path:
    """A manifest that can be rendered here."""
    if path.is_dir():
        request.getfixturevalue("kustomize")
    return path
