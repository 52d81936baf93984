"""The command line: overview, verbs, help, schema, reference, and wrong names."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from sidecars import __version__
from sidecars.__main__ import complaint, help_for, known_names, split, strays, usage, verb_of, verb_usage
from tests.runtime.conftest import Start
from tests.support.processes import ROOT, run, sidecar
from tests.support.toys import TOYS

OVERVIEW, OF_CHECK = usage(), verb_usage("check")


@pytest.mark.parametrize("words", [(), ("log-shipper",)])
def test_the_version_is_told_also_behind_the_name_that_an_entry_point_ends_with(words: tuple[str, ...]) -> None:
    done = sidecar(*words, "--version")
    assert (done.returncode, done.stdout) == (0, f"sidecars {__version__}\n")


def test_the_overview_lists_every_sidecar_with_a_line() -> None:
    assert [sidecar(*words).stdout for words in (["--help"], [])] == [OVERVIEW + "\n"] * 2
    for name in known_names():
        (line,) = [line for line in OVERVIEW.splitlines() if line.startswith(f"  {name} ")]
        assert line.removeprefix(f"  {name}").strip()


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
    ("verb", "names", "expected"),
    [
        ("", ["no-such-thing-at-all"], "cannot run no-such-thing-at-all: there is no such sidecar; "),
        ("", ["chekc"], "cannot run chekc: there is no such sidecar; did you mean check?"),
        ("schema", [], "cannot schema: name one sidecar, as in `sidecar schema "),
        ("check", ["log-shipper", "wait-for"], "cannot check: name one sidecar"),
        ("", ["log-shipper", "log-shipper"], "cannot run log-shipper twice in one process"),
    ],
)
def test_names_that_cannot_be_used_are_told_with_the_remedy(verb: str, names: list[str], expected: str) -> None:
    assert complaint(verb, names).startswith(expected)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["log-shipper", "log-shiper"], "cannot run log-shiper: there is no such sidecar; did you mean log-shipper?"),
        (["check", "log-shipper", "x"], "cannot run x: there is no such sidecar"),
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
    ("words", "expected"),
    [
        (["help"], OVERVIEW),
        (["log-shipper", "config-reloader", "--help"], OVERVIEW),  # flags are those of one
        (["check", "--help"], OF_CHECK),
        (["check", "log-shipper", "-h"], OF_CHECK),
        (["help", "check"], OF_CHECK),
        (["log-shipper", "help", "check"], OF_CHECK),
        (["schema", "--help"], verb_usage("schema")),
        (["wait-for", "check", "tcp://db:1", "--", "app", "--help"], None),
        (["log-shipper", "help"], None),
    ],
)
def test_help_is_found_where_people_look_for_it(words: list[str], expected: str | None) -> None:
    """An image's entry point ends with the name: `docker run IMAGE help check` becomes `log-shipper help check`."""
    assert help_for(*verb_of(words)) == expected


@pytest.mark.parametrize(
    ("words", "verb", "about"),
    [
        (["log-shipper", "schema"], "schema", ["log-shipper"]),
        (["log-shipper", "schema", "log-shipper"], "schema", ["log-shipper"]),
        (["log-shipper", "help"], "help", ["log-shipper"]),
        (["help", "log-shipper"], "help", ["log-shipper"]),
        (["log-shipper", "check", "--offline"], "check", ["log-shipper", "--offline"]),
        (["wait-for", "tcp://db:1", "check"], "", ["wait-for", "tcp://db:1", "check"]),
    ],
)
def test_a_verb_may_follow_the_name_of_the_entry_point(words: list[str], verb: str, about: list[str]) -> None:
    assert verb_of(words) == (verb, about)


def test_help_and_check_of_a_sidecar_are_those_of_a_process_of_it() -> None:
    helped = sidecar("log-shipper", "help")
    assert (helped.returncode, helped.stderr) == (0, "")
    assert helped.stdout == sidecar("log-shipper", "--help").stdout != ""
    done = sidecar("log-shipper", "check", "log-shipper", "--paths", "/x/*.log", "--output", "stdout")
    assert done.stdout.startswith("ok: the settings of log-shipper can be used\n")
    assert "sidecar NAME --help" in OF_CHECK


@pytest.mark.parametrize("words", [("log-shipper",), ("check", "log-shipper")])
def test_a_sidecar_whose_extra_is_not_installed_names_it(words: tuple[str, ...]) -> None:
    without = "import sys; sys.modules['isal'] = None; from sidecars.__main__ import main; sys.exit(main())"
    done = run(sys.executable, "-c", without, *words)
    said = "cannot run log-shipper: it needs the package isal, which is not installed; pip install"
    assert (done.returncode, done.stderr) == (
        2,
        f"{said} 'sidecars[log-shipper]' (in a clone: pip install '.[log-shipper]')\n",
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
    said = ("Serve until the stop", "--batch-bytes  (bytes, or 64KiB", "default 1MiB", "IDLE_BATCH_BYTES", "--setup")
    assert [words for words in (*said, "Exit status:") if words not in run.stdout] == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ("--bach-bytes", "hunter2"),
            "cannot use --bach-bytes (from the command line): there is no such flag; did you",
        ),
        (
            ("--setpu=hunter2",),
            "there is no such flag; did you mean --setup?",
        ),
        (("--queue",), "cannot use the command line: argument --queue: expected one argument"),
        (("--url", "a", "hunter2"), "cannot use the command line: 1 words that belong to no flag"),
    ],
)
def test_a_wrong_flag_is_named_and_the_words_beside_it_are_not_repeated(
    start: Start, words: tuple[str, ...], expected: str
) -> None:
    run = start("idle", *words)
    assert run.wait() == 2
    assert "hunter2" not in run.stderr + run.stdout
    assert expected in run.stderr


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--queue", "2"), 0, ["ok: the toy is there", "warning: the server of 2 is slow"]),
        (("--loud",), 1, ["ok: the toy is there", "error: too loud here", "warning: the server of 3 is slow"]),
        (("--loud", "--offline"), 1, ["ok: the toy is there", "error: too loud here"]),
        (("--paths", "/a", "--paths=/b", "--loud", "false", "-offline"), 0, ["ok: the toy is there"]),
        (("--queue", "0"), 2, None),
    ],
)
def test_check_reports_and_starts_nothing(
    start: Start, words: tuple[str, ...], status: int, said: list[str] | None
) -> None:
    """Servers are asked unless it is told not to."""
    run = start("check", "idle", *words)
    assert run.wait() == status
    expected = [] if said is None else ["ok: the settings of idle can be used", *said]
    assert run.stdout.splitlines() == expected


def test_only_check_can_be_told_to_ask_no_servers(start: Start) -> None:
    assert start("idle", "--offline").wait() == 2


@pytest.mark.parametrize("words", [("idle",), ("check", "idle"), ("idle", "--setup")])
def test_what_forbids_a_start_on_this_machine_is_said_by_the_start_and_by_check(
    start: Start, words: tuple[str, ...]
) -> None:
    run = start(*words, "--url", "/taken")
    said = "cannot use url (from --url): somebody else is there; choose another one\n"
    assert (run.wait(), run.stderr) == (2, said)


def test_schema_and_reference_have_every_setting_of_the_file(start: Start) -> None:
    described, listed = start("schema", "idle"), start("reference", "idle")
    assert described.wait() == listed.wait() == 0
    schema, rows = json.loads(described.stdout), listed.stdout.splitlines()[2:]
    properties = schema["properties"]
    assert schema["additionalProperties"] is False
    assert set(properties) == {row.split("`")[1] for row in rows} == set(TOYS["idle"].settings.__struct_fields__)
    assert all("description" in described for described in properties.values())
    assert {"type": "string"} in properties["batch_bytes"]["anyOf"]
    assert properties["admin_port"]["maximum"] == 65535, "a bare new default keeps the bounds"
    assert "writeOnly" in json.dumps(properties["password"])
    assert all(row.replace("\\|", "").count("|") == 6 for row in rows)
