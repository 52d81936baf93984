"""Who may import whom, and which module may use what.

import-linter (contracts in pyproject.toml) sees packages; this file adds what it cannot see: parts of a library (the
OpenTelemetry SDK lives in the same namespace as its API), libraries that nobody allowed, and names such as os.environ
with their one home.
"""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BASE = {"aiohttp", "msgspec", "prometheus_client", "opentelemetry"}
SDK = ("opentelemetry.sdk", "opentelemetry.exporter")
SDK_HOME = "sidecars/runtime/observe/tracing.py"

# What may be used in which files only. Ruff bans the same names while code is written, but by folder, not by file.
HOMES: dict[str, set[str]] = {
    "os.environ": {"sidecars/runtime/settings/environment.py"},
    "os.getenv": {"sidecars/runtime/settings/environment.py"},
    "os.environb": {"sidecars/runtime/settings/environment.py"},
    "asyncio.sleep": {"sidecars/runtime/stop.py"},
    "time.sleep": set(),
    "time.time": {"sidecars/runtime/clock.py"},
    "time.monotonic": {"sidecars/runtime/clock.py"},
}
FOLDER_OF_TASKS = "sidecars/runtime/"
OUTSIDE = "sidecars/devstack/"  # servers for tests and demo, never deployed


def sources() -> list[Path]:
    return sorted(path.relative_to(ROOT) for path in (ROOT / "sidecars").rglob("*.py"))


def contract_libraries() -> set[str]:
    """Libraries that have a home in the import contracts."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    homes = [line for contract in contracts for line in contract.get("ignore_imports", [])]
    return {line.rpartition(" -> ")[2] for line in homes}


def imports(tree: ast.Module) -> Iterator[str]:
    """Every imported module by its full name, also inside functions and under TYPE_CHECKING."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield from (f"{node.module}.{name.name}" for name in node.names)


def import_findings(path: str, tree: ast.Module) -> Iterator[str]:
    known = BASE | contract_libraries() | {"sidecars"} | sys.stdlib_module_names
    for name in imports(tree):
        if name.partition(".")[0] not in known:
            yield f"{path} imports {name}, which has no home in the import contracts"
        if name.startswith(SDK) and path != SDK_HOME:
            yield f"{path} imports {name}; only {SDK_HOME} may, when an endpoint is configured"


def use_findings(path: str, tree: ast.Module) -> Iterator[str]:
    names = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)} | set(imports(tree))
    for name in sorted(names & HOMES.keys()):
        if path not in HOMES[name] and not path.startswith(OUTSIDE):
            yield f"{path} uses {name}; {' or '.join(HOMES[name]) or 'nobody'} may"
    tasks = {"asyncio.create_task", "asyncio.ensure_future"}
    if names & tasks and not path.startswith((FOLDER_OF_TASKS, OUTSIDE)):
        yield f"{path} makes a task that nobody owns; use a TaskGroup or {FOLDER_OF_TASKS}tasks.py"


def findings(path: str, text: str) -> list[str]:
    tree = ast.parse(text)
    return [*import_findings(path, tree), *use_findings(path, tree)]


def test_the_import_contracts_hold() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    outcome = subprocess.run([linter, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_every_library_and_every_banned_name_stays_in_its_home() -> None:
    found = [
        line for path in sources() for line in findings(path.as_posix(), (ROOT / path).read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


BAD = {
    "a library without a home": "import httpx",
    "an import inside a function": "def f() -> None:\n    from anyio import run",
    "the SDK outside tracing": "from opentelemetry.sdk.trace import TracerProvider",
    "the SDK by its parent": "from opentelemetry import sdk",
    "the environment": "import os\nos.environ['A']",
    "the environment by name": "from os import environ",
    "a plain sleep": "import asyncio\nasync def f() -> None:\n    await asyncio.sleep(1)",
    "the clock": "import time\nnow = time.time()",
    "a task of nobody": "import asyncio\nasyncio.create_task(f())",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_the_check_sees(text: str) -> None:
    assert findings("sidecars/log_shipper/agent.py", text)


GOOD = {
    "the base libraries": ("sidecars/log_shipper/agent.py", "import aiohttp\nfrom opentelemetry import trace"),
    "the SDK in its home": (SDK_HOME, "from opentelemetry.sdk.trace import TracerProvider"),
    "the environment in its home": ("sidecars/runtime/settings/environment.py", "import os\nos.environ['A']"),
    "a library in the contracts": ("sidecars/log_shipper/sending/elastic.py", "import isal"),
}


@pytest.mark.parametrize(("path", "text"), GOOD.values(), ids=GOOD.keys())
def test_the_check_allows(path: str, text: str) -> None:
    assert findings(path, text) == []
