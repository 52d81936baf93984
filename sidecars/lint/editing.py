"""Write fixes into the text of a manifest: lines are added, removed or moved, and all others stay as they are.

Exists because a YAML library that writes the file anew loses its layout, and a reviewer then has to read all of it.
"""

from collections.abc import Callable, Iterable

import yaml

from .core.pod import Path
from .core.rule import DropKey, Edit, MoveToInit, SetKey
from .reading import Document, UnreadableError, child, documents_of

_PASSES = 10_000
Wanted = Callable[[Document], Iterable[Edit]]
"""Returns the edits that a document needs."""


def mend(file: str, text: str, wanted: Wanted) -> tuple[str, int]:
    """Return the text with every fix that `wanted` names, and how many there were. One at a time, since each moves the
    lines below it. A fix that would leave no YAML, or not change what it should, is left out.
    """
    done = 0
    refused: set[tuple[int, Edit]] = set()
    for _ in range(_PASSES):
        found = ((document, edit) for document in documents_of(file, text) for edit in wanted(document))
        step = next(((document, edit) for document, edit in found if (document.first_line, edit) not in refused), None)
        if step is None:
            break
        after = applied(text, *step)
        if after == text or not _reads(file, after):
            refused.add((step[0].first_line, step[1]))
            continue
        text = after
        done += 1
    return text, done


def _reads(file: str, text: str) -> bool:
    try:
        return bool(list(documents_of(file, text)))
    except UnreadableError:
        return False


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
        return _set_key(text, document, path[:-1], str(path[-1]), f"{{{key}: {value}}}")
    if not isinstance(node, yaml.MappingNode):
        return text
    _, present = child(node, key)
    if present is not None:
        return text[: present.start_mark.index] + value + text[_end(text, present) :]
    if node.flow_style:
        at = node.start_mark.index + 1
        return f"{text[:at]}{key}: {value}{', ' if node.value else ''}{text[at:]}"
    first, _ = node.value[0]
    last_key, last = node.value[-1]
    at = _line_end(text, max(_end(text, last) - 1, last_key.start_mark.index))
    line = f"{' ' * first.start_mark.column}{key}: {value}\n"
    return f"{text[:at]}{line}{text[at:]}" if text[at - 1 : at] == "\n" else f"{text}\n{line}"


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
    block = text[start:end] if text[start:end].endswith("\n") else text[start:end] + "\n"
    _, policy = child(item, "restartPolicy")
    if policy is None:
        block += f"{' ' * item.start_mark.column}restartPolicy: Always\n"
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
    return f"{rest[:at]}{' ' * key.start_mark.column}initContainers:\n{block}{rest[at:]}"


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
