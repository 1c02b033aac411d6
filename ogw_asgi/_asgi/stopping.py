"""Does the server want to stop? An open stream would keep it from it.

ASGI says so in the lifespan's shutdown alone, and servers wait for open answers first: uvicorn without limit. So what
they know of themselves is looked at, where it can be found without taking their place: nothing is called that changes
anything, nothing is replaced, and what is not there, or is of another shape, says nothing.

- uvicorn handles SIGTERM and SIGINT by a method of its `Server`, in its main process, in each worker, under a
  reloader, and in gunicorn's worker class. One that stops for another reason (`--limit-max-requests`, a thread) takes
  back `keep_alive` from the request's own cycle, which `receive` belongs to.
- hypercorn keeps an event in the context of the object that `send` belongs to.
- granian lets nobody see. Where that is so, streams have to be short.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

_DEEPEST = 16


class Stopping:
    """Whether the server of one request wants to stop, which it did not when this was made.

    `seen`: it could be known, that is. False: nobody will be told.
    """

    def __init__(self, receive: Any, send: Any) -> None:
        self._cycle = next((one for one in _owners(receive, "receive") if _keeps_alive(one)), None)
        self._told = next((told for one in _owners(send, "send") if (told := _terminated(one)) is not None), None)
        self.seen = self._cycle is not None or self._told is not None or any(_handlers())

    def __call__(self) -> bool:
        return (
            any(server.should_exit is True for server in _handlers())
            or (self._cycle is not None and not _keeps_alive(self._cycle))
            or (self._told is not None and self._told() is True)
        )


def _handlers() -> Iterator[Any]:
    """The servers of uvicorn's that are told of signals to this process."""
    for number in (signal.SIGTERM, signal.SIGINT):
        server = getattr(signal.getsignal(number), "__self__", None)
        if server is not None and _is_of(server, "uvicorn") and hasattr(server, "should_exit"):
            yield server


def _keeps_alive(cycle: Any) -> bool:
    return _is_of(cycle, "uvicorn") and getattr(cycle, "keep_alive", None) is True


def _terminated(stream: Any) -> Callable[[], object] | None:
    if not _is_of(stream, "hypercorn"):
        return None
    told = getattr(getattr(getattr(stream, "context", None), "terminated", None), "is_set", None)
    return told if callable(told) else None


def _is_of(one: Any, package: str) -> bool:
    return any(made.__module__.partition(".")[0] == package for made in type(one).__mro__)


def _owners(call: Any, name: str) -> Iterator[Any]:
    """The objects that it is a method of, beneath the functions that middleware puts around it, each of which keeps
    what it calls under the same name."""
    for _ in range(_DEEPEST):
        owner = getattr(call, "__self__", None)
        if owner is not None:
            yield owner
        names = getattr(getattr(call, "__code__", None), "co_freevars", ())
        cells = getattr(call, "__closure__", None) or ()
        kept = dict(zip(names, cells, strict=False)).get(name)
        try:
            call = None if kept is None else kept.cell_contents
        except ValueError:  # empty as yet
            return
        if call is None:
            return
