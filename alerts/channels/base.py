"""What a channel is, and what it is given.

ChannelError
+-- ChannelConfigError      settings that can't work; raised when the channel is built
TransportError              a request without a usable answer; raised by the HTTP client, never by a channel
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
    """A request that got no usable answer; ``reason`` says why."""

    reason: Reason = "connect"


class HttpClient(Protocol):
    """The guarded client that channels are given.

    It checks the address that is dialled, follows no redirects and bounds the answer. Where there is no usable answer
    within ``deadline`` seconds it raises a TransportError.
    """

    async def post(self, url: str, *, body: bytes, headers: Mapping[str, str], deadline: float) -> Response: ...


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one attempt. ``retry_after`` in seconds."""

    ok: bool
    reason: Reason
    status: int | None = None
    retry_after: float | None = None
    gone: bool = False
    detail: str = ""
    """Why there was no answer, for people."""


class Channel(Protocol):
    """Where alerts go. ``send`` answers with an outcome and raises nothing but what is a defect."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...

    async def send(self, event: str, body: bytes, timestamp: float) -> Outcome:
        """Sends ``body`` under the id ``event``; ``timestamp`` is the attempt's, in seconds since 1970."""
        ...
