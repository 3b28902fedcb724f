"""The delivery loop on a manual clock: schedule, isolation, order, crashes of the store."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from alerts.channels import CollectingChannel, Outcome
from alerts.delivery import DeliveryLoop
from alerts.outbox import SCHEDULE, DeliveryAttempt, Endpoint, Obligation, apply
from pipelines.clock import ManualClock

NOW = 1_790_000_000.0
DOWN = Outcome(ok=False, reason="server_error", status=503)
GONE = Outcome(ok=False, reason="gone", status=410, gone=True)


class Store:
    """What the notify stage does: remembers obligations and applies attempts; can be out of order."""

    def __init__(self) -> None:
        self.attempts: list[DeliveryAttempt] = []
        self.owed: dict[str, Obligation] = {}
        self.refusals = 0

    async def record(self, attempt: DeliveryAttempt) -> None:
        if self.refusals:
            self.refusals -= 1
            raise OSError(28, "No space left on device")
        self.attempts.append(attempt)
        key = f"{attempt.event}|{attempt.channel}"
        self.owed[key] = apply(self.owed[key], attempt)

    async def read(self, event: str, channel: str) -> bytes | None:
        known = self.owed.get(f"{event}|{channel}")
        return None if known is None else known.body


class Stuck:
    """A channel whose receiver never answers."""

    kind = "stuck"

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting = 0
        self.release = asyncio.Event()

    async def send(self, event: str, body: bytes, timestamp: float) -> Outcome:
        self.waiting += 1
        await self.release.wait()
        return Outcome(ok=True, reason="ok")


class Broken:
    """A channel with a defect."""

    name, kind = "desk", "broken"

    async def send(self, event: str, body: bytes, timestamp: float) -> Outcome:
        raise KeyError("defect")


class Bench:
    """A loop on a manual clock, over a store."""

    def __init__(self, *channels: CollectingChannel | Stuck | Broken, spare: bool = False) -> None:
        self.clock, self.store = ManualClock(NOW), Store()
        self.loop = DeliveryLoop(
            {channel.name: channel for channel in channels},
            clock=self.clock,
            record=self.store.record,
            rng=random.Random(7),
            read=self.store.read if spare else None,
        )

    def owe(self, event: str, channel: str = "desk", *, order: str = "", kind: str = "alert.firing") -> Obligation:
        now = self.clock.time()
        one = Obligation(
            event=event, channel=channel, type=kind, order=order or event, body=event.encode(), created=now, due=now
        )
        self.store.owed[one.key] = one
        self.loop.offer(one)
        return one

    async def settle(self) -> None:
        for _ in range(60):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        await self.clock.advance(seconds)
        await self.settle()


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[Bench]:
    bench.loop.start([])
    try:
        yield bench
    finally:
        await bench.loop.stop(0.0)


def sent(channel: CollectingChannel) -> list[str]:
    return [event for event, _, _ in channel.received]


async def test_what_is_owed_is_sent_once_and_recorded() -> None:
    desk = CollectingChannel("desk")
    async with running(Bench(desk)) as bench:
        one = bench.owe("e1")
        bench.loop.offer(one)
        await bench.settle()
        bench.loop.offer(one)
        await bench.settle()
        assert list(desk.received) == [("e1", b"e1", NOW)]
        assert [(a.ok, a.number, a.reason) for a in bench.store.attempts] == [(True, 1, "ok")]
        assert bench.loop.pending() == {"desk": 0}


async def test_failures_are_tried_again_on_schedule_with_the_same_id_and_body() -> None:
    desk = CollectingChannel("desk", answers=[DOWN] * len(SCHEDULE))
    async with running(Bench(desk)) as bench:
        bench.owe("e1")
        await bench.settle()
        for number, base in enumerate(SCHEDULE, start=1):
            assert len(desk.received) == number
            last = desk.received[-1][2]
            await bench.advance(last + 0.79 * base - bench.clock.time())
            assert len(desk.received) == number, "tried again too early"
            await bench.advance(0.42 * base)
        assert {(event, body) for event, body, _ in desk.received} == {("e1", b"e1")}
        assert bench.store.owed["e1|desk"].state == "delivered"
        assert [a.number for a in bench.store.attempts] == list(range(1, 11))


async def test_an_endless_failure_is_given_up_after_ten_attempts() -> None:
    desk = CollectingChannel("desk", answers=[DOWN] * 50)
    async with running(Bench(desk)) as bench:
        bench.owe("e1")
        for base in (*SCHEDULE, SCHEDULE[-1]):
            await bench.advance(1.3 * base)
        assert len(desk.received) == len(SCHEDULE) + 1
        assert bench.store.owed["e1|desk"].state == "failed"
        assert bench.loop.pending() == {"desk": 0}


async def test_one_channels_trouble_delays_no_other() -> None:
    desk, stuck = CollectingChannel("desk"), Stuck("stuck")
    async with running(Bench(desk, stuck)) as bench:
        for number in range(20):
            bench.owe(f"e{number}", "stuck")
            bench.owe(f"e{number}", "desk")
        await bench.settle()
        assert len(desk.received) == 20
        assert stuck.waiting == 4, "attempts under way on one channel are bounded"


async def test_a_resolved_does_not_overtake_its_firing() -> None:
    desk = CollectingChannel("desk", answers=[DOWN])
    async with running(Bench(desk)) as bench:
        bench.owe("firing", order="a")
        await bench.settle()
        await bench.advance(1.0)
        desk.answer_next(DOWN)
        bench.owe("resolved", order="a", kind="alert.resolved")
        await bench.settle()
        assert sent(desk) == ["firing", "firing"], "the firing was not tried ahead of the resolved"
        assert bench.store.attempts[-1].extra
        await bench.advance(6.0)
        assert sent(desk) == ["firing", "firing", "firing", "resolved"]
        assert bench.store.owed["firing|desk"].unscheduled == 1


async def test_gone_lets_go_of_everything_that_the_channel_was_owed() -> None:
    desk = CollectingChannel("desk", answers=[DOWN, GONE])
    async with running(Bench(desk)) as bench:
        bench.owe("e1")
        await bench.settle()
        bench.owe("e2")
        await bench.settle()
        assert bench.loop.pending() == {"desk": 0}
        await bench.advance(1e6)
        assert sent(desk) == ["e1", "e2"]


async def test_a_channel_that_an_operator_enabled_again_is_served() -> None:
    desk = CollectingChannel("desk", answers=[GONE])
    async with running(Bench(desk)) as bench:
        bench.owe("e1")
        await bench.settle()
        bench.owe("e2")
        await bench.settle()
        assert sent(desk) == ["e1", "e2"]
        assert bench.store.owed["e2|desk"].state == "delivered"


async def test_a_store_that_refuses_an_attempt_is_asked_until_it_takes_it() -> None:
    desk = CollectingChannel("desk")
    async with running(Bench(desk)) as bench:
        bench.store.refusals = 5
        bench.owe("e1")
        await bench.settle()
        assert bench.store.attempts == []
        for _ in range(5):
            await bench.advance(31.0)
        assert [a.event for a in bench.store.attempts] == ["e1"]
        assert sent(desk) == ["e1"], "an attempt that was not recorded was made twice"


async def test_a_defect_of_a_channel_is_an_attempt_that_failed() -> None:
    async with running(Bench(Broken())) as bench:
        bench.owe("e1")
        await bench.settle()
        assert [(a.ok, a.reason) for a in bench.store.attempts] == [(False, "defect")]
        assert bench.loop.pending() == {"desk": 1}


async def test_what_was_owed_at_the_last_stop_is_sent_at_the_start() -> None:
    desk = CollectingChannel("desk")
    bench = Bench(desk)
    pending = [
        Obligation(
            event=f"e{n}", channel="desk", type="alert.firing", order="o", body=b"x", created=NOW - n, due=NOW - 9
        )
        for n in range(3)
    ]
    bench.store.owed = {one.key: one for one in pending}
    bench.loop.start(pending, [Endpoint(channel="desk", failing_since=NOW - 100)])
    await bench.settle()
    await bench.loop.stop(0.0)
    assert sent(desk) == ["e2", "e1", "e0"]


async def test_stopping_waits_for_attempts_under_way_and_begins_nothing_new() -> None:
    stuck = Stuck("desk")
    bench = Bench(stuck)
    bench.loop.start([])
    for number in range(6):
        bench.owe(f"e{number}")
    await bench.settle()
    stopping = asyncio.create_task(bench.loop.stop(5.0))
    await bench.settle()
    stuck.release.set()
    assert await stopping == 0
    assert (stuck.waiting, len(bench.store.attempts)) == (4, 4)


async def test_stopping_cuts_off_what_outlasts_the_budget() -> None:
    stuck = Stuck("desk")
    bench = Bench(stuck)
    bench.loop.start([])
    bench.owe("e1")
    await bench.settle()
    assert await bench.loop.stop(0.01) == 1
    assert bench.store.attempts == []
    assert bench.store.owed["e1|desk"].state == "pending", "what was cut off is still owed"


async def test_long_queues_read_their_bodies_when_they_are_sent() -> None:
    desk = CollectingChannel("desk")
    bench = Bench(desk, spare=True)
    for number in range(600):
        bench.owe(f"e{number:03}")
    withdrawn = bench.store.owed.pop("e599|desk")
    async with running(bench):
        for _ in range(30):
            await bench.settle()
    assert sorted(event for event, body, _ in desk.received if body == event.encode()) == [
        f"e{number:03}" for number in range(599)
    ]
    assert withdrawn.event not in sent(desk)


async def test_unknown_channels_and_settled_obligations_are_not_taken_on() -> None:
    bench = Bench(CollectingChannel("desk"))
    one = bench.owe("e1")
    assert not bench.loop.offer(msgspec.structs.replace(one, channel="other"))
    assert not bench.loop.offer(msgspec.structs.replace(one, state="delivered"))
    bench.loop.drop("desk")
    assert bench.loop.pending() == {"desk": 0}


@pytest.mark.parametrize("step", [-3_600.0, 3_600.0])
async def test_a_clock_that_is_set_moves_no_retry_by_more_than_its_step(step: float) -> None:
    desk = CollectingChannel("desk", answers=[DOWN])
    async with running(Bench(desk)) as bench:
        bench.owe("e1")
        await bench.settle()
        bench.clock.set(NOW + step)
        await bench.advance(6.1)
        assert sent(desk) == ["e1", "e1"]
