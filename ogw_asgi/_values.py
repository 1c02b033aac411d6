"""The frozen values that cross rooms: what a request asked for, where it may go, what an attempt came to.

Standard library only, no behaviour beyond looking at oneself. Times are seconds in floats (`_s`) unless a name says
otherwise; sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import ClassVar, Literal, NamedTuple

from ._frozen import dataclass
from ._limits import Breaker as Breaker
from ._limits import Limits as Limits
from ._limits import Timeouts as Timeouts
from ._principal import Principal as Principal
from ._secret import Sealed as Sealed
from ._secret import Secret as Secret
from ._usage import Usage as Usage

Header = tuple[bytes, bytes]
"""A raw header: lower-case name and value, as ASGI has them."""


StreamBreak = Literal["error", "hold", "continue"]
"""What happens when a stream breaks after its first chunk (contract, section 5)."""


def written_authority(host: str, port: int | None) -> str:
    """Host and port as in a URL, where the address of IPv6 is in brackets."""
    literal = f"[{host}]" if ":" in host else host
    return literal if port is None else f"{literal}:{port}"


def written_origin(scheme: str, host: str, port: int | None) -> str:
    """Scheme, host and port as they are written everywhere here, and compared: the default port is left out."""
    default = 443 if scheme == "https" else 80
    return f"{scheme}://{written_authority(host, None if port == default else port)}"


# --- what the caller asked for ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A caller-named server, parsed once and strictly; engines only ever see the URL rebuilt from it.

    `host` is lower-case, without brackets and without a trailing dot; `port` is always there.
    """

    scheme: Literal["http", "https"]
    host: str
    port: int

    @property
    def origin(self) -> str:
        return written_origin(self.scheme, self.host, self.port)


@dataclass(frozen=True, slots=True)
class PublicHTTPS:
    """An entry of `allowed_endpoints`: any server at a public address, asked over https. Written `https://*`, too."""

    ports: tuple[int, ...] = (443,)

    def __post_init__(self) -> None:
        ports = tuple(self.ports)
        if not ports or not all(type(port) is int and 1 <= port <= 65535 for port in ports):
            raise ValueError("PublicHTTPS: ports: expected numbers from 1 to 65535")
        object.__setattr__(self, "ports", ports)


Permits = Callable[[str], bool]
"""May this numeric address be connected to?"""


class TargetName(NamedTuple):
    """One item of the failover sequence as written: a provider, and the model asked of it instead of the body's.

    A tuple for the same reason as Target.
    """

    provider: str
    model: str | None = None


@dataclass(frozen=True, slots=True)
class CallOptions:
    """What the request's headers say (contract, section 2). None: the header was absent or empty."""

    request_id: str
    sequence: tuple[TargetName, ...] | None = None
    vllm_endpoint: Endpoint | None = None
    vllm_api_key: Secret | None = None
    first_chunk_s: float | None = None
    success_status: int | None = None
    hedge_after_s: float | None = None
    """0 switches hedging off for this request."""
    on_stream_break: StreamBreak | None = None
    caller_limit_s: float | None = None
    """The caller's own patience for the whole call, as SDKs announce it (`x-stainless-read-timeout`)."""
    idempotency_key: str | None = None
    via: tuple[str, ...] = ()
    """Ids of the gateways like this one that the request has come through, without their `ogw-`."""
    trace_id: str | None = None
    """The 32 hex digits of the caller's valid `traceparent`."""
    trace_flags: str = "00"


@dataclass(frozen=True, slots=True)
class ChatCall:
    """A checked request body. `body` is ready to send but for the model's name, which stands at `model_span`."""

    body: bytes = field(repr=False)
    model: str
    model_span: tuple[int, int]
    stream: bool = False
    choices: int = 1
    """The body's `n`: how many finish_reasons make a complete answer."""
    parameters: Mapping[str, float] = field(default_factory=lambda: NO_NUMBERS)
    """Some of its numbers, where somebody is told of them."""

    def without_body(self) -> ChatCall:
        return ChatCall(b"", self.model, (0, 0), self.stream, self.choices)


# --- where it may go ----------------------------------------------------------------------------------------------


class Target(NamedTuple):
    """What is tried: a provider, asked for a model, at its own or at a caller-named endpoint.

    A key of many dictionaries, so a tuple, whose hash costs no Python.
    """

    provider: str
    asked: str
    """The model's name as the caller wrote it."""
    model: str
    """The name that goes upstream: `asked` through the provider's model map."""
    endpoint: Endpoint | None = None

    @property
    def mapped(self) -> bool:
        return self.asked != self.model


@dataclass(frozen=True, slots=True)
class Plan:
    """The targets in the order to try them, repeats included, and the limits that the caller set."""

    targets: tuple[Target, ...]
    stream: bool
    first_chunk_s: float | None = None
    total_s: float | None = None
    """The shorter of the operator's limit and the caller's."""
    own_total_s: float | None = None
    """The operator's alone."""
    guard: Permits | None = None
    """Where the endpoint that the caller names may be found; always there when a target has one."""


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """What crosses the transport seam: primitives only. `connect_s` bounds DNS, TCP and TLS together.

    method: of the class and not of each request, for every one that a caller waits for posts its body.
    origin: the only scheme, host and port that this may be sent to, for its key is bound to it; an engine that reads
        its URL otherwise sends nothing. None: it holds nothing that is bound.
    permits: asked of every address that the host resolves to, before any is connected to. None: the URL is the
        operator's, and may lead anywhere.
    """

    method: ClassVar[Literal["POST", "GET"]] = "POST"

    url: str
    headers: list[Header] = field(repr=False)  # the key is among them
    body: bytes = field(repr=False)
    connect_s: float
    origin: str | None = None
    permits: Permits | None = None


@dataclass(frozen=True, slots=True)
class UpstreamQuestion(UpstreamRequest):
    """One that changes nothing and costs nothing: a GET, whose body is empty."""

    method = "GET"


# --- what came of it ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProviderError:
    """A provider's error as far as it could be read; every field but `form` may be missing."""

    message: str | None = None
    type: str | None = None
    param: str | None = None
    code: str | None = None
    inner_code: str | None = None
    """Azure's `innererror.code`, Anthropic's `details.error_code`."""
    metadata: bool = False
    """The error object has a `metadata` object (OpenRouter's moderation)."""
    form: Literal["json", "html", "text", "empty"] = "json"


OutcomeKind = Literal[
    "ok",
    "dns",
    "connect",
    "connect_timeout",
    "tls",
    "denied",  # the egress policy forbids an address of the caller's endpoint: nothing was sent
    "misdirected",  # the request did not lead where its key belongs: nothing was sent
    "exhausted",  # our own system has no socket, port or thread left: nothing was sent
    "reset",
    "protocol",
    "timeout",  # no first chunk in time
    "invalid_answer",  # a 2xx whose body is not what was asked; `detail` says what it was
    "status",  # any other answer of the server
    "busy",  # no free slot within the wait: nothing was sent
    "unservable",  # the provider cannot be asked for this model, e.g. no valid deployment name: nothing was sent
    "key_unavailable",  # the api_key callable failed: nothing was sent
    "cancelled",  # another attempt decided the request
    "diverged",  # asked to go on with a text, it gave another one
]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attempt came to. `retry_after_s` is what the provider named, not clamped."""

    kind: OutcomeKind
    provider_kind: str
    status: int | None = None
    error: ProviderError | None = None
    retry_after_s: float | None = None
    detail: str | None = None
    duration_s: float = 0.0
    caller_key: bool = False
    """The caller's own vLLM key was sent, so a 401 or 403 is about that key."""


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One line of the trail that the caller, the log and the observers see."""

    provider: str
    outcome: str
    status: int | None
    code: str | None
    duration_ms: int
    model: str
    usage: Usage | None = None
    """What it took, where that was seen; only observers are told."""

    def using(self, usage: Usage) -> AttemptRecord:
        """The same line, with what it took."""
        return AttemptRecord(self.provider, self.outcome, self.status, self.code, self.duration_ms, self.model, usage)

    @property
    def label(self) -> str:
        """The status where it tells what happened, else the outcome: a 200 that was no answer is no success."""
        told = self.status is not None and (self.outcome == "ok" or not 200 <= self.status <= 299)
        return str(self.status) if told else self.outcome


NO_MODELS: Mapping[str, str] = {}
NO_NUMBERS: Mapping[str, float] = {}
