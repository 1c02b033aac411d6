"""What a request would do, without doing it: the door's own readers and the dispatcher's own machine, and no call.

Nothing changes by it: no breaker, no budget, no place, and not which circuits are forgotten next.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from .._dispatch.admission import scope_of
from .._dispatch.aside import Aside
from .._dispatch.clock import clock_s
from .._dispatch.dispatcher import Dispatcher
from .._rules.circuit import CLOSED, Circuit
from .._rules.outlook import PROBE_S, outlook
from .._rules.plan import make_plan
from .._rules.standing import Standing, reason, standing
from .._rules.steps import Try
from .._values import CallOptions, ChatCall, Header, Plan, Principal, StreamBreak, Target
from .._wire.body import read_body
from .._wire.headers import (
    header_values,
    refuse_two_lengths,
    refuse_two_tokens,
)
from .._wire.structure import takes_long
from ..exceptions import RequestRejected
from ..explanation import ExplainedTarget, Explanation, Refusal
from .door import Door, read_head, request_id_of
from .receive import too_large

GivenHeaders = Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]]
GivenBody = Mapping[str, Any] | bytes | str
"""Bytes and text are what comes in, and need a content type in the headers; anything else is made into JSON."""


async def explain(
    door: Door,
    given_headers: GivenHeaders,
    given_body: GivenBody,
    principal: Principal | None,
    *,
    opened: bool,
    on_stream_break: StreamBreak,
) -> Explanation:
    """`opened`: the gateway is, on this loop, or it is closed; else it is not opened for this, and knows no trouble."""
    headers, body = _raw(given_headers, given_body)
    try:
        dispatcher = await door.open() if opened else None
        options = _admit(door, headers)
        call = await _read(door, dispatcher, body)
        plan = make_plan(
            call.model,
            call.stream,
            options,
            door.catalogue,
            principal=principal,
            guard_for=door.guard_for,
            total_s=door.timeouts.total_s,
        )
    except RequestRejected as refusal:
        return Explanation(Refusal(refusal.status, refusal.code, refusal.message, refusal.param))
    scopes = {target: scope_of(target, principal.id if principal is not None else None) for target in plan.targets}
    now_s = clock_s()
    circuits: Mapping[tuple[str, ...], Circuit] = {}
    if dispatcher is not None:
        keys = [key for scope in scopes.values() for key in (scope.origin, scope.model)]
        circuits = await dispatcher.circuits.store.known(keys, now_s)
    standings = {
        target: standing([circuits.get(key, CLOSED) for key in (scope.origin, scope.model)], now_s)
        for target, scope in scopes.items()
    }
    steps, left_out = _foresee(door, plan, standings, now_s)
    named_s = options.hedge_after_s
    hedge_after = door.timeouts.hedge_after_s if named_s is None else named_s
    return Explanation(
        targets=steps,
        left_out=left_out,
        stream=call.stream,
        on_stream_break=options.on_stream_break or on_stream_break,
        hedge_after=hedge_after or None,
        success_status=options.success_status or door.success_status,
        attempts=door.limits.attempts,
        total_s=plan.total_s,
    )


def _admit(door: Door, raw: list[Header]) -> CallOptions:
    """As the endpoint's own `_admit`, but for who is calling: that is said by whoever asks."""
    headers = header_values(raw)
    refuse_two_lengths(headers)
    if door.authenticator is not None:
        refuse_two_tokens(headers)
    return read_head(door, headers, request_id_of(headers))


async def _read(door: Door, dispatcher: Dispatcher | None, body: bytes) -> ChatCall:
    if len(body) > door.limits.body_bytes:
        raise too_large(door.limits)
    if not takes_long(body):
        return read_body(body, door.limits)
    aside = Aside() if dispatcher is None else dispatcher.aside
    return await aside.run(partial(read_body, body, door.limits, patiently=True))


def _foresee(
    door: Door, plan: Plan, standings: Mapping[Target, Standing], now_s: float
) -> tuple[tuple[ExplainedTarget, ...], tuple[str, ...]]:
    foreseen = outlook(plan, standings, limits=door.limits, timeouts=door.timeouts, now_s=now_s)
    told = []
    furthest = -1
    for step in foreseen.steps:
        told.append(_told(step, now_s, put_back=step.position < furthest, last=step is foreseen.steps[-1]))
        furthest = max(furthest, step.position)
    return tuple(told), tuple([_name(plan.targets[place]) for place in foreseen.left_out])


def _told(step: Try, now_s: float, *, put_back: bool, last: bool) -> ExplainedTarget:
    why, left_s = reason(step.standing, now_s) or (None, 0.0)
    target = step.target
    return ExplainedTarget(
        provider=target.provider,
        asked=target.asked,
        model=target.model,
        endpoint=None if target.endpoint is None else target.endpoint.origin,
        state=step.standing.state,
        reason=why,
        reason_ends_in_s=left_s or None,
        put_back=put_back,
        repeat=step.repeat,
        wait_s=step.wait_s,
        first_chunk_s=step.first_chunk_s,
        on_budget=step.extra,
        beside_after_s=PROBE_S if why is not None and not last else None,
    )


def _name(target: Target) -> str:
    return f"{target.provider}/{target.asked}"


def _raw(headers: GivenHeaders, body: GivenBody) -> tuple[list[Header], bytes]:
    """As they would come in. A body that is given as a value is JSON, and its type need not be said."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    raw = [(_bytes(name).lower(), _bytes(value)) for name, value in pairs]
    if not isinstance(body, str | bytes):
        if all(name != b"content-type" for name, _ in raw):
            raw.append((b"content-type", b"application/json"))
        return raw, json.dumps(body).encode("utf-8")
    return raw, _bytes(body)


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "replace")
