"""The Redis of a gateway is asked what it knows, through the very link and script that requests will use."""

from __future__ import annotations

import shlex
import ssl
from dataclasses import replace
from urllib.parse import urlencode

from .._dispatch.clock import clock_s
from .._effective import address_shown
from .._values import Sealed, written_authority
from ..circuits.redis import RedisLink, RedisPlace
from ..circuits.shared import PATIENCE_S
from ..gateway import Gateway
from ..transports.dial import Dialer
from .mending import export
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
    if place.path is not None:
        elsewhere = f"ls -l {shlex.quote(place.path)}"
    else:
        elsewhere = _line(setting, replace(place, host="HOST"))
    if code == "NOAUTH" or kind == "AuthenticationRequiredError":
        says = f"password: {where} wants one, and none is set"
        return Problem(setting, says, _line(setting, replace(place, password=Sealed(""))))
    if code == "WRONGPASS" or kind == "AuthenticationFailureError":
        says = f"password: {where} does not take it, or not from that user"
        return Problem(setting, says, _line(setting, place))
    if code == "NOPERM" or kind == "AuthorizationError":
        says = f"rights: {where} does not let that user do what is needed (EVAL, EVALSHA, and hashes at ogw:*)"
        return Problem(setting, says, f"redis-cli ACL SETUSER {'USER' if place.username else 'default'} '~ogw:*' +@all")
    if code == "DB":
        return Problem(
            setting, f"database: {where} has none of the number {place.db}", _line(setting, replace(place, db=0))
        )
    match kind:
        case "dns":
            return Problem(setting, f"DNS: no host is known by the name {place.host}", elsewhere)
        case "connect" | "ConnectionRefusedError" | "FileNotFoundError" | "PermissionError":
            return Problem(setting, f"connection: {where} refuses it, or cannot be reached from here", elsewhere)
        case "timeout" if place.tls:  # in plain text a Redis takes a greeting of TLS for the beginning of a command
            says = f"timeout: no answer from {where} within {LIMIT_S:g} s; redis:// instead of rediss://?"
            return Problem(setting, says, _line(setting, replace(place, tls=False)))
        case "timeout":
            return Problem(setting, f"timeout: no answer from {where} within {LIMIT_S:g} s", elsewhere)
    if place.tls and "SSL" in kind:
        return await _of_tls(setting, place, where)
    if code:
        return Problem(setting, f"Redis: {where} answers {code}", f"look at the log of the Redis at {where}")
    says = f"protocol: {where} broke it off, or what answers there is no Redis"
    if place.tls or place.path is not None:
        return Problem(setting, says, elsewhere)
    return Problem(setting, f"{says}; rediss:// instead of redis://?", _line(setting, replace(place, tls=True)))


async def _of_tls(setting: str, place: RedisPlace, where: str) -> Problem:
    context = ssl.create_default_context()
    detail = await why_not_trusted(f"https://{written_authority(place.host, place.port)}", context, LIMIT_S)
    if detail is not None and "not TLS" in detail:
        says = f"TLS: {detail}; redis:// instead of rediss://?"
        return Problem(setting, says, _line(setting, replace(place, tls=False)))
    why = f" ({detail})" if detail else ""
    says = f"TLS: the certificate of {where} is not accepted{why}"
    return Problem(setting, says, "export SSL_CERT_FILE=internal-ca.pem    # for all that has no trust of its own")


def _line(setting: str, place: RedisPlace) -> str:
    """With its own words, but for who asks there."""
    who = "USER" if place.username else ""
    who += ":PASSWORD" if place.password is not None else ""
    scheme, _, address = address_shown(place).partition("://")
    query = {"db": str(place.db)} if place.path is not None and place.db else {}
    if place.namespace != "default":
        query["namespace"] = place.namespace
    rest = "" if place.path is not None else f"/{place.db}"
    url = f"{scheme}://{who}{'@' if who else ''}{address}{rest}{'?' if query else ''}{urlencode(query)}"
    return f"Gateway(redis_url={url!r}, ...)" if setting == "redis_url" else export(setting, url)
