"""The suite's canaries: keys that no output may hold, and the pytest plugin that looks for them behind every test.

Whatever stands for a secret in a test has the mark in it: `key_of("openai")`, `canary("vllm")`, or one written out. The
plugin, which tests/conftest.py registers, fails a test in whose output the mark is found, in its own letters, in base64
at any offset, percent-encoded, as JSON's or `repr`'s escapes, or in hex. Its output is

- what pytest captured of it: log records of every logger at DEBUG, their tracebacks included, stdout and stderr;
- what every gateway sent: status, headers and body of each response, across the borders of its messages;
- what a gateway told its sinks, where it has any; what its own log lines carry as `extra`;
- the exceptions of this package that it met with `pytest.raises`: texts and reprs down the whole chain of causes and
  contexts; of a ConfigurationError, which hosts get to see, the locals of the frames of this package, too;
- what it handed over itself with `assert_silent`: the output of a process that it started.

A test in which a key is shown on purpose says so: `@pytest.mark.shows_keys("why")`.
"""

from __future__ import annotations

import base64
import inspect
import logging
from collections.abc import Awaitable, Callable, Generator, Iterator, MutableMapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

import ogw_asgi
from ogw_asgi import Gateway
from ogw_asgi.exceptions import ConfigurationError, OGWError, shows_no_arguments
from ogw_asgi.transports.base import TransportFailure

MARK = "c4n4ry"
PACKAGE = str(Path(ogw_asgi.__file__).parent)
OURS = (OGWError, TransportFailure)


def canary(name: str) -> str:
    """A key that is found again, and that says where it was planted."""
    return f"sk-{MARK}-of-{name}"


def _spellings(mark: str) -> Iterator[str]:
    raw = mark.encode()
    yield mark
    for lead, mixed in enumerate((0, 2, 3)):
        coded = base64.b64encode(bytes(lead) + raw).decode()
        yield coded[mixed : (lead + len(raw)) * 4 // 3]
    yield from ("".join(f"{form}{byte:0{width}x}" for byte in raw) for form, width in (("%", 2), ("\\u", 4), ("", 2)))


SPELLINGS = tuple(_spellings(MARK))
_AS_BYTES = tuple(spelling.encode() for spelling in SPELLINGS)
_REACH = max(map(len, SPELLINGS)) - 1
_AROUND = 60


def found_in(output: str | bytes) -> str | None:
    """What stands around a canary in it, if there is one."""
    # A few plain searches: each is as fast as the memory, which no regular expression is.
    if isinstance(output, bytes):
        for mark in _AS_BYTES:
            if mark in output:
                at = output.index(mark)
                return output[max(0, at - _AROUND) : at + _AROUND].decode("latin-1")
        return None
    for spelling in SPELLINGS:
        if spelling in output:
            at = output.index(spelling)
            return output[max(0, at - _AROUND) : at + _AROUND]
    return None


def assert_silent(output: str | bytes, where: str) -> None:
    """For outputs that only the test itself has: those of processes that it started."""
    found = found_in(output)
    assert found is None, f"a key is shown in {where}: ...{found}..."


class Watch:
    """Collects what is shown while one test runs."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.raised: list[Any] = []

    def look(self, output: str | bytes, where: str) -> None:
        found = found_in(output)
        if found is not None:
            self.shown.append(f"{where}: ...{found}...")

    # --- what gateways send and tell ---

    def reader(self, send: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
        tail = b""

        def read(message: MutableMapping[str, Any]) -> Awaitable[None]:
            nonlocal tail
            body = message.get("body")
            if body:
                self.look(tail + body, "the body of a response")
                tail = (tail + body)[-_REACH:] if len(body) < _REACH else bytes(body[-_REACH:])
            elif "headers" in message:
                lines = b"\n".join(b"%b: %b" % (name, value) for name, value in message["headers"])
                self.look(lines, "the head of a response")
            return send(message)

        return read

    def on_event(self, event: object, /) -> None:
        self.look(repr(event), "an event")

    # --- what is logged beside the text ---

    def extras(self, record: logging.LogRecord) -> None:
        told = {name: value for name, value in vars(record).items() if name.startswith("ogw_")}
        if told:
            self.look(repr(told), "the extra of a log record")

    # --- exceptions ---

    def exceptions(self) -> None:
        for raising in self.raised:
            info: pytest.ExceptionInfo[BaseException] | None = getattr(raising, "excinfo", None)
            if info is not None and info._excinfo is not None and isinstance(info.value, OURS):
                self._exception(info.value)
        self.raised.clear()

    def _exception(self, error: BaseException) -> None:
        for one in _chain(error):
            self.look(f"{one}\n{one!r}", f"a {type(one).__name__}")
            if isinstance(error, ConfigurationError):  # the one that leaves a gateway
                for name, value in _locals(one.__traceback__):
                    self.look(value, f"the local {name} of a frame below a {type(error).__name__}")


def _chain(error: BaseException) -> Iterator[BaseException]:
    waiting: list[BaseException | None] = [error]
    seen: list[BaseException] = []
    while waiting:
        one = waiting.pop()
        if one is None or any(one is each for each in seen):
            continue
        seen.append(one)
        yield one
        waiting += [one.__cause__, one.__context__]


def _locals(trace: TracebackType | None) -> Iterator[tuple[str, str | bytes]]:
    """As error reporters and pretty tracebacks print them, of the package's own frames."""
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename.startswith(PACKAGE):
            for name, value in trace.tb_frame.f_locals.items():
                yield f"{name} of {code.co_name}", value if isinstance(value, str | bytes) else _repr(value)
        trace = trace.tb_next


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:  # somebody's half-built object
        return repr(error)


class _Extras(logging.Handler):
    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.addFilter(logging.Filter("ogw_asgi"))
        self._watch = watch

    def emit(self, record: logging.LogRecord) -> None:
        self._watch.extras(record)


class Canaries:
    """The plugin. It wraps public names alone: the construction and the call of `Gateway`, and `pytest.raises`."""

    def __init__(self) -> None:
        self.watch = Watch()
        self._init = Gateway.__init__
        self._call = Gateway.__call__
        self._raises = pytest.raises
        self._extras = _Extras(self.watch)

    def pytest_sessionstart(self) -> None:
        watch, init, call, raises = self.watch, self._init, self._call, self._raises

        @shows_no_arguments  # as what it stands for
        def watched_init(gateway: Gateway, **arguments: Any) -> None:
            if arguments.get("sinks"):
                arguments["sinks"] = _with(arguments["sinks"], watch)
            init(gateway, **arguments)

        async def watched_call(gateway: Gateway, scope: Any, receive: Any, send: Any) -> None:
            await call(gateway, scope, receive, watch.reader(send))

        def watched_raises(*arguments: Any, **more: Any) -> Any:
            raising = raises(*arguments, **more)
            watch.raised.append(raising)
            return raising

        watched_init.__signature__ = inspect.signature(init)  # type: ignore[attr-defined]
        Gateway.__init__ = watched_init  # type: ignore[method-assign, assignment]
        Gateway.__call__ = watched_call  # type: ignore[method-assign, assignment]
        pytest.raises = watched_raises
        logging.getLogger().addHandler(self._extras)

    def pytest_sessionfinish(self) -> None:
        Gateway.__init__ = self._init  # type: ignore[method-assign]
        Gateway.__call__ = self._call  # type: ignore[method-assign]
        pytest.raises = self._raises
        logging.getLogger().removeHandler(self._extras)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        watch = self.watch
        watch.exceptions()
        for title, text in report.sections:
            # Of all phases up to now; what an earlier one has shown was its own fault.
            if title.endswith(f" {call.when}"):
                watch.look(text, title)
        if watch.shown:
            shown, watch.shown[:] = list(dict.fromkeys(watch.shown)), []
            if report.passed and item.get_closest_marker("shows_keys") is None:
                report.outcome = "failed"
                report.longrepr = "keys are shown:\n" + "\n".join(shown[:10])
        return report


def _with(sinks: Any, watch: Watch) -> Any:
    return [*sinks, watch] if isinstance(sinks, Sequence) and not isinstance(sinks, str) else sinks
