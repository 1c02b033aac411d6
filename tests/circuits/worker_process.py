"""`python -m tests.circuits.worker_process REDIS_URL A_URL B_URL OPEN_S`: a worker in a process of its own.

For each line on its standard input it makes one request, to a and then b, and writes who answered. Its probes have
leases of a second.
"""

from __future__ import annotations

import json
import sys
from functools import partial

import anyio
import anyio.to_thread

from ogw_asgi import Breaker, Gateway, OpenAICompatible, Timeouts
from ogw_asgi._dispatch import admission
from ogw_asgi.circuits import shared
from ogw_asgi.testing import asgi_client

from ..contract.checks import MESSAGES, SEQUENCE

LEASE_S = 1.0


async def main(redis_url: str, a: str, b: str, open_s: str) -> None:
    providers = [OpenAICompatible(name, base_url=url, api_key="sk-c4n4ry") for name, url in (("a", a), ("b", b))]
    gateway = Gateway(
        providers=providers,
        redis_url=redis_url,
        breaker=Breaker(failures=1, open_s=float(open_s), open_max_s=float(open_s)),
        timeouts=Timeouts(first_chunk_s=LEASE_S / 2),
    )
    async with gateway, asgi_client(gateway) as caller:
        print("opened", flush=True)  # noqa: T201
        while await anyio.to_thread.run_sync(sys.stdin.readline):
            reply = await caller.post(
                "/chat/completions",
                headers={SEQUENCE: json.dumps(["a", "b"])},
                json={"model": "some-model", "messages": MESSAGES},
            )
            print(reply.headers.get("x-opengateway-provider", reply.status_code), flush=True)  # noqa: T201


if __name__ == "__main__":
    admission.LEASE_EXTRA_S = LEASE_S / 2
    shared.PATIENCE_S = 5.0
    anyio.run(partial(main, *sys.argv[1:]))
