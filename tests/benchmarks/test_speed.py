"""The bench of what the gateway costs: that it sees wrong answers, and computes what it says."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast
from xml.etree import ElementTree

import pytest

pytest.importorskip("uvloop")
if sys.platform != "linux":
    pytest.skip("measured by Linux's /proc", allow_module_level=True)

from benchmarks.speed import asked, chart, process, report
from benchmarks.speed.load import Answer, Callers, Sample, WrongAnswer
from benchmarks.speed.outcome import Outcome
from benchmarks.speed.process import Server
from benchmarks.speed.proxies import PROXIES, Place, Running
from benchmarks.speed.rounds import Measured, Run, cpu_us, fault, quantile, ratio
from benchmarks.speed.upstream import COMPLETION, _Connection, chunk


def answer(body: bytes, status: int = 201) -> Answer:
    return Answer(status=status, head=b"", body=body, first_s=0.001, took_s=0.002)


def framed(*pieces: bytes) -> bytes:
    return b"".join([b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]) + b"0\r\n\r\n"


END = chunk("", "stop") + b"data: [DONE]\n\n"


# --- what makes an answer the right one ---


def test_an_answer_that_is_relayed_is_compared_byte_by_byte() -> None:
    asked.plain().strict(answer(COMPLETION))
    for wrong in (answer(COMPLETION[:-1]), answer(COMPLETION, 502), answer(b"")):
        with pytest.raises(WrongAnswer):
            asked.plain().strict(wrong)
        with pytest.raises(WrongAnswer):
            asked.plain().loose(answer(b"{}"))


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_stream_is_counted_however_it_is_cut_into_pieces(cut: int) -> None:
    text = chunk("a") + chunk("b") + END
    pieces = [text[start : start + cut] for start in range(0, len(text), cut)]
    asked.stream("burst-2", 2).strict(answer(framed(*pieces)))


@pytest.mark.parametrize(
    "text",
    [chunk("a") + END, chunk("a") * 3 + END, chunk("a") * 2 + chunk("", "stop"), chunk("a") * 2 + END + b": x\n\n"],
)
def test_a_stream_with_a_chunk_more_or_less_or_without_its_end_is_wrong(text: bytes) -> None:
    with pytest.raises(WrongAnswer):
        asked.stream("burst-2", 2).strict(answer(framed(text)))


@pytest.mark.parametrize(
    "contents", [["<7:0>"], ["<7:1>", "<7:0>"], ["<7:0>", "<7:0>", "<7:1>"], ["<7:0>", "<8:1>"], ["<7:0><7:1>"]]
)
def test_a_numbered_stream_with_a_chunk_missing_twice_or_of_another_is_wrong(contents: list[str]) -> None:
    check = asked.numbered(7, 2, 10).strict
    check(answer(framed(chunk("<7:0>"), chunk("<7:1>"), END)))
    with pytest.raises(WrongAnswer):
        check(answer(framed(*map(chunk, contents), END)))


# --- the callers, and the provider ---


@asynccontextmanager
async def provider() -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def run(work: Callable[[int], object]) -> None:
    async def main() -> None:
        async with provider() as port, asyncio.timeout(10):
            await work(port)  # type: ignore[misc]

    asyncio.run(main())


def test_callers_ask_the_provider_as_often_as_they_are_told_and_time_it() -> None:
    async def work(port: int) -> None:
        for what in (asked.plain(), asked.stream("burst-50", 50), asked.stream("drip-3-1", 3)):
            async with Callers(port, 4) as callers:
                sample = await callers.times(10, PROXIES["direct"].request(what.body), what.strict)
            assert sample.requests == len(sample.took_s) == 10
            assert all(0 < first <= took for first, took in zip(sample.first_s, sample.took_s, strict=True))

    run(work)


def test_every_connection_may_have_a_request_of_its_own() -> None:
    async def work(port: int) -> None:
        whats = [asked.numbered(number, 5, 1) for number in range(3)]
        async with Callers(port, 3) as callers:
            sample = await callers.each([(PROXIES["direct"].request(what.body), what.strict) for what in whats])
        assert sample.requests == 3

    run(work)


def test_a_stream_that_is_silent_has_begun() -> None:
    async def work(port: int) -> None:
        async with Callers(port, 2) as callers:
            await callers.begin_all(PROXIES["direct"].request(asked.stream("idle", 1).body))

    run(work)


def test_a_wrong_answer_ends_the_run() -> None:
    async def work(port: int) -> None:
        what = asked.plain(model="overloaded")
        with pytest.raises(ExceptionGroup) as raised:
            async with Callers(port, 2) as callers:
                await callers.times(2, PROXIES["direct"].request(what.body), what.strict)
        assert raised.group_contains(WrongAnswer, match="status 503")

    run(work)


class _Port:
    """As much of a server as a trial needs."""

    def __init__(self, port: int) -> None:
        self.port = port


def test_a_peer_is_tried_once_and_what_is_wrong_with_it_is_said() -> None:
    async def work(port: int) -> None:
        def trial(model: str) -> Run:
            return Run(proxy="ferrogw", asked=asked.plain(model=model))

        server = cast(Server, _Port(port))
        assert await fault(server, trial("plain")) == ""
        assert "answers 503" in await fault(server, trial("overloaded"))
        assert await fault(server, trial("nobody's")) != ""

    run(work)


def test_whoever_is_left_out_is_said_once_and_never_asked_again() -> None:
    said: list[str] = []
    found = Running(cast(Place, None), said.append)
    found.leave_out("ferrogw", "answers 404")
    assert found.get("ferrogw") is None
    assert said == ["absent: ferrogw (answers 404)"]
    assert found.absent == {"ferrogw": "answers 404"}


@pytest.mark.parametrize("who", ["bare", "gateway"])
@pytest.mark.parametrize("kind", ["plain", "burst", "drip"])
def test_what_is_counted_in_one_process_answers_as_it_should(who: str, kind: str) -> None:
    command = [sys.executable, "-m", "benchmarks.speed.inprocess", who, kind, "2"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


# --- what is computed ---


def measured(*costs: tuple[float, int]) -> list[Measured]:
    return [
        Measured(
            cpu_s=cpu_s, sample=Sample(requests=requests, wall_s=1.0, first_s=[0.1] * requests, took_s=[0.2] * requests)
        )
        for cpu_s, requests in costs
    ]


def test_figures_are_medians_and_ratios_are_of_the_same_round() -> None:
    ours, floor = measured((2.0, 10), (8.0, 10), (3.0, 10)), measured((1.0, 10), (2.0, 10), (3.0, 10))
    assert cpu_us(ours) == pytest.approx(300_000)
    assert ratio(ours, floor, lambda one: one.cpu_us) == pytest.approx(2.0)
    assert quantile(ours, 0.99, lambda sample: sample.took_s) == pytest.approx(0.2)


def test_cpu_and_memory_are_those_of_the_whole_tree() -> None:
    burn = "sum(i * i for i in range(2_000_000)); print('burnt', flush=True); input()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"burnt\n"
        assert len(process.tree(running.pid)) == 2
        assert process.cpu_s(running.pid) > 0.05
        assert process.rss_bytes(running.pid) > process.rss_bytes(os.getpid()) / 100
        running.communicate(b"\n", timeout=10)


def test_a_table_has_a_row_for_each_and_leaves_out_what_was_not_measured() -> None:
    outcome = Outcome(title="T", unit="request", figures={"a": {"x": 1234.5, "y": 1.234}, "bb": {"x": 12.34}})
    assert report.table(outcome).splitlines() == [
        "T (per request)",
        "",
        "        x     y",
        "a   1,234  1.23",
        "bb   12.3",
    ]


def test_the_chart_is_one_picture_with_a_bar_for_each() -> None:
    bars = chart.bars(
        {"ogw": {"CPU, us": 400.0}, "echo": {"CPU, us": 40.0}, "nobody": {}}, {"ogw": "us", "echo": "echo"}
    )
    assert bars == [("echo", 40.0, "floor"), ("us", 400.0, "ours")]
    picture = ElementTree.fromstring(chart.chart("CPU & more", "note", bars))
    widths = [float(rect.attrib["width"]) for rect in picture.iter("{http://www.w3.org/2000/svg}rect")]
    assert widths == sorted(widths)
    assert min(widths) > 0
    assert json.dumps(chart.chart("t", "n", bars)).count("http") == 1, "the name of the format, and nothing fetched"
