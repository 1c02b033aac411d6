"""The short form of `python -m tests.fuzz_raw --fuzz`, and that its judge can say no."""

from __future__ import annotations

from typing import Any

import pytest

from ogw_asgi.testing import RawRequest

from .caller import answers_of
from .fuzz import Run, any_head, fuzz
from .golden import MOUNTS, head_of
from .mutate import SEEDS, mutated
from .payloads import BODY, PAYLOADS
from .run import Stand
from .servers import SERVERS

COUNT, SEED = 2_000, 7


@pytest.fixture
def anyio_backend() -> Any:
    return "asyncio"  # of the test alone: the gateway is in another process


@pytest.mark.anyio
@pytest.mark.timeout(120)
@pytest.mark.parametrize("server", SERVERS)
async def test_mutated_requests_are_never_a_500_nor_a_hang_nor_anything_but_honest_requests(server: str) -> None:
    tally = await fuzz(server, COUNT, SEED)
    assert tally.faults == [], str(tally)
    assert tally.sent == COUNT
    assert tally.reached > 100
    assert tally.words["201"] > 50, "most are mutated to death, and some must not be"


def test_a_seed_makes_the_same_request_again() -> None:
    assert [mutated(seed) for seed in range(100)] == [mutated(seed) for seed in range(100)]
    assert len({mutated(seed) for seed in range(1000)}) > 990
    assert len(SEEDS) > 250


# --- the judge --------------------------------------------------------------------------------------------------------

GOOD = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:80\r\ncontent-type: application/json\r\n"
    b"accept: application/json\r\naccept-encoding: identity\r\nuser-agent: ogw_asgi/VERSION\r\n"
    b"via: 1.1 ogw-0123456789abcdef\r\nx-request-id: a\r\nauthorization: Bearer sk-of-openai\r\n"
    b"content-length: 57\r\n\r\n"
)


def good() -> bytes:
    from ogw_asgi import __version__

    return GOOD.replace(b"VERSION", __version__.encode())


def test_every_golden_head_is_one_of_those_that_the_fuzz_lets_pass() -> None:
    heads = any_head(80)
    assert heads.fullmatch(good())
    for payload in PAYLOADS:
        for asked in payload.honest:
            for engine in MOUNTS.values():
                pattern = head_of(asked, engine, 80).pattern.decode()
                for count in ("16", "32"):
                    pattern = pattern.replace(f"[0-9a-f]{{{count}}}", "0" * int(count))
                head = pattern.replace("\\\r\\\n", "\r\n").replace("\\", "").encode()
                assert heads.fullmatch(head), head


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"x-request-id: a\r\n", b"x-request-id: a\r\nx-evil: 1\r\n"),
        (b"x-request-id: a\r\n", b"x-request-id: a\nx-evil: 1\r\n"),
        (b"x-request-id: a\r\n", b"x-request-id: a b\r\n"),
        (b"/v1/chat", b"/v1/../chat"),
        (b"accept: application/json", b"accept: application/json\r\naccept: text/event-stream"),
        (b"host: 127.0.0.1:80", b"host: evil.test"),
        (b"content-length: 57", b"content-length: 57, 57"),
        (b"content-length: 57", b"content-length: 57\r\ntransfer-encoding: chunked"),
        (b"sk-of-openai", b"key-of-azure"),
        (b"via: ", b"via: 1.1 ogw-a, 1.1 ogw-b, 1.1 ogw-c, "),
    ],
)
def test_a_head_with_anything_more_or_other_is_a_fault(old: bytes, new: bytes) -> None:
    assert old in good()
    run = Run(Stand("none", None, _Nowhere()), 0, 0)  # type: ignore[arg-type]
    run._check(RawRequest(good(), BODY, 0))
    assert run.tally.faults == []
    run._check(RawRequest(good().replace(old, new), BODY, 0))
    assert len(run.tally.faults) == 1


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", BODY + BODY])
def test_a_body_that_is_no_request_is_a_fault(body: bytes) -> None:
    run = Run(Stand("none", None, _Nowhere()), 0, 0)  # type: ignore[arg-type]
    run._check(RawRequest(good(), body, 0))
    assert len(run.tally.faults) == 1


class _Nowhere:
    port = 80


@pytest.mark.parametrize(
    ("raw", "statuses", "rest"),
    [
        (b"", [], b""),
        (b"HTTP/1.1 201 C\r\ncontent-length: 2\r\n\r\nabHTTP/1.1 400 B\r\n\r\nrest", [201, 400], b""),
        (b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 204 N\r\n\r\n", [100, 204], b""),
        (b"HTTP/1.1 201 C\r\ncontent-length: 3\r\n\r\nab", [], b"HTTP/1.1 201 C\r\ncontent-length: 3\r\n\r\nab"),
        (b"HTTP/1.1 200 O\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\nx", [200], b"x"),
        (b"\x00\x00\x00\x04\x00", [], b"\x00\x00\x00\x04\x00"),
    ],
)
def test_what_comes_back_is_cut_into_answers(raw: bytes, statuses: list[int], rest: bytes) -> None:
    answers, left = answers_of(raw, over=True)
    assert ([answer.status for answer in answers], left) == (statuses, rest)
