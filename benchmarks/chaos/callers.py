"""The process of the callers: asks as the traffic says, judges every answer, keeps a record of each."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from contextlib import suppress
from typing import Any

from ..upstream import pin
from .client import Client, Left
from .lag import LagMeter
from .lines import serve_lines
from .traffic import PATH, Arm, Record, Request, Traffic, dump, read_trail, requests
from .verdict import Received, Verdict, judge


class Callers:
    """One run at a time; `take` waits for its end."""

    def __init__(self, port: int) -> None:
        self._client = Client(port)
        self._records: list[Record] = []
        self._run: asyncio.Task[None] | None = None
        self._lag = LagMeter()

    async def handle(self, message: dict[str, Any]) -> dict[str, Any]:
        if message["do"] == "run":
            self._lag.start()
            arms = [Arm(**arm) for arm in message["traffic"].pop("arms")]
            traffic = Traffic(**message["traffic"], arms=arms)
            self._run = asyncio.create_task(
                self._ask_all(traffic, message["prefix"], message["seed"], message["start_s"])
            )
            return {}
        if self._run is not None:
            await self._run
        self._client.close()
        records, self._records = self._records, []
        return {"records": [dump(record) for record in records], "stalls": self._lag.take()}

    async def _ask_all(self, traffic: Traffic, prefix: str, seed: int, start_s: float) -> None:
        await asyncio.sleep(max(0, start_s - time.monotonic()))
        async with asyncio.TaskGroup() as group:
            if not traffic.rps:
                for caller in range(traffic.callers):
                    group.create_task(self._ask_again(traffic, prefix, seed, caller, start_s + traffic.seconds))
                return
            source = requests(traffic, prefix, seed)
            for number in range(round(traffic.seconds * traffic.rps)):
                await asyncio.sleep(max(0, start_s + number / traffic.rps - time.monotonic()))
                group.create_task(self._ask(next(source), traffic.patience_s))

    async def _ask_again(self, traffic: Traffic, prefix: str, seed: int, caller: int, until_s: float) -> None:
        dice = random.Random(f"{seed} pauses {caller}")
        source = requests(traffic, prefix, seed, caller)
        while time.monotonic() < until_s:
            await self._ask(next(source), traffic.patience_s)
            await asyncio.sleep(dice.uniform(0, traffic.pause_s))

    async def _ask(self, request: Request, patience_s: float) -> None:
        start_s = time.monotonic()
        first_s, end_s = None, start_s
        verdict = Verdict("lost", "no connection")
        received = Received(status=0, headers={}, body=b"", ended=False)
        leave_after_s = request.leave_after_s
        with suppress(OSError):
            try:
                exchanged = await self._client.post(
                    PATH, dict(request.headers), request.body, leave_after_s=leave_after_s or patience_s
                )
                received, first_s, end_s = exchanged.received, exchanged.first_s, exchanged.end_s
                verdict = judge(request.asked, received)
            except Left:
                end_s = time.monotonic()
                verdict = Verdict("left") if leave_after_s else Verdict("lost", f"nothing within {patience_s:g} s")
        headers = received.headers
        self._records.append(
            Record(
                asked=request.asked,
                arm=request.arm,
                start_s=start_s,
                first_s=first_s,
                end_s=end_s,
                verdict=verdict,
                attempts=int(headers.get("x-opengateway-attempts", 0)),
                trail=read_trail(headers.get("server-timing", "")),
            )
        )


async def _main(port: int) -> None:
    sys.stdout.write(json.dumps({"ready": True}) + "\n")
    sys.stdout.flush()
    await serve_lines(Callers(port).handle)


if __name__ == "__main__":
    pin(int(sys.argv[2]) if len(sys.argv) > 2 else None)
    asyncio.run(_main(int(sys.argv[1])))
