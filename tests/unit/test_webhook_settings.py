"""What a webhook's settings may be, and what a refusal says."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from alerts.channels import ChannelConfigError, WebhookChannel, build
from alerts.channels.webhook import WebhookOptions, check_url, decode_secret, sign

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


class NoHttp:
    """A client that must not be needed."""

    async def post(self, url: str, *, body: bytes, headers: Any, deadline: float) -> Any:
        raise AssertionError(f"dialled {url}")


@pytest.mark.parametrize(
    ("url", "service"),
    [
        ("https://hooks.slack.com/services/T0/B0/x", "Slack"),
        ("https://HOOKS.SLACK.COM./services/T0", "Slack"),
        ("https://hooks.slack-gov.com/services/T0/B0/x", "Slack"),
        ("https://a1.0d.environment.api.powerplatform.com:443/powerautomate/automations/direct/workflows/x", "Teams"),
        ("https://www.feishu.cn/flow/api/trigger-webhook/x", "飞书"),
        ("https://www.larksuite.com/flow/api/trigger-webhook/x", "Lark"),
        ("https://webexapis.com/v1/webhooks/incoming/x", "Webex"),
        ("https://inbots.zoom.us/incoming/hook/x", "Zoom"),
        ("https://discord.com/api/webhooks/1/x", "Discord"),
        ("https://acme.webhook.office.com/webhookb2/x", "Teams"),
        ("https://outlook.office.com/webhook/x", "Teams"),
        ("https://prod-1.westus.logic.azure.com/workflows/x", "Teams"),
        ("https://api.telegram.org/bot1:x/sendMessage", "Telegram"),
        ("https://open.feishu.cn/open-apis/bot/v2/hook/x", "飞书"),
        ("https://oapi.dingtalk.com/robot/send?access_token=x", "钉钉"),
        ("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=x", "企业微信"),
        ("https://chat.googleapis.com/v1/spaces/x/messages", "Google Chat"),
        ("https://events.pagerduty.com/v2/enqueue", "PagerDuty"),
    ],
)
def test_a_chat_services_address_is_refused_with_the_reason(url: str, service: str) -> None:
    with pytest.raises(ChannelConfigError, match=f"{service}.*no Standard Webhooks receiver") as refusal:
        check_url(url)
    assert "relay" in str(refusal.value), "the refusal names no way out"
    assert "access_token" not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://desk.example/hook", "https://"),
        ("desk.example/hook", "https://"),
        ("https:///hook", "https://"),
        ("https://desk.example/a b", "https://"),
        ("https://desk.example:99999/", "not an address"),
        ("https://[::1/", "not an address"),
        ("https://hooks.slack.com%2e/services/T0/B0/x", "has a % in it"),
        ("https://user:hunter2@desk.example/", "user name or password"),
        ("https://@desk.example/", "user name or password"),
    ],
)
def test_what_is_no_receivers_address_is_refused(url: str, said: str) -> None:
    with pytest.raises(ChannelConfigError, match=said) as refusal:
        check_url(url)
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    "url", ["https://desk.example/hook", "http://127.0.0.1:9/", "https://notslack.com/hooks.slack.com"]
)
def test_other_addresses_are_left_to_the_guard_at_the_dial(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize("size", [24, 25, 32, 64])
def test_secrets_of_24_to_64_bytes_are_taken_padded_or_not(size: int) -> None:
    key = bytes(range(size))
    text = base64.b64encode(key).decode()
    for form in (f"whsec_{text}", text, f" whsec_{text.rstrip('=')}\n"):
        assert decode_secret(form) == key


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_" + "A" * 100, "whsec_!!!", "hunter2hunter2"]
)
def test_other_secrets_are_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(ChannelConfigError, match="openssl rand -base64 32") as refusal:
        decode_secret(secret)
    assert len(secret) < 10 or secret not in str(refusal.value)


def test_the_signature_is_that_of_the_standards_example() -> None:
    key = decode_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = sign([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_registry_builds_a_channel_from_its_settings() -> None:
    channel = build("webhook", "desk", {"url": "https://desk.example/", "secrets": [SECRET]}, NoHttp())
    assert isinstance(channel, WebhookChannel)
    assert (channel.name, channel.kind) == ("desk", "webhook")
    assert build("log", "tape", {}, NoHttp()).kind == "log"


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("webhok", {}, "'desk'.*'webhok' is unknown.*webhook, alertmanager, log.*did you mean 'webhook'"),
        ("webhook", {"url": "https://desk.example/"}, "'desk'.*secrets"),
        ("webhook", {"url": "https://desk.example/", "secrets": []}, "'desk'.*secret: missing"),
        ("webhook", {"url": "https://desk.example/", "secrets": [SECRET], "timeout": 60}, "'desk'.*timeout"),
        ("webhook", {"url": "https://desk.example/", "secrets": [SECRET], "retries": 3}, "'desk'.*retries"),
        ("webhook", {"url": 7, "secrets": [SECRET]}, "'desk'.*url"),
        ("log", {"url": "https://desk.example/"}, "'desk'.*url"),
    ],
)
def test_wrong_settings_are_refused_by_channel_and_field(kind: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(ChannelConfigError, match=said):
        build(kind, "desk", options, NoHttp())


def test_a_secret_shows_nowhere() -> None:
    options = WebhookOptions(url="https://desk.example/private-path", secrets=(SECRET,))
    channel = build("webhook", "desk", {"url": options.url, "secrets": [SECRET]}, NoHttp())
    for shown in (repr(options), str(options), repr(channel), f"{channel!r}"):
        assert SECRET[6:] not in shown
        assert "private-path" not in shown
