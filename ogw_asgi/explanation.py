"""What `Gateway.explain` tells: whom a request would ask, in what order and why, or why it would be refused.

Standard library only. It holds no key, no prompt and no URL but the origin of an endpoint that the caller named.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the caller would get instead, as in the error envelope."""

    status: int
    code: str | None
    message: str
    param: str | None = None


@dataclass(frozen=True, slots=True)
class ExplainedTarget:
    """One attempt that would be made, if all before it failed.

    Attributes:
        provider, asked, model: who is asked; for which model, as the caller wrote it, and as it goes upstream.
        endpoint: scheme, host and port where the caller named a server, else None.
        state: `ready`; `probe`, at once, as the one that finds out whether it is back; or `wait`, only because the
            others are no better.
        reason: of a `probe` or `wait`: `circuit_open`, `half_open`, `probe_under_way` (somebody else is finding out),
            `cooling_down` (the provider asked not to be asked), or `no_time_to_probe` (the caller's limits are too
            short for that). None when it is ready.
        reason_ends_in_s: when that is over, where it is known.
        put_back: it stands before others in the sequence, and is asked after them.
        repeat, wait_s: the same target again, after that wait (a retry in place).
        first_chunk_s: its limit to the first chunk, were those before it to fail at once.
        on_budget: one more attempt at a target in trouble, which is made only while the retry budget allows.
        beside_after_s: the next one starts beside it when so much has passed without a first chunk; None: not at all.
    """

    provider: str
    asked: str
    model: str
    endpoint: str | None
    state: Literal["ready", "probe", "wait"]
    reason: str | None
    reason_ends_in_s: float | None
    put_back: bool
    repeat: bool
    wait_s: float
    first_chunk_s: float
    on_budget: bool
    beside_after_s: float | None

    def __str__(self) -> str:
        where = f" at {self.endpoint}" if self.endpoint is not None else ""
        model = self.asked if self.asked == self.model else f"{self.asked} as {self.model}"
        notes: list[str] = [self.state]
        if self.reason is not None:
            over = f" for {self.reason_ends_in_s:.3g} s" if self.reason_ends_in_s else ""
            notes[0] = f"{self.state} ({self.reason}{over})"
        if self.put_back:
            notes.append("put back behind others")
        if self.repeat:
            notes.append(f"again, after {self.wait_s:.3g} s")
        if self.on_budget:
            notes.append("if the retry budget allows")
        notes.append(f"first chunk within {self.first_chunk_s:.6g} s")
        if self.beside_after_s is not None:
            notes.append(f"the next one beside it after {self.beside_after_s:.3g} s")
        return f"{self.provider}{where}, {model}: {', '.join(notes)}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """A plan as of now; circuits move, so the next request may find another. `str()` is for people, `as_dict()` for
    JSON.

    Attributes:
        refusal: why it would be refused before any provider is asked, else None.
        targets: in the order in which they would be asked.
        left_out: those of the sequence that nobody would get to (`Limits.attempts`, or no time), as `provider/model`.
        stream: whether a stream was asked for.
        on_stream_break, hedge_after, success_status: what is in force: the caller's word, else the gateway's.
            `hedge_after` in seconds, or a quantile; None: off.
        attempts: the most that are made; total_s: the limit of the whole sequence in seconds, or None.
    """

    refusal: Refusal | None = None
    targets: tuple[ExplainedTarget, ...] = ()
    left_out: tuple[str, ...] = ()
    stream: bool = False
    on_stream_break: str | None = None
    hedge_after: float | str | None = None
    success_status: int | None = None
    attempts: int | None = None
    total_s: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings, numbers, booleans and None."""
        return {**asdict(self), "targets": [asdict(one) for one in self.targets], "left_out": list(self.left_out)}

    def __str__(self) -> str:
        if self.refusal is not None:
            return f"refused with {self.refusal.status} {self.refusal.code}: {self.refusal.message}"
        lines = [f"{number}. {one}" for number, one in enumerate(self.targets, 1)]
        lines += [f"-  {name}: not asked" for name in self.left_out]
        terms = [f"{'a stream' if self.stream else 'a plain answer'}, success is {self.success_status}"]
        terms.append(f"at most {self.attempts} attempts")
        if self.total_s is not None:
            terms.append(f"within {self.total_s:g} s")
        if self.hedge_after is not None:
            terms.append(f"hedged after {self.hedge_after}" + (" s" if isinstance(self.hedge_after, float) else ""))
        if self.stream:
            terms.append(f"a stream that breaks: {self.on_stream_break}")
        return "\n".join([*lines, "; ".join(terms)])
