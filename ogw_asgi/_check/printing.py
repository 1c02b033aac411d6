"""A report for people: 80 columns, no colours, and no character that a terminal would take for a command."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from .._effective import Setting, written
from .._version import __version__
from .report import Asked, Problem, Report

WIDTH = 80
_NAME, _VALUE, _SOURCE = 22, 26, 26


def printed(report: Report) -> str:
    what = "the environment" if report.checked == "environment" else report.checked
    blocks = [
        [f"ogw_asgi {__version__}: check of {what}"],
        *_settings(report.settings),
    ]
    if report.asked is not None:
        blocks.append(["asked for their models", *(line for one in report.asked for line in _asked(one))])
    if report.redis is not None:
        blocks.append(["asked what other workers say", *_asked(report.redis)])
    blocks.append(_problems("problem", report.all_problems))
    blocks.append(_problems("warning", report.all_warnings))
    blocks.append(["All is well." if report.well else "Not well."])
    return "\n\n".join("\n".join(map(plain, block)) for block in blocks if block) + "\n"


def plain(text: str) -> str:
    """Servers, and settings, may hold anything."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _settings(settings: Iterable[Setting]) -> Iterator[list[str]]:
    for group, members in groupby(settings, key=lambda one: one.name.rpartition(".")[0]):
        lines = [group.replace("providers.", "provider ") or "gateway"]
        for one in members:
            lines += _row(one)
        yield lines


def _row(one: Setting) -> list[str]:
    name = one.name.rpartition(".")[2]
    value = written(one.value)
    if len(name) <= _NAME and len(value) <= _VALUE and len(one.source) <= _SOURCE:
        return [f"  {name:{_NAME}} {value:{_VALUE}} {one.source}".rstrip()]
    lines = _wrapped(f"  {name:{_NAME}} ", value)
    return (
        [*lines, f"  {'':{_NAME}} {'':{_VALUE}} {one.source}"]
        if len(one.source) <= _SOURCE
        else [*lines, f"    {one.source}"]
    )


def _asked(one: Asked) -> list[str]:
    if one.problem is not None:
        said = one.problem.says
    elif one.models is None:
        said = "answers"
    else:
        said = f"answers: {one.models} model{'' if one.models == 1 else 's'}"
    return _wrapped(f"  {one.provider:12} ", f"{said} ({one.duration_ms} ms, {one.where})")


def _problems(what: str, problems: Sequence[Problem]) -> list[str]:
    if not problems:
        return []
    lines = [f"{len(problems)} {what}{'' if len(problems) == 1 else 's'}"]
    for one in problems:
        lines += _wrapped("  ", f"{one.setting}: {one.says}", "    ")
        if one.mend is not None:
            lines.append(f"      {one.mend}")  # never broken: it is to be copied
    return lines


def _wrapped(first: str, text: str, then: str | None = None) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=" " * len(first) if then is None else then,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first]
