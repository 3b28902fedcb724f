"""A channel that writes events to the daemon's log: for a first day without a receiver, and for operational events."""

from __future__ import annotations

import msgspec
import structlog

from alerts.channels.base import Outcome

log = structlog.get_logger(__name__)


class LogOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Needs nothing."""


class _Data(msgspec.Struct):
    summary: str
    severity: str


class _Body(msgspec.Struct):
    type: str
    data: _Data


class LogChannel:
    """One line an event, with its summary."""

    kind = "log"

    def __init__(self, name: str) -> None:
        self.name = name

    async def send(self, event: str, body: bytes, timestamp: float) -> Outcome:
        del timestamp
        told = msgspec.json.decode(body, type=_Body)
        log.warning(
            "alert",
            action="alert",
            channel=self.name,
            event_id=event,
            type=told.type,
            severity=told.data.severity,
            summary=told.data.summary,
        )
        return Outcome(ok=True, reason="ok")
