"""Every provider is asked for its models, side by side, by the gateway's own engines and under the rules of its keys.

Costs nothing: the question is a GET. Of deployments, which no key for answers may list, and of servers without a list,
each is asked for an answer to no messages at all: that is refused, and how it is refused tells whether it is there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import anyio

from .._dispatch.clock import clock_s
from .._effective import origin_shown
from .._environment.names import present
from .._values import ChatCall, Header, Secret, Target, UpstreamRequest
from .._version import __version__
from ..exceptions import where
from ..gateway import Gateway
from ..providers import Azure, Provider
from ..providers.base import Unservable
from ..transports.base import Transport, TransportFailure
from .diagnosis import Failure, Sources, of_answer, of_deployment, of_failure, of_key
from .report import Asked, Problem
from .tls import why_not_trusted

LIMIT_S = 10.0
"""For one provider, all that is asked of it together."""

LIST_BYTES = 4 << 20
DEPLOYMENTS = 16

_FORWARDED: list[Header] = [
    (b"accept", b"application/json"),
    (b"accept-encoding", b"identity"),
    (b"user-agent", f"ogw_asgi/{__version__}".encode("ascii")),
]
_POSTED: list[Header] = [(b"content-type", b"application/json"), *_FORWARDED]


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    headers: Sequence[Header]


async def ask_all(gateway: Gateway) -> list[Asked]:
    """In the order of the providers. Those that have no address of their own are not asked."""
    providers = [provider for provider in gateway._providers.values() if provider.base_url]
    found: dict[str, Asked] = {}

    async def ask(provider: Provider) -> None:
        found[provider.name] = await _Asking(gateway, provider, dispatcher.transport_for(_target(provider))).run()

    async with gateway:
        dispatcher = await gateway._dispatcher()
        async with anyio.create_task_group() as group:
            for provider in providers:
                group.start_soon(ask, provider)
    return [found[provider.name] for provider in providers]


def _target(provider: Provider, model: str = "") -> Target:
    return Target(provider.name, model, model)


class _Asking:
    """Of one provider."""

    def __init__(self, gateway: Gateway, provider: Provider, transport: Transport) -> None:
        self._gateway = gateway
        self._mask = gateway._mask
        self._provider = provider
        self._transport = transport
        self._connect_s = gateway._timeouts.connect_s
        self._sources = Sources(gateway._sources, present(os.environ))

    async def run(self) -> Asked:
        started_s = clock_s()
        asked = Asked(self._provider.name, origin_shown(self._provider))
        with anyio.move_on_after(LIMIT_S) as scope:
            asked = await self._ask(asked)
        if scope.cancelled_caught:
            problem = of_failure(Failure("timeout", LIMIT_S), self._provider, self._sources)
            asked = replace(asked, problem=problem)
        return replace(asked, duration_ms=round((clock_s() - started_s) * 1000))

    async def _ask(self, asked: Asked) -> Asked:
        provider = self._provider
        try:
            key = await provider.key()
        except Exception as error:  # a callable of somebody's own
            return replace(asked, problem=of_key(provider, where(error)))
        if key is not None:  # that of a callable is known only now
            self._mask = self._mask.plus([key.reveal()])
        try:
            answer = await self._exchange(provider.prepare_question(key, _FORWARDED, self._connect_s))
            if answer.status in (404, 405):
                return await self._ask_without_a_list(asked, key, answer)
            asked = replace(asked, status=answer.status)
            listed = _listed(answer)
            problem = of_answer(
                answer.status, provider, self._sources, listed=listed is not None, said=self._said(answer)
            )
            if problem is not None or listed is None:
                return replace(asked, problem=problem)
            asked = replace(asked, models=len(listed))
            if isinstance(provider, Azure):
                return await self._ask_for_deployments(asked, key)
            return replace(asked, warnings=self._not_listed(listed))
        except TransportFailure as failure:
            return replace(asked, problem=await self._failed(failure))
        except Exception as error:  # a provider class of somebody's own
            says, mend = f"cannot be asked: {where(error)}", f"look at {type(provider).__name__}.models_url()"
            return replace(asked, problem=Problem(f"providers.{provider.name}", says, mend))

    async def _ask_without_a_list(self, asked: Asked, key: Secret | None, first: _Answer) -> Asked:
        """Is it the URL, or does this server list no models?"""
        provider = self._provider
        model = next((served for served in provider.models.values() if served), "unknown-model")
        second = await self._ask_for_nothing(model, key)
        answers = second.status in (400, 422) or (second.status == 404 and _code_of(second) in _UNKNOWN_MODEL)
        if answers:
            warning = Problem(
                f"providers.{provider.name}", "answers, and lists no models; whether it has yours is not known"
            )
            return replace(asked, status=second.status, warnings=(warning,))
        decisive = first if second.status in (404, 405) else second
        problem = of_answer(decisive.status, provider, self._sources, listed=False, said=self._said(decisive))
        return replace(asked, status=decisive.status, problem=problem)

    async def _ask_for_deployments(self, asked: Asked, key: Secret | None) -> Asked:
        missing = []
        for model in list(dict.fromkeys(self._provider.models.values()))[:DEPLOYMENTS]:
            try:
                answer = await self._ask_for_nothing(model, key)
            except Unservable:
                missing.append(model)
                continue
            if answer.status == 404:
                missing.append(model)
        problem = of_deployment(missing, self._provider) if missing else None
        return replace(asked, problem=problem)

    async def _ask_for_nothing(self, model: str, key: Secret | None) -> _Answer:
        # By the provider's own `prepare`, so that URL, headers and the way of the key are those of every request.
        call = ChatCall(b'{"model":""}', "", (9, 11))
        return await self._exchange(
            self._provider.prepare(call, _target(self._provider, model), key, _POSTED, self._connect_s)
        )

    async def _exchange(self, request: UpstreamRequest) -> _Answer:
        response = await self._transport.open(request)
        try:
            body = b""
            async for chunk in response.chunks():
                body += chunk
                if len(body) > LIST_BYTES:
                    raise TransportFailure("protocol")
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()
        return _Answer(response.status, body, response.headers)

    async def _failed(self, failure: TransportFailure) -> Problem:
        detail = None
        if failure.kind == "tls" and self._provider.client is None:
            context = self._provider.ssl_context or self._gateway._engine.make_ssl_context()
            detail = await why_not_trusted(self._provider.base_url, context, self._connect_s)
        limit_s = self._connect_s if failure.kind == "connect_timeout" else LIMIT_S
        return of_failure(Failure(failure.kind, limit_s, detail), self._provider, self._sources)

    def _said(self, answer: _Answer) -> str | None:
        """Its own words, as far as they may be shown."""
        error = self._provider.read_error(answer.status, answer.headers, answer.body[: 64 << 10])
        return None if error.message is None else self._mask.text(error.message)

    def _not_listed(self, listed: frozenset[str]) -> list[Problem]:
        served = dict.fromkeys(self._provider.models.values())
        return [
            Problem(f"providers.{self._provider.name}.models", f"{model} is not among the models that it lists")
            for model in served
            if model not in listed
        ]


_UNKNOWN_MODEL = frozenset({"model_not_found", "NotFoundError"})


def _code_of(answer: _Answer) -> str | None:
    error = _json(answer.body)
    error = error.get("error", error) if isinstance(error, dict) else None
    found = (error.get("code"), error.get("type")) if isinstance(error, dict) else ()
    return next((code for code in found if code in _UNKNOWN_MODEL), None)


def _listed(answer: _Answer) -> frozenset[str] | None:
    """The names in the list; None if it is no list of models."""
    value = _json(answer.body)
    data = value.get("data") if isinstance(value, dict) else value  # Together's is a bare array
    if not isinstance(data, list) or not all(isinstance(model, dict) for model in data):
        return None
    return frozenset(model["id"] for model in data if isinstance(model.get("id"), str))


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
