"""The webhook against real receivers that misbehave, signed as Standard Webhooks asks."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from alerts.channels import ChannelConfigError, WebhookChannel
from alerts.evidence import ping
from tests.contract.channel_bench import SECRETS, Fault, Receiver, answering, client, receiver

BODY = ping("desk", time.time()).body


@pytest.fixture
async def far() -> AsyncIterator[Receiver]:
    async with receiver() as one:
        yield one


@pytest.fixture
async def desk(far: Receiver) -> AsyncIterator[WebhookChannel]:
    async with client() as http:
        yield WebhookChannel("desk", far.url, SECRETS[:1], http, timeout=1.0)


def verify(secret: str, far: Receiver, **changed: str) -> object:
    request = far.requests[-1]
    return Webhook(secret).verify(request.body, dict(request.headers) | changed)


async def test_the_official_package_verifies_what_is_sent(desk: WebhookChannel, far: Receiver) -> None:
    assert (await desk.send("event-1", BODY, time.time())).ok
    assert verify(SECRETS[0], far) == json.loads(BODY)
    sent = far.requests[0]
    assert (sent.method, sent.path, sent.headers["content-type"]) == ("POST", "/hook", "application/json")
    assert sent.headers["webhook-id"] == "event-1"


async def test_the_official_package_refuses_another_body_id_time_or_secret(
    desk: WebhookChannel, far: Receiver, counted: Callable[..., None]
) -> None:
    await desk.send("event-1", BODY, time.time())
    assert verify(SECRETS[0], far) == json.loads(BODY)
    for changed in ({"webhook-id": "event-2"}, {"webhook-timestamp": str(int(time.time()) - 60)}):
        with pytest.raises(WebhookVerificationError):
            verify(SECRETS[0], far, **changed)
    with pytest.raises(WebhookVerificationError):
        verify(SECRETS[1], far)
    far.requests[-1].body = BODY.replace(b"desk", b"task")
    with pytest.raises(WebhookVerificationError):
        verify(SECRETS[0], far)
    counted("signatures", sent=len(far.requests), verified=1, forged=4, refused=4)


async def test_while_a_secret_is_rotated_receivers_with_either_verify(far: Receiver) -> None:
    async with client() as http:
        desk = WebhookChannel("desk", far.url, SECRETS[:2], http)
        assert (await desk.send("event-1", BODY, time.time())).ok
    assert verify(SECRETS[0], far) == verify(SECRETS[1], far) == json.loads(BODY)
    assert len(far.requests[-1].headers["webhook-signature"].split(" ")) == 2


async def test_a_retry_is_signed_anew_for_its_own_time(desk: WebhookChannel, far: Receiver) -> None:
    now = time.time()
    for at in (now - 86_400, now):
        await desk.send("event-1", BODY, at)
    first, second = far.requests
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
    assert verify(SECRETS[0], far) == json.loads(BODY)


@pytest.mark.parametrize(
    ("fault", "reason", "status"),
    [
        (answering(500), "server_error", 500),
        (answering(503, "Retry-After: 7"), "server_error", 503),
        (answering(400), "rejected", 400),
        (answering(404), "rejected", 404),
        (answering(301, "Location: /elsewhere"), "redirect", 301),
        (answering(302, "Location: /elsewhere"), "redirect", 302),
        (answering(307, "Location: /elsewhere"), "redirect", 307),
        (answering(308, "Location: http://127.0.0.1:1/"), "redirect", 308),
        (answering(304), "redirect", 304),
        (Fault(silent=True), "timeout", None),
        (Fault(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + b"x" * 500, drip=0.05), "timeout", None),
        (Fault(reset=True), "connect", None),
        (Fault(b"HTTP/1.1 2", reset=True), "connect", None),
    ],
)
async def test_what_is_no_2xx_is_tried_again_and_never_followed(
    desk: WebhookChannel, far: Receiver, fault: Fault, reason: str, status: int | None, counted: Callable[..., None]
) -> None:
    far.faults.append(fault)
    started = time.monotonic()
    outcome = await desk.send("event-1", BODY, time.time())
    took = time.monotonic() - started
    assert took < 3.0, "the time-out did not bound the attempt"
    assert (outcome.ok, outcome.gone) == (False, False)
    assert (outcome.reason, outcome.status) == (reason, status)
    assert (far.injected, len(far.requests)) == (1, 1), "the fault did not happen, or was followed"
    fresh = await desk.send("event-1", BODY, time.time())
    counted(f"receiver: {reason} {status or ''}", injected=far.injected, seconds=took, delivered_after_it=int(fresh.ok))
    assert len(far.requests) == 2


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_every_2xx_is_delivered(desk: WebhookChannel, far: Receiver, status: int) -> None:
    far.faults.append(answering(status))
    outcome = await desk.send("event-1", BODY, time.time())
    assert (outcome.ok, outcome.status, outcome.reason) == (True, status, "ok")


async def test_410_says_that_the_receiver_is_gone(
    desk: WebhookChannel, far: Receiver, counted: Callable[..., None]
) -> None:
    far.faults.append(answering(410))
    outcome = await desk.send("event-1", BODY, time.time())
    assert (outcome.ok, outcome.gone, outcome.reason) == (False, True, "gone")
    counted("410", injected=far.injected, gone=int(outcome.gone))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("999999999999999999", 999_999_999.0),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("Wed, 21 Oct 2099 07:28:00 GMT", 4_096_250_880.0 - 1_790_000_000.0),
        ("Wed, 21 Oct 1999 07:28:00 GMT", 0.0),
        ("Wed, 99 Oct 9999 99:99:99 GMT", None),
    ],
)
async def test_retry_after_is_read_in_seconds_and_dates(
    desk: WebhookChannel, far: Receiver, value: str, seconds: float | None, counted: Callable[..., None]
) -> None:
    far.faults.append(answering(429, f"Retry-After: {value}"))
    outcome = await desk.send("event-1", BODY, 1_790_000_000.0)
    assert (outcome.reason, outcome.retry_after) == ("throttled", seconds)
    counted(f"429 with Retry-After {value!r}, read as {seconds}", injected=far.injected, throttled=1)


async def test_an_answer_is_read_no_further_than_its_status_needs(
    desk: WebhookChannel, far: Receiver, counted: Callable[..., None]
) -> None:
    far.faults.append(Fault(b"HTTP/1.1 200 OK\r\nContent-Length: 900000000\r\n\r\n", flood=900_000_000))
    outcome = await desk.send("event-1", BODY, time.time())
    assert (outcome.ok, outcome.reason, far.injected) == (True, "ok", 1)
    assert 0 < far.flooded < 32_000_000, f"{far.flooded} bytes taken of an answer that only matters by its status"
    counted("flood", injected=far.injected, bytes_offered=900_000_000, bytes_taken=far.flooded)


async def test_a_private_address_is_refused_unless_it_is_allowed(far: Receiver, counted: Callable[..., None]) -> None:
    async with client("10.0.0.0/8") as http:
        outcome = await WebhookChannel("desk", far.url, SECRETS[:1], http).send("event-1", BODY, time.time())
    assert (outcome.ok, outcome.reason, far.requests) == (False, "blocked", [])
    counted("private address", injected=1, blocked=1)


async def test_nobody_listening_is_trouble_in_connecting(counted: Callable[..., None]) -> None:
    async with receiver() as gone:
        url = gone.url
    async with client() as http:
        outcome = await WebhookChannel("desk", url, SECRETS[:1], http).send("event-1", BODY, time.time())
    assert (outcome.ok, outcome.reason) == (False, "connect")
    counted("nobody listening", injected=1, told=1)


async def test_https_is_spoken_and_an_unknown_certificate_refused(far: Receiver) -> None:
    async with client() as http:
        desk = WebhookChannel("desk", far.url.replace("http:", "https:"), SECRETS[:1], http, timeout=2.0)
        outcome = await desk.send("event-1", BODY, time.time())
    assert not outcome.ok
    assert far.requests == []


def test_a_channel_without_secret_is_refused() -> None:
    with pytest.raises(ChannelConfigError, match="secret"):
        WebhookChannel("desk", "https://desk.example/", [], object())  # never dialled
