"""The standing checks: what must hold after every row of the matrix, whatever the row was about.

Each raises AssertionError with what is left over. They look from outside: at the process's own descriptors, tasks, log
and hooks, never at the transports' own books.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import logging
import os
import socket
import stat
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.lowlevel

CLOSED_WITHIN_S = 0.1
"""So soon after the outcome nothing of a request may be left."""


# --- keys -------------------------------------------------------------------------------------------------------------


def canary(name: str) -> str:
    """A key that is found again however it is shown: `repr` and JSON change the end of it, not the beginning."""
    return f"sk-c4n4ry.{name}.'\\0123456789"


def traces_of(key: str) -> list[str]:
    """What would betray this key: its own beginning, which JSON and repr leave as it is, or base64 at any offset."""
    plain = key.partition("'")[0]
    traces = [plain]
    for lead in range(3):
        coded = base64.b64encode(b"\0" * lead + key.encode()).decode()
        # The first character after the lead mixes both, and so may the last.
        traces.append(coded[4 if lead else 0 : -4][:16])
    return traces


def assert_not_shown(text: str, keys: dict[str, str], where: str) -> None:
    for name, key in keys.items():
        for trace in traces_of(key):
            assert trace not in text, f"the key of {name} is shown in {where}"


# --- descriptors ------------------------------------------------------------------------------------------------------


def _sockets() -> Iterator[tuple[int, socket.socket]]:
    for entry in os.listdir("/dev/fd"):
        try:
            if not stat.S_ISSOCK(os.fstat(int(entry)).st_mode):
                continue
        except OSError:  # the listing's own descriptor
            continue
        # A duplicate, so that closing it leaves the one that is looked at alone.
        with socket.socket(fileno=os.dup(int(entry))) as found:
            yield int(entry), found


def open_sockets() -> set[int]:
    """The descriptors of this process that are sockets."""
    return {number for number, _ in _sockets()}


def connected_to(ports: Collection[int]) -> set[int]:
    """The descriptors of this process that are connected to one of these ports."""
    found: set[int] = set()
    for number, each in _sockets():
        try:
            peer = each.getpeername()
        except OSError:
            continue
        if isinstance(peer, tuple) and peer[1] in ports:
            found.add(number)
    return found


async def soon(holds: Callable[[], bool], within_s: float, otherwise: Callable[[], str]) -> None:
    """Lets other tasks go on until `holds()`; an AssertionError with `otherwise()` after `within_s`.

    The seconds are those in which this process has run: on a busy machine it may have to wait for its turn.
    """
    until_s = time.process_time() + within_s
    while not holds():
        assert time.process_time() < until_s, otherwise()
        await anyio.lowlevel.checkpoint()


def tasks() -> dict[int, str | None]:
    return {task.id: task.name for task in anyio.get_running_tasks()}


# --- what nobody catches ----------------------------------------------------------------------------------------------


@dataclass
class Complaints:
    """What was logged, and what ended up where nobody looks."""

    records: list[logging.LogRecord] = field(default_factory=list)
    unhandled: list[str] = field(default_factory=list)

    def assert_none(self) -> None:
        gc.collect()  # a task or an exception that nobody asked for says so when it is collected
        assert not self.unhandled, f"nobody handled: {self.unhandled}"
        for record in self.records:
            text = record.getMessage()
            assert "never retrieved" not in text, text
            assert "Exception ignored" not in text, text

    def shown(self) -> str:
        """Every record with all that is in it."""
        format_record = logging.Formatter().format
        return "\n".join(f"{format_record(record)} {record.__dict__!r}" for record in self.records)


class _Keep(logging.Handler):
    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__(logging.DEBUG)
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)


@contextmanager
def listening() -> Iterator[Complaints]:
    """Hears all loggers at DEBUG, the loop's exception handler, and what cannot be raised anywhere."""
    complaints = Complaints()
    root, handler = logging.getLogger(), _Keep(complaints.records)
    level, hook = root.level, sys.unraisablehook

    def unraisable(event: Any) -> None:
        complaints.unhandled.append(f"{event.err_msg or 'Exception ignored in'} {event.object!r}: {event.exc_value!r}")

    def unhandled(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        complaints.unhandled.append(f"{context.get('message')}: {context.get('exception')!r}")

    loop = _asyncio_loop()
    before = loop.get_exception_handler() if loop is not None else None
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    sys.unraisablehook = unraisable
    if loop is not None:
        loop.set_exception_handler(unhandled)
    try:
        yield complaints
    finally:
        if loop is not None:
            loop.set_exception_handler(before)
        sys.unraisablehook = hook
        root.setLevel(level)
        root.removeHandler(handler)


def _asyncio_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
