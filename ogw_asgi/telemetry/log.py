"""The sink that every gateway has: standard logging, quiet when all is well.

One INFO line for a request that was answered after a failover; a WARNING when every attempt failed, when a stream
broke, and when our own key, deployment or URL is at fault. The message is a stable name with its data behind it and
in `extra`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from .._values import AttemptRecord
from .events import AttemptEnded, Event, RequestEnded, StreamBroken

logger = logging.getLogger("ogw_asgi")

_CHECK = {
    "auth": "its api_key",
    "key_unavailable": "its api_key callable",
    "model_not_found": "the model's name, or models=",
    "unservable": "the model's name, or models=",
    "not_found": "its URL",
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
            case RequestEnded(outcome="failed"):
                logger.warning(
                    "all_failed request=%s status=%s attempts=[%s] duration_ms=%d",
                    event.request_id,
                    event.status,
                    trail(event.attempts),
                    event.duration_ms,
                    extra={"ogw_event": "all_failed", "ogw_status": event.status},
                )
            case RequestEnded(outcome="ok" | "broken") if len(event.attempts) > 1:
                logger.info(
                    "failed_over request=%s provider=%s attempts=[%s] duration_ms=%d",
                    event.request_id,
                    event.provider,
                    trail(event.attempts),
                    event.duration_ms,
                    extra={"ogw_event": "failed_over", "ogw_provider": event.provider},
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


def trail(attempts: Sequence[AttemptRecord]) -> str:
    """`openai:timeout:5001ms azure:200:420ms`"""
    return " ".join(f"{one.provider}:{one.label}:{one.duration_ms}ms" for one in attempts)
