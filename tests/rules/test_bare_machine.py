"""A machine without a container engine: what cannot be run there is skipped, with the reason, and nothing fails."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = ("docker", "podman", "mvn")  # the last: the real Elasticsearch has nothing to do with it


def test_without_a_container_engine_the_tests_of_pods_are_skipped(tmp_path: Path) -> None:
    for folder in filter(os.path.isdir, os.environ["PATH"].split(os.pathsep)):
        for program in os.scandir(folder):
            with suppress(FileExistsError):  # the first one counts
                if not program.name.startswith(LEFT_OUT):
                    (tmp_path / program.name).symlink_to(program.path)
    environment = {key: text for key, text in os.environ.items() if key != "SIDECARS_REQUIRE_SERVERS"}
    asking = ("-k", "not engine_age and not parts")  # those have a pretended engine, or none
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *asking, "tests/pods"],
        cwd=ROOT,
        env={**environment, "PATH": str(tmp_path), "ELASTICSEARCH_URL": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-5000:]
    assert "needs a real docker" in ended.stdout
