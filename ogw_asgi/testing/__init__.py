"""Testing failover without a provider: scripted upstreams, and ways to reach an app.

    async with ScriptedUpstream(error(503)).client() as down, ScriptedUpstream(chat("Hi")).client() as up:
        providers = [OpenAI(api_key="k", client=down), OpenAI(name="second", api_key="k", client=up)]
        async with asgi_client(Gateway(providers=providers, failover_sequence=["openai", "second"])) as caller:
            message = {"role": "user", "content": "Hello?"}
            reply = await caller.post("/chat/completions", json={"model": "m", "messages": [message]})
            assert reply.headers["x-opengateway-provider"] == "second"

`ScriptedUpstream` plays a provider at the level of HTTP and runs anywhere, `RawUpstream` at the level of
bytes and sockets. Nothing here imports the rest of the package, so that the judge does not share the faults
of the judged.
"""

from ._exchange import ASGIApp
from ._signals import SharedEvent, Waitable
from .encoding import LAST_CHUNK, SSE_DONE, chunked, http_head, http_response, sse_event
from .recording import RecordedRequest
from .replies import Reply, Script, answer, chat, completion_chunk, error, hang, hold, raw, stream, tokens
from .scripted import ScriptedUpstream
from .serving import dead_port, serve
from .steps import Break, Fin, Hang, OnAccept, OnHead, Reset, Wait
from .tcp import RawRequest, RawScript, RawUpstream
from .transport import StreamingASGITransport, asgi_client, streaming_transport

__all__ = [
    "ASGIApp",
    "Break",
    "Fin",
    "Hang",
    "LAST_CHUNK",
    "OnAccept",
    "OnHead",
    "RawRequest",
    "RawScript",
    "RawUpstream",
    "RecordedRequest",
    "Reply",
    "Reset",
    "SSE_DONE",
    "Script",
    "ScriptedUpstream",
    "SharedEvent",
    "StreamingASGITransport",
    "Wait",
    "Waitable",
    "answer",
    "asgi_client",
    "chat",
    "chunked",
    "completion_chunk",
    "dead_port",
    "error",
    "hang",
    "hold",
    "http_head",
    "http_response",
    "raw",
    "serve",
    "sse_event",
    "stream",
    "streaming_transport",
    "tokens",
]
