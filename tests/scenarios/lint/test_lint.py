"""`sidecar lint` as people run it: on the manifests of tutorials, on what cannot be read, and in its formats."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecars.lint.core.rules import BY_ID
from tests.support.processes import SIDECARS, environment

TUTORIALS = sorted((Path(__file__).parent / "tutorials").glob("*.yaml"))
BAD = """kind: Job
metadata: {name: report}
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: report
          image: report:1
        # the shipper
        - name: logs
          image: fluent/fluent-bit:3.1 # small

      volumes: []
"""


def lint(*words: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [*SIDECARS, "lint", *map(str, words)]
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=120, check=False, env=environment()
    )


def found(*words: str | Path, stdin: str = "") -> Any:
    return json.loads(lint("--format", "json", *words, stdin=stdin).stdout)


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_every_anti_pattern_of_a_tutorial_is_found_and_none_invented(path: Path) -> None:
    expected = re.findall(
        r"[a-z-]+", " ".join(re.findall("^# finds:(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE))
    )
    assert sorted({one["rule"] for one in found(path)["findings"]}) == sorted(expected)


def test_a_finding_names_file_line_object_reason_and_fix() -> None:
    done = lint("--only", "job-never-ends", "-", stdin=BAD)
    assert done.returncode == 1
    why = [line for line in done.stdout.splitlines() if line.startswith("  why: A Job is done when all")]
    assert done.stdout.splitlines() == [
        "error An ordinary sidecar keeps a Job running [job-never-ends]",
        (
            "  standard input:11:11: the Job never ends: ordinary sidecar logs (fluent-bit) runs on after the app "
            "(Job/report)"
        ),
        "     11 |         - name: logs",
        *why,
        f"  fix: {BY_ID['job-never-ends'].fix}",
        "",
        "1 file, 1 pod: 1 error; 1 can be fixed with --fix",
    ]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["--fail-on", "error"], 1),
        (["--fail-on", "never"], 0),
        (["--ignore", "job-never-ends", "--fail-on", "error"], 0),
        (["--only", "no-cpu-limit"], 0),
        (["--only", "no-cpu-limit", "--fail-on", "info"], 1),
        (["--only", "no-such-rule"], 2),
    ],
    ids=str,
)
def test_the_exit_status_follows_the_severity_that_is_chosen(words: list[str], status: int) -> None:
    assert lint(*words, "-", stdin=BAD).returncode == status


def test_a_fix_moves_the_sidecar_with_its_comment_and_changes_no_other_line() -> None:
    done = lint("--only", "job-never-ends", "--fix", "-", stdin=BAD)
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == "1 file, 1 pod: nothing found; 1 fix written"
    assert (
        done.stdout
        == """kind: Job
metadata: {name: report}
spec:
  template:
    spec:
      restartPolicy: Never
      initContainers:
        # the shipper
        - name: logs
          image: fluent/fluent-bit:3.1 # small
          restartPolicy: Always
      containers:
        - name: report
          image: report:1

      volumes: []
"""
    )


FORMS = {
    "an empty mapping": (
        "kind: Pod\nspec:\n  containers:\n  - name: a\n    securityContext:\n",
        "kind: Pod\nspec:\n  containers:\n  - name: a\n    securityContext: {allowPrivilegeEscalation: false}\n",
    ),
    "line breaks of Windows": (
        "kind: Pod\r\nspec:\r\n  containers:\r\n  - name: a",
        (
            "kind: Pod\r\nspec:\r\n  containers:\r\n  - name: a\r\n"
            "    securityContext: {allowPrivilegeEscalation: false}\r\n"
        ),
    ),
    "JSON": (
        '{"kind": "Pod", "spec": {"containers": [{"name": "a"}]}}',
        (
            '{"kind": "Pod", "spec": {"containers": '
            '[{"securityContext": {"allowPrivilegeEscalation": false}, "name": "a"}]}}'
        ),
    ),
    "a merge key": (
        "x: &x {securityContext: {runAsUser: 5}}\nkind: Pod\nspec: {containers: [{<<: *x, name: a}]}\n",
        (
            "x: &x {securityContext: {allowPrivilegeEscalation: false, runAsUser: 5}}\n"
            "kind: Pod\nspec: {containers: [{<<: *x, name: a}]}\n"
        ),
    ),
    "an alias, whose text stands elsewhere": (
        (
            "x: &x {preStop: {exec: {command: [kill, '1']}}}\nkind: Pod\nspec:\n  initContainers:\n"
            "  - name: e\n    restartPolicy: Always\n    securityContext: {allowPrivilegeEscalation: false}\n"
            "    lifecycle: *x\n  containers: [{name: a, securityContext: {allowPrivilegeEscalation: false}}]\n"
        ),
        None,
    ),
}


@pytest.mark.parametrize(("text", "fixed"), FORMS.values(), ids=FORMS)
def test_a_fix_keeps_the_form_of_the_file_or_is_left_out(text: str, fixed: str | None, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(text.encode())
    lint("--only", "privilege-escalation,pre-stop-ends-sidecar", "--fix", file)
    assert file.read_bytes().decode() == (fixed or text)


def test_fixed_tutorials_have_nothing_left_that_can_be_fixed_and_stay_what_they_were(tmp_path: Path) -> None:
    for path in TUTORIALS:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    fixed = found("--fix", tmp_path)
    assert fixed["fixed"] > 20
    assert [one["rule"] for one in fixed["findings"] if one["fixable"]] == []
    assert found("--fix", tmp_path)["fixed"] == 0
    for path in TUTORIALS:
        before, after = path.read_text(encoding="utf-8"), (tmp_path / path.name).read_text(encoding="utf-8")
        assert len(list(yaml.safe_load_all(before))) == len(list(yaml.safe_load_all(after)))
        kept = re.compile(r"preStop|lifecycle|exec:|command: \[sh, -c, \"sleep 5|emptyDir|image: .*\}$|containers: \[")
        assert [line for line in before.splitlines() if line not in after and not kept.search(line)] == [], path


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"a: [1", "line 2 is not valid YAML"),
        (b"image: {{ .Values.image }}:x", "it looks like a Helm template"),
        (b"a: \xff", "byte 3 is not UTF-8"),
        (b"? {a: 1}\n: b\n", "is not valid YAML"),
        (None, "No such file or directory"),
    ],
)
def test_what_cannot_be_read_is_named_and_the_other_files_are_looked_at(
    content: bytes | None, complaint: str, tmp_path: Path
) -> None:
    bad, good = tmp_path / "bad.yaml", tmp_path / "good.yaml"
    if content is not None:
        bad.write_bytes(content)
    good.write_text(BAD, encoding="utf-8")
    done = lint("--only", "job-never-ends", bad, good)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert f"{bad}" in done.stderr
    assert "good.yaml:11:11" in done.stdout


def test_nothing_to_look_at_says_so(tmp_path: Path) -> None:
    assert "name manifests, a folder, or - for standard input" in lint().stderr
    assert "cannot find a manifest" in lint(tmp_path).stderr
    done = lint("-", stdin="kind: ConfigMap\n")
    assert (done.returncode, "there is no pod in what was read" in done.stdout) == (0, True)


def test_a_comment_with_a_reason_suppresses_and_is_counted(tmp_path: Path) -> None:
    text = BAD.replace("# the shipper", "# sidecar-lint: ignore job-never-ends: it ends with the app, by its flag")
    assert found("--only", "job-never-ends", "-", stdin=text)["suppressed"][0]["reason"].startswith("it ends with")
    file = tmp_path / "a.yaml"
    file.write_text(text.replace(": it ends", " it ends"), encoding="utf-8")
    assert {one["rule"] for one in found(file)["findings"]} >= {"job-never-ends", "suppression-unusable"}


def test_sarif_names_files_as_they_lie_in_the_repository() -> None:
    run = json.loads(lint("--format", "sarif", TUTORIALS[0].resolve()).stdout)["runs"][0]
    file = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert file == f"tests/scenarios/lint/tutorials/{TUTORIALS[0].name}"


def test_sarif_and_github_name_the_same_places(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(BAD, encoding="utf-8")
    run = json.loads(lint("--format", "sarif", file).stdout)["runs"][0]
    plain = found(file)["findings"]
    rules = run["tool"]["driver"]["rules"]
    assert [
        (rules[one["ruleIndex"]]["id"], one["locations"][0]["physicalLocation"]["region"]["startLine"])
        for one in run["results"]
    ] == [(one["rule"], one["line"]) for one in plain]
    lines = lint("--format", "github", file).stdout.splitlines()
    assert f"::error file={file},line=11,col=11,title=job-never-ends::the Job never ends" in "\n".join(lines)
    assert len(lines) == len(plain) + 1


def test_help_and_reference_know_it() -> None:
    assert "--most-sidecars" in lint("--help").stdout
    overview = subprocess.run([*SIDECARS], capture_output=True, text=True, check=False, env=environment())
    assert "lint " in overview.stdout + overview.stderr
