"""The sink that every gateway has: standard logging, quiet when all is well.

One INFO line for a request that was answered after a failover, a stream that was gone on with, and a circuit that
closed; a WARNING when every attempt failed, when a stream broke, when a circuit opened, and when our own key,
deployment or URL is at fault. The message is a stable name with its data behind it and in `extra`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

from .._values import AttemptRecord
from .events import AttemptEnded, CircuitChanged, EgressDenied, Event, RequestEnded, StreamBroken, StreamContinued

logger = logging.getLogger("ogw_asgi")

_PLAIN = re.compile(r"[\w.:/@+-]{1,128}", re.ASCII).fullmatch

_WELL = {"ok", "cancelled"}
"""A hedge that lost is no failover."""

_CHECK = {
    "auth": "its api_key",
    "key_unavailable": "its api_key callable",
    "model_not_found": "the model's name, or models=",
    "unservable": "the model's name, or models=",
    "not_found": "its URL",
    "misdirected": "its url(): the key belongs to `origins` alone",
    "redirect": "its URL",
    "quota": "its bill",
    "tls": "its certificate, or ssl_context=",
}
"""Where to look first, for the commonest of our own mistakes."""


class LogSink:
    """Logs to `ogw_asgi`. Never a key, a header's value, a prompt or a body."""

    def on_event(self, event: Event, /) -> None:
        match event:
            case StreamBroken():
                logger.warning(
                    "stream_broken request=%s provider=%s cause=%s delivered_bytes=%d",
                    event.request_id,
                    event.provider,
                    event.cause,
                    event.delivered_bytes,
                    extra={"ogw_event": "stream_broken", "ogw_provider": event.provider, "ogw_cause": event.cause},
                )
            case StreamContinued():
                logger.info(
                    "stream_continued request=%s provider=%s before=%s cause=%s mode=%s delivered_bytes=%d",
                    event.request_id,
                    event.provider,
                    event.before,
                    event.cause,
                    event.mode,
                    event.delivered_bytes,
                    extra={"ogw_event": "stream_continued", "ogw_provider": event.provider, "ogw_cause": event.cause},
                )
            case RequestEnded(outcome="failed"):
                logger.warning(
                    "all_failed request=%s status=%s attempts=[%s] duration_ms=%d",
                    event.request_id,
                    event.status,
                    trail(event.attempts),
                    event.duration_ms,
                    extra={"ogw_event": "all_failed", "ogw_status": event.status},
                )
            case RequestEnded(outcome="ok" | "broken") if _failed_over(event.attempts):
                logger.info(
                    "failed_over request=%s provider=%s attempts=[%s] duration_ms=%d",
                    event.request_id,
                    event.provider,
                    trail(event.attempts),
                    event.duration_ms,
                    extra={"ogw_event": "failed_over", "ogw_provider": event.provider},
                )
            case EgressDenied():
                logger.warning(
                    "egress_denied request=%s principal=%s endpoint=%s step=%s address=%s",
                    event.request_id,
                    event.principal,
                    event.endpoint,
                    event.step,
                    event.address,
                    extra={"ogw_event": "egress_denied", "ogw_step": event.step},
                )
            case CircuitChanged(state="open"):
                logger.warning(
                    "circuit_open provider=%s model=%s open_ms=%d",
                    event.provider,
                    shown(event.model),
                    event.open_ms,
                    extra={"ogw_event": "circuit_open", "ogw_provider": event.provider, "ogw_open_ms": event.open_ms},
                )
            case CircuitChanged(state="closed"):
                logger.info(
                    "circuit_closed provider=%s model=%s",
                    event.provider,
                    shown(event.model),
                    extra={"ogw_event": "circuit_closed", "ogw_provider": event.provider},
                )
            case AttemptEnded(misconfigured=True):
                logger.warning(
                    "misconfigured request=%s provider=%s outcome=%s status=%s code=%s check=%s",
                    event.request_id,
                    event.attempt.provider,
                    event.attempt.outcome,
                    event.attempt.status,
                    event.attempt.code,
                    _CHECK.get(event.attempt.outcome, "its settings"),
                    extra={"ogw_event": "misconfigured", "ogw_provider": event.attempt.provider},
                )
            case _:
                pass


def _failed_over(attempts: Sequence[AttemptRecord]) -> bool:
    """Somebody answered, and not the first who was asked. A stream that nobody could go on with has no answer."""
    outcomes = {one.outcome for one in attempts}
    return "ok" in outcomes and not outcomes <= _WELL


def shown(model: str | None) -> str:
    """A model's name as far as it can stand in a line of a log: callers choose it. `*`: all of the origin."""
    if model is None:
        return "*"
    return model if _PLAIN(model) else "?"


def trail(attempts: Sequence[AttemptRecord]) -> str:
    """`openai:timeout:5001ms azure:200:420ms`"""
    return " ".join(f"{one.provider}:{one.label}:{one.duration_ms}ms" for one in attempts)
