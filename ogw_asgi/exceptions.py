"""What this package raises.

    OGWError
    ├── ConfigurationError      settings that cannot work; raised while a gateway is being built, never by a request
    └── RequestRejected         one caller's request is refused; carries the status and the four fields of the envelope

Failures of providers are no exceptions: inside the dispatch loop they are values (`Outcome`), and what is left of them
when every attempt has failed is one `RequestRejected`. This module imports nothing but the standard library.
"""

from collections.abc import Callable
from functools import wraps
from typing import Literal, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class OGWError(Exception):
    """The root of everything that this package raises on purpose."""


class ConfigurationError(OGWError, ValueError):
    """Settings that cannot work. The text names the setting and says what was expected; it never holds a key."""


def shows_no_arguments(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """For functions that are given keys: their ConfigurationErrors come without the frames below.

    Error reporters and pretty tracebacks print the locals of each frame, and there they have a key in the clear.
    """

    @wraps(function)
    def called(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return function(*args, **kwargs)
        except ConfigurationError as error:
            problem = str(error)
        del args, kwargs
        raise ConfigurationError(problem)

    return called


class RequestRejected(OGWError):
    """A request that ends in an error envelope (contract, sections 1 and 6).

    Like h11's `error_status_hint`, it says which HTTP status fits and leaves the rendering to the door.

    Attributes:
        status: the HTTP status.
        message, type, param, code: the fields of OpenAI's envelope; `param` and `code` may be None.
        retry_after_s: after how long a retry makes sense, or None; rendered as `retry-after` (1..60) and
            `retry-after-ms`.
        should_retry: False renders `x-should-retry: false`, for causes that will not pass within seconds.
        close: the request's body was left unread, so the connection must not be used again.
        allow: the methods of a 405.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",  # noqa: A002 - the envelope's own word
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
        should_retry: bool | None = None,
        close: bool = False,
        allow: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.param = param
        self.code = code
        self.retry_after_s = retry_after_s
        self.should_retry = should_retry
        self.close = close
        self.allow = allow

    def __repr__(self) -> str:
        return f"RequestRejected({self.status}, code={self.code!r}, param={self.param!r})"


class EndpointDenied(RequestRejected):
    """The 403 for an endpoint that this caller may not name; one text for all causes, which only the log tells apart.

    Attributes:
        step: `name`, if no entry of a list names it; `address`, if it leads where none of them permits.
        address: the one that was not permitted; for the operator alone.
    """

    def __init__(self, step: Literal["name", "address"], address: str | None = None) -> None:
        super().__init__(
            403,
            "The endpoint named by x-opengateway-vllm-endpoint is not allowed.",
            type="permission_error",
            param="x-opengateway-vllm-endpoint",
            code="endpoint_not_allowed",
        )
        self.step = step
        self.address = address


def where(error: BaseException) -> str:
    """`ZeroDivisionError at app.py:12`: what a log may say of a failure in somebody else's code, whose text may hold
    anything."""
    at, trace = "", error.__traceback__
    while trace is not None:
        at = f" at {trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(error).__name__}{at}"


def bad_header(name: str, expected: str) -> RequestRejected:
    """The 400 for a header that the contract forbids; the header's value is never repeated (it may be a key)."""
    return RequestRejected(400, f"Header {name}: expected {expected}.", param=name, code="invalid_header")


def bad_body(message: str, *, code: str = "invalid_body", param: str | None = None) -> RequestRejected:
    """The 400 for a body that cannot be read, or a field in it of a wrong type or out of range."""
    return RequestRejected(400, message, param=param, code=code)
