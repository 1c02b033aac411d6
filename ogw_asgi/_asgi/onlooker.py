"""Who may look at the status page. The decisions are functions of the request's head alone.

Where nobody says who may, this machine may, by what cannot be had from elsewhere: a peer on loopback, which a proxy on
the machine has, too; so there must be no trace of one; and a Host that is local, for a name of somebody else's may lead
to 127.0.0.1 in the browser that has his page open (DNS rebinding).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from .._values import Header
from .._wire.headers import Values
from ..auth.anyone import allow_anyone
from ..auth.base import SCOPE_KEY, Authenticator, authenticate, identify
from ..exceptions import RequestRejected
from .send import Scope

CHALLENGE = b'Basic realm="ogw_asgi status", charset="UTF-8"'

_PROXIES = (
    # Of standards, and what most proxies and balancers write.
    "forwarded",
    "via",
    "x-forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-remote-",
    "x-original-",
    "x-rewrite-url",
    "x-cluster-client-ip",
    "x-proxy",
    "proxy-",
    "x-scheme",
    "x-url-scheme",
    "x-host",
    "client-ip",
    "true-client-ip",
    "x-true-client-ip",
    "front-end-https",
    "wl-proxy-",
    "x-request-start",
    "x-queue-start",
    "x-varnish",
    "x-cache",
    # Of networks in front: each of them writes at least one of its own.
    "cdn-loop",
    "cf-",
    "fastly-",
    "fly-",
    "akamai-",
    "x-akamai-",
    "incap-",
    "x-vercel-",
    "x-nf-",
    "x-railway-",
    # Of clouds' balancers and hosts of apps.
    "x-amz-cf-",
    "x-amzn-",
    "cloudfront-",
    "x-appengine-",
    "x-google-",
    "x-cloud-trace-context",
    "x-azure-",
    "x-arr-",
    "x-appservice-",
    "x-ms-client-principal",
    # Of meshes and tunnels.
    "x-envoy-",
    "l5d-",
    "tailscale-",
    "ngrok-",
)
"""How the names of headers begin that whoever hands on another's request writes, and no browser, no curl."""

_SPOKEN = frozenset({"1.1", "2", "2.0", "3", "3.0"})

_local_host = re.compile(
    r"(?:(?:[a-z0-9-]+\.)*localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]{0,5})?", re.I
).fullmatch
_visible = re.compile(r"[!-~]+").fullmatch


def is_of_this_machine(client: Sequence[Any] | None, http_version: str, headers: Values) -> bool:
    """Whether nothing speaks against it that the request was made on this machine, and for this machine.

    HTTP/1.0 does (granian calls it 1): no browser and no curl speaks it, and it is all that the commonest of proxies,
    out of the box, lets see of itself.
    """
    hosts = headers.get("host", ())
    return (
        _is_loopback(client)
        and http_version in _SPOKEN
        and len(hosts) == 1
        and _local_host(hosts[0].decode("latin-1")) is not None
        and not any(name.startswith(_PROXIES) for name in headers)
    )


def is_of_another_site(headers: Values) -> bool:
    """Whether a browser says that another site's page asks for it, be it to show it within, or to read it, which a
    host's own CORS may allow.

    A link to it, which opens it as a page of its own, is nobody's harm. A browser that does not say whose page it is,
    as over plain http, still says its origin when it asks another one in order to read, and with a GET only then.
    """
    sites = headers.get("sec-fetch-site", ())
    if not sites:
        host = headers.get("host", (b"",))[0].lower()
        return any(origin.lower().partition(b"://")[2] != host for origin in headers.get("origin", ()))
    if all(site in (b"same-origin", b"none") for site in sites):
        return False
    return headers.get("sec-fetch-mode") != [b"navigate"] or headers.get("sec-fetch-dest") != [b"document"]


def password_of(headers: Values) -> str | None:
    """Of HTTP Basic, if there is one that a token could be; None for anything else, malformed or not."""
    values = headers.get("authorization", ())
    if len(values) != 1:
        return None
    scheme, _, encoded = values[0].partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        name_and_password = base64.b64decode(encoded.strip(b" "), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return None
    password = name_and_password.partition(":")[2]
    return password if _visible(password) else None


class Onlookers:
    """Who may look: whom `status_auth` knows; without it, whom the gateway's own authenticator knows; without one, this
    machine."""

    def __init__(
        self, status_auth: Authenticator | None, authenticator: Authenticator | None, authenticate_s: float
    ) -> None:
        self._status_auth = status_auth
        self._authenticator = None if authenticator is allow_anyone else authenticator
        self._authenticate_s = authenticate_s

    @property
    def shown_to(self) -> str:
        if self._status_auth is not None:
            return "everybody who reaches it" if self._status_auth is allow_anyone else "whom status_auth knows"
        return "this machine alone" if self._authenticator is None else "whom authenticate knows"

    async def admit(self, scope: Scope, headers: Values) -> None:
        """Raises RequestRejected: 401, 403, and 503 where an authenticator fails or hangs."""
        if is_of_another_site(headers):
            raise _embedded()
        as_bearer = _with_bearer(scope, headers)
        if self._status_auth is not None:
            # It was written for this page, and may read Basic itself.
            await self._ask(self._status_auth, "status_auth", [scope, *as_bearer])
        elif self._authenticator is not None:
            if scope.get(SCOPE_KEY) is not None:  # the host's word counts here as everywhere
                await authenticate(self._authenticator, scope, self._authenticate_s)
            else:
                await self._ask(self._authenticator, "authenticate", [*as_bearer, scope])
        elif not is_of_this_machine(scope.get("client"), str(scope.get("http_version")), headers):
            raise _elsewhere()

    async def _ask(self, authenticator: Authenticator, source: str, scopes: Sequence[Scope]) -> None:
        *others, last = scopes
        for scope in others:
            try:
                if await identify(authenticator, scope, self._authenticate_s, source) is not None:
                    return
            except RequestRejected as refusal:
                if refusal.status != 401:
                    raise
        if await identify(authenticator, last, self._authenticate_s, source) is None:
            raise _unknown()


def _is_loopback(client: Sequence[Any] | None) -> bool:
    """Servers on unix sockets tell no peer, or something that is no address."""
    if not client or not isinstance(client[0], str):
        return False
    try:
        address = ip_address(client[0])
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _with_bearer(scope: Scope, headers: Values) -> Sequence[Scope]:
    """As if the password had come as a token: browsers ask for the one and cannot send the other. Empty without one."""
    password = password_of(headers)
    if password is None:
        return ()
    others: list[Header] = [(name, value) for name, value in scope["headers"] if name.lower() != b"authorization"]
    return ({**scope, "headers": [*others, (b"authorization", b"Bearer " + password.encode("ascii"))]},)


def _unknown() -> RequestRejected:
    return RequestRejected(
        401,
        "The status page is for those who have a token: expected HTTP Basic with any name and the token as password, "
        "or the header 'Authorization: Bearer TOKEN'.",
        type="authentication_error",
        code="invalid_api_key",
        close=True,
    )


def _elsewhere() -> RequestRejected:
    return RequestRejected(
        403,
        "Without a token the status page is for the machine that the gateway runs on, asked directly as localhost, and "
        "this request may have come from elsewhere. Set OGW_BEARER_TOKENS (authenticate=), or "
        "Gateway(status_auth=...), to look at it from other machines or through a proxy.",
        type="permission_error",
        code="status_not_local",
        close=True,
    )


def _embedded() -> RequestRejected:
    return RequestRejected(
        403,
        "The status page is not for pages of other sites: open it in a tab of its own.",
        type="permission_error",
        code="status_not_embeddable",
        close=True,
    )
