"""What other people's checkers find: nothing, but for what checkov.yaml names with a reason."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from sidecars.lint.core.inspect import ALL_RULES, inspect
from sidecars.lint.core.rule import Options

from .rendered import EXAMPLES, FOLDERS, ROOT, manifest, name_of

BAD = """
apiVersion: v1
kind: Pod
metadata: {name: bad}
spec:
  initContainers:
    - {name: sidecar, image: a, restartPolicy: Always, securityContext: {privileged: true}}
  containers: [{name: app, image: b}]
"""


@pytest.mark.usefixtures("kustomize")
def test_checkov_finds_nothing_in_ours_and_much_in_a_bad_pod(tools: Path, tmp_path: Path) -> None:
    for path in [*FOLDERS, *EXAMPLES]:
        file = tmp_path / (name_of(path).replace("/", "_").removesuffix(".yaml") + ".yaml")
        file.write_text(yaml.safe_dump_all(manifest(path)), encoding="utf-8")
    (tmp_path / "bad.yaml").write_text(BAD, encoding="utf-8")
    options = ["--framework", "kubernetes", "--skip-download", "--compact", "--output", "json"]
    command: list[str | Path] = [
        tools / "checkov",
        "-d",
        tmp_path,
        "--config-file",
        Path(__file__).with_name("checkov.yaml"),
        *options,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    said = json.loads(done.stdout)
    found = {(one["file_path"], one["check_id"], one["resource"]) for one in said["results"]["failed_checks"]}
    ours = sorted(where for where in found if where[0] != "/bad.yaml")
    assert not ours, "\n".join(map(str, ours))
    assert {"CKV_K8S_16", "CKV_K8S_20", "CKV_K8S_8", "CKV_K8S_13"} <= {check for _, check, _ in found}
    seen = {one["file_path"] for one in said["results"]["passed_checks"]}
    assert len(seen) == len([*FOLDERS, *EXAMPLES]) + 1, f"checkov did not read every file: {seen}"


@pytest.mark.usefixtures("kustomize")
def test_our_own_lint_finds_nothing_in_ours() -> None:
    for path in [*FOLDERS, *EXAMPLES]:
        found = [inspect(one, ALL_RULES, Options(), lambda _path: ()) for one in manifest(path)]
        assert [one.hit.message for each in found for one in each.diagnostics] == [], path


def test_hadolint_finds_nothing_in_our_dockerfiles(tools: Path) -> None:
    files = [path for folder in ("images", "k8s") for path in sorted((ROOT / folder).rglob("*Dockerfile*"))]
    assert len(files) >= 2
    done = subprocess.run([tools / "hadolint", *files], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout


def test_hadolint_sees(tools: Path, tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text("FROM debian\nRUN apt-get install python3\n", encoding="utf-8")
    done = subprocess.run([tools / "hadolint", file], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "DL3006" in done.stdout
