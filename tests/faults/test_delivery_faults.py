"""Delivery under fault: a kill between sending and recording, and receivers that break every rule.

Each test prints what was injected and what was observed, and fails if the fault did not happen.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from standardwebhooks import Webhook

from alerts.channels import WebhookChannel
from alerts.delivery import DeliveryLoop
from alerts.outbox import DeliveryAttempt, Endpoint, Obligation, apply, judge
from pipelines.clock import ManualClock, SystemClock
from tests.contract.channel_bench import SECRETS, Fault, Receiver, answering, client, receiver


class FileOutbox:
    """An outbox that survives its process: one obligation in one file, replaced whole."""

    def __init__(self, path: Path, *, recording: bool) -> None:
        self.path = path
        self.recording = recording
        self.settled = asyncio.Event()

    def load(self) -> Obligation:
        return msgspec.json.decode(self.path.read_bytes(), type=Obligation)

    def save(self, obligation: Obligation) -> None:
        new = self.path.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(obligation))
        new.replace(self.path)

    async def record(self, attempt: DeliveryAttempt) -> None:
        if not self.recording:
            print("answered", attempt.status, flush=True)
            await asyncio.Event().wait()
        after = apply(self.load(), attempt)
        self.save(after)
        if after.state != "pending":
            self.settled.set()


async def deliver(path: Path, url: str, *, recording: bool) -> None:
    """A notifier's life until its one obligation is settled."""
    outbox = FileOutbox(path, recording=recording)
    async with client() as http:
        loop = DeliveryLoop(
            {"desk": WebhookChannel("desk", url, SECRETS[:1], http)},
            clock=SystemClock(),
            record=outbox.record,
            rng=random.Random(1),
        )
        loop.start([outbox.load()])
        await outbox.settled.wait()
        await loop.stop(1.0)


async def test_killed_after_the_2xx_and_before_recording_it_the_same_body_goes_out_again(
    tmp_path: Path, counted: Callable[..., None]
) -> None:
    path = tmp_path / "owed.json"
    body = b'{"type":"alert.firing","timestamp":"2026-11-24T10:00:00.000Z","data":{}}'
    owed = Obligation(
        event="event-1", channel="desk", type="alert.firing", order="o", body=body, created=time.time(), due=time.time()
    )
    FileOutbox(path, recording=True).save(owed)
    async with receiver() as far:
        child = await asyncio.create_subprocess_exec(
            sys.executable, __file__, str(path), far.url, stdout=asyncio.subprocess.PIPE
        )
        assert child.stdout is not None
        try:
            async with asyncio.timeout(20.0):
                while b"answered 204" not in await child.stdout.readline():
                    assert child.returncode is None
        finally:
            os.kill(child.pid, signal.SIGKILL)
            killed = await child.wait()
        assert killed == -signal.SIGKILL
        assert FileOutbox(path, recording=True).load().state == "pending", "it was recorded: the kill came too late"
        assert len(far.requests) == 1

        await asyncio.wait_for(deliver(path, far.url, recording=True), 10.0)
        assert FileOutbox(path, recording=True).load().state == "delivered"
        counted("killed after a 2xx", kills=1, requests_of_one_id=len(far.requests))
        first, second = far.requests
        assert (
            (first.body, first.headers["webhook-id"])
            == (second.body, second.headers["webhook-id"])
            == (body, "event-1")
        )
        for request in far.requests:
            assert Webhook(SECRETS[0]).verify(request.body, dict(request.headers)) == json.loads(body)


class Desk:
    """Several endpoints on one loop with a manual clock; obligations and endpoints as the notify stage keeps them."""

    def __init__(self, channels: dict[str, WebhookChannel]) -> None:
        self.clock = ManualClock(time.time())
        self.owed: dict[str, Obligation] = {}
        self.endpoints = {name: Endpoint(channel=name) for name in channels}
        self.attempts: list[DeliveryAttempt] = []
        self.loop = DeliveryLoop(channels, clock=self.clock, record=self.record, rng=random.Random(3))

    async def record(self, attempt: DeliveryAttempt) -> None:
        self.attempts.append(attempt)
        key = f"{attempt.event}|{attempt.channel}"
        self.owed[key] = apply(self.owed[key], attempt)
        self.endpoints[attempt.channel] = judge(self.endpoints[attempt.channel], attempt)

    def owe(self, event: str, channel: str) -> None:
        now = self.clock.time()
        one = Obligation(
            event=event, channel=channel, type="alert.firing", order=event, body=b"{}", created=now, due=now
        )
        self.owed[one.key] = one
        self.loop.offer(one)

    async def reach(self, number: int, channel: str, within: float = 10.0) -> None:
        """Until ``channel`` has made ``number`` attempts."""
        deadline = time.monotonic() + within
        while len(self.of(channel)) < number:
            assert time.monotonic() < deadline, f"{channel}: {len(self.of(channel))} of {number} attempts"
            await asyncio.sleep(0.005)

    def of(self, channel: str) -> list[DeliveryAttempt]:
        return [attempt for attempt in self.attempts if attempt.channel == channel]


FAULTS = [
    answering(500),
    answering(429, "Retry-After: 999999999"),
    answering(301, "Location: /elsewhere"),
    Fault(reset=True),
    Fault(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123456789", drip=0.2),
    answering(403),
]


async def test_receivers_that_misbehave_are_retried_on_schedule_and_delay_no_other(
    counted: Callable[..., None],
) -> None:
    async with receiver() as bad, receiver() as good, receiver() as gone, client() as http:
        bad.faults, gone.faults = list(FAULTS), [answering(410)]

        def hook(name: str, far: Receiver) -> WebhookChannel:
            return WebhookChannel(name, far.url, SECRETS[:1], http, timeout=1.0)

        desk = Desk({"bad": hook("bad", bad), "good": hook("good", good), "gone": hook("gone", gone)})
        desk.loop.start([])
        try:
            for number in range(5):
                desk.owe(f"e{number}", "good")
            desk.owe("e0", "bad")
            desk.owe("e0", "gone")
            await desk.reach(5, "good")
            await desk.reach(1, "gone")
            for number in range(1, len(FAULTS) + 2):
                await desk.reach(number, "bad")
                due = desk.owed["e0|bad"].due
                await desk.clock.advance(max(0.0, due - desk.clock.time()) + 0.01)
        finally:
            await desk.loop.stop(1.0)
    tried = desk.of("bad")
    counted(
        "receivers that misbehave", injected=bad.injected + gone.injected, tries=len(tried), beside=len(good.requests)
    )
    assert (bad.injected, gone.injected) == (len(FAULTS), 1)
    assert [a.reason for a in tried] == [
        "server_error", "throttled", "redirect", "connect", "timeout", "rejected", "ok",
    ]  # fmt: skip
    assert {request.path for request in bad.requests} == {"/hook"}, "a redirect was followed"
    assert len({(request.body, request.headers["webhook-id"]) for request in bad.requests}) == 1
    assert 300.0 <= tried[2].at - tried[1].at <= 601.0, "a huge Retry-After was not held within [base, 2 base]"
    assert desk.owed["e0|bad"].state == "delivered"
    assert [desk.owed[f"e{n}|good"].state for n in range(5)] == ["delivered"] * 5
    assert [a.number for a in desk.of("good")] == [1] * 5
    assert desk.endpoints["gone"].disabled
    assert not desk.endpoints["bad"].disabled


async def test_a_hung_receiver_delays_no_other_endpoint(counted: Callable[..., None]) -> None:
    async with receiver() as hung, receiver() as good, client() as http:
        hung.then = Fault(silent=True)
        channels = {
            name: WebhookChannel(name, far.url, SECRETS[:1], http, timeout=5.0)
            for name, far in (("hung", hung), ("good", good))
        }
        desk = Desk(channels)
        desk.loop.start([])
        for number in range(30):
            desk.owe(f"e{number}", "hung")
            desk.owe(f"e{number}", "good")
        await desk.reach(30, "good", within=4.0)
        held = len(hung.requests)
        await desk.loop.stop(0.0)
    counted("hung receiver", hung_requests=held, delivered_beside=len(good.requests))
    assert 1 <= held <= 4
    assert desk.of("hung") == []


if __name__ == "__main__":
    asyncio.run(deliver(Path(sys.argv[1]), sys.argv[2], recording=False))
