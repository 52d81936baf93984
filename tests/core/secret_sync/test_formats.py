"""What is written is what the usual readers read: sh, PyYAML, json, Java's properties rules, python-dotenv's rules."""

import json
import re
import subprocess
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sidecars.secret_sync.core.formats import Format, Unwritable, as_text, written

HARD = {
    "plain": "s3cret",
    "empty": "",
    "single quote": "it's",
    "double quote": 'say "no"',
    "dollar": "$HOME ${X} `id` $(id)",
    "backslash": "a\\b\\n",
    "newlines": "line 1\nline 2\n",
    "carriage return": "a\r\nb",
    "spaces": "  two  ",
    "hash": "a # b",
    "equals": "a=b:c",
    "unicode": "pässwörd 鍵 🔑",
    "separators": "a\u2028b\x85c\ufeffd",
    "tab": "a\tb",
    "yes": "yes",
    "number": "0123",
    "json": '{"a": 1}',
}
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def shell(data: bytes) -> str:
    """Source a file with sh and print what the variable KEY is then."""
    script = 'printf "%s." "$KEY"'
    done = subprocess.run(["sh", "-c", f". /dev/stdin\n{script}"], input=data, capture_output=True, check=True)
    return done.stdout.decode()[:-1]


def properties(data: bytes) -> dict[str, str]:
    """Read by the rules of java.util.Properties.load."""
    found = {}
    for line in data.decode("latin-1").split("\n"):
        if not line:
            continue
        parts = re.match(r"((?:\\.|[^\\=: ])*)[=: ]?(.*)", line, re.DOTALL)
        assert parts is not None
        found[unescaped(parts[1])] = unescaped(parts[2])
    return found


def unescaped(text: str) -> str:
    """Take Java's escapes away; pairs of surrogates become one character."""
    known = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}

    def one(found: re.Match[str]) -> str:
        if found[1]:
            return chr(int(found[1], 16))
        return known.get(found[2], found[2])

    raw = re.sub(r"\\(?:u([0-9a-f]{4})|(.))", one, text, flags=re.DOTALL)
    return raw.encode("utf-16", "surrogatepass").decode("utf-16")


@pytest.mark.parametrize("text", HARD.values(), ids=HARD)
def test_a_shell_reads_env_files(text: str) -> None:
    assert shell(written(Format.ENV, {"KEY": text})) == text


@given(texts)
def test_yaml_json_and_properties_give_back_any_text(text: str) -> None:
    value = {"key one": text}
    assert yaml.safe_load(written(Format.YAML, value)) == value
    assert json.loads(written(Format.JSON, value)) == value
    assert properties(written(Format.PROPERTIES, value)) == value
    assert written(Format.RAW, value).decode() == text


@given(texts, texts)
def test_properties_give_back_any_key(key: str, text: str) -> None:
    if key:
        assert properties(written(Format.PROPERTIES, {key: text})) == {key: text}


@pytest.mark.parametrize("text", HARD.values(), ids=HARD)
def test_dotenv_readers_get_the_value_back(text: str) -> None:
    line = written(Format.DOTENV, {"KEY": text}).decode()
    assert line.startswith("KEY=")
    body = line[len("KEY=") : -1]
    if body.startswith("'"):
        assert body[1:-1] == text
        return
    assert "\n" not in body
    known = {"n": "\n", "r": "\r"}
    assert re.sub(r"\\(.)", lambda found: known.get(found[1], found[1]), body[1:-1]) == text


@pytest.mark.parametrize(
    "value", [{"a": 1}, {"a": {"b": [1, None, True]}}, {"a": None}, {"a": 1.5, "b": "x"}, {}], ids=str
)
def test_values_that_are_no_texts_are_their_json(value: dict[str, Any]) -> None:
    assert json.loads(written(Format.JSON, value)) == value
    assert (yaml.safe_load(written(Format.YAML, value)) or {}) == value
    for item in value.values():
        assert as_text(item) == item or json.loads(as_text(item)) == item


REFUSED: dict[str, tuple[Format, dict[str, Any], str, str]] = {
    "a key that is not there": (Format.RAW, {"a": "1", "b": "2"}, "c", "there is no key 'c'"),
    "no key of several": (Format.RAW, {"a": "1", "b": "2"}, "", "name a key (a, b)"),
    "no variable's name": (Format.ENV, {"a-b": "1"}, "", "cannot be a variable's name"),
    "a NUL": (Format.ENV, {"a": "\0secret"}, "", "holds a NUL"),
    "no base64": (Format.BASE64, {"a": "secret!"}, "a", "is no base64"),
    "no certificate": (Format.PEM_BUNDLE, {"password": "secret"}, "", "needs the keys"),
}


@pytest.mark.parametrize(("form", "value", "key", "text"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_written_names_the_key_and_not_the_value(
    form: Format, value: dict[str, Any], key: str, text: str
) -> None:
    with pytest.raises(Unwritable) as caught:
        written(form, value, key)
    assert text in str(caught.value)
    assert "secret" not in str(caught.value).replace("in the secret", "")


def test_base64_gives_bytes() -> None:
    assert written(Format.BASE64, {"keystore": "AP8Q\n"}) == b"\0\xff\x10"


def test_a_bundle_is_key_certificate_and_chain_once_each() -> None:
    key, leaf, root = (
        f"-----BEGIN {name}-----\nx\n-----END {name}-----" for name in ("EC PRIVATE KEY", "CERTIFICATE", "CERTIFICATE")
    )
    root = root.replace("x", "y")
    bundle = written(Format.PEM_BUNDLE, {"private_key": key, "certificate": leaf, "ca_chain": [leaf, root]}).decode()
    assert bundle == f"{key}\n{leaf}\n{root}\n"
