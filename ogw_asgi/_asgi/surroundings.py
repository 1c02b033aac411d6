"""What is around the gateway, as far as a request can tell."""

from __future__ import annotations

from typing import Any

import anyio

_CALL_NEXT = "BaseHTTPMiddleware.__call__.<locals>.call_next.<locals>."


def wrapped_by_base_http(receive: Any, send: Any) -> bool:
    """Whether Starlette's `BaseHTTPMiddleware`, or what `@app.middleware("http")` makes, is around.

    It calls what is within by functions of its own, in a task of its own, and that is what they are called: other
    middleware may have hidden the functions, and then there is still the task.
    """
    names = [getattr(one, "__qualname__", "") for one in (receive, send)]
    task = anyio.get_current_task().name or ""
    return any(name.startswith(_CALL_NEXT) for name in names) or f".{_CALL_NEXT}" in task
