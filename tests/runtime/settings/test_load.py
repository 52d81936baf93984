"""Where settings come from, what texts mean, and what is said when they cannot be used."""

import math
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecars.runtime import Problem, Secret, Settings, SettingsError
from sidecars.runtime.settings import yaml as yaml_file_module
from sidecars.runtime.settings.fields import fields_of, show_size
from sidecars.runtime.settings.load import load
from sidecars.runtime.settings.values import parse
from tests.support.toys import ToySettings


def loaded(flags: dict[str, str] | None = None, /, **environ: str) -> ToySettings:
    return load(ToySettings, "TOY_", environ, flags or {})


def complaints(flags: dict[str, str] | None = None, /, **environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        loaded(flags, **environ)
    return str(caught.value).splitlines()


def yaml_file(folder: Path, text: str) -> str:
    path = folder / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("batch_bytes", "2048", 2048),
        ("batch_bytes", "64KiB", 65536),
        ("batch_bytes", "1Mi", 1048576),
        ("batch_bytes", "1.5MiB", 1572864),
        ("batch_bytes", "10MB", 10_000_000),
        ("batch_bytes", " 2k ", 2000),
        ("queue", "7", 7),
        ("ratio", "1e-2", 0.01),
        ("wait_seconds", "500ms", 0.5),
        ("wait_seconds", "5s", 5.0),
        ("wait_seconds", "2m", 120.0),
        ("wait_seconds", "3", 3.0),
        ("wait_seconds", "1m30s", 90.0),
        ("wait_seconds", "1h 1.5m", 3690.0),
        ("loud", "yes", True),
        ("loud", "OFF", False),
        ("mode", "fast", "fast"),
        ("paths", "[0-9]*.log,/b", ("[0-9]*.log", "/b")),
        ("paths", "/a/*.log, /b,,", ("/a/*.log", "/b")),
        ("paths", '["/a,b", "/c", 200]', ("/a,b", "/c", "200")),
        ("labels", "team=a,url=http://x/?y=z", {"team": "a", "url": "http://x/?y=z"}),
        ("labels", '{"n": 1, "ok": true, "t": "x,y"}', {"n": "1", "ok": "true", "t": "x,y"}),
        ("labels", '{"n": 1.10, "no": false, "t": "n"}', {"n": "1.10", "no": "false", "t": "n"}),
        ("password", " p=w ", Secret(" p=w ")),
        ("limit", "4", 4),
    ],
)
def test_a_text_becomes_the_value_it_means(field: str, text: str, value: object) -> None:
    assert getattr(loaded(None, **{f"TOY_{field.upper()}": text}), field) == value
    assert getattr(loaded({field: text}), field) == value


@pytest.mark.parametrize("field", ["paths", "labels", "queue", "url", "password", "mode", "wait_seconds", "loud"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_a_newline_at_the_end_is_no_part_of_a_value(field: str, end: str) -> None:
    """Many a Secret is made with one, by `echo` or by a block in YAML."""
    text = {"labels": "a=b", "queue": "7", "mode": "fast", "wait_seconds": "5s", "loud": "yes"}.get(field, "/x")
    plain = loaded(None, **{f"TOY_{field.upper()}": text})
    assert loaded(None, **{f"TOY_{field.upper()}": text + end}) == plain
    assert loaded({field: text + end}) == plain


def test_a_newline_is_taken_off_foreign_variables_and_off_the_path_of_the_file(tmp_path: Path) -> None:
    path = yaml_file(tmp_path, "password: |\n  hunter2\n")
    found = loaded(
        None, POD_NAME="pod-1\n", SOME_LIMIT="7\n", TOY_URL="\n", SOME_URL="http://x\n", TOY_CONFIG=f"{path}\n"
    )
    assert (found.pod_name, found.limit, found.url, found.password) == ("pod-1", 7, "http://x", Secret("hunter2"))


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("/a/*.log\n/b/*.log", ["/a/*.log", "/b/*.log"]),
        ("\n  /a\n\n  /b,/c,\n", ["/a", "/b", "/c"]),
        ("- /a,b\n- '/c'\n- \"/d\"", ["/a,b", "/c", "/d"]),
        ("- /a", ["/a"]),
        ('["/a,b",\n "/c"]', ["/a,b", "/c"]),
        ("[200, 1.10, true]", ["200", "1.10", "true"]),
        ("[0-9]*.log\n[ab].log", ["[0-9]*.log", "[ab].log"]),
        ("http://a/?status=200,204", ["http://a/?status=200,204"]),
        ("http://a/?status=200,204,tcp://b:1", ["http://a/?status=200,204", "tcp://b:1"]),
        ("http://a/?status=200,204,b:5432,[::1]:80", ["http://a/?status=200,204", "b:5432", "[::1]:80"]),
        (
            "b:1,http://a/#header=Accept:text/html,*/*,dns://x",
            ["b:1", "http://a/#header=Accept:text/html,*/*", "dns://x"],
        ),
        ("http://a/?x=1, /b", ["http://a/?x=1", "/b"]),
        ("http://a/,/b", ["http://a/", "/b"]),
        ("/a?,b", ["/a?", "b"]),
    ],
)
def test_commas_and_newlines_separate_items_but_not_within_a_query(text: str, items: list[str]) -> None:
    assert loaded(TOY_PATHS=text).paths == tuple(items)


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("Accept=a,b", {"Accept": "a,b"}),
        (
            "Accept=text/html;q=0.9,application/json;q=0.8,X-A=1",
            {"Accept": "text/html;q=0.9,application/json;q=0.8", "X-A": "1"},
        ),
        ("a=1\nb=2,3\n\nc=4,d=5", {"a": "1", "b": "2,3", "c": "4", "d": "5"}),
        ("- a=b=c,d=e\n- f=", {"a": "b=c,d=e", "f": ""}),
        ("app.kubernetes.io/name=x,größe=2", {"app.kubernetes.io/name": "x", "größe": "2"}),
    ],
)
def test_commas_and_newlines_separate_pairs_but_not_within_a_value(text: str, pairs: dict[str, str]) -> None:
    assert loaded(TOY_LABELS=text).labels == pairs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1,b=2,a=3", "cannot use labels.a (from TOY_LABELS): it is given twice; keep one of them"),
        ('{"a": ["s3cret"]}', "cannot use labels.a (from TOY_LABELS): it is not a text; write"),
        ('{"a": null}', "cannot use labels.a (from TOY_LABELS): it has no value; give it one"),
    ],
)
def test_a_wrong_pair_is_named_by_its_key(text: str, expected: str) -> None:
    (line,) = complaints(TOY_LABELS=text)
    assert line.startswith(expected)
    assert "s3cret" not in line


def test_texts_stay_as_they_are_written_in_yaml(tmp_path: Path) -> None:
    odd = {"a": "NO", "b": "1.10", "c": "01234", "d": "12:30", "e": "2026-01-02", "f": "1_000", "g": "0x1F", "h": "Yes"}
    text = "labels:\n" + "".join(f"  {key}: {value}\n" for key, value in odd.items())
    text += "  on: off\n  012: x\nurl: 1.10\npassword: 0123\npod_name: NO\npaths: [on, 1.10, 7, 2026-01-02, 12:30]\n"
    found = loaded(TOY_CONFIG=yaml_file(tmp_path, text))
    assert found.labels == {**odd, "on": "off", "012": "x"}
    assert (found.url, found.password, found.pod_name) == ("1.10", Secret("0123"), "NO")
    assert found.paths == ("on", "1.10", "7", "2026-01-02", "12:30")


def test_a_number_means_in_yaml_what_it_means_in_a_variable(tmp_path: Path) -> None:
    found = loaded(TOY_CONFIG=yaml_file(tmp_path, "queue: 010\nbatch_bytes: 2_048\nlimit: 0x10\nloud: 1\npaths: 200\n"))
    assert (found.queue, found.batch_bytes, found.limit, found.loud, found.paths) == (10, 2048, 16, True, ("200",))
    (line,) = complaints(TOY_CONFIG=yaml_file(tmp_path, "wait_seconds: 12:30\n"))
    assert 'cannot use wait_seconds="12:30"' in line


def test_a_problem_in_a_file_names_key_and_line(tmp_path: Path) -> None:
    path = yaml_file(tmp_path, "queue: 4\nlabels:\n  a: b\n  c:\n  d: [x]\nratio: 3\nurl: &x y\nmodus: fast\n")
    found = [line.split(": ")[0] for line in complaints(TOY_CONFIG=path)]
    assert found == [
        f"cannot use modus (from {path}:modus, line 8)",
        f'cannot use ratio="3" (from {path}:ratio, line 6)',
        f"cannot use labels.c (from {path}:labels, line 4)",
    ]


def test_of_a_file_that_cannot_be_read_nothing_else_is_told(tmp_path: Path) -> None:
    """What it says is not known, so nothing is missing."""

    class Needy(Settings, frozen=True, kw_only=True):
        where: str

    with pytest.raises(SettingsError) as caught:
        load(Needy, "NEEDY_", {"NEEDY_CONFIG": yaml_file(tmp_path, "where: [")})
    assert [problem.field for problem in caught.value.problems] == ["config"]


@pytest.mark.parametrize(
    ("environ", "problem"), [({"NEEDY_WERE": "x"}, "NEEDY_WERE"), ({"NEEDY_CONFIG": "were: x"}, "were")]
)
def test_a_misspelt_setting_is_not_called_missing_too(tmp_path: Path, environ: dict[str, str], problem: str) -> None:
    class Needy(Settings, frozen=True, kw_only=True):
        where: str = ""

        def problems(self) -> Iterable[Problem]:
            if not self.where:
                yield Problem("where", "it is not set", "set it")

    environ = {name: yaml_file(tmp_path, text) if name == "NEEDY_CONFIG" else text for name, text in environ.items()}
    with pytest.raises(SettingsError) as caught:
        load(Needy, "NEEDY_", environ)
    assert [found.field for found in caught.value.problems] == [problem]


@pytest.mark.parametrize(
    ("field", "text", "expected"),
    [
        ("batch_bytes", "lots", "expected a size in bytes, at least 1KiB; write for example 64KiB"),
        ("batch_bytes", "1023", "at least 1KiB"),
        ("batch_bytes", "1.5", "expected a size"),
        ("batch_bytes", "-1", "expected a size"),
        ("queue", "11", "expected a whole number, at least 1, at most 10"),
        ("queue", "1_0", "expected a whole number"),
        ("ratio", "nan", "expected a number"),
        ("ratio", "inf", "expected a number"),
        ("wait_seconds", "soon", "expected a time in seconds"),
        ("wait_seconds", "1e999", "expected a time in seconds"),
        ("loud", "maybe", "expected true or false"),
        ("mode", "Fast", "expected one of fast, safe; write fast or safe"),
        ("paths", '["/a", "/b"', "expected a comma-separated list; write for example /var/log/*.log"),
        ("paths", '["a"', "expected a comma-separated list"),
        ("labels", "a", "expected pairs"),
        ("labels", ",=a", "expected pairs"),
        ("wait_seconds", "1m30", "expected a time in seconds"),
        ("wait_seconds", "1m-30s", "expected a time in seconds"),
        ("limit", "0", "at least 1"),
    ],
)
def test_a_wrong_text_is_named_with_its_source_and_a_remedy(field: str, text: str, expected: str) -> None:
    (line,) = complaints(None, **{f"TOY_{field.upper()}": text})
    shown = "a text" if field == "labels" else f'"{text}"'  # pairs may hold a token
    assert line.startswith(f"cannot use {field}={shown} (from TOY_{field.upper()}): ")
    assert expected in line


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000])
def test_a_text_nested_without_end_is_a_wrong_text(text: str) -> None:
    assert "expected " in complaints(TOY_PATHS='["", ' + text, TOY_LABELS="{" + text)[0]


def test_flags_win_over_variables_over_the_file_over_foreign_variables_over_the_default(tmp_path: Path) -> None:
    path = yaml_file(tmp_path, "queue: 4\nratio: 0.25\nloud: true\nurl: http://file\n")
    found = loaded(
        {"queue": "6", "config": path}, TOY_QUEUE="5", TOY_RATIO="0.75", SOME_URL="http://foreign", POD_NAME="pod-1"
    )
    assert (found.queue, found.ratio, found.loud) == (6, 0.75, True)
    assert (found.url, found.pod_name, found.mode) == ("http://file", "pod-1", "safe")


def test_an_empty_variable_counts_as_not_set() -> None:
    assert loaded(TOY_QUEUE="", TOY_PASSWORD="", POD_NAME="").queue == 3


def test_the_file_can_be_named_by_a_variable_and_holds_every_type(tmp_path: Path) -> None:
    text = "batch_bytes: 2MiB\nwait_seconds: 2\npaths: [/a, 7]\nlabels: {n: 1, ok: true, f: 0.5}\npassword: x\nlimit:\n"
    found = loaded(TOY_CONFIG=yaml_file(tmp_path, text))
    assert (found.batch_bytes, found.wait_seconds, found.paths) == (2097152, 2.0, ("/a", "7"))
    assert found.labels == {"n": "1", "ok": "true", "f": "0.5"}
    assert found.password == Secret("x")
    assert found.limit is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("queu: 4", "there is no such key; did you mean queue?"),
        ("queue: true", 'cannot use queue="true"'),
        ("queue: 1.5", "expected a whole number"),
        ("ratio: .nan", "expected a number"),
        ("url: [5]", "in YAML put it in quotes"),
        ("paths: {a: 1}", "cannot use paths=a mapping"),
        ("paths: [a, [b]]", "cannot use paths[1] (from "),
        ("paths: [a,\n  ~]", "settings.yaml:paths, line 2): it has no value; give it one"),
        (f"ratio: {'9' * 400}", "expected a number"),
        ("- a", "it is not a mapping"),
        ("queue: 1\nurl: x\nqueue: 2", "line 3, column 1, in queue: the key queue is given twice, first in line 1"),
        ("queue: 1\nurl: [", "line 2, column 7, in url: expected the node content, but found '<stream end>'"),
        ("labels:\n  a: b: c", "line 2, column 7, in labels: mapping values are not allowed here; check that place"),
        ("url: 'x\nqueue: 1", "in url: found unexpected end of stream"),
        ("paths: [/a\nurl: x", "in url: expected ',' or ']', but got ':', in what begins in line 1; check that place"),
        ("url: *password", "line 1, column 6, in url: found undefined alias; "),
        ("url: %x", "in url: found character '%' that cannot start any token"),
        ("queue: 1\nurl: a\x07b", "not valid YAML: line 2: special characters are not allowed"),
        ("url: !password x", "in url: could not determine a constructor for the tag; "),
        ("url: &a [*a]", "found unconstructable recursive node"),
        ("? [a]\n: b", "a key that is not a text"),
        ("!!python/object:os.system {}", "not valid YAML"),
        ("url: !!timestamp x", "not valid YAML: a value is not what its tag says"),
        ('queue: !!int ""', "not valid YAML"),
        ("loud: !!bool foo", "not valid YAML"),
        (f"ratio: {'1:' * 300}1.0", "not valid YAML"),
        (f"wait_seconds: 0x{'f' * 6000}", "not valid YAML: line 1, column 15"),
        ("? 0x" + "f" * 900 + "\n: 1", f"cannot use 0x{'f' * 78}... (from "),
        (f"queue: 0x{'f' * 900}", f'cannot use queue="0x{"f" * 78}..." (from '),
        ("wait_seconds: 1e308d", "expected a time in seconds"),
        ('url: "a\\0b"', "it holds a NUL; remove it"),
        ('paths: [a, "\\0"]', "it holds a NUL"),
        ('labels: {a: "\\0"}', "it holds a NUL"),
        ('labels: {"\\0": a}', "it holds a NUL"),
        ('password: "\\0"', "cannot use password"),
        ("a" * (4 * 1024**2 + 1), "it is longer than 4 MiB"),
    ],
    ids=lambda text: text[:40],
)
def test_a_wrong_file_is_named_with_the_place(tmp_path: Path, text: str, expected: str) -> None:
    path = yaml_file(tmp_path, text)
    lines = complaints(TOY_CONFIG=path)
    assert len(lines) == 1
    assert expected in lines[0]
    assert path in lines[0]


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/dev/zero", "it is longer than 4 MiB"), ("/dev", "Is a directory"), ("/dev/null/x", "Not a directory")],
)
def test_what_is_no_settings_file_is_told(path: str, expected: str) -> None:
    (line,) = complaints(TOY_CONFIG=path)
    assert line.startswith(f"cannot use config={path}: {expected}; ")


@pytest.mark.parametrize("written", [True, False])
def test_a_pipe_that_nobody_closes_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    monkeypatch.setattr(yaml_file_module, "PIPE_SECONDS", 0.2)
    path = tmp_path / "fifo"
    os.mkfifo(path)
    ours = os.open(path, os.O_RDWR) if written else None
    try:
        if ours is not None:
            os.write(ours, b"queue: 4\n")
        (line,) = complaints(TOY_CONFIG=str(path))
        assert "nobody wrote it to its end within" in line
    finally:
        if ours is not None:
            os.close(ours)


def test_a_pipe_may_be_written_late_and_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)

    def write() -> None:
        with path.open("w", encoding="utf-8") as pipe:  # waits until it is read
            for piece in ("que", "ue: ", "4\n", *["# more\n"] * 20_000):
                pipe.write(piece)
                pipe.flush()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert loaded(TOY_CONFIG=str(path)).queue == 4
    finally:
        writer.join()


def test_a_file_that_is_not_there_is_one_problem_among_the_others() -> None:
    lines = complaints(TOY_CONFIG="/nowhere/settings.yaml", TOY_QUEUE="0")
    assert lines[0].startswith("cannot use config=/nowhere/settings.yaml: No such file")
    assert "TOY_QUEUE" in lines[1]


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    path = yaml_file(tmp_path, "modus: fast\nratio: 3\n")
    lines = complaints({"queue": "0"}, TOY_CONFIG=path, TOY_BATCH_BYTES="x", TOY_BATCH_BYTE="1")
    assert [line.split(" ", 3)[2] for line in lines] == [
        "modus",
        "TOY_BATCH_BYTE",
        'batch_bytes="x"',
        'queue="0"',
        'ratio="3"',
    ]
    assert "did you mean TOY_BATCH_BYTES?" in lines[1]
    assert "from --queue" in lines[3]
    assert f"from {path}:ratio" in lines[4]


def test_problems_between_fields_are_told_where_the_value_came_from() -> None:
    (line,) = complaints(TOY_BATCH_BYTES="11MiB")
    assert line == (
        "cannot use batch_bytes (from TOY_BATCH_BYTES): too large for the mode safe; take mode fast or a smaller batch"
    )


def test_a_foreign_variable_is_blamed_by_its_name_also_when_another_has_the_same_text() -> None:
    (line,) = complaints(OTHER="0", SOME_LIMIT="0", POD_NAME="0")
    assert line.startswith('cannot use limit="0" (from SOME_LIMIT): ')


def test_service_link_variables_are_ignored() -> None:
    links = {
        "TOY_SERVICE_HOST": "10.0.0.1",
        "TOY_SERVICE_PORT": "9101",
        "TOY_SERVICE_PORT_HTTP_ADMIN": "9101",
        "TOY_PORT": "tcp://10.0.0.1:9101",
        "TOY_PORT_9101_TCP": "tcp://10.0.0.1:9101",
        "TOY_PORT_9101_TCP_PROTO": "tcp",
        "TOY_PORT_9101_UDP_PORT": "9101",
        "TOY_PORT_9101_TCP_ADDR": "10.0.0.1",
        "TOY_METRICS_PORT": "udp://10.0.0.1:1",
        "TOY_METRICS_SERVICE_HOST": "10.0.0.1",
        "TOY_ADMIN_PORT": "tcp://10.0.0.1:80",  # a Service called toy-admin
    }
    assert loaded(None, **links).admin_port == 0


@pytest.mark.parametrize("name", ["TOY_PORT", "TOY_PORTS", "TOY_PORT_9101", "TOY_SERVICE"])
def test_only_service_links_are_ignored(name: str) -> None:
    assert name in complaints(None, **{name: "9101"})[0]


SECRET = "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        f"password: [{SECRET}]",
        f"password: {{a: {SECRET}}}",
        f"pasword: {SECRET}",
        f"password: '{SECRET}",
        f"password: {SECRET}: x",
        f"password: {SECRET}\n  queue: 1",
        f"paths: {{password: {SECRET}}}",
        f"{SECRET}",
        f"url: [http://user:{SECRET}@host]",
    ],
)
def test_a_broken_file_never_shows_a_secret(tmp_path: Path, text: str) -> None:
    assert SECRET not in "\n".join(complaints(TOY_CONFIG=yaml_file(tmp_path, text)))


def test_a_secret_shows_as_stars_everywhere() -> None:
    found = loaded(TOY_PASSWORD=SECRET)
    assert found.password is not None
    assert found.password.reveal() == SECRET
    assert SECRET not in f"{found} {found!r} {found.password} {found.password!r}"
    assert msgspec.json.encode(found.password, enc_hook=str) == b'"***"'


def test_the_user_part_of_a_url_is_left_out_of_errors() -> None:
    (line,) = complaints(TOY_QUEUE=f"http://user:{SECRET}@host/")
    assert SECRET not in line
    assert "http://***@host/" in line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://u:s3@cret@h/", '"http://***@h/"'),
        ("http://u:s3/cret@h/", '"http://***@h/"'),
        ("http://u:s3 cret@h", '"http://***@h"'),
        ("u:s3cret@h", '"***@h"'),
        ("u:s3://cret@h", '"***@h"'),
        ("http://host/path", '"http://host/path"'),
    ],
)
def test_whatever_may_be_a_password_is_left_out_of_errors(text: str, shown: str) -> None:
    (line,) = complaints(TOY_QUEUE=text)
    assert line.startswith(f"cannot use queue={shown} ")


@pytest.mark.parametrize("text", ["Authorization: Bearer s3cret", "s3cret,a=b", "a=b\ns3cret"])
def test_pairs_that_are_none_are_not_repeated(text: str) -> None:
    (line,) = complaints({"labels": text})
    assert line.startswith("cannot use labels=a text (from --labels): expected pairs")


@pytest.mark.parametrize("tag", ["!!binary aHVudGVyMg==", "!!set {hunter2}"])
def test_values_of_other_kinds_are_not_repeated(tmp_path: Path, tag: str) -> None:
    (line,) = complaints(TOY_CONFIG=yaml_file(tmp_path, f"url: {tag}"))
    assert SECRET not in line


def test_a_required_setting_that_is_missing_is_named() -> None:
    class Needy(Settings, frozen=True, kw_only=True):
        where: str

    with pytest.raises(SettingsError, match="cannot use where: it is not set: expected a text"):
        load(Needy, "NEEDY_", {})


def test_a_bare_new_default_keeps_bounds_and_description() -> None:
    class Bare(Settings, frozen=True, kw_only=True):
        admin_port: int = 9101

    field = next(field for field in fields_of(Bare) if field.name == "admin_port")
    assert field.default == 9101
    assert "Port of the admin endpoint" in field.about["description"]
    with pytest.raises(SettingsError, match="at most 65535"):
        load(Bare, "BARE_", {"BARE_ADMIN_PORT": "65536"})


def test_a_type_that_no_text_can_become_is_refused_when_declared() -> None:
    class Odd(Settings, frozen=True, kw_only=True):
        thing: list[bytes] = []

    with pytest.raises(TypeError, match=r"cannot declare the setting Odd\.thing"):
        fields_of(Odd)


FIELDS = fields_of(ToySettings)
YAML = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda x: st.lists(x) | st.dictionaries(st.text(), x),
)


@given(field=st.sampled_from(FIELDS), raw=YAML)
def test_whatever_is_given_is_a_value_or_a_value_error(field: Any, raw: object) -> None:
    try:
        value = parse(field, raw)
    except ValueError:
        return
    assert isinstance(value, Secret) or msgspec.convert(value, field.annotation) == value
    assert not (isinstance(value, float) and not math.isfinite(value))


@given(st.integers(min_value=1, max_value=2**50))
def test_a_size_that_is_shown_reads_back(size_bytes: int) -> None:
    field = next(field for field in FIELDS if field.name == "batch_bytes")
    if size_bytes >= 1024:
        assert parse(field, show_size(size_bytes)) == size_bytes
    else:
        assert show_size(size_bytes) == str(size_bytes)
