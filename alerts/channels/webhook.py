"""Webhooks as Standard Webhooks 1.0.0 has them: signed, constant ids, several secrets while one is rotated."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Annotated

import msgspec

from alerts.channels.answers import carries_sign_in, check_address, judge, redacted
from alerts.channels.base import ChannelConfigError, HttpClient, Outcome, TransportError

TIMEOUT = 20.0
"""Seconds for an answer; the standard asks for 15 to 30."""

RECIPE = 'make one with: echo "whsec_$(openssl rand -base64 32)"'

CHAT_SERVICES = {
    "hooks.slack.com": "Slack",
    "hooks.slack-gov.com": "Slack",
    "discord.com": "Discord",
    "discordapp.com": "Discord",
    "webhook.office.com": "Microsoft Teams",
    "logic.azure.com": "Microsoft Teams",
    "environment.api.powerplatform.com": "Microsoft Teams",
    "outlook.office.com": "Microsoft Teams",
    "api.telegram.org": "Telegram",
    "feishu.cn": "飞书",
    "larksuite.com": "Lark",
    "oapi.dingtalk.com": "钉钉",
    "qyapi.weixin.qq.com": "企业微信",
    "chat.googleapis.com": "Google Chat",
    "hooks.mattermost.com": "Mattermost",
    "webexapis.com": "Webex",
    "inbots.zoom.us": "Zoom",
    "events.pagerduty.com": "PagerDuty",
}


class WebhookOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a webhook."""

    url: str
    """Address that takes the POST; https, or http where the network settings allow the address dialled."""
    secrets: tuple[str, ...]
    """``whsec_`` and base64 of 24 to 64 bytes; the newest first, all sign while one is rotated out."""
    timeout: Annotated[float, msgspec.Meta(ge=1, le=30)] = TIMEOUT
    """Seconds for the whole answer."""

    def __repr__(self) -> str:
        return f"WebhookOptions(url={redacted(self.url)!r}, secrets=<secret>, timeout={self.timeout})"


def check_url(url: str) -> None:
    """Refuses what can't be a Standard Webhooks receiver; the message says why and what to do."""
    host = check_address(url, "https://desk.example/hook")
    if carries_sign_in(url):
        raise ChannelConfigError(
            "url: a user name or password in the address is refused, since addresses end up in logs; remove it: "
            "the receiver knows tapewatch by its signature"
        )
    for service, name in CHAT_SERVICES.items():
        if host == service or host.endswith("." + service):
            raise ChannelConfigError(
                f"url: {host} belongs to {name}, which is no Standard Webhooks receiver: it neither checks signatures "
                "nor reads this body; put a small relay of yours between the two"
            )


def check_options(options: WebhookOptions) -> None:
    """Refuses what can't work; the message names the field and what to do."""
    check_url(options.url)
    if not options.secrets:
        raise ChannelConfigError(f"secret: missing; set secret, secret_file or secrets; {RECIPE}")
    for secret in options.secrets:
        decode_secret(secret)


def decode_secret(secret: str) -> bytes:
    """The key bytes of a ``whsec_`` secret; 24 to 64 of them. Padding may be missing, as receivers allow."""
    text = secret.strip().removeprefix("whsec_").rstrip("=")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ChannelConfigError(f"secret: not 'whsec_' followed by base64; {RECIPE}") from None
    if not 24 <= len(key) <= 64:
        raise ChannelConfigError(f"secret: holds {len(key)} bytes, allowed are 24 to 64; {RECIPE}")
    return key


def sign(keys: Sequence[bytes], event: str, timestamp: int, body: bytes) -> str:
    """The ``webhook-signature`` header: one v1 signature a key, the newest first."""
    message = f"{event}.{timestamp}.".encode() + body
    marks = (base64.b64encode(hmac.new(key, message, hashlib.sha256).digest()).decode() for key in keys)
    return " ".join(f"v1,{mark}" for mark in marks)


class WebhookChannel:
    """Posts bodies to one address. ``secrets``: the newest first; all of them sign while one is rotated out."""

    kind = "webhook"

    def __init__(
        self, name: str, url: str, secrets: Sequence[str], http: HttpClient, *, timeout: float = TIMEOUT
    ) -> None:
        check_options(WebhookOptions(url=url, secrets=tuple(secrets), timeout=timeout))
        self.name = name
        self._url = url
        self._keys = [decode_secret(secret) for secret in secrets]
        self._http = http
        self._timeout = timeout

    async def send(self, event: str, body: bytes, timestamp: float) -> Outcome:
        moment = int(timestamp)
        headers = {
            "content-type": "application/json",
            "webhook-id": event,
            "webhook-timestamp": str(moment),
            "webhook-signature": sign(self._keys, event, moment, body),
        }
        try:
            response = await self._http.post(self._url, body=body, headers=headers, deadline=self._timeout)
        except TransportError as error:
            return Outcome(ok=False, reason=error.reason, detail=str(error))
        return judge(response, timestamp)
