"""The Redis of a gateway is asked what it knows, through the very link and script that requests will use."""

from __future__ import annotations

import shlex
import ssl

from .._dispatch.clock import clock_s
from ..circuits.redis import RedisLink, RedisPlace
from ..circuits.shared import PATIENCE_S
from ..gateway import Gateway
from ..transports.dial import Dialer
from .effective import address_shown
from .mending import export, in_code
from .report import Asked, Problem
from .tls import why_not_trusted

LIMIT_S = 3.0

_NOTHING = {"worker": "check", "after": 0, "ops": []}
"""Of an exchange in which nothing is said."""


async def asked_redis(gateway: Gateway) -> Asked | None:
    """None: it has none."""
    place = gateway._redis
    if place is None:
        return None
    setting = gateway._sources.get("redis_url", "redis_url")
    asked = Asked("redis", address_shown(place))
    # A breaker of its own, and a Dialer, as the gateway's.
    link = RedisLink(place, Dialer().dial)
    started_s = clock_s()
    answered = await link.ask(_NOTHING, within_s=LIMIT_S) is not None
    if answered:  # the first time it may have had to learn the script
        started_s = clock_s()
        answered = await link.ask(_NOTHING, within_s=LIMIT_S) is not None
    duration_s = clock_s() - started_s
    problem = None if answered else await _problem(setting, place, link.cause or "")
    warnings = []
    if answered and duration_s > PATIENCE_S:
        says = f"Redis: a request waits {PATIENCE_S * 1000:g} ms for it, and it takes longer: little will be shared"
        warnings.append(Problem(setting, says, f"look for a Redis that is nearer than {address_shown(place)}"))
    return Asked("redis", asked.where, None, round(duration_s * 1000), None, problem, warnings)


async def _problem(setting: str, place: RedisPlace, cause: str) -> Problem:
    """`cause`: as the link names it."""
    where = address_shown(place).partition("://")[2]
    kind, _, code = cause.partition(":")
    url = _url(setting, place)
    acl = f"ACL SETUSER {shlex.quote(place.username or 'default')} on '~ogw:*' +@all"
    if code == "NOAUTH" or (code == "ERR" and "Auth" in kind):
        return Problem(
            setting, f"password: {where} wants one, and another or none was sent", _url(setting, place, True)
        )
    if code == "WRONGPASS" or "Authentication" in kind:
        return Problem(
            setting, f"password: {where} does not take it, or not from that user", _url(setting, place, True)
        )
    if code == "NOPERM" or "Authorization" in kind:
        says = f"rights: {where} lets that user not do what is needed (EVALSHA, EVAL, and hashes at ogw:*)"
        return Problem(setting, says, f"redis-cli {acl}")
    match kind:
        case "dns":
            return Problem(setting, f"DNS: no host is known by the name {place.host}", url)
        case "connect" | "ConnectionRefusedError" | "FileNotFoundError" | "PermissionError":
            return Problem(setting, f"connection: {where} refuses it, or cannot be reached from here", url)
        case "timeout":
            return Problem(setting, f"timeout: no answer from {where} within {LIMIT_S:g} s", url)
    if place.tls and "SSL" in kind:
        return await _of_tls(setting, place, where)
    if code:
        return Problem(setting, f"Redis: {where} answers {code}", f"look at the log of the Redis at {where}")
    says = f"protocol: {where} broke it off, or what answers there is no Redis; rediss:// instead of redis://?"
    return Problem(setting, says, url)


async def _of_tls(setting: str, place: RedisPlace, where: str) -> Problem:
    host = f"[{place.host}]" if ":" in place.host else place.host
    context = ssl.create_default_context()
    detail = await why_not_trusted(f"https://{host}:{place.port}", context, LIMIT_S)
    if detail is not None and "not TLS" in detail:
        return Problem(setting, f"TLS: {detail}; redis:// instead of rediss://?", _url(setting, place))
    why = f" ({detail})" if detail else ""
    says = f"TLS: the certificate of {where} is not accepted{why}"
    return Problem(setting, says, "export SSL_CERT_FILE=internal-ca.pem    # for all that has no trust of its own")


def _url(setting: str, place: RedisPlace, password: bool = False) -> str | None:
    """A line to be filled in. What is right of it is not repeated: it may hold a password."""
    who = f"{place.username or ''}:PASSWORD@" if password else ""
    if setting != "redis_url":
        return export(setting, f"redis://{who}HOST:6379/0")
    return f"Gateway(redis_url='redis://{who}HOST:6379/0', ...)" if who else in_code("redis_url")
