"""The short form of rebinding.py, and that it can fail."""

from __future__ import annotations

from typing import Any

import pytest

from ogw_asgi._rules.egress import Guard

from .rebinding import Broken, run

pytestmark = pytest.mark.anyio


@pytest.mark.contract("7.guard.every", "7.guard.pinned", "7.guard.no-lookup")
async def test_no_schedule_of_answers_leads_to_a_forbidden_address() -> None:
    machine = await run(150, seed=7)
    assert machine.looked_up > 150
    assert machine.denied > 50
    assert machine.connects > 50


async def test_it_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def permits_all(guard: Any, ip: str) -> bool:
        return True

    monkeypatch.setattr(Guard, "__call__", permits_all)
    with pytest.raises((Broken, BaseExceptionGroup)):
        await run(50, seed=7)
