"""Outcome -> Verdict: the walk over the table of verdicts. It decides nothing that the table does not say."""

from __future__ import annotations

from dataclasses import replace

from .._values import Outcome
from .table import OK, TABLE, Verdict

__all__ = ["DEFAULT_FAILOVER_ON", "OPT_IN_REASONS", "Verdict", "classify"]

DEFAULT_FAILOVER_ON = frozenset({"context_length"})
"""Providers differ in how much they can read; what they refuse to say, callers want to hear."""

OPT_IN_REASONS: frozenset[str] = frozenset(row.verdict.reason for row in TABLE if row.opt_in)
"""What `failover_on` may hold."""


def classify(outcome: Outcome, failover_on: frozenset[str] = DEFAULT_FAILOVER_ON) -> Verdict:
    """What this outcome means (contract, section 4). Total: every outcome has a verdict."""
    if outcome.kind == "ok":
        return OK
    row = next(row for row in TABLE if row.matches(outcome))
    if row.opt_in and row.verdict.reason not in failover_on:
        return replace(row.verdict, action="stop", status=400)
    return row.verdict
