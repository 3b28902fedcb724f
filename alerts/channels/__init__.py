"""Where alerts go: one file a kind, one protocol, one registry."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

import msgspec

from alerts.channels.base import Channel, ChannelConfigError, ChannelError, HttpClient, Outcome
from alerts.channels.collecting import CollectingChannel
from alerts.channels.log import LogChannel, LogOptions
from alerts.channels.webhook import WebhookChannel, WebhookOptions

__all__ = [
    "OPTIONS",
    "Channel",
    "ChannelConfigError",
    "ChannelError",
    "CollectingChannel",
    "HttpClient",
    "LogChannel",
    "Outcome",
    "WebhookChannel",
    "build",
]

OPTIONS: dict[str, type[msgspec.Struct]] = {"webhook": WebhookOptions, "log": LogOptions}
"""Kind to the type of its settings; the reference of channels is generated from it."""


def build(kind: str, name: str, options: Mapping[str, object], http: HttpClient) -> Channel:
    """The channel ``name`` of a kind, from its settings; raises ChannelConfigError that names channel and field."""
    if kind not in OPTIONS:
        near = get_close_matches(kind, OPTIONS, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ChannelConfigError(f"channel {name!r}: kind {kind!r} is unknown; allowed: {', '.join(OPTIONS)}{hint}")
    try:
        settings = msgspec.convert(dict(options), OPTIONS[kind])
        if isinstance(settings, WebhookOptions):
            return WebhookChannel(name, settings.url, settings.secrets, http, timeout=settings.timeout)
        return LogChannel(name)
    except (msgspec.ValidationError, ChannelConfigError) as error:
        raise ChannelConfigError(f"channel {name!r}: {error}") from None
