"""Which events may be relayed as they are, all at once: only those that a glance at each would have let pass."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogw_asgi._wire.chunks import glance, unflagged
from ogw_asgi._wire.sse import Event, SSEDecoder, frame

PLAIN = [
    b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}\n\n',
    b'data: {"choices":[{"delta":{"content":"h\xc3\xa4"}}]}\n\n',
    b'data: {"choices":[{"delta":{},"finish_reason" : ""}]}\n\n',
    b"data: {}\n\n",
    b'data: {"text":"a } b { c"}\n\n',
]
ODD = [
    b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n',
    b'data: {"error":{"message":"no"}}\n\n',
    b'data: {"error":null,"choices":[]}\n\n',
    b'data: {"text":"\xff"}\n\n',
    b'data: {"text":"\xc3"}\n\n',
    b"data: [DONE]\n\n",
    b'data:{"choices":[]}\n\n',
    b'data: {"choices":[]}\r\n\r\n',
    b'data: {"choices":[]}\n\r\n',
    b'data: {"a":1}\ndata: {"b":2}\n\n',
    b'event: error\ndata: {"a":1}\n\n',
    b'id: 7\ndata: {"a":1}\n\n',
    b": a comment\n\n",
    b"data: \n\n",
    b'data: {"a":1\n\n',
    b'data: "a}"\n\n',
    b"\n",
]


@pytest.mark.parametrize("event", PLAIN)
def test_events_that_need_no_look_pass(event: bytes) -> None:
    assert unflagged(event) == len(event)
    assert unflagged(event * 3) == 3 * len(event)


@pytest.mark.parametrize("event", ODD)
@pytest.mark.parametrize("before", [0, 1, 2])
def test_whatever_needs_a_look_ends_what_passes(event: bytes, before: int) -> None:
    plain = PLAIN[0] * before
    found = unflagged(plain + event + PLAIN[0])
    # A line end of another kind anywhere may mean anything: then nothing passes.
    assert found == (0 if b"\r" in event else len(plain))


@pytest.mark.parametrize("cut", range(1, len(PLAIN[0])))
def test_an_event_that_is_not_all_there_waits(cut: int) -> None:
    assert unflagged(PLAIN[1] + PLAIN[0][:cut]) == len(PLAIN[1])


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from([*PLAIN, *PLAIN, *ODD]), max_size=6), st.binary(max_size=20))
def test_what_passes_is_what_would_have_been_sent_event_by_event(events: list[bytes], tail: bytes) -> None:
    data = b"".join(events) + tail
    passed = data[: unflagged(data)]
    sent = []
    for event in SSEDecoder(1 << 20).feed(passed + b"\n"):
        assert isinstance(event, Event)
        chunk = glance(event.data, error_event=event.error)
        assert chunk.kind == "data"
        assert not chunk.finished
        sent.append(frame(chunk.payload))
    assert b"".join(sent) == passed
