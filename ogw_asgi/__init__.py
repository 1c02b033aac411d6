"""An LLM failover gateway that lives inside your FastAPI or Starlette app.

The walk of a request, one room a station, nothing walks back:

    _asgi      the door: ASGI in, ASGI out
    _wire      bytes and headers <-> values        (pure)
    _rules     who is tried, and what a failure means (pure)
    _dispatch  the attempts, and the stream that won
    transports sockets

Beside it: `providers`, `auth` and `telemetry` are extension points, `testing` plays providers that fail on script.
"""

from ._asgi.lifespan import combine_lifespans
from ._asgi.middleware import GatewayMiddleware
from ._values import Breaker, Limits, Principal, Timeouts
from ._version import __version__
from .auth.anyone import allow_anyone
from .auth.bearer import bearer_tokens
from .exceptions import ConfigurationError, OGWError, RequestRejected
from .gateway import Gateway
from .providers import VLLM, Azure, OpenAI, OpenAICompatible

__all__ = [
    "VLLM",
    "Azure",
    "Breaker",
    "ConfigurationError",
    "Gateway",
    "GatewayMiddleware",
    "Limits",
    "OGWError",
    "OpenAI",
    "OpenAICompatible",
    "Principal",
    "RequestRejected",
    "Timeouts",
    "__version__",
    "allow_anyone",
    "bearer_tokens",
    "combine_lifespans",
]
