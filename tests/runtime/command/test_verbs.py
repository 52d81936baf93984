"""The command line: overview, verbs, help, schema, reference, and wrong names."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecars import __version__
from sidecars.__main__ import complaint, known_names, split, strays, usage
from tests.support.processes import ROOT, run, sidecar
from tests.support.toy_runs import ToyRun
from tests.support.toys import TOYS

Start = Callable[..., ToyRun]


def test_the_version_is_told() -> None:
    done = sidecar("--version")
    assert (done.returncode, done.stdout) == (0, f"sidecars {__version__}\n")


@pytest.mark.parametrize("name", ["log-shipper", "wait-for"])
def test_a_name_and_version_tell_the_version(name: str) -> None:
    """An image's entry point ends with the name, so this is what `docker run IMAGE --version` becomes."""
    done = sidecar(name, "--version")
    assert (done.returncode, done.stdout) == (0, sidecar("--version").stdout)


def test_the_overview_lists_every_sidecar_with_a_line() -> None:
    done = sidecar("--help")
    assert (done.returncode, done.stdout) == (0, usage() + "\n")
    for name in known_names():
        (line,) = [line for line in done.stdout.splitlines() if line.startswith(f"  {name} ")]
        assert line.removeprefix(f"  {name}").strip()


def test_help_for_several_is_the_overview_since_flags_are_those_of_one() -> None:
    done = sidecar("log-shipper", "config-reloader", "--help")
    assert (done.returncode, done.stdout) == (0, usage() + "\n")


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = sidecar("--help", stdout=writer, stderr=subprocess.PIPE)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


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


@pytest.mark.parametrize(
    ("words", "names", "rest"),
    [
        (["log-shipper"], ["log-shipper"], []),
        (["log-shipper", "x", "--", "log-shipper"], ["log-shipper"], ["x", "--", "log-shipper"]),
        (["log-shipper", "log-shipper", "--paths", "x"], ["log-shipper", "log-shipper"], ["--paths", "x"]),
        (["x", "log-shipper"], [], ["x", "log-shipper"]),
    ],
)
def test_the_names_end_at_the_first_word_that_is_none(words: list[str], names: list[str], rest: list[str]) -> None:
    assert split(words) == (names, rest)
    assert strays(rest) == [word for word in rest[:1] if word == "x"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["log-shipper", "log-shiper"], "cannot run log-shiper: there is no such sidecar; did you mean log-shipper?"),
        (["check", "log-shipper", "x"], "cannot run x: there is no such sidecar"),
        (["log-shipper", "log-shipper"], "cannot run log-shipper twice"),
        (["log-shipper", "--", "echo"], "it takes nothing after a lone --"),
        (["--paths", "/x"], "cannot run: name one sidecar"),
    ],
)
def test_words_that_a_sidecar_does_not_take_exit_2(words: list[str], expected: str) -> None:
    done = sidecar(*words)
    assert done.returncode == 2
    assert expected in done.stderr


def test_a_program_called_like_a_sidecar_runs_it(tmp_path: Path) -> None:
    program = tmp_path / "log-shipper"
    program.write_text("import sys\nfrom sidecars.__main__ import named\nsys.exit(named())\n", encoding="utf-8")
    done = run(sys.executable, program, "--help")
    assert (done.returncode, done.stdout.splitlines()[0].startswith("usage: sidecar log-shipper")) == (0, True)


@pytest.mark.parametrize(
    ("words", "same"),
    [
        (("help",), ("--help",)),
        (("help", "log-shipper"), ("log-shipper", "--help")),
        (("log-shipper", "help"), ("log-shipper", "--help")),
        (("check", "--help"), ("help", "check")),
        (("check", "log-shipper", "-h"), ("help", "check")),
        (("schema", "--help"), ("help", "schema")),
        (("log-shipper", "help", "check"), ("help", "check")),
        (("log-shipper", "schema"), ("schema", "log-shipper")),
        (("log-shipper", "schema", "log-shipper"), ("schema", "log-shipper")),
    ],
)
def test_help_and_verbs_are_found_where_people_look_for_them(words: tuple[str, ...], same: tuple[str, ...]) -> None:
    """An image's entry point ends with the name: `docker run IMAGE check log-shipper` becomes `log-shipper check
    log-shipper`.
    """
    done = sidecar(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == sidecar(*same).stdout != ""


@pytest.mark.parametrize("words", [("log-shipper", "check", "log-shipper"), ("log-shipper", "check")])
def test_an_entry_point_with_a_name_takes_check(words: tuple[str, ...]) -> None:
    done = sidecar(*words, "--paths", "/x/*.log", "--output", "stdout")
    assert done.stdout.startswith("ok: the settings of log-shipper can be used\n")


def test_a_verb_before_the_words_of_a_sidecar_is_a_verb() -> None:
    done = sidecar("wait-for", "check", "tcp://db:1", "--", "app", "--help")
    assert (done.returncode, done.stdout.partition("\n")[0]) == (0, "ok: the settings of wait-for can be used")


def test_the_help_of_check_says_where_its_flags_are() -> None:
    assert "sidecar NAME --help" in sidecar("help", "check").stdout


def test_a_sidecar_whose_extra_is_not_installed_names_it() -> None:
    without = "import sys; sys.modules['isal'] = None; from sidecars.__main__ import main; sys.exit(main())"
    for words in (("log-shipper",), ("check", "log-shipper"), ("log-shipper", "--help")):
        done = run(sys.executable, "-c", without, *words)
        assert done.returncode == 2
        assert done.stderr == (
            "cannot run log-shipper: it needs the package isal, which is not installed; "
            "pip install 'sidecars[log-shipper]' (in a clone: pip install '.[log-shipper]')\n"
        )


def test_the_overview_marks_what_is_not_installed(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "sidecars", tmp_path / "sidecars", ignore=shutil.ignore_patterns("__pycache__"))
    declared = tmp_path / "sidecars" / "log_shipper" / "sidecar.toml"
    declared.write_text(declared.read_text(encoding="utf-8").replace('"isal"', '"isal", "no-such-thing"'), "utf-8")
    done = sidecar("--help", cwd=tmp_path, variables={"PYTHONPATH": str(tmp_path)})
    marked = [line.strip() for line in done.stdout.splitlines() if "not installed" in line]
    assert marked == [
        "not installed (no-such-thing): pip install 'sidecars[log-shipper]' (in a clone: pip install '.[log-shipper]')"
    ]


def test_help_says_everything_about_each_setting(start: Start) -> None:
    run = start("idle", "--help")
    assert run.wait() == 0
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
    assert run.wait() == 2
    assert f"cannot use {flag} (from the command line): there is no such flag; did you mean {nearest}?" in run.stderr


@pytest.mark.parametrize(
    "words", [("--pasword", "hunter2"), ("--pasword=hunter2",), ("hunter2",), ("--url", "a", "hunter2")]
)
def test_words_beside_an_unknown_flag_are_not_repeated(start: Start, words: tuple[str, ...]) -> None:
    run = start("idle", *words)
    assert run.wait() == 2
    assert "hunter2" not in run.stderr + run.stdout


def test_a_flag_without_its_value_is_a_problem(start: Start) -> None:
    run = start("idle", "--queue")
    assert run.wait() == 2
    assert "cannot use the command line: argument --queue: expected one argument" in run.stderr


def test_flags_may_be_repeated_for_lists(start: Start) -> None:
    run = start("check", "idle", "--paths", "/a", "--paths=/b", "--loud", "false")
    assert run.wait() == 0


@pytest.mark.parametrize(("words", "status"), [((), 0), (("--loud",), 1), (("--queue", "0"), 2)])
def test_check_reports_and_starts_nothing(start: Start, words: tuple[str, ...], status: int) -> None:
    run = start("check", "idle", *words)
    assert run.wait() == status
    assert ("ok: the toy is there" in run.stdout) == (status < 2)
    assert ("error: too loud here" in run.stdout) == (status == 1)


@pytest.mark.parametrize("words", [("idle",), ("check", "idle"), ("idle", "--setup")])
def test_what_forbids_a_start_on_this_machine_is_said_by_the_start_and_by_check(
    start: Start, words: tuple[str, ...]
) -> None:
    run = start(*words, "--url", "/taken")
    assert (run.wait(), run.stderr) == (
        2,
        "cannot use url (from --url): somebody else is there; choose another one\n",
    )


@pytest.mark.parametrize("flag", ["--offline", "-offline"])
def test_check_asks_servers_unless_told_not_to(start: Start, flag: str) -> None:
    run = start("check", "idle", "--queue", "2")
    assert (run.wait(), "warning: the server of 2 is slow" in run.stdout) == (0, True)
    run = start("check", "idle", "--queue", "2", flag)
    assert (run.wait(), "the server" in run.stdout) == (0, False)
    assert start("idle", flag).wait() == 2


def test_the_schema_describes_the_file(start: Start) -> None:
    run = start("schema", "idle")
    assert run.wait() == 0
    schema = json.loads(run.stdout)
    assert schema["additionalProperties"] is False
    properties = schema["properties"]
    assert set(properties) == set(TOYS["idle"].settings.__struct_fields__)
    assert all("description" in described for described in properties.values())
    assert {"type": "string"} in properties["batch_bytes"]["anyOf"]
    assert properties["admin_port"]["maximum"] == 65535, "a bare new default keeps the bounds"
    assert "writeOnly" in json.dumps(properties["password"])


def test_the_reference_has_a_row_for_each_setting(start: Start) -> None:
    run = start("reference", "idle")
    assert run.wait() == 0
    rows = run.stdout.splitlines()[2:]
    assert {row.split("`")[1] for row in rows} == set(TOYS["idle"].settings.__struct_fields__)
    assert all(row.replace("\\|", "").count("|") == 6 for row in rows)
