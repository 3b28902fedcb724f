"""Receivers that hold alerts: told again while an alert lasts, told its end for a while, never told the past."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.channels import CollectingChannel, Outcome
from alerts.delivery import DeliveryLoop
from alerts.lane import Lane
from alerts.outbox import (
    END_TOLD_FOR,
    GIVE_UP_ENDPOINT,
    RECORD_EVERY,
    DeliveryAttempt,
    Endpoint,
    Obligation,
    apply,
    judge,
    revive,
    settle,
)
from pipelines import owing
from pipelines.clock import ManualClock
from pipelines.documents import decode
from pipelines.notify import Notify
from pipelines.remembered import Sent
from pipelines.streams.memory import MemoryState

NOW = 1_790_000_000.0
RESEND = 60.0
DOWN = Outcome(ok=False, reason="connect")


def owed(event: str, kind: str = "firing", *, order: str = "o", created: float = NOW) -> Obligation:
    return Obligation(
        event=event, channel="am", type=f"alert.{kind}", order=order, body=event.encode(), created=created,
        due=created, resend=RESEND,
    )  # fmt: skip


class Bench:
    """A loop on a manual clock and the outbox that the notify stage would keep; it can be started anew."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW)
        self.channel = CollectingChannel("am")
        self.outbox: dict[str, Obligation] = {}
        self.endpoint = Endpoint(channel="am")
        self.attempts: list[DeliveryAttempt] = []
        self.loop = self._loop()

    def _loop(self) -> DeliveryLoop:
        return DeliveryLoop({"am": self.channel}, clock=self.clock, record=self.record, rng=random.Random(7))

    async def record(self, attempt: DeliveryAttempt) -> None:
        self.attempts.append(attempt)
        self.outbox[attempt.event] = apply(self.outbox[attempt.event], attempt)
        for event in attempt.replaces:
            self.outbox[event] = settle(self.outbox[event], attempt.at)

    def owe(self, event: str, kind: str = "firing", order: str = "o") -> None:
        self.outbox[event] = owed(event, kind, order=order, created=self.clock.time())
        self.loop.offer(self.outbox[event])

    async def restart(self) -> None:
        await self.loop.stop(0.0)
        self.loop = self._loop()
        self.loop.start([one for one in self.outbox.values() if one.open], [self.endpoint])
        await self.advance(0.0)

    async def advance(self, seconds: float, step: float = 5.0) -> None:
        for _ in range(max(1, int(seconds / step))):
            await self.clock.advance(min(step, seconds))
            for _ in range(30):
                await asyncio.sleep(0)

    def told(self) -> list[str]:
        """What was sent since the last look."""
        events = [event for event, _, _ in self.channel.received]
        self.channel.received.clear()
        return events


@asynccontextmanager
async def running() -> AsyncIterator[Bench]:
    bench = Bench()
    bench.loop.start([])
    try:
        yield bench
    finally:
        await bench.loop.stop(0.0)


async def test_a_firing_is_told_again_within_the_interval_and_recorded_once() -> None:
    async with running() as bench:
        bench.owe("f")
        await bench.advance(1_800.0)
        moments = [at for _, _, at in bench.channel.received]
        assert {(event, body) for event, body, _ in bench.channel.received} == {("f", b"f")}
        gaps = [later - earlier for earlier, later in pairwise(moments)]
        assert len(gaps) >= 29 and max(gaps) <= RESEND + 5.0
        assert len(bench.attempts) == 1, "telling again says nothing new to the store"
        assert (bench.outbox["f"].state, bench.outbox["f"].body) == ("standing", b"f")
        assert bench.loop.pending() == {"am": 0}
        await bench.advance(2 * RECORD_EVERY, 30.0)
        assert 2 <= len(bench.attempts) <= 4


async def test_the_latest_event_is_told_alone_and_an_end_for_five_minutes() -> None:
    async with running() as bench:
        bench.owe("f")
        await bench.advance(100.0)
        bench.owe("u", "updated")
        await bench.advance(10.0)
        assert bench.outbox["f"].state == "delivered" and bench.attempts[-1].replaces == ("f",)
        bench.told()
        await bench.advance(300.0)
        assert set(bench.told()) == {"u"}
        bench.owe("r", "resolved")
        await bench.advance(0.0)
        ended = bench.clock.time()
        await bench.advance(3 * END_TOLD_FOR)
        last = bench.channel.received[-1][2]
        assert set(bench.told()) == {"r"}
        assert END_TOLD_FOR <= last - ended <= END_TOLD_FOR + RESEND + 5.0
        assert [bench.outbox[event].state for event in "fur"] == ["delivered"] * 3
        assert all(bench.outbox[event].body == b"" for event in "fur")


async def test_a_restart_tells_what_stands_at_once_and_nothing_else() -> None:
    async with running() as bench:
        for event, order in (("f", "o"), ("g", "p"), ("h", "q")):
            bench.owe(event, order=order)
        await bench.advance(5.0)
        bench.owe("u", "updated")
        bench.owe("r", "resolved", "q")
        await bench.advance(10.0)
        bench.told()
        await bench.restart()
        assert sorted(bench.told()) == ["g", "r", "u"]
        await bench.advance(END_TOLD_FOR + 2 * RESEND)
        assert bench.outbox["r"].state == "delivered"
        bench.told()
        await bench.restart()
        assert sorted(bench.told()) == ["g", "u"]


async def test_a_receiver_that_is_away_hears_of_it_within_the_interval_of_its_return() -> None:
    async with running() as bench:
        for _ in range(400):
            bench.channel.answer_next(DOWN)
        bench.owe("f")
        await bench.advance(4 * 3_600.0)
        tried = len(bench.told())
        assert tried >= 200, "the schedule of webhooks would have tried seven times"
        assert bench.outbox["f"].state == "pending"
        assert len(bench.attempts) <= 6, "an hour of the same failure is one record"
        await bench.advance(400 * RESEND)
        assert bench.outbox["f"].state == "standing"


async def test_a_receiver_that_goes_away_later_loses_nothing_and_its_trouble_is_recorded() -> None:
    async with running() as bench:
        bench.owe("f")
        await bench.advance(10.0)
        bench.channel.answer_next(DOWN)
        await bench.advance(200.0)
        assert [attempt.reason for attempt in bench.attempts] == ["ok", "connect", "ok"]
        assert bench.outbox["f"].state == "standing"


async def test_the_end_is_not_overtaken_by_a_firing_told_again() -> None:
    """The receiver fails while the end is owed: nothing is told of the firing in between."""
    async with running() as bench:
        bench.owe("f")
        await bench.advance(50.0)
        bench.told()
        for _ in range(4):
            bench.channel.answer_next(DOWN)
        bench.owe("r", "resolved")
        await bench.advance(600.0)
        assert set(bench.told()) == {"r"}


async def test_five_days_of_failures_disable_the_channel_although_few_are_recorded() -> None:
    endpoint, one = Endpoint(channel="am"), owed("f")
    for hour in range(int(GIVE_UP_ENDPOINT / 3_600) + 1):
        attempt = DeliveryAttempt(
            event="f", channel="am", number=hour + 1, at=NOW + hour * 3_600, ok=False, reason="connect"
        )
        one, endpoint = apply(one, attempt), judge(endpoint, attempt)
        assert one.state == "pending"
    assert endpoint.disabled


def test_what_stands_or_was_delivered_is_not_owed_again() -> None:
    standing = apply(owed("f"), DeliveryAttempt(event="f", channel="am", number=1, at=NOW, ok=True, reason="ok"))
    assert standing.state == "standing" and revive(standing, NOW + 5) == standing


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 90), st.booleans()), max_size=25), st.data())
def test_whatever_fails_the_last_told_of_an_order_is_its_latest_event(
    offers: list[tuple[str, int, bool]], data: st.DataObject
) -> None:
    """Events in random order of arrival and failure: never two of an order under way, never one after a later one
    was delivered, and in the end the latest of each order is what stands."""
    lane, now, latest = Lane(), 0.0, dict[str, int]()
    arrivals = sorted((at, number, order) for number, (order, at, _) in enumerate(offers))
    under_way: dict[str, Obligation] = {}
    for _ in range(400):
        while arrivals and arrivals[0][0] <= now:
            at, number, order = arrivals.pop(0)
            lane.offer(owed(f"{number}", order=order, created=float(at)), now=now, wall=now)
        if (waiting := lane.take(now)) is not None:
            one = waiting.obligation
            assert one.order not in under_way, "two of an order were under way together"
            under_way[one.order] = one
        if under_way and (waiting is None or data.draw(st.booleans())):
            order = data.draw(st.sampled_from(sorted(under_way)))
            one = under_way.pop(order)
            ok = data.draw(st.integers(0, 3)) > 0
            attempt = DeliveryAttempt(
                event=one.event, channel="am", number=one.attempts + 1, at=now, ok=ok, reason="ok" if ok else "connect"
            )
            if ok:
                place = (one.created, one.event)
                assert place >= latest.get(order, (-1.0, "")), "the past was told after what came later"
                latest[order] = place
            lane.settle(apply(one, attempt), now=now, wall=now)
        elif waiting is None:
            wake = lane.wake()
            now = max(now, min([*(a[0] for a in arrivals[:1]), *([wake] if wake is not None else [now + 1])]))
            if not arrivals and len(lane) == 0:
                break
    if not arrivals and not under_way and len(lane) == 0:
        for order in {order for order, _, _ in offers}:
            mine = max((float(at), str(number)) for number, (o, at, _) in enumerate(offers) if o == order)
            assert latest[order] == mine
        assert lane.standing == len({order for order, _, _ in offers})


def tables(*open_ones: Obligation, episodes: dict[str, str] | None = None) -> MemoryState:
    """Notify's tables with what is owed, and the status of each episode as channels know it."""

    class Stage:
        name, inputs, tables = Notify.name, Notify.inputs, Notify.tables

    state = MemoryState(Stage())
    for one in open_ones:
        state.table("outbox").put(one.key, one)
    for name, status in (episodes or {}).items():
        state.table("sent").put(name, Sent(name, NOW, status, 0, "error", ["am"]))
    return state


def body(episode: str) -> bytes:
    return msgspec.json.encode({"data": {"episode": {"id": episode}}})


def test_what_an_attempt_replaces_is_settled_with_it_and_those_who_follow_the_outbox_are_told() -> None:
    former = msgspec.structs.replace(owed("f"), state="standing", told=NOW, attempts=1)
    state = tables(former, owed("u", "updated"))
    attempt = DeliveryAttempt(event="u", channel="am", number=1, at=NOW + 9, ok=True, reason="ok", replaces=("f",))
    outputs, operation = owing.tried(attempt, state)
    assert operation is None
    assert [decode(Obligation, output.value).state for output in outputs] == ["delivered"]
    assert [(key, one.state) for key, one in state.table("outbox").items()] == [
        ("f|am", "delivered"), ("u|am", "standing"),
    ]  # fmt: skip
    assert owing.tried(attempt, state) == ([], None), "read again it changes nothing"


def test_a_channel_that_is_disabled_gives_up_what_stands_too() -> None:
    standing = msgspec.structs.replace(owed("f"), state="standing", attempts=1)
    state = tables(standing, owed("g", order="p"))
    state.table("endpoints").put("am", Endpoint(channel="am", failing_since=NOW - GIVE_UP_ENDPOINT))
    attempt = DeliveryAttempt(event="g", channel="am", number=1, at=NOW, ok=False, reason="connect")
    outputs, operation = owing.tried(attempt, state)
    assert operation is not None and operation.details["given_up"] == 2 == len(outputs)
    assert {one.state for _, one in state.table("outbox").items()} == {"failed"}


@pytest.mark.parametrize(("status", "resend"), [("firing", RESEND), ("updated", RESEND), ("resolved", None)])
def test_an_operators_retry_stands_only_while_the_alert_lasts(status: str, resend: float | None) -> None:
    failed = msgspec.structs.replace(owed("f"), state="failed", body=body("e1"), settled=NOW)
    state = tables(failed, episodes={"e1": status})
    (output,) = owing.retry("f|am", NOW + 5, state)
    again = decode(Obligation, output.value)
    assert (again.state, again.resend) == ("pending", resend)


def test_what_stands_at_channels_that_are_left_out_of_the_end_is_let_go() -> None:
    here = msgspec.structs.replace(owed("f"), state="standing")
    state = tables(here, msgspec.structs.replace(owed("g", order="p"), state="standing"), owed("u", "updated"))
    assert owing.leave("o", (), NOW, state) == []
    told = [decode(Obligation, output.value) for output in owing.leave("o", {"am"}, NOW, state)]
    assert [(one.event, one.state, one.resend) for one in told] == [("f", "delivered", RESEND), ("u", "pending", None)]
    assert {one.event: one.state for _, one in state.table("outbox").items()} == {
        "f": "delivered", "g": "standing", "u": "pending",
    }  # fmt: skip


def test_records_of_an_older_version_are_read() -> None:
    old = {"event": "e", "channel": "c", "type": "alert.firing", "order": "o", "body": "", "created": 1.0}
    assert msgspec.json.decode(msgspec.json.encode(old), type=Obligation).resend is None
