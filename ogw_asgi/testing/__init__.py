"""Testing failover without a provider: scripted upstreams, and ways to reach an app.

    async with ScriptedUpstream(error(503)).client() as down, ScriptedUpstream(chat("Hi")).client() as up:
        providers = [OpenAI(api_key="k", client=down), OpenAI(name="second", api_key="k", client=up)]
        async with asgi_client(Gateway(providers=providers, failover_sequence=["openai", "second"])) as caller:
            message = {"role": "user", "content": "Hello?"}
            reply = await caller.post("/chat/completions", json={"model": "m", "messages": [message]})
            assert reply.headers["x-opengateway-provider"] == "second"

`ScriptedUpstream` plays a provider at the level of HTTP and runs anywhere, `RawUpstream` at the level of
bytes and sockets. `CrashTestProvider` is a whole provider on a port whose fault is chosen by the model's
name, for tests of any app; `python -m ogw_asgi.testing` serves it to those that are not Python. Nothing here
imports the rest of the package, so that the judge does not share the faults of the judged.
"""

from ._calls import CrashTestCall
from ._exchange import ASGIApp
from ._faults import CRASH_TEST_MODELS, CrashTestModel
from ._playing import RawScript
from ._signals import SharedEvent, Waitable
from ._sixty import SIXTY_WORDS
from .crash import CrashTestProvider
from .encoding import LAST_CHUNK, SSE_DONE, chunked, http_head, http_response, sse_event
from .recording import RecordedRequest
from .replies import Reply, Script, answer, chat, completion_chunk, error, hang, hold, raw, stream, tokens
from .scripted import ScriptedUpstream
from .serving import dead_port, serve
from .steps import Break, Fin, Hang, OnAccept, OnHead, Reset, Wait
from .tcp import RawRequest, RawUpstream
from .transport import StreamingASGITransport, asgi_client, streaming_transport

__all__ = [
    "ASGIApp",
    "Break",
    "CRASH_TEST_MODELS",
    "CrashTestCall",
    "CrashTestModel",
    "CrashTestProvider",
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
    "SIXTY_WORDS",
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
