"""The contract and the tests name each other: no statement without a test, no test without a statement.

The second half proves on small documents that the check can fail.
"""

from __future__ import annotations

import pytest

from tests.manifest import (
    ROOT,
    Citations,
    Document,
    Orphans,
    find_orphans,
    project_citations,
    project_document,
    read_document,
    read_tests,
    table,
)


@pytest.fixture(scope="module")
def orphans() -> Orphans:
    return find_orphans(project_document(), project_citations())


# --- the project -----------------------------------------------------------------------------------------


def test_every_statement_that_holds_today_is_named_by_a_test(orphans: Orphans) -> None:
    assert orphans.unproven == ()


def test_every_id_that_a_test_names_is_in_the_contract(orphans: Orphans) -> None:
    assert orphans.unknown == ()


def test_a_deferred_statement_has_no_test_or_else_it_is_no_longer_deferred(orphans: Orphans) -> None:
    assert orphans.deferred_but_cited == ()


def test_every_id_stands_once_and_is_well_formed(orphans: Orphans) -> None:
    assert (orphans.repeated, orphans.malformed) == ((), ())


def test_everything_listed_as_deferred_is_a_statement(orphans: Orphans) -> None:
    assert orphans.idle_patterns == ()


def test_every_marker_can_be_read_without_running_the_test(orphans: Orphans) -> None:
    assert orphans.unreadable == ()


def test_every_section_and_appendix_of_the_contract_has_statements() -> None:
    marks = project_document().marks
    assert {mark[0] for mark in marks} == set("12345678ABC")


def test_every_link_inside_the_contract_leads_to_a_heading() -> None:
    text = (ROOT / "docs" / "contract.md").read_text(encoding="utf-8")
    headings = {
        "".join(char for char in line.lstrip("# ").lower() if char.isalnum() or char in " -_").replace(" ", "-")
        for line in text.splitlines()
        if line.startswith("#")
    }
    links = {part.partition(")")[0] for part in text.split("](#")[1:]}
    assert links
    assert links <= headings


# --- the reader of the document --------------------------------------------------------------------------

DOCUMENT = """\
## 1. The endpoint
Answers 201 `[1.created]`, ends in `[DONE]`, takes `["a","b"]`.
Cools down `[4.cooldown.rate]` and later `[4.cooldown.money]`.

## Deferred
| deferred | what | until then |
|---|---|---|
| `4.cooldown.*`, `1.later` | cooldowns | refused `[4.deferred.refused]`, not `[1.later]` |

## Afterwards
| `1.created` | a table that defers nothing |
"""


def test_the_document_yields_its_marks_in_order_and_what_it_defers() -> None:
    assert read_document(DOCUMENT) == Document(
        marks=("1.created", "4.cooldown.rate", "4.cooldown.money", "4.deferred.refused", "1.later"),
        deferred=("4.cooldown.*", "1.later"),
    )


@pytest.mark.parametrize(
    ("statement", "deferred"),
    [
        ("4.cooldown.rate", True),
        ("1.later", True),
        ("1.later.still", False),
        ("4.cooldowns", False),
        ("4.deferred.refused", False),
        ("1.created", False),
    ],
)
def test_a_pattern_defers_what_begins_with_it_and_a_plain_id_only_itself(statement: str, deferred: bool) -> None:
    assert read_document(DOCUMENT).is_deferred(statement) is deferred


# --- the reader of the tests -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param(
            "@pytest.mark.contract('1.a', '1.b')\ndef test_x(): ...",
            {"1.a": {"t.py::test_x"}, "1.b": {"t.py::test_x"}},
            id="decorator",
        ),
        pytest.param("@contract('1.a')\nasync def test_x(): ...", {"1.a": {"t.py::test_x"}}, id="alias-async"),
        pytest.param("@mark.contract('1.a')\ndef test_x(): ...", {"1.a": {"t.py::test_x"}}, id="mark-imported"),
        pytest.param(
            "pytestmark = [pytest.mark.anyio, pytest.mark.contract('1.a')]\ndef test_x(): ..."
            "\nclass TestY:\n    def test_z(self): ...",
            {"1.a": {"t.py::test_x", "t.py::TestY::test_z"}},
            id="pytestmark-of-a-module",
        ),
        pytest.param(
            "pytestmark: list = [contract('1.a')]\ndef test_x(): ...",
            {"1.a": {"t.py::test_x"}},
            id="annotated-pytestmark",
        ),
        pytest.param(
            "@contract('1.a')\nclass TestY:\n    pytestmark = contract('1.b')\n    def test_z(self): ..."
            "\n    def helper(self): ...",
            {"1.a": {"t.py::TestY::test_z"}, "1.b": {"t.py::TestY::test_z"}},
            id="class",
        ),
        pytest.param(
            "@pytest.mark.parametrize('n', [pytest.param(1, marks=pytest.mark.contract('1.a')), "
            "pytest.param(2, marks=[contract('1.b')])])\ndef test_x(n): ...",
            {"1.a": {"t.py::test_x"}, "1.b": {"t.py::test_x"}},
            id="param",
        ),
        pytest.param(
            "CASES = [pytest.param(1, marks=contract('1.a'))]\n@parametrize('n', CASES)\ndef test_x(n): ...",
            {"1.a": {"t.py::CASES"}},
            id="table-of-cases",
        ),
        pytest.param(
            "CASES = [pytest.param(1, marks=contract('1.a'))]", {"1.a": set()}, id="an-unused-table-proves-nothing"
        ),
        pytest.param(
            "def row(a, b, *ids, name=''):\n    return pytest.param(a, b, marks=contract(*ids))"
            "\n@parametrize('a, b', [row('1.x', 2, '1.a', '1.b', name='n'), row(1, 2)])\ndef test_x(a, b): ...",
            {"1.a": {"t.py::test_x"}, "1.b": {"t.py::test_x"}},
            id="maker-that-hands-its-ids-on",
        ),
        pytest.param("CASES.append(case(contract('1.a')))", {"1.a": {"t.py:1"}}, id="bare-statement"),
        pytest.param("def cases():\n    yield contract('1.a')", {"1.a": {"t.py::cases"}}, id="maker-of-cases"),
        pytest.param("@contract('1.a')\ndef helper(): ...", {"1.a": set()}, id="a-helper-proves-nothing"),
        pytest.param("pytestmark = contract('1.a')", {"1.a": set()}, id="a-module-without-tests-proves-nothing"),
        pytest.param(
            "'''@contract('1.a')'''\nother.contract('1.b')\n# contract('1.c')",
            {},
            id="neither-text-nor-other-calls",
        ),
    ],
)
def test_a_marker_counts_for_the_tests_that_carry_it(source: str, expected: dict[str, set[str]]) -> None:
    citations = read_tests({"t.py": source})
    assert dict(citations.tests) == expected
    assert citations.unreadable == ()


@pytest.mark.parametrize(
    "marker",
    [
        "contract(NAME)",
        "contract('1.a', NAME)",
        "contract(*IDS)",
        "contract()",
        "contract('1.a', id='1.b')",
        "contract(1)",
    ],
)
def test_a_marker_that_only_running_it_could_read_is_reported(marker: str) -> None:
    assert read_tests({"t.py": f"\n@{marker}\ndef test_x(): ..."}).unreadable == ("t.py:2",)


def test_a_maker_of_rows_that_is_called_without_plain_strings_is_reported() -> None:
    source = "def row(a, *ids):\n    return contract(*ids)\n@row(1, NAME)\ndef test_x(): ..."
    assert read_tests({"t.py": source}).unreadable == ("t.py:3",)


# --- the comparison --------------------------------------------------------------------------------------


def compare(document: str, source: str) -> Orphans:
    return find_orphans(read_document(document), read_tests({"t.py": source}))


PROVEN = "@contract('1.created', '4.deferred.refused')\ndef test_x(): ..."
WHOLE = DOCUMENT.replace("`[1.later]`", "later").replace(", `1.later`", "")


def test_a_contract_whose_every_statement_is_proven_or_deferred_has_no_orphans() -> None:
    assert list(compare(WHOLE, PROVEN).lines()) == []


@pytest.mark.parametrize(
    ("document", "source", "line"),
    [
        pytest.param(WHOLE + "`[2.new]`", PROVEN, "no test proves: 2.new", id="statement-without-test"),
        pytest.param(
            WHOLE + "`[2.new]`",
            PROVEN + "\n@contract('2.new')\ndef helper(): ...",
            "no test proves: 2.new",
            id="only-a-helper",
        ),
        pytest.param(
            WHOLE,
            PROVEN + "\n@contract('9.gone')\ndef test_y(): ...",
            "named by a test, not in the document: 9.gone",
            id="unknown",
        ),
        pytest.param(
            WHOLE,
            PROVEN + "\n@contract('4.cooldown.rate')\ndef test_y(): ...",
            "deferred, yet a test proves it: 4.cooldown.rate",
            id="deferred-yet-cited",
        ),
        pytest.param(WHOLE + "`[1.created]`", PROVEN, "id stands twice in the document: 1.created", id="twice"),
        pytest.param(
            WHOLE + "`[1.Wrong]`",
            PROVEN + "\n@contract('1.Wrong')\ndef test_y(): ...",
            "malformed id in the document: 1.Wrong",
            id="malformed",
        ),
        pytest.param(
            WHOLE.replace("| `4.cooldown.*`", "| `4.cooldown.*`, `7.nothing.*`"),
            PROVEN,
            "listed as deferred, names no statement: 7.nothing.*",
            id="defers-nothing",
        ),
        pytest.param(
            WHOLE,
            PROVEN + "\n@contract(X)\ndef test_y(): ...",
            "marker without plain strings: t.py:3",
            id="unreadable",
        ),
    ],
)
def test_each_kind_of_orphan_is_found_and_named(document: str, source: str, line: str) -> None:
    assert list(compare(document, source).lines()) == [line]


def test_the_table_counts_statements_deferrals_proofs_and_tests() -> None:
    citations = Citations({"1.created": frozenset({"a", "b"}), "4.deferred.refused": frozenset({"b"})}, ())
    assert [line.split() for line in table(read_document(WHOLE), citations).splitlines()] == [
        ["section", "statements", "deferred", "proven", "tests"],
        ["1", "1", "0", "1", "2"],
        ["4", "3", "2", "1", "1"],
        ["all", "4", "2", "2", "2"],
    ]
