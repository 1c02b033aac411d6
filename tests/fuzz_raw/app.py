"""The app that the servers of this folder serve: a gateway for each engine, in front of the one upstream.

`/native/...`, `/httpx1/...` and `/httpx2/...` are mounts; whatever has another path is the native one's to refuse.
`GET /state` tells what is going on in it, and what went wrong.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from typing import Any

from ogw_asgi import VLLM, Azure, Gateway, OpenAI, Timeouts, allow_anyone

from .golden import API_VERSION, KEYS, MOUNTS, STALL_S

UPSTREAM = os.environ["SHUTDOWN_UPSTREAM"]


def make_gateway(engine: Any) -> Gateway:
    return Gateway(
        authenticate=allow_anyone,
        providers=[
            OpenAI(base_url=f"{UPSTREAM}/v1", api_key=KEYS["openai"]),
            Azure(endpoint=UPSTREAM, api_key=KEYS["azure"], api_version=API_VERSION),
            VLLM(endpoint=UPSTREAM, api_key=KEYS["vllm"]),
        ],
        failover_sequence=["openai"],
        timeouts=Timeouts(first_chunk_s=2, upload_stall_s=STALL_S, send_s=STALL_S),
        engine=engine,
    )


class Complaints(logging.Handler):
    """What the gateway warns of, and what the loop says was left over; `server: ` stands before what is not ours."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        trace = traceback.format_exception(record.exc_info[1]) if record.exc_info else []
        foreign = bool(trace) and not any("/ogw_asgi/" in line for line in trace)
        self.seen.append(f"{'server: ' * foreign}{record.name}: {record.getMessage()}")


class App:
    def __init__(self) -> None:
        self.gateways = {mount: make_gateway(engine) for mount, engine in MOUNTS.items()}
        self.in_flight = 0
        self.raised: list[str] = []
        self.complaints = Complaints()
        for name in ("ogw_asgi", "asyncio"):
            logging.getLogger(name).addHandler(self.complaints)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self.live(receive, send)
        elif scope["type"] == "http":
            await self.answer(scope, receive, send)
        else:  # no gateway is asked for what is no HTTP
            await send({"type": "websocket.close"})

    async def live(self, receive: Any, send: Any) -> None:
        await receive()
        for gateway in self.gateways.values():
            await gateway.__aenter__()
        os.write(sys.stdout.fileno(), f"opened {os.getpid()}\n".encode())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        for gateway in self.gateways.values():
            await gateway.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/state":
            await self.tell(send)
            return
        mount = next((each for each in MOUNTS if scope["path"].startswith(f"{each}/")), None)
        inner = scope if mount is None else {**scope, "root_path": mount}
        self.in_flight += 1
        try:
            await self.gateways[mount or "/native"](inner, receive, send)
        except Exception as error:
            self.raised.append(f"{type(error).__name__}: {error}")
            raise
        finally:
            self.in_flight -= 1

    async def tell(self, send: Any) -> None:
        dispatchers = [each._opened.dispatcher for each in self.gateways.values() if each._opened is not None]
        state = {
            "in_flight": self.in_flight,
            "slots": sum(each.slots.in_flight() for each in dispatchers),
            "permits": sum(each.circuits.in_flight() for each in dispatchers),
            "raised": self.raised,
            "complaints": self.complaints.seen,
        }
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(state).encode()})


app = App()
