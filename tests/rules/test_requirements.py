"""The locks install the same files everywhere: pinned, hashed, and without an address that only one network knows."""

import re
import tomllib
from pathlib import Path

import pytest

from sidecars.declaration import declarations

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
DECLARED = declarations()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TOOLS = {"manifests.txt"}
"""Locks of programs that judge the project and never run with it: they pin older versions of what it uses, so each has
an environment of its own.
"""
PIN = re.compile(r"^[a-z0-9][a-z0-9._-]*==[^\s;]+( ; .+)?$")
ADDRESS = re.compile(
    r"://"
    r"|\b[a-z0-9-]+(\.[a-z0-9-]+)*\.(com|org|net|io|dev|local|internal|corp|lan)\b"
    r"|\b\d+\.\d+\.\d+\.\d+(:\d+)?/"
    r"|^\s*(-i|-f|--(extra-)?index|--find|--trusted)"
)


def blocks(text: str) -> list[str]:
    """One string per requirement: the pin and, on the lines below it, its hashes; comments left out."""
    joined = text.replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def pins(lock: Path) -> dict[str, str]:
    found = (block.split("--hash")[0].split(";")[0].strip() for block in blocks(lock.read_text(encoding="utf-8")))
    return dict(pin.split("==") for pin in found)


def normal(requirement: str) -> str:
    """The name of a package without version and spelling."""
    return re.split(r"[\[<>=! ]", requirement)[0].lower().replace("_", "-")


def wanted(*extras: str) -> set[str]:
    """Names that pyproject.toml asks for: the base dependencies and those of the extras."""
    lines = PROJECT["dependencies"] + [line for extra in extras for line in PROJECT["optional-dependencies"][extra]]
    return {normal(line) for line in lines}


@pytest.mark.parametrize("name", DECLARED)
def test_a_sidecar_is_installed_as_it_declares(name: str) -> None:
    libraries = sorted(map(normal, DECLARED[name].libraries))
    extra = PROJECT["optional-dependencies"].get(name)
    assert extra is not None, f"below [project.optional-dependencies] of pyproject.toml add {name}, with {libraries}"
    assert sorted(map(normal, extra)) == libraries, f"the extra in pyproject.toml, and what {name} declares"
    assert PROJECT["scripts"].get(name) == "sidecars.__main__:named", f"add {name} below [project.scripts]"
    assert ROOT / "requirements" / f"{name}.txt" in LOCKS, "run `make lock`"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_requirement_is_pinned_and_hashed(lock: Path) -> None:
    for block in blocks(lock.read_text(encoding="utf-8")):
        pin, *hashes = re.split(r"\s+--hash=", block)
        assert PIN.match(pin.strip()), block[:80]
        assert hashes, f"no hash: {pin}"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value.strip()) for value in hashes), pin


@pytest.mark.parametrize("lock", [*LOCKS, *sorted((ROOT / "requirements").glob("*.in"))], ids=lambda lock: lock.name)
def test_no_requirement_names_an_address(lock: Path) -> None:
    for number, line in enumerate(lock.read_text(encoding="utf-8").splitlines(), 1):
        assert not ADDRESS.search(line), f"{lock.name}:{number}: {line}"


@pytest.mark.parametrize(
    "line", ["--index-url https://a.b/simple", "-i x", "pkg @ https://x/y.whl", "# from mirror.corp"]
)
def test_an_address_is_seen(line: str) -> None:
    assert ADDRESS.search(line)


def test_the_locks_hold_what_the_project_asks_for() -> None:
    assert wanted(*DECLARED, "otel", "dev") <= pins(ROOT / "requirements" / "dev.txt").keys()
    for name in DECLARED:
        assert wanted(name) <= pins(ROOT / "requirements" / f"{name}.txt").keys()


def test_an_image_runs_the_versions_that_were_tested() -> None:
    tested = pins(ROOT / "requirements" / "dev.txt")
    for lock in LOCKS:
        assert lock.name in TOOLS or pins(lock).items() <= tested.items(), lock.name


@pytest.mark.parametrize("name", DECLARED)
def test_an_image_gets_nothing_that_only_tests_or_other_sidecars_need(name: str) -> None:
    tests = {"httpx", "pytest", "cryptography", "setuptools", "opentelemetry-sdk", "elasticsearch"}
    others = {normal(library) for one in DECLARED.values() for library in one.libraries}
    unneeded = (tests | others) - set(map(normal, DECLARED[name].libraries))
    assert not unneeded & pins(ROOT / "requirements" / f"{name}.txt").keys()
