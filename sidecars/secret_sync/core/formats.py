"""From a secret's keys and values to the bytes of a file. Each format can be read back by the usual readers of it.

A value is a text; a map, list, number, boolean or null is written as its JSON.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any


class Format(StrEnum):
    """How a file is written."""

    RAW = "raw"
    BASE64 = "base64"
    JSON = "json"
    ENV = "env"
    DOTENV = "dotenv"
    PROPERTIES = "properties"
    YAML = "yaml"
    PEM_BUNDLE = "pem-bundle"
    PKCS12 = "pkcs12"
    TEMPLATE = "template"


class Unwritable(Exception):
    """A value that cannot be written in this format; the text names the key and never the value."""


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PEM_PARTS = ("private_key", "certificate", "ca_chain", "chain")


def written(form: Format, value: Mapping[str, Any], key: str = "") -> bytes:
    """Return the file's bytes. `key` picks one value (raw and base64 need it, unless there is one only).

    Raises Unwritable.
    """
    match form:
        case Format.RAW:
            return as_text(_picked(value, key)).encode()
        case Format.BASE64:
            return _decoded(_picked(value, key), key)
        case Format.PEM_BUNDLE:
            return pem_bundle(value).encode()
    chosen = {key: value[key]} if key and key in value else dict(value)
    match form:
        case Format.JSON:
            return (json.dumps(chosen, ensure_ascii=False, indent=1) + "\n").encode()
        case Format.YAML:
            # JSON is YAML, one key a line reads better; only line separators differ, so they are escaped.
            lines = (f"{_json(name)}: {_json(item)}" for name, item in chosen.items())
            return "".join(line + "\n" for line in lines).encode() or b"{}\n"
        case Format.ENV:
            return "".join(f"{_name(name)}={_shell(as_text(item), name)}\n" for name, item in chosen.items()).encode()
        case Format.DOTENV:
            return "".join(f"{_name(name)}={_dotenv(as_text(item), name)}\n" for name, item in chosen.items()).encode()
        case Format.PROPERTIES:
            lines = (f"{_property(name, key=True)}={_property(as_text(item))}" for name, item in chosen.items())
            return "".join(line + "\n" for line in lines).encode("ascii")
    raise Unwritable(f"{form} is made elsewhere")


def as_text(item: Any) -> str:
    """Return a value as a text: a text as it is, a list of PEM texts as one, everything else as JSON."""
    if isinstance(item, str):
        return item
    if (
        isinstance(item, list)
        and item
        and all(isinstance(part, str) and part.startswith("-----BEGIN") for part in item)
    ):
        return "\n".join(part.strip() for part in item)
    return json.dumps(item, ensure_ascii=False)


def pem_bundle(value: Mapping[str, Any]) -> str:
    """Return private key, certificate and chain as one text, each with its newline, the chain without a repetition."""
    found: list[str] = []
    for part in PEM_PARTS:
        texts = value.get(part) or ()
        for text in [texts] if isinstance(texts, str) else texts:
            block = str(text).strip()
            if block and block not in found:
                found.append(block)
    if not any("CERTIFICATE" in block for block in found):
        raise Unwritable("pem-bundle needs the keys private_key and certificate")
    return "".join(block + "\n" for block in found)


def _picked(value: Mapping[str, Any], key: str) -> Any:
    if not key and len(value) == 1:
        return next(iter(value.values()))
    if key in value:
        return value[key]
    here = ", ".join(sorted(value)) or "none"
    raise Unwritable(f"there is no key {key!r} in the secret (there are: {here})" if key else f"name a key ({here})")


def _decoded(item: Any, key: str) -> bytes:
    try:
        return base64.b64decode("".join(as_text(item).split()), validate=True)
    except (binascii.Error, ValueError):
        raise Unwritable(f"the value of {key!r} is no base64") from None


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Unwritable(f"the key {name!r} cannot be a variable's name; choose another format, or pick keys")
    return name


def _shell(text: str, name: str) -> str:
    """Quote for `.` of a POSIX shell: everything but a single quote stands for itself between single quotes."""
    if "\0" in text:
        raise Unwritable(f"the value of {name!r} holds a NUL, which no variable can")
    return "'" + text.replace("'", "'\\''") + "'"


def _dotenv(text: str, name: str) -> str:
    """Quote for the readers of .env files (docker compose, python-dotenv, dotenv of Node): double quotes with escapes,
    single quotes where nothing has to be escaped, since some readers fill in $NAME between double quotes.
    """
    if "\0" in text:
        raise Unwritable(f"the value of {name!r} holds a NUL, which no variable can")
    if "'" not in text and "\\" not in text and "\r" not in text:
        return f"'{text}'"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return '"' + escaped.replace("$", "\\$") + '"'


_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\f": "\\f"}


def _property(text: str, *, key: bool = False) -> str:
    """Escape for java.util.Properties.load: printable ASCII, and Unicode escapes for the rest."""
    made: list[str] = []
    for place, character in enumerate(text):
        if character in _ESCAPES:
            made.append(_ESCAPES[character])
        elif (
            (character == " " and (key or place == 0))
            or (key and character in "=:")
            or (not place and character in "#!")
        ):
            made.append("\\" + character)
        elif " " <= character <= "~":
            made.append(character)
        else:
            units = character.encode("utf-16-be", "surrogatepass")
            made += [f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2)]
    return "".join(made)


def _json(item: Any) -> str:
    """Return JSON that YAML 1.1 and 1.2 read alike: control characters and line separators are escaped."""
    text = json.dumps(item, ensure_ascii=False)
    return re.sub(
        r"[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff]", lambda found: f"\\u{ord(found[0]):04x}", text
    )


def texts_of(value: Any) -> Sequence[str]:
    """Return every text within a value, at any depth: what the log must never show."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in texts_of(item)]
    if isinstance(value, list | tuple):
        return [text for item in value for text in texts_of(item)]
    return [] if value is None or isinstance(value, bool) else [json.dumps(value)]
