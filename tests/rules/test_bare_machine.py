"""A machine with Python and nothing else: what cannot be run there is skipped, with the reason, and nothing fails."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BASICS = ("bash", "env", "git", "make", "sh")


def test_without_a_container_engine_the_tests_of_pods_are_skipped(tmp_path: Path) -> None:
    for program in BASICS:
        if found := shutil.which(program):
            (tmp_path / program).symlink_to(found)
    environment = {key: text for key, text in os.environ.items() if key != "SIDECARS_REQUIRE_SERVERS"}
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/pods"],
        cwd=ROOT,
        env={**environment, "PATH": str(tmp_path), "ELASTICSEARCH_URL": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-5000:]
    assert "needs a real docker" in ended.stdout
