"""Many processes, one scrape: whichever worker is asked tells of all, and of those that are gone what they did."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.abc
import httpx
import pytest

from ogw_asgi.telemetry.prometheus import _forget_the_dead
from tests.asgi.hosts import QUESTION, STREAMED
from tests.canaries import assert_silent

from .scraped import Scraped

ROOT = Path(__file__).resolve().parents[2]


@asynccontextmanager
async def worker(directory: Path) -> AsyncIterator[tuple[anyio.abc.Process, str]]:
    """One as uvicorn's `--workers` are, but with a port of its own: whom to ask is the test's choice."""
    process = await anyio.open_process(
        [sys.executable, "-m", "uvicorn", "--port", "0", "--no-access-log", "tests.telemetry.worker:app"],
        cwd=ROOT,
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(directory)},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    said = b""
    try:
        assert process.stderr is not None
        while (running := re.search(rb"running on (http://127\.0\.0\.1:\d+)", said)) is None:
            said += await process.stderr.receive()
        yield process, running[1].decode()
    finally:
        if process.returncode is None:
            process.kill()
        with anyio.CancelScope(shield=True):
            await process.aclose()
        assert_silent(said, "what uvicorn said")


async def scrape(client: httpx.AsyncClient, url: str) -> Scraped:
    """What a worker says, once all three requests are told to have ended: their callers hear of that first. It reads
    one file after the other, so what it said then may be half of it."""
    ended = 0.0
    while True:
        found = Scraped((await client.get(f"{url}/metrics/")).text)
        if ended == 3:
            return found
        ended = found.value("ogw_requests_total", outcome="ok")


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.skipif(os.name != "posix", reason="signals, and who is alive, are asked for as POSIX has them")
async def test_a_scrape_of_one_worker_tells_of_all_and_forgets_what_a_dead_one_had_under_way(tmp_path: Path) -> None:
    with anyio.fail_after(25):
        async with worker(tmp_path) as (_, first), worker(tmp_path) as (dying, second), httpx.AsyncClient() as client:
            for url in (first, first, second):
                assert (await client.post(f"{url}/llm/chat/completions", json=QUESTION)).status_code == 201
            stalls = {**STREAMED, "model": "stalls"}
            async with client.stream("POST", f"{second}/llm/chat/completions", json=stalls) as reply:
                parts = reply.aiter_raw()
                await anext(parts)  # it has begun
                for url in (first, second):
                    found = await scrape(client, url)
                    assert found.value("ogw_attempt_duration_seconds_count", provider="openai", outcome="ok") == 3
                    assert found.value("ogw_inflight_requests") == 1
                    assert found.value("ogw_circuit_state", provider="openai", state="closed") == 2
                dying.send_signal(signal.SIGKILL)
                await dying.wait()
            found = await scrape(client, first)
    assert found.value("ogw_requests_total", outcome="ok") == 3  # what it has counted stays
    assert found.value("ogw_inflight_requests") == 0
    assert found.value("ogw_circuit_state", provider="openai", state="closed") == 1


@pytest.mark.skipif(os.name != "posix", reason="who is alive is asked for as POSIX has it")
def test_of_those_that_are_gone_the_gauges_are_forgotten_and_the_rest_is_kept(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    kept = {f"gauge_livesum_{os.getpid()}.db", f"counter_{gone.pid}.db", f"gauge_all_{gone.pid}.db", "gauge_live_x.db"}
    for name in {f"gauge_livesum_{gone.pid}.db", *kept}:
        (tmp_path / name).touch()
    for _ in range(2):
        _forget_the_dead(str(tmp_path))
        assert {path.name for path in tmp_path.iterdir()} == kept


def test_a_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    code = "from ogw_asgi.telemetry.prometheus import Prometheus\nPrometheus()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "nowhere")},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert "ConfigurationError: PROMETHEUS_MULTIPROC_DIR: expected a directory that exists" in done.stderr
