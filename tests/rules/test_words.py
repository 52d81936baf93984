"""One word, one meaning: a class name exists once in the package, and the glossary names nothing that is not there."""

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GLOSSARY = ROOT / "docs" / "glossary.md"

# The same name for the same thing in two places, each with the reason. One that has gone must leave this list.
EXCEPTIONS: dict[str, str] = {}


def classes() -> dict[str, list[str]]:
    """Where each class is declared, by its name. Private ones are left out: nobody meets them in another module. So is
    devstack: its programs stand outside.
    """
    found = defaultdict(list)
    for path in sorted((ROOT / "sidecars").rglob("*.py")):
        if "devstack" not in path.parts:
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    found[node.name].append(path.relative_to(ROOT).as_posix())
    return found


def glossary() -> list[list[str]]:
    """The rows of its tables: word, meaning, names in the code, former words."""
    lines = re.findall(r"^\|(.*)\|$", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE)
    rows = ([cell.strip() for cell in line.split("|")] for line in lines if set(line) - set("|-"))
    return [row for row in rows if row[0] != "word"]


def test_every_public_class_name_exists_once() -> None:
    twice = {name: where for name, where in classes().items() if len(where) > 1}
    assert sorted(twice) == sorted(EXCEPTIONS), twice


def test_every_name_in_the_glossary_is_in_the_code() -> None:
    named = {name for row in glossary() for name in re.findall(r"`(\w+)`", row[2])}
    assert len(named) > 30
    assert sorted(named - classes().keys()) == [], "docs/glossary.md names classes that are not there"


def test_every_word_has_one_row_and_none_is_given_up_in_another() -> None:
    kept = [word for row in glossary() for word in row[0].split(", ")]
    given_up = [word for row in glossary() for word in row[3].split(", ") if word]
    assert sorted({word for word in kept if kept.count(word) > 1}) == []
    assert sorted(set(kept) & set(given_up)) == []
