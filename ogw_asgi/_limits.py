"""How long, how much and how often: the groups of settings that users give. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Limits in seconds (contract, sections 2, 5 and 8).

    first_chunk_s: to the first chunk of a stream while an untried target is left.
    answer_s: to the first chunk of the last target, and to every non-streaming answer.
    connect_s: DNS, TCP and TLS together.
    idle_s: between two data events of a stream.
    tail_s: for usage and `[DONE]` after the last finish_reason.
    send_s: for a caller to take what was sent; one that takes nothing for so long is gone.
    total_s: for the whole sequence up to the first chunk; None switches it off.
    hedge_after_s: without a first chunk for so long, a second target is asked beside the first; `"p95"`, a quantile of
        the target's own recent times to the first chunk (at least 0.2 s, and 20 of them); None switches it off.
    heartbeat_s: after so much silence towards the caller of a stream, a comment keeps the connection alive; None
        switches it off.
    header_max_s: the most that a caller may ask for by header.
    stream_max_s: for a whole stream.
    retry_wait_max_s: the longest named wait before a retry in place; slot_wait_s: for a free place at a target.
    upload_stall_s: without a byte of the caller's body; authenticate_s: for `authenticate`.
    """

    first_chunk_s: float = 30.0
    connect_s: float = 3.0
    idle_s: float = 60.0
    total_s: float | None = None
    hedge_after_s: float | str | None = None
    heartbeat_s: float | None = None
    answer_s: float = 600.0
    tail_s: float = 5.0
    header_max_s: float = 3600.0
    stream_max_s: float = 3600.0
    send_s: float = 60.0
    retry_wait_max_s: float = 5.0
    slot_wait_s: float = 1.0
    upload_stall_s: float = 10.0
    authenticate_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes and counts (contract, section 8).

    attempts: what one request may cost, whatever its sequence says.
    concurrency: requests in flight at one target; more wait for `slot_wait_s`, then ask the next one.
    in_flight: requests in the gateway at once; more are refused at the door, their bodies unread.
    upstream_head_bytes: of an answer; over httpx and httpx2 at most 100 KiB, whatever is said here.
    """

    body_bytes: int = 16 << 20
    attempts: int = 5
    concurrency: int = 1000
    in_flight: int = 10_000
    sequence_items: int = 16
    header_bytes: int = 8 << 10
    messages: int = 10_000
    json_depth: int = 128
    json_structure: int = 1_000_000
    upload_bytes_per_s: int = 16 << 10
    upstream_head_bytes: int = 64 << 10
    upstream_event_bytes: int = 1 << 20
    upstream_answer_bytes: int = 32 << 20
    upstream_stream_bytes: int = 256 << 20
    held_events: int = 64
    held_bytes: int = 64 << 10
    held_comment_bytes: int = 4 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """When a target counts as down, and for how long (contract, sections 4 and 8).

    failures: so many in a row open its circuit; so do half of the last 20, once there are as many as this.
    open_s: until it is probed for the first time, doubling with each trip up to `open_max_s`, +-25 %.
    """

    failures: int = 5
    open_s: float = 5.0
    open_max_s: float = 20.0
