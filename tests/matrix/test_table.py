"""Every row that is claimed has a test, every test's row exists, and the document says what the tests say."""

from __future__ import annotations

import pytest

from .rows import ROWS, Row
from .table import (
    DOCUMENT,
    NO_RECORD,
    RECORD_BEGINS,
    RECORD_ENDS,
    Shown,
    current,
    faults_of,
    project_sources,
    read_markers,
    record_of,
    render,
)


def test_every_row_is_shown_by_a_test_or_says_why_not() -> None:
    assert faults_of(ROWS, read_markers(project_sources())) == []


def test_the_document_is_not_stale() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == current(), "python -m tests.matrix --table writes it anew"


def test_every_id_of_the_matrix_has_a_row() -> None:
    ids = [f"F{number:02}" for number in range(1, 74)]
    ids += [f"E{number:02}" for number in range(1, 11)] + [f"P{number:02}" for number in range(1, 12)]
    assert list(ROWS) == ids


# --- that these checks can fail ---------------------------------------------------------------------------------------

SOURCE = """
@pytest.mark.anyio
@pytest.mark.fault("F01", "F02")
async def test_a(): ...

@pytest.mark.fault("F02", mode="sse")
@pytest.mark.parametrize("x", [1])
def test_b(x): ...

def test_c(): ...
"""
TWO = {"F01": Row("a", "b"), "F02": Row("c", "d")}


def test_markers_are_read_without_running_anything() -> None:
    assert read_markers({"t.py": SOURCE}) == {
        "F01": [Shown("t.py::test_a", None)],
        "F02": [Shown("t.py::test_a", None), Shown("t.py::test_b", "sse")],
    }


@pytest.mark.parametrize("marker", ["fault(NAME)", "fault()", "fault('F01', mode=MODE)", "fault(*NAMES)"])
def test_a_marker_that_only_running_it_could_read_is_refused(marker: str) -> None:
    with pytest.raises(ValueError, match="t.py:1: the marker is not made of plain strings"):
        read_markers({"t.py": f"@pytest.mark.{marker}\ndef test_a(): ..."})


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ({**TWO, "F03": Row("e", "f")}, "no test shows F03"),
        ({"F01": TWO["F01"]}, "F02 is no row, but a test names it"),
        ({**TWO, "F02": Row("c", "d", "later")}, "F02 is deferred, yet a test shows it"),
    ],
)
def test_what_does_not_fit_together_is_named(rows: dict[str, Row], fault: str) -> None:
    assert faults_of(rows, read_markers({"t.py": SOURCE})) == [fault]


def test_the_table_names_fault_outcome_and_tests_and_keeps_the_record() -> None:
    rows = {**TWO, "F03": Row("e", "f", "later")}
    document = render(rows, read_markers({"t.py": SOURCE}), "All passed.")
    assert "| F01 | a | b | `t.py::test_a` |\n" in document
    assert "| F02 | c | d | `t.py::test_a`<br>`t.py::test_b` (SSE only) |\n" in document
    assert "| F03 | e | f | later |\n" in document
    assert record_of(document) == "All passed."
    assert record_of("") == record_of(RECORD_BEGINS) == record_of(RECORD_ENDS) == NO_RECORD
