"""The command line: overview, verbs, help, schema, reference, and wrong names."""

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from sidecars import __version__
from sidecars.__main__ import complaint, known_names, usage
from tests.support.toy_runs import ROOT, ToyRun
from tests.support.toys import TOYS

Start = Callable[..., ToyRun]


def sidecar(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sidecars", *words], capture_output=True, text=True, check=False, cwd=ROOT
    )


def test_the_version_is_told() -> None:
    done = sidecar("--version")
    assert (done.returncode, done.stdout) == (0, f"sidecars {__version__}\n")


def test_the_overview_lists_every_sidecar_with_a_line() -> None:
    done = sidecar("--help")
    assert (done.returncode, done.stdout) == (0, usage() + "\n")
    for name in known_names():
        (line,) = [line for line in done.stdout.splitlines() if line.startswith(f"  {name} ")]
        assert line.removeprefix(f"  {name}").strip()


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "sidecars", "--help"], stdout=writer, stderr=subprocess.PIPE, check=False, cwd=ROOT
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_no_command_shows_the_overview_and_fails() -> None:
    assert sidecar().returncode == 2


def test_an_unknown_sidecar_exits_2_and_lists_or_suggests() -> None:
    done = sidecar("no-such-thing-at-all")
    assert done.returncode == 2
    assert done.stderr.startswith("cannot run no-such-thing-at-all: there is no such sidecar; ")


def test_a_misspelt_verb_is_suggested() -> None:
    assert complaint("", ["chekc"]).endswith("did you mean check?")


def test_a_verb_wants_one_name() -> None:
    assert complaint("schema", []).startswith("cannot schema: name one sidecar")


def test_help_says_everything_about_each_setting(start: Start) -> None:
    run = start("idle", "--help")
    assert run.status() == 0
    for words in (
        "Serve until the stop",
        "--batch-bytes  (bytes, or 64KiB",
        "default 1MiB",
        "IDLE_BATCH_BYTES",
        "--setup",
    ):
        assert words in run.stdout
    assert "Exit status:" in run.stdout


@pytest.mark.parametrize(("flag", "nearest"), [("--bach-bytes", "--batch-bytes"), ("--setpu", "--setup")])
def test_an_unknown_flag_is_named_with_the_nearest(start: Start, flag: str, nearest: str) -> None:
    run = start("idle", flag, "1024")
    assert run.status() == 2
    assert f"cannot use {flag} (from the command line): there is no such flag; did you mean {nearest}?" in run.stderr


@pytest.mark.parametrize(
    "words", [("--pasword", "hunter2"), ("--pasword=hunter2",), ("hunter2",), ("--url", "a", "hunter2")]
)
def test_words_beside_an_unknown_flag_are_not_repeated(start: Start, words: tuple[str, ...]) -> None:
    run = start("idle", *words)
    assert run.status() == 2
    assert "hunter2" not in run.stderr + run.stdout


def test_a_flag_without_its_value_is_a_problem(start: Start) -> None:
    run = start("idle", "--queue")
    assert run.status() == 2
    assert "cannot use the command line: argument --queue: expected one argument" in run.stderr


def test_flags_may_be_repeated_for_lists(start: Start) -> None:
    run = start("check", "idle", "--paths", "/a", "--paths=/b", "--loud", "false")
    assert run.status() == 0


@pytest.mark.parametrize(("words", "status"), [((), 0), (("--loud",), 1), (("--queue", "0"), 2)])
def test_check_reports_and_starts_nothing(start: Start, words: tuple[str, ...], status: int) -> None:
    run = start("check", "idle", *words)
    assert run.status() == status
    assert ("ok: the toy is there" in run.stdout) == (status < 2)
    assert ("error: too loud here" in run.stdout) == (status == 1)


def test_the_schema_describes_the_file(start: Start) -> None:
    run = start("schema", "idle")
    assert run.status() == 0
    schema = json.loads(run.stdout)
    assert schema["additionalProperties"] is False
    properties = schema["properties"]
    assert set(properties) == set(TOYS["idle"].settings.__struct_fields__)
    assert all("description" in described for described in properties.values())
    assert {"type": "string"} in properties["batch_bytes"]["anyOf"]
    assert "writeOnly" in json.dumps(properties["password"])


def test_the_reference_has_a_row_for_each_setting(start: Start) -> None:
    run = start("reference", "idle")
    assert run.status() == 0
    rows = run.stdout.splitlines()[2:]
    assert {row.split("`")[1] for row in rows} == set(TOYS["idle"].settings.__struct_fields__)
    assert all(row.replace("\\|", "").count("|") == 6 for row in rows)
