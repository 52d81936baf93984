"""Write fixes into the text of a manifest: lines are added, removed or moved, and all others stay as they are.

Exists because a YAML library that writes the file anew loses its layout, and a reviewer then has to read all of it.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from functools import reduce
from operator import getitem
from typing import Any

import yaml

from .core.pod import Path
from .core.rule import DropKey, Edit, MoveToInit, SetKey
from .reading import Document, UnreadableError, child, documents_of

_PASSES = 10_000
Wanted = Callable[[Document], Iterable[Edit]]
"""Returns the edits that a document needs."""


def mend(file: str, text: str, wanted: Wanted) -> tuple[str, int]:
    """Return the text with every fix that `wanted` names, and how many there were. Each round takes one of each object,
    since an edit moves the lines below it. A fix after which the file does not say exactly what the fix means (an
    anchor that others share, a form that is not known) is left out.
    """
    done = 0
    most: int | None = None
    refused: set[tuple[int, Edit]] = set()
    for _ in range(_PASSES):
        documents = list(documents_of(file, text))
        steps = list(_one_of_each_object(documents, wanted, refused))[:most]
        if not steps:
            break
        after = text
        for place, edit in reversed(steps):
            after = applied(after, documents[place], edit)
        if _values(file, after) == _changed(documents, steps):
            text, done, most = after, done + len(steps), None
        elif len(steps) == 1:
            refused.add(steps[0])
            most = None
        else:  # one of them is to blame
            most = len(steps) // 2
    return text, done


def _one_of_each_object(
    documents: list[Document], wanted: Wanted, refused: set[tuple[int, Edit]]
) -> Iterator[tuple[int, Edit]]:
    """Yield the first edit of each document, or of each item of a list, with the document's place in the file."""
    for place, document in enumerate(documents):
        seen: set[Path] = set()
        for edit in wanted(document):
            item = edit.path[:2] if edit.path[0] == "items" else ()
            if item not in seen and (place, edit) not in refused:
                seen.add(item)
                yield place, edit


def _values(file: str, text: str) -> list[Any]:
    try:
        return [document.value for document in documents_of(file, text)]
    except UnreadableError:
        return []


def _changed(documents: list[Document], steps: Iterable[tuple[int, Edit]]) -> list[Any]:
    """Return what the file has to say after the edits."""
    values = [document.value for document in documents]
    for place, edit in steps:
        if values[place] is documents[place].value:
            values[place] = deepcopy(values[place])
        _change(values[place], edit)
    return values


def _change(value: Any, edit: Edit) -> None:
    match edit:
        case SetKey(path, key, content):
            for step in path:
                if isinstance(value, dict) and value.get(step) is None:
                    value[step] = {}
                value = value[step]
            value[key] = yaml.safe_load(content)
        case DropKey(path):
            parent = reduce(getitem, path[:-1], value)
            del parent[path[-1]]
            if not parent and len(path) > 1:
                _change(value, DropKey(path[:-1]))
        case MoveToInit(path):
            spec = reduce(getitem, path[:-2], value)
            moved = spec["containers"].pop(path[-1])
            spec["initContainers"] = [*(spec.get("initContainers") or []), {**moved, "restartPolicy": "Always"}]


def applied(text: str, document: Document, edit: Edit) -> str:
    """Return the text with one edit in a document, or the same text where its form allows none."""
    match edit:
        case SetKey(path, key, value):
            return _set_key(text, document, path, key, value)
        case DropKey(path):
            return _drop_key(text, document, path)
        case MoveToInit(path):
            return _move_to_init(text, document, path)


def _set_key(text: str, document: Document, path: Path, key: str, value: str) -> str:
    node = document.node_at(path)
    if node is None:  # make the mapping, too
        return _set_key(text, document, path[:-1], str(path[-1]), f"{{{key}: {value}}}") if path else text
    if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null":
        return f"{text[: node.start_mark.index].rstrip(' ')} {{{key}: {value}}}{text[node.end_mark.index :]}"
    if not isinstance(node, yaml.MappingNode):
        return text
    _, present = child(node, key)
    if _is_json(document):
        key, value = json.dumps(key), json.dumps(yaml.safe_load(value))
    if present is not None:
        return text[: present.start_mark.index] + value + text[_end(text, present) :]
    if node.flow_style:
        at = node.start_mark.index + 1
        return f"{text[:at]}{key}: {value}{', ' if node.value else ''}{text[at:]}"
    first, _ = node.value[0]
    last_key, last = node.value[-1]
    at = _line_end(text, max(_end(text, last) - 1, last_key.start_mark.index))
    line = f"{' ' * first.start_mark.column}{key}: {value}{_break(text)}"
    return f"{text[:at]}{line}{text[at:]}" if text[at - 1 : at] == "\n" else f"{text}{_break(text)}{line}"


def _drop_key(text: str, document: Document, path: Path) -> str:
    parent = document.node_at(path[:-1])
    key, value = child(parent, path[-1])
    if not isinstance(parent, yaml.MappingNode) or key is None or value is None:
        return text
    if len(parent.value) == 1 and len(path) > 1:  # an empty mapping is no better
        return _drop_key(text, document, path[:-1])
    start, end = key.start_mark.index, _end(text, value)
    if parent.flow_style:
        place = [one for one, _ in parent.value].index(key)
        if place + 1 < len(parent.value):
            return text[:start] + text[parent.value[place + 1][0].start_mark.index :]
        return text[: _end(text, parent.value[place - 1][1])] + text[end:]
    if text[text.rfind("\n", 0, start) + 1 : start].strip():  # behind the dash of a list
        following = next((one for one, _ in parent.value if one.start_mark.index > start), None)
        return text[:start] + text[following.start_mark.index :] if following else text
    return text[: text.rfind("\n", 0, start) + 1] + text[_line_end(text, end - 1) :]


def _move_to_init(text: str, document: Document, path: Path) -> str:
    """Move an item of `containers`, with its comments, to the end of `initContainers` (made before `containers`)."""
    spec = document.node_at(path[:-2])
    key, items = child(spec, "containers")
    _, inits = child(spec, "initContainers")
    item = document.node_at(path)
    if not (isinstance(items, yaml.SequenceNode) and isinstance(item, yaml.MappingNode) and key) or items.flow_style:
        return text
    if len(items.value) < 2 or item.flow_style or (inits is not None and getattr(inits, "flow_style", False)):
        return text
    start, end = _item_start(text, item), _line_end(text, _end(text, item) - 1)
    block = text[start:end] if text[start:end].endswith("\n") else text[start:end] + _break(text)
    _, policy = child(item, "restartPolicy")
    if policy is None:
        block += f"{' ' * item.start_mark.column}restartPolicy: Always{_break(text)}"
    rest = text[:start] + text[end:]
    if isinstance(inits, yaml.SequenceNode) and inits.value:
        if inits.start_mark.column != items.start_mark.column:
            return text
        at = _line_end(text, _end(text, inits.value[-1]) - 1)
        at -= 0 if at <= start else end - start
        return rest[:at] + block + rest[at:]
    at = text.rfind("\n", 0, key.start_mark.index) + 1
    if text[at : key.start_mark.index].strip():
        return text
    return f"{rest[:at]}{' ' * key.start_mark.column}initContainers:{_break(text)}{block}{rest[at:]}"


def _item_start(text: str, item: yaml.Node) -> int:
    """Return where the first line of a list's item begins, or that of the comments above it."""
    start = text.rfind("\n", 0, text.rfind("-", 0, item.start_mark.index)) + 1
    while start > 0:
        above = text.rfind("\n", 0, start - 1) + 1
        if not text[above:start].lstrip().startswith("#"):
            break
        start = above
    return start


def _end(text: str, node: yaml.Node) -> int:
    """Return where a node's text ends: a block's mark stands where the next token begins, after comments."""
    end = node.end_mark.index
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(text, last[1] if isinstance(last, tuple) else last)
    if isinstance(node, yaml.ScalarNode) and node.style in {"|", ">"}:
        return len(text[:end].rstrip()) + 1 if text[:end].rstrip() else end
    return int(end)


def _line_end(text: str, index: int) -> int:
    """Return the index behind the line break of the line in which an index stands."""
    found = text.find("\n", index)
    return len(text) if found < 0 else found + 1


def _break(text: str) -> str:
    """Return the line break of a file."""
    return "\r\n" if "\r\n" in text else "\n"


def _is_json(document: Document) -> bool:
    """Return whether a document is JSON, in which every key is quoted."""
    node = document.node
    return isinstance(node, yaml.MappingNode) and bool(node.flow_style and node.value and node.value[0][0].style == '"')
