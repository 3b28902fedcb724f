"""Where alerts go: one file a kind, one protocol, one registry."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

import msgspec

from alerts.channels.alertmanager import AlertmanagerChannel, AlertmanagerOptions
from alerts.channels.alertmanager import check_options as check_alertmanager
from alerts.channels.base import Channel, ChannelConfigError, ChannelError, HttpClient, Outcome
from alerts.channels.collecting import CollectingChannel
from alerts.channels.log import LogChannel, LogOptions
from alerts.channels.webhook import WebhookChannel, WebhookOptions
from alerts.channels.webhook import check_options as check_webhook

__all__ = [
    "OPTIONS",
    "AlertmanagerChannel",
    "Channel",
    "ChannelConfigError",
    "ChannelError",
    "CollectingChannel",
    "HttpClient",
    "LogChannel",
    "Outcome",
    "WebhookChannel",
    "build",
    "check",
]

OPTIONS: dict[str, type[msgspec.Struct]] = {
    "webhook": WebhookOptions,
    "alertmanager": AlertmanagerOptions,
    "log": LogOptions,
}
"""Kind to the type of its settings; the reference of channels is generated from it."""


def build(kind: str, name: str, options: Mapping[str, object], http: HttpClient) -> Channel:
    """The channel ``name`` of a kind, from its settings; raises ChannelConfigError that names channel and field."""
    if kind not in OPTIONS:
        near = get_close_matches(kind, OPTIONS, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ChannelConfigError(f"channel {name!r}: kind {kind!r} is unknown; allowed: {', '.join(OPTIONS)}{hint}")
    try:
        settings = check(kind, options)
    except ChannelConfigError as error:
        raise ChannelConfigError(f"channel {name!r}: {error}") from None
    if isinstance(settings, WebhookOptions):
        return WebhookChannel(name, settings.url, settings.secrets, http, timeout=settings.timeout)
    if isinstance(settings, AlertmanagerOptions):
        return AlertmanagerChannel(name, settings, http)
    return LogChannel(name)


def check(kind: str, options: Mapping[str, object]) -> msgspec.Struct:
    """The settings of a channel of a known kind; raises ChannelConfigError that names the field and what to do."""
    try:
        settings = msgspec.convert(dict(options), OPTIONS[kind])
    except msgspec.ValidationError as error:
        raise ChannelConfigError(str(error)) from None
    if isinstance(settings, WebhookOptions):
        check_webhook(settings)
    elif isinstance(settings, AlertmanagerOptions):
        check_alertmanager(settings)
    return settings
