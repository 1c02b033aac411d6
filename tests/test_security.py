"""SECURITY.md names tests: they are there, and each of its tables says something."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "SECURITY.md").read_text()
THREATS = TEXT.split("## Threats, controls, tests")[1].split("### Long runs, by hand")[0]


def functions(path: Path) -> set[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)}


def test_every_threat_has_a_control_and_a_test_that_exists() -> None:
    rows = [line for line in THREATS.splitlines() if line.startswith("| ") and not line.startswith("| threat ")]
    assert len(rows) >= 20
    for row in rows:
        threat, control, shown = (cell.strip() for cell in row.strip("|").split(" | "))
        assert threat
        assert control
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", shown)
        assert named, row
        for path, function in named:
            assert function in functions(ROOT / path), f"{path}::{function}"


def test_everything_in_backquotes_that_looks_like_a_test_was_looked_at() -> None:
    assert THREATS.count(".py::") == len(re.findall(r"`tests/[\w/]+\.py::\w+`", THREATS))
