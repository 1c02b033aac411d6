"""The table of docs/servers.md, and the file that it is made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from .payloads import GROUPS, PAYLOADS
from .servers import SERVERS

OUTCOMES_FILE = Path(__file__).with_name("outcomes.py")
DOCUMENT = Path(__file__).parents[2] / "docs" / "servers.md"
BEGINS = "<!-- requests that try to be two -->"
ENDS = "<!-- end of the requests that try to be two -->"


def rendered_outcomes(found: Mapping[str, Mapping[tuple[str, str], str]]) -> str:
    """The source of outcomes.py."""
    lines = [
        '"""What comes of each payload at each server (in the order of `SERVERS`); `--record` writes this file."""',
        "",
        "OUTCOMES: dict[str, dict[str, tuple[str, ...]]] = {",
    ]
    for group in GROUPS:
        lines.append(f"    {_quoted(group)}: {{")
        for payload in PAYLOADS:
            if payload.group == group:
                cells = ", ".join(_quoted(found[server][group, payload.name]) for server in SERVERS)
                lines.append(f"        {_quoted(payload.name)}: ({cells}),")
        lines.append("    },")
    return "\n".join([*lines, "}", ""])


def _quoted(text: str) -> str:
    return (
        "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'" if '"' in text else f'"{text}"'.replace("\\", "\\\\")
    )


def table() -> str:
    """For each group a table; rows of which the same comes are one."""
    from .outcomes import OUTCOMES

    lines: list[str] = []
    for group, rows in OUTCOMES.items():
        merged: dict[tuple[str, ...], list[str]] = {}
        for name, cells in rows.items():
            merged.setdefault(cells, []).append(name)
        lines += ["", f"### {group}", "", f"| | {' | '.join(SERVERS)} |", "|---" * (len(SERVERS) + 1) + "|"]
        lines += [f"| {'<br>'.join(names)} | {' | '.join(_cells(cells))} |" for cells, names in merged.items()]
    return "\n".join(lines).strip()


def _cells(cells: Iterable[str]) -> list[str]:
    return [cell.replace("client_disconnected", "`client_disconnected`") for cell in cells]


def current() -> str:
    document = DOCUMENT.read_text(encoding="utf-8")
    before, begins, rest = document.partition(BEGINS)
    _, ends, after = rest.partition(ENDS)
    assert begins, "docs/servers.md has no place for the table"
    assert ends, "docs/servers.md has no end of the table"
    return f"{before}{BEGINS}\n{table()}\n{ENDS}{after}"


def write_table() -> None:
    DOCUMENT.write_text(current(), encoding="utf-8")
