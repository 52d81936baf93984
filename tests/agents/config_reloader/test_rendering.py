"""Decompressing, templates and expansion: what comes out, and what is said when nothing can."""

import gzip
import subprocess
import sys
import traceback
from typing import Any

import pytest

from sidecars.config_reloader.core.steps import Render, Unset
from sidecars.config_reloader.rendering.render import Unrenderable, render

ENVIRON = {"NAME": "world", "PORT": "8080", "RAW": "\udcff"}
SECRET = "hunter2"
ALL = Render(expand=True, templates=("*.j2",), gunzip=True)

Files = dict[str, bytes]

RENDERED: dict[str, tuple[Render, Files, Files]] = {
    "nothing is asked for": (
        Render(),
        {"a.gz": b"x", "b.j2": b"{{ 1 }}", "c": b"$(NAME)"},
        {"a.gz": b"x", "b.j2": b"{{ 1 }}", "c": b"$(NAME)"},
    ),
    "expansion": (Render(expand=True), {"d/c": b"$(NAME)"}, {"d/c": b"world"}),
    "a template": (ALL, {"a.conf.j2": b"hi {{ env.NAME }}\n"}, {"a.conf": b"hi world\n"}),
    "a template is not expanded as well": (ALL, {"a.j2": b"$(NAME) $$"}, {"a": b"$(NAME) $$"}),
    "the last line end stays": (ALL, {"a.j2": b"x\n\n"}, {"a": b"x\n\n"}),
    "a compressed file": (ALL, {"a.gz": gzip.compress(b"$(NAME)")}, {"a": b"world"}),
    "a compressed file of two members": (
        ALL, {"a.gz": gzip.compress(b"$(NA") + gzip.compress(b"ME)")}, {"a": b"world"},
    ),
    "a compressed template": (ALL, {"a.j2.gz": gzip.compress(b"{{ env['PORT'] }}")}, {"a": b"8080"}),
    "compressed without gunzip": (Render(templates=("*.j2",)), {"a.j2.gz": b"\x1f\x8b"}, {"a.j2.gz": b"\x1f\x8b"}),
    "a pattern with a folder": (
        Render(templates=("t/*",)),
        {"t/a": b"{{ 1 }}", "u/a": b"{{ 1 }}"},
        {"t/a": b"1", "u/a": b"{{ 1 }}"},
    ),
    "a pattern of the basename": (Render(templates=("a.j2",)), {"t/u/a.j2": b"{{ 1 }}"}, {"t/u/a": b"1"}),
    "an include by the name in the folder": (
        ALL,
        {"t/a.j2": b"{% include 'b.txt' %}{% import 't/m.j2' as m %}{{ m.twice(2) }}", "b.txt": b"B$(NAME)",
         "t/m.j2": b"{% macro twice(x) %}{{ x * 2 }}{% endmacro %}"},
        {"t/a": b"B$(NAME)4", "b.txt": b"Bworld", "t/m": b""},
    ),
    "an include of a compressed file": (
        ALL, {"a.j2": b"{% include 'b' %}", "b.gz": gzip.compress(b"B")}, {"a": b"B", "b": b"B"},
    ),
    "a default": (ALL, {"a.j2": b"{{ env.NO | default('x') }}{{ env.get('NO', 'y') }}"}, {"a": b"xy"}),
    "no HTML": (ALL, {"a.j2": b"{{ '<&' }}"}, {"a": b"<&"}),
    "a value that is not UTF-8": (ALL, {"a.j2": b"{{ env.RAW }}"}, {"a": b"\xff"}),
    "binary": (ALL, {"a.bin": b"\0$(NAME)\xff"}, {"a.bin": b"\0$(NAME)\xff"}),
    "no files": (ALL, {}, {}),
    "unset variables may stay": (Render(expand=True, unset=Unset.KEEP), {"a": b"$(NO)"}, {"a": b"$(NO)"}),
    "dots in names": (ALL, {".hidden": b"", "a..b": b"", "d/..e": b""}, {".hidden": b"", "a..b": b"", "d/..e": b""}),
}  # fmt: skip


@pytest.mark.parametrize(("rules", "files", "expected"), RENDERED.values(), ids=RENDERED.keys())
def test_files_are_rendered(rules: Render, files: Files, expected: Files) -> None:
    assert render(files, rules, ENVIRON) == expected


def template(text: str) -> Files:
    return {"ok.conf": b"fine", "app.conf.j2": f"first\n{text}\n".encode()}


REFUSED: dict[str, tuple[Files, tuple[str, ...]]] = {
    "an unset variable": ({"d/a": f"{SECRET}\n$(NO)".encode()}, ("'d/a' line 2", "NO is not set", "$$(NO)")),
    "an unset variable in a compressed file": ({"a.gz": gzip.compress(b"$(NO)")}, ("'a.gz' line 1",)),
    "not gzip": ({"a.gz": SECRET.encode()}, ("'a.gz'", "not gzip")),
    "half of a gzip file": ({"a.gz": gzip.compress(SECRET.encode())[:-4]}, ("'a.gz'", "cut short")),
    "a damaged gzip file": ({"a.gz": gzip.compress(b"x" * 99)[:12] + b"\xff" * 20}, ("'a.gz'",)),
    "an empty gzip file": ({"a.gz": b""}, ("'a.gz'", "cut short")),
    "rubbish after a gzip file": ({"a.gz": gzip.compress(b"") + SECRET.encode()}, ("'a.gz'", "not gzip")),
    "a bomb": ({"a.gz": gzip.compress(bytes(64 * 2**20 + 1), 1)}, ("'a.gz'", "67108864 bytes")),
    "bombs together": (
        {"a.gz": gzip.compress(bytes(40 * 2**20), 1), "b.gz": gzip.compress(bytes(40 * 2**20), 1)},
        ("'b.gz'", "67108864 bytes"),
    ),
    "a syntax error": (template("{{ hunter2 hunter2 }}"), ("'app.conf.j2' line 2", "not valid Jinja2", "{% raw %}")),
    "an unknown tag": (template("{% hunter2 %}"), ("'app.conf.j2' line 2",)),
    "an unknown filter": (template("{{ 1 | hunter2 }}"), ("'app.conf.j2' line 2",)),
    "a character that is none": (template("{{ $hunter2 }}"), ("'app.conf.j2' line 2",)),
    "a variable that is not set": (template("{{ env.NO }}"), ("'app.conf.j2' line 2", "NO is not set", "default(")),
    "a name that is not set": (template("{{ NO }}"), ("'app.conf.j2' line 2", "NO is not set")),
    "an element that is not there": (template("{{ ['hunter2'][3] }}"), ("'app.conf.j2' line 2", "is not set")),
    "an error of the program": (template("{{ 'hunter2' + 1 }}"), ("'app.conf.j2' line 2", "TypeError")),
    "a division by zero": (template("{{ 1 // 0 }}"), ("'app.conf.j2' line 2", "ZeroDivisionError")),
    "a number that is none": (template("{{ 'hunter2' | round }}"), ("'app.conf.j2' line 2",)),
    "an unsafe attribute": (template("{{ ''.__class__.__mro__ }}"), ("'app.conf.j2' line 2", "SecurityError")),
    "an unsafe format": (template("{{ '{0.__class__}'.format(1) }}"), ("'app.conf.j2' line 2", "SecurityError")),
    "changing the variables": (template("{{ env.update(a=1) }}"), ("'app.conf.j2' line 2", "SecurityError")),
    "a huge range": (template("{{ range(10**9) | list }}"), ("'app.conf.j2' line 2", "OverflowError")),
    "a file that is not watched": (template("{% include '/etc/passwd' %}"), ("'app.conf.j2' line 2", "not watched")),
    "a file above": (template("{% include '../ok.conf' %}"), ("'app.conf.j2' line 2", "not watched")),
    "a template in itself": (template("{% include 'app.conf.j2' %}"), ("'app.conf.j2' line 2", "RecursionError")),
    "deep nesting": (template("{% if 1 %}" * 150 + "{% endif %}" * 150), ("'app.conf.j2'",)),
    "deep loops": (template("{% for a in [1] %}" * 25 + "{% endfor %}" * 25), ("'app.conf.j2'", "SyntaxError")),
    "deep brackets": (template("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}"), ("'app.conf.j2'", "RecursionError")),
    "a fault in an included file": (
        {"a.j2": b"\n{% include 'b.txt' %}", "b.txt": b"\n\n\n{{ env.NO }}"}, ("'b.txt' line 4", "NO is not set"),
    ),
    "a syntax error in an included file": (
        {"a.j2": b"\n{% include 'b.txt' %}", "b.txt": b"\n\n\n{{ hunter2"}, ("'b.txt' line 4", "not valid Jinja2"),
    ),
    "a fault in a compressed template": ({"a.j2.gz": gzip.compress(b"\n{{ env.NO }}")}, ("'a.j2.gz' line 2",)),
    "a template that is not UTF-8": ({"a.j2": b"hunter2\xff"}, ("'a.j2'", "UTF-8")),
    "an included file that is not UTF-8": ({"a.j2": b"{% include 'b' %}", "b": b"hunter2\xff"}, ("'b'", "UTF-8")),
    "one name twice": ({"a.conf": b"", "a.conf.j2": b""}, ("'a.conf' and 'a.conf.j2'", "both become 'a.conf'")),
    "one name twice by gunzip": ({"a.gz": gzip.compress(b""), "a": b""}, ("'a.gz' and 'a'", "both become 'a'")),
    "a file where a folder must be": ({"a.j2": b"", "a/b/c": b""}, ("'a.j2' and 'a/b/c'", "both become 'a'")),
    "an absolute name": ({"/etc/passwd": b""}, ("'/etc/passwd'",)),
    "a name that leads up": ({"a/../../b": b""}, ("'a/../../b'",)),
    "a name of the generations": ({"..data/a": b""}, ("'..data/a'",)),
    "a name that vanishes": ({"d/.j2": b""}, ("'d/.j2'",)),
    "a folder name that is none": ({"a//b": b""}, ("'a//b'",)),
}  # fmt: skip


@pytest.mark.parametrize(("files", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_rendered_is_said_with_file_line_and_remedy(files: Files, words: tuple[str, ...]) -> None:
    with pytest.raises(Unrenderable) as caught:
        render(files, ALL, ENVIRON)
    text = str(caught.value)
    assert text.startswith("cannot ")
    assert all(word in text for word in words), text
    assert SECRET not in text
    assert "; " in text, "the remedy is missing"


def test_a_name_that_is_not_text_can_be_logged() -> None:
    with pytest.raises(Unrenderable) as caught:
        render({"\udcff\n": b"$(NO)"}, ALL, {})
    assert str(caught.value).encode("utf-8").isascii()
    assert "\n" not in str(caught.value)


def test_the_traceback_of_a_refusal_holds_no_content() -> None:
    files = template(f"{{{{ {SECRET} {SECRET} }}}}")
    with pytest.raises(Unrenderable) as caught:
        render(files, ALL, ENVIRON)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def loaded_by(rules: str) -> str:
    program = (
        "import sys\nfrom sidecars.config_reloader.core.steps import Render\n"
        f"from sidecars.config_reloader.rendering.render import render\nrender({{'a': b''}}, {rules}, {{}})\n"
        "print('jinja2' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("rules", "expected"), [("Render(expand=True, gunzip=True)", "False"), ("Render(templates=('*.j2',))", "True")]
)
def test_jinja2_is_loaded_only_where_templates_are_configured(rules: str, expected: str) -> None:
    assert loaded_by(rules) == expected


def test_the_variables_of_the_caller_stay_as_they_were() -> None:
    environ: dict[str, Any] = {"A": "1"}
    render({"a.j2": b"{% set env = {} %}{% set x = 2 %}{{ x }}"}, ALL, environ)
    assert environ == {"A": "1"}
