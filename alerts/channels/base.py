"""What a channel is, and what it is given.

ChannelError
+-- ChannelConfigError      settings that can't work; raised when the channel is built
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from alerts.outbox import Reason


class ChannelError(Exception):
    """A channel's trouble."""


class ChannelConfigError(ChannelError):
    """The settings of a channel can't work."""


class Response(Protocol):
    """What a receiver answered."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...


class TransportError(Exception):
    """A request that got no answer; ``reason`` is one of a closed set."""

    reason: Reason = "connect"


class HttpClient(Protocol):
    """The guarded client. Never follows redirects; raises TransportError's kin with a ``reason``."""

    async def post(
        self, url: str, *, body: bytes, headers: Mapping[str, str], deadline: float
    ) -> Response: ...


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one attempt. ``retry_after`` in seconds."""

    ok: bool
    reason: Reason
    status: int | None = None
    retry_after: float | None = None
    gone: bool = False


class Channel(Protocol):
    """Where alerts go. ``send`` answers with an outcome and raises nothing but what is a defect."""

    name: str
    kind: str

    async def send(self, event: str, body: bytes, timestamp: float) -> Outcome:
        """Sends ``body`` under the id ``event``; ``timestamp`` is the attempt's, in seconds since 1970."""
        ...


class CollectingChannel:
    """A channel that keeps what it is sent; for embedding and tests."""

    kind = "collect"

    def __init__(self, name: str) -> None:
        self.name = name
        self.received: list[tuple[str, bytes]] = []
        self.answers: list[Outcome] = []
        """Outcomes to give first, in this order; then every attempt is delivered."""

    async def send(self, event: str, body: bytes, timestamp: float) -> Outcome:
        del timestamp
        if self.answers:
            outcome = self.answers.pop(0)
            if not outcome.ok:
                return outcome
        self.received.append((event, body))
        return Outcome(ok=True, reason="ok", status=200)
