"""The public API in every way that it may be written: checked by mypy, never run.

What stands here must keep its types; a change that breaks a line breaks a user's build.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any, assert_type

import httpx
import httpx2
from fastapi import Depends, FastAPI, Request
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection
from starlette.routing import Mount

from ogw_asgi import (
    VLLM,
    Azure,
    Breaker,
    ConfigurationError,
    Gateway,
    GatewayMiddleware,
    Limits,
    OGWError,
    OpenAI,
    OpenAICompatible,
    Principal,
    RequestRejected,
    Timeouts,
    allow_anyone,
    bearer_tokens,
    combine_lifespans,
)
from ogw_asgi.fastapi import gateway_router
from ogw_asgi.providers import Provider
from ogw_asgi.telemetry import Usage
from ogw_asgi.telemetry.events import AttemptEnded, AttemptStarted, Event, RequestEnded, Sink, StreamBroken, Tracer
from ogw_asgi.telemetry.opentelemetry import OpenTelemetry
from ogw_asgi.telemetry.prometheus import Prometheus


def key() -> str:
    return "key"


async def token() -> str:
    return "token"


providers: list[Provider] = [
    OpenAI(api_key="key"),
    OpenAI(api_key=key, organization="org", project="proj", headers={"x-a": "1"}, name="second"),
    Azure(endpoint="https://acme.openai.azure.com", api_key=token, models={"gpt-4o": "prod"}),
    Azure(name="azure-eu", endpoint="https://eu.test", api_version="2024-10-21", bearer=True, prefill=False),
    VLLM(endpoint="http://10.0.0.7:8000", allowed_endpoints=["http://10.0.0.8:8000"]),
    VLLM(name="vllm-2", allowed_endpoints=("http://10.0.0.8:8000",), api_key=None, prefill=True),
    OpenAICompatible("groq", base_url="https://api.groq.com/openai/v1", client=httpx.AsyncClient()),
    OpenAICompatible("own", base_url="https://own.test/v1", client=httpx2.AsyncClient()),
]


def authenticate(connection: HTTPConnection) -> Principal | None:
    return Principal("ada", providers=frozenset({"openai"}), models=None, endpoints=False)


async def authenticate_later(connection: HTTPConnection) -> Principal | None:
    raise RequestRejected(403, "no", type="permission_error", param=None, code="no", retry_after_s=1.5)


class MySink:
    def on_event(self, event: Event, /) -> None:
        match event:
            case AttemptStarted() | AttemptEnded():
                assert_type(event.request_id, str)
            case StreamBroken():
                assert_type(event.delivered_bytes, int)
            case RequestEnded():
                assert_type(event.status, int | None)
                assert_type([one.usage for one in event.attempts], list[Usage | None])


sink: Sink = MySink()
tracer: Tracer = OpenTelemetry(propagate_to=["vllm"])
metrics: Sink = Prometheus()

gateway = Gateway(
    providers=providers,
    failover_sequence=("openai", "azure/gpt-4o"),
    timeouts=Timeouts(first_chunk_s=30, connect_s=3, idle_s=60.0, total_s=None, hedge_after_s=None, heartbeat_s=None),
    limits=Limits(body_bytes=16 << 20, attempts=5, concurrency=1000),
    breaker=Breaker(failures=5, open_s=5, open_max_s=20),
    on_stream_break="error",
    failover_on={"context_length"},
    success_status=201,
    models=["gpt-4o"],
    authenticate=authenticate,
    sinks=[sink, MySink(), OpenTelemetry(), Prometheus()],
    engine="auto",
)
assert_type(gateway, Gateway)
assert_type(Gateway(), Gateway)
assert_type(Gateway(providers=[OpenAI()], authenticate=authenticate_later, engine="httpx2"), Gateway)
assert_type(Gateway(providers=(OpenAI(), VLLM(endpoint="http://gpu:8000"))), Gateway)
assert_type(Gateway.from_env(), Gateway)
assert_type(Gateway.from_env({"OPENAI_API_KEY": "key"}), Gateway)

# --- tokens ---

by_name: dict[str, list[str]] = {"team-a": ["one", "two"]}
by_principal: dict[Principal, list[str]] = {Principal("team-b"): ["three"]}
mixed: dict[str | Principal, tuple[str, ...]] = {"team-a": ("one",), Principal("team-b"): ("two",)}
for authenticator in (
    bearer_tokens(by_name),
    bearer_tokens(by_principal),
    bearer_tokens(mixed),
    bearer_tokens({"team-a": ["one"]}),
    bearer_tokens({"team-a": {"one", "two"}}),
    bearer_tokens(["one", "two"]),
    bearer_tokens(f"token-{number}" for number in range(3)),
):
    Gateway(authenticate=authenticator)
Gateway(authenticate=allow_anyone)
assert_type(Gateway.from_env(authenticate=authenticate_later), Gateway)
assert_type(Gateway.from_env({}, authenticate=lambda connection: None), Gateway)

limited = Principal("team-c", providers=["openai"], models={"gpt-4o", "gpt-4o-mini"}, endpoints=True, in_flight=20)
assert_type(limited.providers, frozenset[str] | None)
assert_type(limited.in_flight, int | None)


# --- hosts ---


@contextlib.asynccontextmanager
async def mine(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    yield {"db": 1}


def user(request: Request) -> None:
    request.scope["ogw_asgi.principal"] = Principal("ada")


app = FastAPI(lifespan=gateway.lifespan)
app.mount("/llm", gateway)
app.add_middleware(GatewayMiddleware, gateway=gateway)
app.add_middleware(GatewayMiddleware, gateway=gateway, prefix="/llm")
app.include_router(gateway_router(gateway))
app.include_router(gateway_router(gateway, dependencies=[Depends(user)], tags=["LLM"]), prefix="/llm")

FastAPI(lifespan=combine_lifespans(mine, gateway.lifespan))
Starlette(
    lifespan=combine_lifespans(gateway.lifespan),
    routes=[Mount("/llm", app=gateway)],
    middleware=[Middleware(GatewayMiddleware, gateway=gateway, prefix="/llm")],
)
wrapped = GatewayMiddleware(Starlette(), gateway, prefix=None)
GatewayMiddleware(wrapped, gateway)


async def by_hand() -> None:
    async with gateway as opened:
        assert_type(opened, Gateway)
    async with gateway.lifespan():
        pass
    async with gateway.lifespan(app):
        pass
    await gateway.aclose()


def errors() -> None:
    try:
        Gateway()
    except ConfigurationError as error:
        as_value_error: ValueError = error
        as_ours: OGWError = error
        raise as_value_error from as_ours
