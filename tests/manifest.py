"""The two sides of the contract: the statements of `docs/contract.md`, and the tests that name them.

Both are read as text: the document by its marks, the tests by their syntax trees, so that no test module is
imported and a marker behind a missing extra still counts. `python -m tests.manifest` prints a line per section
and each orphan.

A statement is an id in square brackets inside a code span. The table under "Deferred" lists, in its first column,
the ids of what comes later (`4.breaker.*` stands for all that begin so). A test names ids with
`pytest.mark.contract("1.created")`: as a decorator, as `pytestmark`, on a class or on a `pytest.param`; an alias of
the mark must be called `contract`. A function of the module that hands its `*ids` on to the mark counts as the mark.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Deliberately wider than a good id: a mistyped mark has to be reported, not passed over as prose.
_MARK = re.compile(r"`\[([0-9A-Z]\.[^\]`]*)\]`")
_ID = re.compile(r"[1-8ABC](\.[a-z0-9]+(-[a-z0-9]+)*)+")
_CODE_SPAN = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Document:
    """What `contract.md` says: `marks` in order, repeats included, and the ids or prefixes deferred."""

    marks: tuple[str, ...]
    deferred: tuple[str, ...]

    def is_deferred(self, statement: str) -> bool:
        return any(_covers(pattern, statement) for pattern in self.deferred)


@dataclass(frozen=True, slots=True)
class Citations:
    """What the tests say: id -> the tests that name it, and where a marker is that only running could read.

    An id that is named where no test stands (a helper's decorator, a table that nothing uses) has an empty set.
    """

    tests: Mapping[str, frozenset[str]]
    unreadable: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Orphans:
    """Everything that stands alone, or where it must not; all empty when the contract holds."""

    malformed: tuple[str, ...]
    repeated: tuple[str, ...]
    unproven: tuple[str, ...]
    unknown: tuple[str, ...]
    deferred_but_cited: tuple[str, ...]
    idle_patterns: tuple[str, ...]
    unreadable: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        yield from (f"malformed id in the document: {item}" for item in self.malformed)
        yield from (f"id stands twice in the document: {item}" for item in self.repeated)
        yield from (f"no test proves: {item}" for item in self.unproven)
        yield from (f"named by a test, not in the document: {item}" for item in self.unknown)
        yield from (f"deferred, yet a test proves it: {item}" for item in self.deferred_but_cited)
        yield from (f"listed as deferred, names no statement: {item}" for item in self.idle_patterns)
        yield from (f"marker without plain strings: {item}" for item in self.unreadable)


def _covers(pattern: str, statement: str) -> bool:
    if pattern.endswith(".*"):
        return statement.startswith(pattern[:-1])
    return statement == pattern


def read_document(text: str) -> Document:
    deferred: list[str] = []
    inside = False
    for line in text.splitlines():
        if line.startswith("## "):
            inside = line.strip() == "## Deferred"
        elif inside and line.startswith("|"):
            deferred += _CODE_SPAN.findall(line.split("|")[1])
    return Document(tuple(_MARK.findall(text)), tuple(deferred))


def read_tests(sources: Mapping[str, str]) -> Citations:
    """The markers in `sources` (file name -> text)."""
    tests: dict[str, set[str]] = {}
    unreadable: list[str] = []
    for name, source in sources.items():
        reader = _Reader(name, tests, unreadable)
        reader.read(ast.parse(source, name))
    return Citations({statement: frozenset(names) for statement, names in tests.items()}, tuple(unreadable))


class _Reader:
    """Walks one module and remembers for each marker the tests that carry it."""

    def __init__(self, name: str, tests: dict[str, set[str]], unreadable: list[str]) -> None:
        self._name = name
        self._tests = tests
        self._unreadable = unreadable
        self._used: set[str] = set()
        self._makers: dict[str, int] = {}
        """Functions that hand their `*ids` on to the mark, and how many arguments stand in front of the ids."""

    def read(self, module: ast.Module) -> None:
        loaded = (node for node in ast.walk(module) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load))
        self._used = {node.id for node in loaded}
        functions = (node for node in ast.walk(module) if isinstance(node, ast.FunctionDef))
        self._makers = {node.name: len(node.args.posonlyargs + node.args.args) for node in functions if _hands_on(node)}
        self._scope(module, self._name)

    def _scope(self, scope: ast.Module | ast.ClassDef, path: str) -> None:
        below = _tests_below(scope, path)
        for node in scope.body:
            if isinstance(node, ast.ClassDef):
                inner = f"{path}::{node.name}"
                self._take(node.decorator_list, _tests_below(node, inner))
                self._scope(node, inner)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                inner = f"{path}::{node.name}"
                self._take(node.decorator_list, {inner} if node.name.startswith("test") else set())
                self._take(node.body, {inner})
            elif "pytestmark" in _assigned(node):
                self._take([node], below)
            else:
                # A table of cases to parametrize over counts as itself, if anything uses it.
                names = _assigned(node)
                here = {f"{path}::{name}" for name in names if name in self._used}
                self._take([node], here if names else {f"{path}:{node.lineno}"})

    def _take(self, nodes: Iterable[ast.AST], names: set[str]) -> None:
        for call in (found for node in nodes for found in ast.walk(node) if isinstance(found, ast.Call)):
            if isinstance(call.func, ast.Name) and call.func.id in self._makers:
                args = call.args[self._makers[call.func.id] :]
                readable = True
            elif _is_marker(call.func) and not self._in_maker(names, call):
                args = call.args
                readable = bool(args) and not call.keywords
            else:
                continue
            ids = [arg.value for arg in args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
            if not readable or len(ids) != len(args):
                self._unreadable.append(f"{self._name}:{call.lineno}")
            for statement in ids:
                self._tests.setdefault(statement, set()).update(names)

    def _in_maker(self, names: set[str], call: ast.Call) -> bool:
        """Whether this is the place where a maker hands its ids on: what it is called with counts instead."""
        return any(name.rpartition("::")[2] in self._makers for name in names) and _starred(call) is not None


def _hands_on(function: ast.FunctionDef) -> bool:
    ids = function.args.vararg
    calls = (node for node in ast.walk(function) if isinstance(node, ast.Call) and _is_marker(node.func))
    return ids is not None and any(_starred(call) == ids.arg for call in calls)


def _starred(call: ast.Call) -> str | None:
    """`ids` of a marker that is called as `contract(*ids)`."""
    match call:
        case ast.Call(args=[ast.Starred(value=ast.Name(id=name))], keywords=[]):
            return name
    return None


def _is_marker(func: ast.expr) -> bool:
    if isinstance(func, ast.Name):
        return func.id == "contract"
    if not (isinstance(func, ast.Attribute) and func.attr == "contract"):
        return False
    owner = func.value
    return (isinstance(owner, ast.Attribute) and owner.attr == "mark") or (
        isinstance(owner, ast.Name) and owner.id == "mark"
    )


def _assigned(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    return []


def _tests_below(scope: ast.Module | ast.ClassDef, path: str) -> set[str]:
    names: set[str] = set()
    for node in scope.body:
        if isinstance(node, ast.ClassDef):
            names |= _tests_below(node, f"{path}::{node.name}")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
            names.add(f"{path}::{node.name}")
    return names


def find_orphans(document: Document, citations: Citations) -> Orphans:
    statements = dict.fromkeys(document.marks)
    cited = citations.tests
    return Orphans(
        malformed=tuple(mark for mark in statements if not _ID.fullmatch(mark)),
        repeated=tuple(mark for mark, times in Counter(document.marks).items() if times > 1),
        unproven=tuple(mark for mark in statements if not document.is_deferred(mark) and not cited.get(mark)),
        unknown=tuple(sorted(mark for mark in cited if mark not in statements)),
        deferred_but_cited=tuple(mark for mark in statements if document.is_deferred(mark) and mark in cited),
        idle_patterns=tuple(
            pattern for pattern in document.deferred if not any(_covers(pattern, mark) for mark in statements)
        ),
        unreadable=citations.unreadable,
    )


def table(document: Document, citations: Citations) -> str:
    """One line per section: how many statements, deferred, proven, and how many tests name one of them."""
    sections: dict[str, list[str]] = {}
    for mark in dict.fromkeys(document.marks):
        sections.setdefault(mark.partition(".")[0], []).append(mark)
    rows = [(section, sections[section]) for section in sorted(sections)]
    rows.append(("all", list(dict.fromkeys(document.marks))))
    lines = [f"{'section':<8}{'statements':>11}{'deferred':>10}{'proven':>8}{'tests':>7}"]
    for section, marks in rows:
        deferred = sum(document.is_deferred(mark) for mark in marks)
        proven = sum(bool(citations.tests.get(mark)) for mark in marks)
        tests = len(frozenset[str]().union(*(citations.tests.get(mark, frozenset()) for mark in marks)))
        lines.append(f"{section:<8}{len(marks):>11}{deferred:>10}{proven:>8}{tests:>7}")
    return "\n".join(lines)


def project_document() -> Document:
    return read_document((ROOT / "docs" / "contract.md").read_text(encoding="utf-8"))


def project_citations() -> Citations:
    files = sorted((ROOT / "tests").rglob("*.py"))
    return read_tests({path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in files})


def main() -> int:
    document, citations = project_document(), project_citations()
    orphans = list(find_orphans(document, citations).lines())
    sys.stdout.write("\n".join([table(document, citations), "", *orphans, f"{len(orphans)} orphans"]) + "\n")
    return 1 if orphans else 0


if __name__ == "__main__":
    raise SystemExit(main())
