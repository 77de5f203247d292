"""The house rules that no other tool checks. A failure lists every offender with its place."""

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src"

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 600
POSITIONAL_MAX = 8

NAMELESS_MODULES = {"utils", "helpers", "common", "main", "misc", "core"}
LOOSE_ENDS = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def files(*folders: str) -> list[Path]:
    """Every Python file under the given folders of the project."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


EVERYTHING = files("src", "tests", "bench", "tools", "examples")


@cache
def nodes(path: Path) -> list[ast.AST]:
    """Everything in the parsed file."""
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))))


def place(path: Path, node: ast.expr | ast.stmt | None = None) -> str:
    """Where something stands, as an editor understands it."""
    where = str(path.relative_to(ROOT))
    return where if node is None else f"{where}:{node.lineno}"


def functions(path: Path) -> Iterator[Function]:
    """Every function and method of a file, nested ones too."""
    return (node for node in nodes(path) if isinstance(node, Function))


def docstring_lines(function: Function) -> int:
    """How many lines the docstring takes, 0 without one."""
    if ast.get_docstring(function) is None:
        return 0
    first = function.body[0]
    return (first.end_lineno or first.lineno) - first.lineno + 1


def report(rule: str, offenders: list[str]) -> None:
    """Fail with the rule and all who break it."""
    if offenders:
        pytest.fail(f"{rule}\n  " + "\n  ".join(offenders), pytrace=False)


def test_functions_fit_on_a_screen() -> None:
    """A function has at most 70 lines, its docstring not counted."""
    offenders = []
    for path in EVERYTHING:
        for function in functions(path):
            lines = (function.end_lineno or function.lineno) - function.lineno + 1 - docstring_lines(function)
            if lines > FUNCTION_LINES_MAX:
                offenders.append(f"{place(path, function)} {function.name}: {lines} lines")
    report(f"Functions have at most {FUNCTION_LINES_MAX} lines; name a step and move it out.", offenders)


def test_files_hold_one_noun() -> None:
    """A file has at most 600 lines."""
    counts = ((path, len(path.read_text(encoding="utf-8").splitlines())) for path in EVERYTHING)
    offenders = [f"{place(path)}: {lines} lines" for path, lines in counts if lines > FILE_LINES_MAX]
    report(f"Files have at most {FILE_LINES_MAX} lines; split by noun.", offenders)


def test_functions_take_few_positional_parameters() -> None:
    """At most 8 parameters are positional; options are keyword-only."""
    offenders = []
    for path in EVERYTHING:
        for function in functions(path):
            names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
            count = len(names) - (names[:1] in (["self"], ["cls"]))
            if count > POSITIONAL_MAX:
                offenders.append(f"{place(path, function)} {function.name}: {count} positional parameters")
    report(f"At most {POSITIONAL_MAX} positional parameters; put a * before the options.", offenders)


def test_modules_are_named_for_what_they_hold() -> None:
    """No module is called utils, helpers, common, main, misc or core."""
    names = ((path, path.parent.name if path.stem == "__init__" else path.stem) for path in EVERYTHING)
    offenders = [place(path) for path, name in names if name.strip("_") in NAMELESS_MODULES and name != "__main__"]
    report("Name a module for the one noun it holds.", offenders)


def test_nothing_is_left_for_later() -> None:
    """No comment, string or name in the code postpones work."""
    offenders = [
        f"{place(path)}:{number} {line.strip()}"
        for path in EVERYTHING
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if LOOSE_ENDS.search(line)
    ]
    report("Do it now, or write it down as an issue.", offenders)


def test_tests_say_what_they_claim() -> None:
    """Every test function has a docstring: one plain sentence."""
    offenders = [
        f"{place(path, function)} {function.name}"
        for path in files("tests")
        for function in functions(path)
        if function.name.startswith("test") and ast.get_docstring(function) is None
    ]
    report("A test states its claim in a docstring.", offenders)


def test_only_drivers_and_commands_sleep() -> None:
    """Outside `_io` and `cli` nothing in the package calls time.sleep."""
    may_sleep = (SRC / "penstock/_io", SRC / "penstock/cli")
    offenders = [
        place(path, node)
        for path in files("src")
        if not any(path.is_relative_to(folder) for folder in may_sleep)
        for node in nodes(path)
        if isinstance(node, ast.expr | ast.stmt) and is_sleep(node)
    ]
    report("Yield an effect and let the driver wait.", offenders)


def is_sleep(node: ast.expr | ast.stmt) -> bool:
    """Whether a node is `time.sleep` or imports it."""
    match node:
        case ast.Attribute(value=ast.Name(id="time"), attr="sleep"):
            return True
        case ast.ImportFrom(module="time", names=names):
            return any(alias.name == "sleep" for alias in names)
        case _:
            return False


def test_colours_are_not_mixed() -> None:
    """Nothing is "a value or an awaitable of it", and nothing asks which."""
    offenders = [
        place(path, node)
        for path in files("src")
        for node in nodes(path)
        if isinstance(node, ast.expr) and mixes_colours(node)
    ]
    report("A function is sync or async; write two faces over one flow.", offenders)


def mixes_colours(node: ast.expr) -> bool:
    """Whether an expression is `T | Awaitable[T]`, its Union form, or a call of isawaitable."""
    match node:
        case ast.BinOp(op=ast.BitOr(), left=left, right=right):
            return is_awaitable(left) or is_awaitable(right)
        case ast.Subscript(value=ast.Name(id="Union"), slice=ast.Tuple(elts=members)):
            return any(map(is_awaitable, members))
        case ast.Name(id="isawaitable") | ast.Attribute(attr="isawaitable"):
            return True
        case _:
            return False


def is_awaitable(node: ast.expr) -> bool:
    """Whether an annotation is Awaitable[...] or Coroutine[...]."""
    match node:
        case ast.Subscript(value=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name in {"Awaitable", "Coroutine"}
        case _:
            return False


def test_imports_make_no_cycle() -> None:
    """Modules of the package import each other in one direction, also inside functions and for types."""
    modules = {module_name(path): path for path in files("src")}
    graph = {name: imported_modules(path, modules) - {name} for name, path in modules.items()}
    offenders = []
    while cycle := find_cycle(graph):
        offenders.append(" imports ".join(reversed(cycle)))
        graph[cycle[1]].discard(cycle[0])
    report("Data flows down: move what both need to a lower module.", offenders)


def module_name(path: Path) -> str:
    """The dotted name of a source file."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path: Path, modules: dict[str, Path]) -> set[str]:
    """The modules of the package that a file imports anywhere in its text."""
    found: set[str] = set()
    for node in nodes(path):
        match node:
            case ast.Import(names=names):
                found.update(alias.name for alias in names)
            case ast.ImportFrom(names=names):
                origin = origin_of(node, path)
                members = {f"{origin}.{alias.name}" for alias in names}
                found.update(member if member in modules else origin for member in members)
            case _:
                pass
    return found & modules.keys()


def origin_of(node: ast.ImportFrom, path: Path) -> str:
    """The dotted name after `from`, its leading dots resolved."""
    if not node.level:
        return node.module or ""
    package = path.relative_to(SRC).parts[: -node.level]
    return ".".join((*package, node.module) if node.module else package)


def find_cycle(graph: dict[str, set[str]]) -> list[str] | None:
    """One cycle, each module imported by the next, first and last the same."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return None


PLANTED: list[tuple[Callable[[ast.expr], bool], str, bool]] = [
    (is_sleep, "time.sleep", True),
    (is_sleep, "clock.sleep", False),
    (mixes_colours, "T | Awaitable[T]", True),
    (mixes_colours, "Union[T, typing.Awaitable[T]]", True),
    (mixes_colours, "inspect.isawaitable", True),
    (mixes_colours, "Awaitable[T]", False),
]


@pytest.mark.parametrize(("rule", "code", "caught"), PLANTED)
def test_planted_offences_are_caught(rule: Callable[[ast.expr], bool], code: str, caught: bool) -> None:
    """A rule that cannot fail proves nothing."""
    assert rule(ast.parse(code, mode="eval").body) is caught


@pytest.mark.parametrize(
    ("code", "origin"),
    [
        ("from penstock.types import Usage", "penstock.types"),
        ("from . import retry", "penstock._policy"),
        ("from .retry import delay", "penstock._policy.retry"),
        ("from ..types import Usage", "penstock.types"),
    ],
)
def test_leading_dots_of_an_import_are_resolved(code: str, origin: str) -> None:
    """A relative import counts like its absolute form."""
    node = ast.parse(code).body[0]
    assert isinstance(node, ast.ImportFrom)
    assert origin_of(node, SRC / "penstock/_policy/limiter.py") == origin


def test_a_planted_cycle_is_found() -> None:
    """A cycle through three modules is found and named."""
    cycle = find_cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})
    assert cycle is not None
    assert set(cycle) == {"a", "b", "c"}
