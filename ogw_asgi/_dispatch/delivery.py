"""A stream on its way to the caller, whoever gives it: relayed, and under `continue` gone on with where it broke."""

from __future__ import annotations

from .._rules.classify import Verdict
from .._rules.continuation import Mode, Stitch, asks_again, may_go_on, mode_of, shown, tokens_of
from .._values import Outcome, Target
from .._wire.prefill import can_be_continued, prefilled
from .._wire.transcript import Transcript
from ..telemetry.events import StreamContinued
from .answer import Answer
from .attempt import Attempt
from .catch_up import catch_up
from .clock import on_trio
from .dispatcher import Dispatch
from .reading import Break, outcome_of
from .relay import STALLED, Relay, Send
from .terms import Terms


class Delivery:
    """Of one request's stream. Whoever has it closes it; that closes the answer, too.

    Attributes:
        provider: who gives the stream, and in the end who finished it.
        delivered_bytes: what the caller has taken.
        tried: somebody has been asked to go on with it.
    """

    def __init__(self, dispatch: Dispatch, answer: Answer) -> None:
        self.delivered_bytes = 0
        self.tried = False
        self._dispatch = dispatch
        self._timeouts = dispatch.shared.timeouts
        self._answer = answer
        continues = dispatch.policy == "continue" and dispatch.call.choices == 1
        self._transcript = Transcript() if continues else None
        if not continues:
            dispatch.forget_body()
        self._refused: set[Target] = set()
        """Targets that are not shown the text any more."""
        self._relay = self._relay_of(answer)

    @property
    def provider(self) -> str:
        return self._answer.target.provider

    async def run(self, send: Send) -> Break | None:
        """Relay to the end. None: complete, and `[DONE]` was the last thing sent. Else what broke; nothing sent of it.

        Raises NotTaken.
        """
        while True:
            if on_trio():
                self._dispatch.line.spawn(self._relay.guard)
            broken = await self._relay.run(send)
            self.delivered_bytes += self._relay.delivered_bytes
            if broken is None or broken.cause == STALLED:
                return broken
            self._answer.broke = broken.cause
            # First, because a caller who has stopped reading may never let what comes next go out.
            await self._answer.aclose()
            if broken.counts:
                await self._dispatch.broken(self._answer)
            answer = await self._go_on(broken)
            if answer is None:
                return broken
            self._answer = answer
            self._relay = self._relay_of(answer)

    async def drain(self) -> None:
        """After a complete stream: let the connection be kept, if its end comes at once."""
        await self._relay.drain()

    async def aclose(self) -> None:
        await self._answer.aclose()

    def _relay_of(self, answer: Answer) -> Relay:
        assert answer.stream is not None
        return Relay(answer, answer.stream, self._timeouts, self._dispatch.mask, self._transcript)

    async def _go_on(self, broken: Break) -> Answer | None:
        """Somebody else's answer from where this one broke; None: there is none."""
        transcript, dispatch, before = self._transcript, self._dispatch, self._answer
        if transcript is None or dispatch.won is None:
            return None
        changes = transcript.parts - 1
        if not may_go_on(broken.cause, broken.error, text_only=transcript.text_only, continuations=changes):
            return None
        if not can_be_continued(dispatch.call):
            return None
        now_s = dispatch.shared.loop.clock_s()
        outcome = dispatch.masked(outcome_of(broken, before.outcome, now_s - before.started_s))
        dispatch.failover.broke(dispatch.won, outcome, now_s, stalled=broken.stalled)
        self.tried = True
        joint = _Joint(dispatch, transcript, self._refused)
        answer = await dispatch.other(joint)
        if answer is not None:
            transcript.change_hands()
            dispatch.shared.observers.tell(
                lambda: StreamContinued(
                    request_id=dispatch.options.request_id,
                    serial=dispatch.account.serial,
                    provider=answer.target.provider,
                    before=before.target.provider,
                    cause=broken.cause,
                    mode=joint.mode(answer.target),
                    delivered_bytes=self.delivered_bytes,
                )
            )
        return answer


class _Joint(Terms):
    """How each target that is left is asked to go on with what was delivered, and what its answer is joined to."""

    def __init__(self, dispatch: Dispatch, transcript: Transcript, refused: set[Target]) -> None:
        self._dispatch = dispatch
        self._text = transcript.text
        self._spent_tokens = tokens_of(
            self._text, transcript.pieces, transcript.reported_tokens, transcript.last_blanks
        )
        self._refused = refused
        self.request_id = dispatch.request_id
        self.stream = True
        self.scopes = dispatch.scopes
        self.hedge_after = None
        self.slot_wait_s = dispatch.slot_wait_s
        self.finishes = True
        self.continues = True
        self.account = dispatch.account

    def masked(self, outcome: Outcome) -> Outcome:
        return self._dispatch.masked(outcome)

    def mode(self, target: Target) -> Mode:
        provider = self._dispatch.shared.providers[target.provider]
        return mode_of(self._text, prefills=provider.prefill, refused=target in self._refused)

    def make(self, target: Target) -> Attempt:
        call = self._dispatch.call
        if self.mode(target) == "prefill":
            fields = self._dispatch.shared.providers[target.provider].prefill_fields
            longer = prefilled(call, shown(self._text), fields, self._spent_tokens)
            if longer is None:
                self._refused.add(target)
            else:
                call = longer
        return self._dispatch.attempt(call, target)

    async def finish(self, answer: Answer) -> Answer | Outcome:
        return await catch_up(answer, Stitch(self._text, self.mode(answer.target)), self._dispatch.shared.timeouts)

    def asks_again(self, target: Target, outcome: Outcome, verdict: Verdict) -> bool:
        if not asks_again(self.mode(target), outcome, verdict):
            return False
        self._refused.add(target)
        return True
