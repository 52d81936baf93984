"""The project's form, held by a machine: size, annotations, docstrings, names, broad excepts, waiting in tests.

Numbers: a function fits on a screen (40 lines without its docstring), a call in a line (5 parameters). A file holds one
thing, whole; its length is for review (at about 400 lines one asks whether it holds two).
"""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FUNCTION_LINES, PARAMETERS = 40, 5
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "base"}
BROAD_BOUNDARIES = {"sidecars/runtime/tasks.py"}

# Departures that were thought about: "file: what" and the reason. A departure that has gone must leave this list.
EXCEPTIONS: dict[str, str] = {}

Finding = tuple[str, str]  # where (file:line, for people) and what ("file: what", as EXCEPTIONS knows it)
Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources() -> list[Path]:
    """Every Python file of ours, as a path relative to the project."""
    tops = ("sidecars", "images", "scripts", "tests")
    return sorted(path.relative_to(ROOT) for top in tops for path in (ROOT / top).rglob("*.py"))


def in_tests(path: Path) -> bool:
    return path.parts[0] == "tests"


def length(function: Function) -> int:
    """Lines of the body, the docstring left out."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return ((body[-1].end_lineno or 0) - body[0].lineno + 1) if body else 0


def parameters(function: Function) -> list[ast.arg]:
    a = function.args
    both_stars = [star for star in (a.vararg, a.kwarg) if star]
    return [p for p in [*a.posonlyargs, *a.args, *a.kwonlyargs, *both_stars] if p.arg not in {"self", "cls"}]


def is_fixture_user(path: Path, function: Function) -> bool:
    """Tests and fixtures take what they need by name; pytest calls them, no person has to."""
    decorators = (ast.unparse(decorator) for decorator in function.decorator_list)
    return in_tests(path) and (function.name.startswith("test_") or any("fixture" in text for text in decorators))


def function_findings(path: Path, function: Function) -> Iterator[tuple[int, str]]:
    given = parameters(function)
    if length(function) > FUNCTION_LINES:
        yield function.lineno, f"{function.name} is longer than {FUNCTION_LINES} lines"
    if len(given) > PARAMETERS and not is_fixture_user(path, function):
        yield function.lineno, f"{function.name} has more than {PARAMETERS} parameters"
    if function.returns is None or any(parameter.annotation is None for parameter in given):
        yield function.lineno, f"{function.name} is not fully annotated"


def is_broad(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(ast.unparse(name).rpartition(".")[2] in {"Exception", "BaseException"} for name in caught)


def reraises(handler: ast.ExceptHandler) -> bool:
    """A handler that ends by raising again hides nothing (cleaning up after any failure is what it is for)."""
    return isinstance(handler.body[-1], ast.Raise) and handler.body[-1].exc is None


def is_a_real_sleep(call: ast.Call) -> bool:
    """asyncio.sleep(0) only gives way to other tasks; everything longer hopes instead of waiting for a condition."""
    if ast.unparse(call.func) not in {"asyncio.sleep", "time.sleep"}:
        return False
    return not (call.args and isinstance(call.args[0], ast.Constant) and call.args[0].value == 0)


def in_a_loop(tree: ast.Module) -> set[ast.AST]:
    """Nodes below a loop: a short sleep there paces a wait for a condition, which is what we ask for."""
    loops = (node for node in ast.walk(tree) if isinstance(node, ast.While | ast.For | ast.AsyncFor))
    return {child for loop in loops for child in ast.walk(loop)}


def node_findings(path: Path, tree: ast.Module) -> Iterator[tuple[int, str]]:
    looped = in_a_loop(tree)
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield from function_findings(path, node)
        elif isinstance(node, ast.ExceptHandler):
            if is_broad(node) and not reraises(node) and path.as_posix() not in BROAD_BOUNDARIES:
                yield node.lineno, "broad except"
        elif isinstance(node, ast.Call) and in_tests(path) and is_a_real_sleep(node) and node not in looped:
            yield node.lineno, "sleeps to let things happen"


def file_findings(path: Path, text: str) -> Iterator[tuple[int, str]]:
    tree = ast.parse(text)
    if ast.get_docstring(tree) is None:
        yield 1, "the module has no docstring"
    names = {*path.parts[:-1], path.stem}
    if names & FORBIDDEN_NAMES:
        yield 1, f"the name {', '.join(names & FORBIDDEN_NAMES)} says nothing"
    yield from node_findings(path, tree)


def findings(path: Path, text: str) -> list[Finding]:
    return [(f"{path}:{line}: {what}", f"{path}: {what}") for line, what in file_findings(path, text)]


def test_the_code_keeps_its_form() -> None:
    found = [finding for path in sources() for finding in findings(path, (ROOT / path).read_text(encoding="utf-8"))]
    departures = [where for where, what in found if what not in EXCEPTIONS]
    assert not departures, "\n".join(["departs from the form:", *departures])
    outdated = EXCEPTIONS.keys() - {what for _, what in found}
    assert not outdated, f"these exceptions are not needed any more: {sorted(outdated)}"


LONG_BODY = "\n".join(["def f() -> None:", *["    print()"] * 41])
BAD: dict[str, tuple[str, str, str]] = {
    "no docstring": ("sidecars/a.py", "x = 1", "no docstring"),
    "an empty name": ("sidecars/utils.py", "", "says nothing"),
    "a long function": ("sidecars/a.py", LONG_BODY, "longer than 40 lines"),
    "many parameters": ("sidecars/a.py", "def f(a: A, b: A, c: A, d: A, *e: A, g: A) -> A: ...", "more than 5"),
    "no return type": ("tests/a.py", "def f(): ...", "not fully annotated"),
    "an unannotated star": ("tests/a.py", "def f(*rest) -> None: ...", "not fully annotated"),
    "a bare except": ("sidecars/a.py", "try: ...\nexcept: ...", "broad except"),
    "a broad except in a tuple": ("tests/a.py", "try: ...\nexcept (OSError, Exception): ...", "broad except"),
    "a sleep in a test": ("tests/a.py", "import time\ntime.sleep(0.1)", "sleeps"),
}  # fmt: skip


@pytest.mark.parametrize(("path", "text", "what"), BAD.values(), ids=BAD.keys())
def test_the_form_check_sees(path: str, text: str, what: str) -> None:
    assert any(what in finding for finding, _ in findings(Path(path), text))


GOOD: dict[str, tuple[str, str]] = {
    "a boundary may catch everything": ("sidecars/runtime/tasks.py", '"""D."""\ntry: ...\nexcept Exception: ...'),
    "cleaning up and raising again": (
        "sidecars/a.py",
        '"""D."""\ntry: ...\nexcept BaseException:\n    print()\n    raise',
    ),
    "a paced wait": ("tests/a.py", '"""D."""\nwhile not done():\n    time.sleep(0.01)'),
    "self does not count": (
        "sidecars/a.py",
        '"""D."""\ndef f(self, a: int, b: int, c: int, d: int, e: int) -> None: ...',
    ),
}


@pytest.mark.parametrize(("path", "text"), GOOD.values(), ids=GOOD.keys())
def test_the_form_check_allows(path: str, text: str) -> None:
    assert findings(Path(path), text) == []


def every(wanted: Callable[[Path], bool]) -> list[Path]:
    return [path for path in sources() if wanted(path)]


def test_the_form_check_reads_all_of_the_code() -> None:
    assert every(lambda path: path.parts[:2] == ("sidecars", "runtime"))
    assert every(in_tests)
