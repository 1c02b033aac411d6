"""The app of one worker, for tests of many processes: a gateway over a provider in its own process, and its metrics.

The model `stalls` gets half a stream, every other one an answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette

from ogw_asgi import Gateway, OpenAI, combine_lifespans
from ogw_asgi.telemetry.prometheus import Prometheus
from ogw_asgi.testing import Hang, RecordedRequest, ScriptedUpstream, chat, stream
from ogw_asgi.testing.replies import Script


def choose(request: RecordedRequest) -> Script:
    return stream(["Hel", Hang()]) if request.json["model"] == "stalls" else chat()


metrics = Prometheus()
client = ScriptedUpstream(choose).client()
gateway = Gateway(providers=[OpenAI(api_key="sk-c4n4ry-of-the-test", client=client)], sinks=[metrics])


@asynccontextmanager
async def provider(host: Starlette) -> AsyncIterator[None]:
    async with client:
        yield


app = Starlette(lifespan=combine_lifespans(provider, gateway.lifespan))
app.mount("/metrics", metrics.app)
app.mount("/llm", gateway)
