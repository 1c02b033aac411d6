"""What observers are told of one request, and what is kept for that: nothing, where nobody listens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from .._rules.overhead import own_time_s
from .._rules.standing import READY, Standing
from .._values import AttemptRecord, ChatCall, Outcome, Plan, Target
from .._wire.report import Report
from ..telemetry.events import (
    AttemptEnded,
    AttemptStarted,
    End,
    FailedOver,
    FirstChunk,
    Hedged,
    Reason,
    RequestStarted,
)
from ..telemetry.observers import Observers, new_serial
from .answer import Answer

if TYPE_CHECKING:
    from .terms import Run

Result = Answer | Outcome | None

NO_STANDINGS: Mapping[Target, Standing] = {}


class Unheard:
    """Of requests that no sink is told of; the log still hears of what the operator must mend.

    Attributes:
        heard: somebody listens.
        serial: tells it from every other.
        overhead_s: once there is an answer or a refusal: how much of the time was the gateway's own.
    """

    heard = False
    serial = 0
    overhead_s: float | None = None

    def __init__(self, observers: Observers) -> None:
        self._observers = observers

    def planned(self, call: ChatCall, principal: str | None) -> None:
        pass

    def looked(self, standings: Mapping[Target, Standing]) -> None:
        """As they were when the next attempt was chosen."""

    def begun(self, run: Run, under_way: Sequence[Run], continues: bool) -> None:
        """The attempt is about to go out, and is among those under way."""

    def has_first_chunk(self, run: Run) -> None:
        """Of its stream."""

    def concluded(
        self, request_id: str, run: Run, record: AttemptRecord, result: Result, *, misconfigured: bool = False
    ) -> None:
        """It is the request's answer, and ends when that is closed; or it has failed, or (None) was cancelled."""
        if misconfigured:
            self._observers.tell(lambda: AttemptEnded(request_id, 0, 0, record, "failed", misconfigured))

    def left(self, run: Run) -> None:
        """It was cancelled with the request, so it has no line in the trail."""

    def decided(self) -> None:
        """There is an answer, or a refusal."""

    def trail(self, orders: Sequence[int], records: Sequence[AttemptRecord]) -> tuple[AttemptRecord, ...]:
        """The lines with what was seen of each attempt's usage."""
        return tuple(records)


class Heard(Report):
    """What an attempt's answer says of itself, and when: `sent_s` is when its request was handed to the engine."""

    __slots__ = ("_clock_s", "sent_s")

    def __init__(self, clock_s: Callable[[], float]) -> None:
        super().__init__()
        self._clock_s = clock_s
        self.sent_s: float | None = None

    def sent(self) -> None:
        self.sent_s = self._clock_s()

    def heard(self) -> None:
        """Something has come of an answer that is none yet."""
        self.heard_s = self._clock_s()

    def heard_on(self) -> None:
        """More has come of its stream."""
        self.arrived(self._clock_s())


class Account(Unheard):
    """Of a request that sinks are told of, from its plan to its end."""

    heard = True

    def __init__(
        self, observers: Observers, clock_s: Callable[[], float], request_id: str, plan: Plan, started_s: float
    ) -> None:
        super().__init__(observers)
        self._clock_s = clock_s
        self._request_id = request_id
        self.serial = new_serial()
        self._first = plan.targets[0]
        self._sequence = tuple(target.provider for target in plan.targets)
        self._started_s = started_s
        self._waits: list[tuple[float, float]] = []
        self._reports: dict[int, Heard] = {}
        self._begun = 0
        self._before: AttemptRecord | None = None
        """Whose failure was the last."""
        self._standings = NO_STANDINGS

    def planned(self, call: ChatCall, principal: str | None) -> None:
        self._observers.tell(
            lambda: RequestStarted(
                self._request_id, self.serial, call.model, call.stream, principal, self._sequence, call.parameters
            ),
            usual=True,
        )

    def looked(self, standings: Mapping[Target, Standing]) -> None:
        self._standings = standings

    def begun(self, run: Run, under_way: Sequence[Run], continues: bool) -> None:
        beside = next((one for one in reversed(under_way) if one is not run), None)
        self._begun += 1
        run.number = self._begun
        if run.step.wait_s > 0:
            # It is over now, and was not the gateway's own time: the provider has asked for it.
            now_s = self._clock_s()
            self._waits.append((now_s - run.step.wait_s, now_s))
        attempt = run.attempt
        if attempt.report is not None:
            self._reports[run.step.order] = attempt.report
        reason = self._why(run, beside, continues)
        target, provider = run.step.target, attempt.provider
        host, port = provider.place if target.endpoint is None else (target.endpoint.host, target.endpoint.port)
        self._observers.tell(
            lambda: AttemptStarted(
                request_id=self._request_id,
                serial=self.serial,
                number=run.number,
                provider=target.provider,
                kind=provider.kind,
                model=target.model,
                reason=reason,
                host=host,
                port=port,
                self_hosted=provider.self_hosted,
                named=target.endpoint is not None,
            ),
            usual=True,
        )
        if self._observers.traces:
            trace = self._observers.traceparent(self.serial, run.number)
            if trace is not None:
                attempt.forwarded = [*attempt.forwarded, (b"traceparent", trace.encode("ascii"))]

    def _why(self, run: Run, beside: Run | None, continues: bool) -> Reason:
        provider = run.step.target.provider
        if run.hedge and beside is not None:
            other, after_s = beside.step.target.provider, self._clock_s() - self._sent_s(beside)
            self._observers.tell(
                lambda: Hedged(self._request_id, self.serial, other, provider, max(0.0, after_s)), usual=True
            )
            return "hedge"
        if continues:
            return "continue"
        before, why = self._left_behind(run, beside)
        if before is None:
            return "retry" if self._begun > 1 else "first"
        self._observers.tell(lambda: FailedOver(self._request_id, self.serial, before, provider, why), usual=True)
        return "failover" if self._begun > 1 else "first"

    def _left_behind(self, run: Run, beside: Run | None) -> tuple[str | None, str]:
        """From whom the request moves on with this attempt, and why; None: from nobody."""
        target = run.step.target
        if beside is not None:
            return beside.step.target.provider, "overdue"
        if self._before is not None:
            same = (self._before.provider, self._before.model) == (target.provider, target.model)
            return (None, "") if same else (self._before.provider, self._before.outcome)
        if target == self._first:
            return None, ""
        return self._first.provider, _passed_over(self._standings.get(self._first, READY))

    def has_first_chunk(self, run: Run) -> None:
        report = run.attempt.report
        if report is not None and report.heard_s is not None and report.first_chunk_s is None:
            # Since it was sent: the attempt itself began with the question for its key.
            took_s = report.first_chunk_s = report.heard_s - self._sent_s(run)
            self._observers.tell(
                lambda: FirstChunk(self._request_id, self.serial, run.number, run.step.target.provider, took_s),
                usual=True,
            )

    def concluded(
        self, request_id: str, run: Run, record: AttemptRecord, result: Result, *, misconfigured: bool = False
    ) -> None:
        report = run.attempt.report
        run.over = True
        if isinstance(result, Answer):
            # Of an answer, what came after its last byte is ours; a failure was waited for until now.
            self._waited(run, until_s=report.heard_s if report is not None else None)
            if result.stream is not None:
                self.has_first_chunk(run)
            result.on_close = partial(self._closed, run, record)
        elif result is None:
            self._ended(run, record, "cancelled")
        else:
            self._before = record
            self._ended(run, record, "failed", misconfigured=misconfigured)

    def left(self, run: Run) -> None:
        if run.over:
            return
        run.over = True
        target, duration_ms = run.step.target, round((self._clock_s() - self._sent_s(run)) * 1000)
        line = AttemptRecord(target.provider, "cancelled", None, None, duration_ms, target.model)
        self._ended(run, line, "left")

    def _closed(self, run: Run, record: AttemptRecord, answer: Answer) -> None:
        end: End = "complete"
        if answer.broke is not None:
            end = "broken"
        elif answer.stream is not None and not answer.stream.complete:
            end = "left"
        self._tell(run, record, end, cause=answer.broke)

    def _ended(self, run: Run, record: AttemptRecord, end: End, *, misconfigured: bool = False) -> None:
        """Before it was anybody's answer. One that had not begun has no end either."""
        if run.number:
            self._waited(run)
            self._tell(run, record, end, misconfigured=misconfigured)

    def _waited(self, run: Run, *, until_s: float | None = None) -> None:
        report = run.attempt.report
        if report is not None and report.sent_s is not None:
            self._waits.append((report.sent_s, self._clock_s() if until_s is None else until_s))

    def _tell(
        self, run: Run, record: AttemptRecord, end: End, *, misconfigured: bool = False, cause: str | None = None
    ) -> None:
        report = run.attempt.report or Heard(self._clock_s)
        now_s = self._clock_s()
        if end == "complete" and report.heard_s is not None:
            now_s = report.heard_s
        self._observers.tell(
            lambda: AttemptEnded(
                request_id=self._request_id,
                serial=self.serial,
                number=run.number,
                attempt=record if report.usage is None else record.using(report.usage),
                end=end,
                misconfigured=misconfigured,
                cause=cause,
                duration_s=now_s - self._sent_s(run) if report.sent_s is not None else 0.0,
                first_chunk_s=report.first_chunk_s,
                response_id=report.id,
                response_model=report.model,
                finish_reasons=report.finish_reasons,
                usage=report.usage,
                gaps_s=tuple(report.gaps_s),
                sent=report.sent_s is not None,
                named=run.step.target.endpoint is not None,
                impatient=run.impatient,
            ),
            usual=not misconfigured,
        )

    def _sent_s(self, run: Run) -> float:
        report = run.attempt.report
        return self._clock_s() if report is None or report.sent_s is None else report.sent_s

    def decided(self) -> None:
        self.overhead_s = own_time_s(self._started_s, self._clock_s(), self._waits)

    def trail(self, orders: Sequence[int], records: Sequence[AttemptRecord]) -> tuple[AttemptRecord, ...]:
        lines = []
        for order, record in zip(orders, records, strict=True):
            report = self._reports.get(order)
            lines.append(record if report is None or report.usage is None else record.using(report.usage))
        return tuple(lines)


def _passed_over(first: Standing) -> str:
    return "circuit_open" if first.open or first.state == "probe" else "cooling_down"
