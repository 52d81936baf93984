"""A sidecar is one folder: what it declares is what its code does, a declaration that cannot be used says why, and a
new sidecar gets its place on the command line, in packages, images, manifests, documents and tests by its declaration.
"""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sidecars.__main__ import find
from sidecars.declaration import DeclarationError, declaration, declarations
from sidecars.runtime.settings.fields import fields_of

ROOT = Path(__file__).resolve().parents[2]
DECLARED = declarations()
PLACES = {
    "logs": "/var/log/app",
    "config": "/config",
    "state": "/state",
    "backend": "http://elasticsearch:9200",
    "server": "db:5432",
}


@pytest.mark.parametrize("name", DECLARED)
def test_a_sidecar_is_what_it_declares(name: str) -> None:
    sidecar, declared = find(name), DECLARED[name]
    ports = [setting.default for setting in fields_of(sidecar.settings) if setting.name == "admin_port"]
    assert (sidecar.name, sidecar.prefix) == (name, declared.prefix)
    assert ports == ([declared.port] if declared.serves else []), "the default of admin_port is the declared port"
    sidecar.load(declared.variables(**PLACES))


GOOD = """
summary = "Do nothing"
port = 9199
[bars]
idle_mib = 45
[kubernetes]
variants = ["native", "ordinary"]
requests = {cpu = "10m", memory = "40Mi", ephemeral-storage = "10Mi"}
limits = {cpu = "200m", memory = "64Mi"}
[kubernetes.example]
TOY_LOG_LEVEL = "info"
"""
WRONG = {
    "no TOML": ("summary =", 'summary "', "cannot read .*sidecar.toml"),
    "a key that there is not": ("port = 9199", "prot = 9199", "unknown field `prot`"),
    "a type": ("9199", '"9199"', r"Expected `int`, got `str` - at `\$.port`"),
    "a key that is missing": ("idle_mib = 45", "", r"missing required field `idle_mib` - at `\$.bars`"),
    "a port": ("9199", "99199", "port is a number from 1 to 65535"),
    "a summary of sentences": ("Do nothing", "Do nothing.", "one line without a full stop"),
    "a sidecar without probes": ("port = 9199", "", "native and ordinary need a port"),
    "a way into a pod that there is not": ('"ordinary"', '"daemon"', "Invalid enum value 'daemon'"),
    "a state without a size": ("port = 9199", 'port = 9199\nstate = "/state"', "state needs kubernetes.state_size"),
    "half of a grace": ("[kubernetes.example]", "grace = {pod = 45}\n[kubernetes.example]", "kubernetes.grace"),
}


@pytest.mark.parametrize(("text", "instead", "complaint"), WRONG.values(), ids=WRONG.keys())
def test_a_declaration_that_cannot_be_used_says_why(text: str, instead: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    file = tmp_path / "toy" / "sidecar.toml"
    file.write_text(GOOD, encoding="utf-8")
    assert declaration("toy", tmp_path).port == 9199
    file.write_text(GOOD.replace(text, instead), encoding="utf-8")
    with pytest.raises(DeclarationError, match=complaint):
        declaration("toy", tmp_path)


def test_a_folder_that_cannot_be_a_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Toy").mkdir()
    (tmp_path / "Toy" / "sidecar.toml").write_text(GOOD, encoding="utf-8")
    with pytest.raises(DeclarationError, match="name the folder in lower case"):
        declaration("Toy", tmp_path)


TOY = {
    "__init__.py": '"""Do nothing, until it is stopped."""\n',
    "sidecar.toml": GOOD.lstrip(),
    "settings.py": '''"""What the toy can be told."""

from typing import Annotated

from msgspec import Meta

from sidecars.runtime import Settings


class ToySettings(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of the toy."""

    admin_port: Annotated[int, Meta(ge=0, le=65535, description="Port of the admin endpoint.")] = 9199
''',
    "agent.py": '''"""Wires the toy."""

from sidecars.runtime import Context, Sidecar

from .settings import ToySettings


async def main(settings: ToySettings, ctx: Context) -> None:
    """Serve until the stop."""
    del settings
    ctx.health.mark_started()
    await ctx.stop.wait()


SIDECAR = Sidecar(name="toy", settings=ToySettings, main=main)
''',
}
NOT_OURS = re.compile(r"\.(git|venv|cache|hypothesis|.*_cache)|build|__pycache__|.*\.egg-info")


def left_out(folder: str, names: list[str]) -> list[str]:
    """What the tools have made (images/build is a program)."""
    return [name for name in names if NOT_OURS.fullmatch(name) and Path(folder, name).is_dir()]


class Copy:
    """The tree with one more sidecar: a folder, an extra with its console script, a lock."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.copytree(ROOT, root, ignore=left_out)
        (root / ".venv").symlink_to(sys.prefix)
        (root / "sidecars" / "toy").mkdir()
        for name, text in TOY.items():
            (root / "sidecars" / "toy" / name).write_text(text, encoding="utf-8")
        project = (root / "pyproject.toml").read_text(encoding="utf-8")
        project = project.replace("[project.optional-dependencies]\n", "[project.optional-dependencies]\ntoy = []\n")
        project = project.replace("[project.scripts]\n", '[project.scripts]\ntoy = "sidecars.__main__:named"\n')
        (root / "pyproject.toml").write_text(project, encoding="utf-8")
        shutil.copy(root / "requirements" / "wait-for.txt", root / "requirements" / "toy.txt")

    def run(self, *words: str | Path) -> str:
        """Run a command in it and return what it says; AssertionError when it fails."""
        environment = {**os.environ, "PYTHONPATH": f"{self.root}"}
        done = subprocess.run(words, cwd=self.root, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
        return done.stdout

    def python(self, *words: str) -> str:
        return self.run(sys.executable, "-m", *words)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    made = Copy(tmp_path_factory.mktemp("toy") / "tree")
    made.python("scripts.k8s")
    made.python("scripts.docs")
    return made


def test_a_new_sidecar_is_on_the_command_line(copy: Copy) -> None:
    assert "  toy                Do nothing\n" in copy.python("sidecars", "--help")
    assert copy.python("sidecars", "check", "toy").startswith("ok: ")


def test_a_new_sidecar_is_packed_with_its_declaration(copy: Copy) -> None:
    made = copy.root / "build" / "own"
    copy.python("pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(made), ".")
    (wheel,) = made.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        assert {"sidecars/toy/agent.py", "sidecars/toy/sidecar.toml"} <= set(packed.namelist())
        (entries,) = [name for name in packed.namelist() if name.endswith("entry_points.txt")]
        assert "toy = sidecars.__main__:named" in packed.read(entries).decode()


def test_a_new_sidecar_has_an_image_and_a_lock(copy: Copy) -> None:
    assert "toy" in copy.run("images/build", "--list").split()
    assert "toy" in copy.run("images/wheels", "--list").split()
    dry = copy.run("make", "--dry-run", "lock", "test")
    (listed,) = (line for line in dry.splitlines() if line.startswith("for name in "))
    assert "toy" in listed.split(";")[0].split()
    assert ".cache/venv-toy" in dry


def test_a_new_sidecar_has_manifests_and_a_reference_page(copy: Copy) -> None:
    for path in ("k8s/toy", "k8s/toy/native", "k8s/toy/ordinary"):
        assert (copy.root / path / "kustomization.yaml").is_file()
    assert "TOY_ADMIN_PORT" in (copy.root / "docs" / "reference" / "toy.md").read_text(encoding="utf-8")


def test_a_new_sidecar_keeps_the_form_of_the_code(copy: Copy) -> None:
    copy.python("ruff", "check", "--quiet", "--no-cache", "sidecars/toy")
    copy.python("ruff", "format", "--quiet", "--no-cache", "--check", "sidecars/toy")
    copy.run(Path(sys.executable).parent / "lint-imports", "--no-logo", "--no-cache")


def test_a_new_sidecar_passes_the_tests_that_look_at_every_sidecar(copy: Copy) -> None:
    """Those of its packages, documents and manifests; its rows in memory and images are there."""
    of_rules = [f"tests/rules/test_{name}.py" for name in ("requirements", "documented")]
    of_manifests = [f"tests/manifests/test_{name}.py" for name in ("rendering", "containers", "settings")]
    quick = ("pytest", "-q", "-p", "no:cacheprovider", "-k", "toy or make_docs or make_k8s")
    copy.python(*quick, *of_rules, *of_manifests)
    rows = ("tests/rules/test_memory.py", "tests/pods/images/test_running.py", "tests/pods/images/test_signals.py")
    collected = copy.python("pytest", "-q", "-p", "no:cacheprovider", "--collect-only", "-k", "toy", *rows)
    assert collected.count("[toy]") >= 4
