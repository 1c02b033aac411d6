"""What every provider is: a name, a place, a key, a model map, and the translation of one call into one request.

A provider never sends anything. Deadlines, cancellation, failover and the rule that a key goes to its own origin only
exist once, in the dispatch loop and the transport, so that a provider of your own is a subclass of 15 lines.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias
from urllib.parse import urlsplit

from .._secret import Misdirected
from .._values import (
    NO_MODELS,
    ChatCall,
    Header,
    ProviderError,
    Sealed,
    Secret,
    Target,
    UpstreamQuestion,
    UpstreamRequest,
)
from .._wire.body import body_for
from .._wire.envelope import read_error
from .._wire.origin import origin_of
from ..exceptions import ConfigurationError, shows_no_arguments

if TYPE_CHECKING:
    import httpx
    import httpx2

    Client: TypeAlias = httpx.AsyncClient | httpx2.AsyncClient | None
else:  # neither library is imported for its name: this room does no I/O
    Client = Any

Key = str | Secret
KeySource = Key | Callable[[], Key | Awaitable[Key]] | None
"""A key, or a callable (sync or async) that is asked for one before each attempt; a sync one must not block."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}\Z")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_HEADER_VALUE = re.compile(r"[\t -~]*\Z")
_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?")
# What the gateway itself decides, so that a provider's `headers=` cannot contradict it.
_OURS = frozenset(
    {"accept-encoding", "connection", "content-length", "content-type", "host", "transfer-encoding", "via"}
)


class Unservable(Exception):
    """This provider cannot be asked for this model at all; the attempt fails without a call and the next one starts."""


class Provider:
    """Base of all providers; they are told apart by `name`.

    Args:
        name: `[a-z0-9][a-z0-9_.-]{0,63}`, unique within a gateway; what callers write in the failover sequence.
        base_url: absolute http(s) URL; `/chat/completions` is appended. Empty: only caller-named endpoints.
        api_key: visible ASCII, as a string or a Secret, or a callable that returns it, sync or async, asked before each
            attempt.
        models: asked model -> served model; the asked name `*` stands for all others.
        headers: sent with every request to this provider.
        prefill: whether the server continues a last `assistant` message, so that it can go on with a stream that broke
            elsewhere (`on_stream_break="continue"`).
        client: an `httpx.AsyncClient` or `httpx2.AsyncClient` for proxies, own certificates, HTTP/2 or in-process
            upstreams. It stays yours: the gateway never closes it.
        ssl_context: whom to trust instead of the public authorities, e.g.
            `ssl.create_default_context(cafile="internal-ca.pem")`. A client brings its own instead.

    Raises:
        ConfigurationError: for any of these that cannot work. Its text never holds the key.
    """

    kind: ClassVar[str] = "compatible"
    self_hosted: ClassVar[bool] = False
    prefill_fields: ClassVar[Mapping[str, bool]] = {}
    """What a body needs besides a last `assistant` message, so that the server writes on instead of answering it."""

    @shows_no_arguments
    def __init__(
        self,
        *,
        name: str,
        base_url: str,
        api_key: KeySource = None,
        models: Mapping[str, str] = NO_MODELS,
        headers: Mapping[str, str] | None = None,
        prefill: bool = False,
        client: Client = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        if not is_text(name) or not _NAME.match(name):
            raise ConfigurationError(f"provider name {name!r}: expected [a-z0-9][a-z0-9_.-]{{0,63}}")
        self.name = name
        self.base_url = check_url(base_url, f"{name}: base_url") if base_url else ""
        self.origins: tuple[str, ...] = (origin_of(self.base_url),) if self.base_url else ()
        """The only places that the configured key may go to: a subclass whose `url()` leads elsewhere adds them."""
        self.place = _place_of(self.base_url)
        """Host and port of `base_url`."""
        self.models = check_models(models, name)
        self._headers = Sealed(_check_headers(headers or {}, name))
        self.prefill = prefill
        if ssl_context is not None and not isinstance(ssl_context, ssl.SSLContext):
            raise ConfigurationError(f"{name}: ssl_context: expected an ssl.SSLContext")
        if ssl_context is not None and client is not None:
            raise ConfigurationError(f"{name}: ssl_context: the client= brings its own; give one of the two")
        self.client = client
        self.ssl_context = ssl_context
        self._key: Secret | None = None
        self._ask_key: Callable[[], Key | Awaitable[Key]] | None = None
        if isinstance(api_key, str | Secret):
            try:
                self._key = _secret(api_key, self.origins)
            except ValueError as error:
                raise ConfigurationError(f"{name}: api_key: {error}") from None
        elif callable(api_key):
            self._ask_key = api_key
        elif api_key is not None:
            raise ConfigurationError(f"{name}: api_key: expected a string or a callable")

    # --- what a subclass may override ---

    def url(self, target: Target) -> str:
        """Where `target` is asked. Raises Unservable when its model cannot be named here."""
        base = f"{target.endpoint.origin}/v1" if target.endpoint else self.base_url
        return f"{base}/chat/completions"

    def models_url(self) -> str:
        """Where its models are listed; for `python -m ogw_asgi check --probe`, and for nothing else."""
        return f"{self.base_url}/models"

    def authorize(self, key: str) -> list[Header]:
        """The headers that carry the key."""
        return [(b"authorization", b"Bearer " + key.encode("ascii"))]

    def read_error(self, status: int, headers: Sequence[Header], body: bytes) -> ProviderError:
        """What the body of an answer that is no success says. Never raises."""
        return read_error(body)

    # --- what the dispatch loop calls ---

    async def key(self) -> Secret | None:
        """The configured key. Raises what the callable raises; ValueError or TypeError for what is no visible ASCII."""
        if self._ask_key is None:
            return self._key
        key = self._ask_key()
        return _secret(key if isinstance(key, str | Secret) else await key, self.origins)

    def prepare(
        self, call: ChatCall, target: Target, key: Secret | None, forwarded: Sequence[Header], connect_s: float
    ) -> UpstreamRequest:
        """The one request that asks `target`. `forwarded` is what the gateway sends to every provider.

        `key` is the configured key for the configured endpoint, or the caller's for the caller's endpoint: the two
        never mix, because this is given just one, and each shows itself only to where it belongs. Raises Unservable,
        or Misdirected for a URL that leads elsewhere.
        """
        own = [] if target.endpoint else self.headers
        url = self.url(target)
        origin = origin_of(url)
        return UpstreamRequest(
            url=url,
            headers=[*forwarded, *own, *(self.authorize(key.reveal_to(origin)) if key else ())],
            body=body_for(call, target.model),
            connect_s=connect_s,
            origin=origin,
        )

    def prepare_question(self, key: Secret | None, forwarded: Sequence[Header], connect_s: float) -> UpstreamQuestion:
        """The one request for its models. Raises what `prepare` raises."""
        url = self.models_url()
        origin = origin_of(url)
        if origin not in self.origins:  # the configured headers may hold a key, too
            raise Misdirected
        headers = [*forwarded, *self.headers, *(self.authorize(key.reveal_to(origin)) if key else ())]
        return UpstreamQuestion(url=url, headers=headers, body=b"", connect_s=connect_s, origin=origin)

    @property
    def headers(self) -> list[Header]:
        """What is sent with every request to this provider."""
        return self._headers.reveal()

    @property
    def static_secrets(self) -> list[str]:
        """What must never be shown: the key, and the values of configured headers."""
        return [value.decode("ascii") for _, value in self.headers] + ([self._key.reveal()] if self._key else [])

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={getattr(self, 'name', None)!r})"


def _secret(key: Key, origins: tuple[str, ...]) -> Secret:
    return Secret(key.reveal() if isinstance(key, Secret) else key, origins)


def _place_of(url: str) -> tuple[str | None, int | None]:
    if not url:
        return None, None
    parts = urlsplit(url)
    return parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def is_text(value: object) -> bool:
    """Not everybody has a type checker."""
    return isinstance(value, str)


def check_url(url: str, what: str) -> str:
    """An operator's base URL without its trailing slashes. Raises ConfigurationError, without the URL in its text."""
    if not is_text(url):
        raise ConfigurationError(f"{what}: expected an absolute http(s) URL")
    try:
        parts = urlsplit(url)
        # Libraries disagree about what else may stand in a host, and where it ends then.
        host = parts.hostname or ""
        good = parts.scheme in ("http", "https") and parts.port != 0 and bool(_HOST.fullmatch(host) or ":" in host)
    except ValueError:
        good = False
    if not good or not url.isascii() or any(char <= " " or char == "\x7f" for char in url):
        raise ConfigurationError(f"{what}: expected an absolute http(s) URL")
    if url.rstrip("/").endswith("/chat/completions"):
        raise ConfigurationError(f"{what}: leave out /chat/completions, the gateway adds it")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigurationError(f"{what}: userinfo, query and fragment are not allowed (keys go to api_key=)")
    return url.rstrip("/")


def check_models(models: Mapping[str, str], what: str) -> Mapping[str, str]:
    if not isinstance(models, Mapping):
        raise ConfigurationError(f"{what}: models: expected a mapping: asked model -> served model")
    names: list[object] = [*models.keys(), *models.values()]
    if not all(isinstance(name, str) and name for name in names):
        raise ConfigurationError(f"{what}: models: expected a mapping of non-empty strings to non-empty strings")
    return dict(models)


def _check_headers(headers: Mapping[str, str], name: str) -> list[Header]:
    checked: list[Header] = []
    mapping: object = headers
    if not isinstance(mapping, Mapping) or not all(is_text(item) for pair in mapping.items() for item in pair):
        raise ConfigurationError(f"{name}: headers: expected a mapping of strings to strings")
    for key, value in headers.items():
        if not _HEADER_NAME.match(key):
            # Not shown: it may be a whole line, value included.
            raise ConfigurationError(f"{name}: headers: expected names of letters, digits and dashes")
        if not _HEADER_VALUE.match(value):
            raise ConfigurationError(f"{name}: headers: {key}: expected a value of printable ASCII")
        if key.lower() in _OURS or key.lower().startswith("x-opengateway-"):
            raise ConfigurationError(f"{name}: headers: {key} belongs to the gateway")
        # Blanks at its ends are no part of a value (RFC 9110, 5.5), and there are engines that refuse them.
        checked.append((key.lower().encode("ascii"), value.strip(" \t").encode("ascii")))
    return checked
