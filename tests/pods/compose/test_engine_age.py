"""An engine that is too old, or fails half-way: said at once with the remedy, and nothing of it stays."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
OLD, NEW = ("1.41", "20.10.24+dfsg1"), ("1.45", "26.1.5+dfsg1")
# Answers as docker does, and notes what it is asked. `up` fails after it has made a network, as for a port in use.
DOCKER = """\
#!{shell}
echo "$*" >>"{folder}/asked"
case "$*" in
  *"version --format"*APIVersion*" "*) echo "{api} {engine}" ;;
  *"version --format"*APIVersion*) echo "{api}" ;;
  *"version --format"*) echo "{engine}" ;;
  *"compose version"*) echo "{compose}" ;;
  *" config --format json"*) echo '{{"services": {{"elasticsearch": {{"image": "elasticsearch:9"}}}}}}' ;;
  *" up "*) : >"{folder}/network"; echo "port is already allocated" >&2; exit 1 ;;
  *" down "*) rm "{folder}/network" ;;
  "network ls"*) [ ! -e "{folder}/network" ] || echo net ;;
  *" logs "*) echo "app-1  | it said this" ;;
esac
"""


def engine(folder: Path, age: tuple[str, str], compose: str = "2.26.1") -> dict[str, str]:
    """The environment with such a docker before all others."""
    program = folder / "docker"
    shell = shutil.which("sh")
    program.write_text(DOCKER.format(shell=shell, folder=folder, api=age[0], engine=age[1], compose=compose))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "NO_INSTALL": "1"}


def run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)


def devstack(*words: str) -> list[str]:
    return [sys.executable, "-m", "sidecars.devstack", *words]


COMMANDS = {
    "make images": (["scripts/engine"], 1),
    "make compose-demo": (devstack("compose", "up"), 2),
    "make tour": (devstack("tour"), 2),
}
TOO_OLD = {
    "engine": (OLD, "2.26.1", ("Docker Engine 20.10.24+dfsg1", "25 or newer is needed", "Debian")),
    "compose": (NEW, "2.17.3", ("Docker Compose 2.17.3", "2.20 or newer")),
}


@pytest.mark.parametrize(("command", "status"), COMMANDS.values(), ids=COMMANDS.keys())
@pytest.mark.parametrize(("age", "compose", "said"), TOO_OLD.values(), ids=TOO_OLD.keys())
def test_what_is_too_old_is_refused_at_once_with_the_remedy(
    command: list[str], status: int, age: tuple[str, str], compose: str, said: tuple[str, ...], tmp_path: Path
) -> None:
    ended = run(command, engine(tmp_path, age, compose))
    assert ended.returncode == status, ended.stderr
    assert [words for words in said if words not in ended.stderr] == []
    asked = (tmp_path / "asked").read_text(encoding="utf-8")
    assert not {" up ", " pull ", " build "} & set(asked.splitlines())


@pytest.mark.parametrize("compose", ["2.26.1-4", "v2.40.0", "5.0.1"])
def test_what_is_new_enough_is_used(compose: str, tmp_path: Path) -> None:
    assert run(["scripts/engine"], engine(tmp_path, NEW, compose)).returncode == 0


def test_a_demo_that_cannot_be_started_leaves_nothing_behind(tmp_path: Path) -> None:
    project = f"sidecars-test-{os.getpid()}"
    try:
        ended = run(devstack("compose", "up", "--local", "--project", project), engine(tmp_path, NEW))
    finally:
        shutil.rmtree(ROOT / ".cache" / "compose" / project, ignore_errors=True)
    assert ended.returncode == 2
    for words in ("port is already allocated", "it said this", "everything that was begun is removed"):
        assert words in ended.stderr
    assert not (tmp_path / "network").exists()
