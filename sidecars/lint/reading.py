"""Read manifests: files, folders and standard input, each as documents that know in which line a value stands."""

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from .core.pod import Path

_SUFFIXES = (".yaml", ".yml", ".json")
_FILE_BYTES = 64 * 1024 * 1024
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # of libyaml, ten times quicker, where it was built

# What PyYAML's constructors let through: dates that are none, `!!int ""`, a mapping as a key, depth.
_CONSTRUCTION = (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class UnreadableError(Exception):
    """A manifest cannot be read; the message names the file, the place and the remedy."""


@dataclass(frozen=True)
class Document:
    """One document of a file. `value`: what YAML makes of it. `node`: the same with places. `text`: the whole file."""

    file: str
    value: Any
    node: yaml.Node
    lines: tuple[str, ...] = field(repr=False)

    @property
    def first_line(self) -> int:
        """The line where it begins, from 1."""
        return int(self.node.start_mark.line) + 1

    def place(self, path: Path) -> tuple[int, int]:
        """Return line and column (from 1) of a path, or of the deepest part of it that is there."""
        mark = self.node.start_mark
        node: yaml.Node | None = self.node
        for step in path:
            key, node = child(node, step)
            if node is None:
                break
            mark = (key or node).start_mark
        return mark.line + 1, mark.column + 1

    def node_at(self, path: Path) -> yaml.Node | None:
        """Return the node at a path, or None."""
        node: yaml.Node | None = self.node
        for step in path:
            node = child(node, step)[1]
        return node

    def around(self, path: Path) -> Iterator[str]:
        """Yield the lines whose comments count for a path: its own and the one above, the same of its container, and
        the comments at the top of the document.
        """
        places = {self.place(path)[0]}
        for end in range(len(path), 0, -1):
            if isinstance(path[end - 1], int) and path[end - 2] in {"containers", "initContainers"}:
                places.add(self.place(path[:end])[0])
        for line in sorted({*places, *(line - 1 for line in places), *self._head()}):
            if 0 < line <= len(self.lines):
                yield self.lines[line - 1]

    def _head(self) -> Iterator[int]:
        """Yield the lines of the comments above the first key."""
        line = int(self.node.start_mark.line)
        while line > 0 and self.lines[line - 1].lstrip().startswith("#"):
            yield line
            line -= 1


def child(node: yaml.Node | None, step: str | int) -> tuple[yaml.Node | None, yaml.Node | None]:
    """Return the key and the value at a step; (None, None) where there is nothing."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == step:
                return key, value
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return None, node.value[step]
    return None, None


def files_of(words: Iterable[str]) -> Iterator[str]:
    """Yield the files to read: those named, and the manifests in the folders named. Raise UnreadableError."""
    for word in words:
        if word == "-" or not os.path.isdir(word):
            yield word
            continue
        closed: list[OSError] = []
        found = [
            os.path.join(folder, name)
            for folder, folders, names in os.walk(word, onerror=closed.append)
            for name in sorted(names)
            if name.endswith(_SUFFIXES) and folders.sort() is None
        ]
        yield from found
        for error in closed:
            raise UnreadableError(f"cannot read the folder {error.filename}: {error.strerror}") from error
        if not found:
            raise UnreadableError(f"cannot find a manifest in {word}: no file ends with {', '.join(_SUFFIXES)}")


def text_of(file: str) -> str:
    """Return the text of a file, or of standard input for `-`. Raise UnreadableError."""
    try:
        if file == "-":
            content = sys.stdin.buffer.read(_FILE_BYTES + 1)
        else:
            if not stat.S_ISREG(os.stat(file).st_mode) and not file.startswith("/dev/fd/"):
                raise UnreadableError(f"cannot read {file}: it is no regular file; name a manifest, a folder or -")
            with open(file, "rb") as stream:
                content = stream.read(_FILE_BYTES + 1)
    except OSError as error:
        raise UnreadableError(f"cannot read {shown(file)}: {error.strerror}") from error
    if len(content) > _FILE_BYTES:
        raise UnreadableError(f"cannot read {shown(file)}: it is longer than {_FILE_BYTES >> 20} MiB; split it")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError(f"cannot read {shown(file)}: byte {error.start} is not UTF-8; save it so") from error


def documents_of(file: str, text: str) -> Iterator[Document]:
    """Yield the documents of a file. Raise UnreadableError at what is not YAML, after those before it."""
    lines = tuple(text.splitlines())
    loader = _LOADER(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            value = loader.construct_document(node)  # resolves merge keys within the node, too
            if value is not None:
                yield Document(file, value, node, lines)
    except yaml.MarkedYAMLError as error:
        raise UnreadableError(_not_yaml(file, text, error)) from error
    except _CONSTRUCTION as error:
        raise UnreadableError(f"cannot read {shown(file)}: it is not valid YAML; check it with a linter") from error
    finally:
        loader.dispose()


def _not_yaml(file: str, text: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    before = text[: mark.index + 200] if mark else text
    remedy = "check that place"
    if "{{" in before:
        remedy = "it looks like a Helm template: give what it renders, `helm template . | sidecar lint -`"
    return (
        f"cannot read {shown(file)}: line {mark.line + 1 if mark else 1} is not valid YAML: {error.problem}; {remedy}"
    )


def shown(file: str) -> str:
    """Return a file's name as people know it."""
    return "standard input" if file == "-" else file
