"""The delivery loop: sends what the outbox owes, one worker a channel, and reports every attempt.

It never changes the outbox: each attempt is a record that the notify stage applies, and what it answers (the
obligation as it then stands) says when to try again. A crash between sending and recording sends the same body
under the same id again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol

import structlog
from prometheus_client import Counter, Gauge, Histogram

from alerts.channels.base import Channel, Outcome
from alerts.outbox import DeliveryAttempt, Obligation, apply

log = structlog.get_logger(__name__)

DELIVERIES = Counter("tapewatch_deliveries_total", "Delivery attempts by result.", ["channel", "outcome"])
SECONDS = Histogram(
    "tapewatch_delivery_seconds",
    "Time of one delivery attempt.",
    ["channel", "outcome"],
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30),
)
PENDING = Gauge("tapewatch_outbox_pending", "Obligations that wait for delivery.", ["channel"])
PUBLISH_TO_DELIVERY = Histogram(
    "tapewatch_publish_to_delivery_seconds",
    "From the publication of the document that crossed the threshold to the receiver's answer.",
    buckets=(0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600),
)


class Waiter(Protocol):
    """The clock's part that the loop needs."""

    def time(self) -> float: ...
    def monotonic(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...


Record = Callable[[DeliveryAttempt], Awaitable[None]]
"""Makes an attempt durable; the loop goes on only when it has returned."""


class DeliveryLoop:
    """``record`` makes an attempt durable. ``rng`` draws the jitter."""

    def __init__(self, channels: Mapping[str, Channel], *, clock: Waiter, record: Record, rng: random.Random) -> None:
        self._workers = {name: _Worker(channel, clock, record, rng) for name, channel in channels.items()}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, pending: Iterable[Obligation]) -> None:
        """Sets the workers to work on what was owed when the daemon stopped."""
        for obligation in pending:
            self.offer(obligation)
        self._tasks = [asyncio.create_task(w.run(), name=f"deliver:{name}") for name, w in self._workers.items()]

    def offer(self, obligation: Obligation) -> None:
        """Takes on an obligation; one that is known is known by its id and not doubled."""
        worker = self._workers.get(obligation.channel)
        if worker is not None and obligation.state == "pending":
            worker.offer(obligation)

    def drop(self, channel: str) -> None:
        """Lets go of everything owed to a channel that was disabled."""
        if channel in self._workers:
            self._workers[channel].clear()

    def pending(self) -> dict[str, int]:
        return {name: worker.count() for name, worker in self._workers.items()}

    async def stop(self, budget: float) -> None:
        """Lets the attempts under way end within ``budget`` seconds; what is left is owed at the next start."""
        for worker in self._workers.values():
            worker.stop()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=budget)
            for task in late:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)


class _Worker:
    """One channel's queue. Trouble here delays nobody else."""

    def __init__(self, channel: Channel, clock: Waiter, record: Record, rng: random.Random) -> None:
        self._channel = channel
        self._clock = clock
        self._record = record
        self._rng = rng
        self._owed: dict[str, Obligation] = {}
        self._news = asyncio.Event()
        self._stopping = False

    def offer(self, obligation: Obligation) -> None:
        self._owed.setdefault(obligation.event, obligation)
        PENDING.labels(self._channel.name).set(len(self._owed))
        self._news.set()

    def clear(self) -> None:
        self._owed.clear()
        PENDING.labels(self._channel.name).set(0)

    def count(self) -> int:
        return len(self._owed)

    def stop(self) -> None:
        self._stopping = True
        self._news.set()

    async def run(self) -> None:
        while not self._stopping:
            self._news.clear()
            obligation = self._next()
            if obligation is not None and obligation.due <= self._clock.time():
                await self._attempt(obligation)
            else:
                await self._wait(None if obligation is None else obligation.due - self._clock.time())

    def _next(self) -> Obligation | None:
        """The one due first among those that nothing of their own alert comes before."""
        first: dict[str, Obligation] = {}
        for obligation in self._owed.values():
            held = first.get(obligation.order)
            if held is None or (obligation.created, obligation.event) < (held.created, held.event):
                first[obligation.order] = obligation
        return min(first.values(), key=lambda o: (o.due, o.created, o.event), default=None)

    async def _wait(self, seconds: float | None) -> None:
        """Until something new is owed, or ``seconds`` have passed."""
        news = asyncio.create_task(self._news.wait())
        tasks: set[asyncio.Task[object]] = {news}
        if seconds is not None:
            tasks.add(asyncio.create_task(self._clock.sleep(max(seconds, 0.01))))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _attempt(self, obligation: Obligation) -> None:
        started, now = self._clock.monotonic(), self._clock.time()
        outcome = await self._channel.send(obligation.event, obligation.body, now)
        seconds = self._clock.monotonic() - started
        attempt = DeliveryAttempt(
            event=obligation.event,
            channel=self._channel.name,
            number=obligation.attempts + 1,
            at=self._clock.time(),
            ok=outcome.ok,
            reason=outcome.reason,
            status=outcome.status,
            seconds=round(seconds, 3),
            retry_after=outcome.retry_after,
            gone=outcome.gone,
            draw=self._rng.random(),
        )
        await self._record(attempt)
        self._settle(obligation, attempt)
        self._note(obligation, outcome, seconds)

    def _settle(self, obligation: Obligation, attempt: DeliveryAttempt) -> None:
        after = apply(obligation, attempt)
        if after.state == "pending":
            self._owed[obligation.event] = after
        else:
            self._owed.pop(obligation.event, None)
        PENDING.labels(self._channel.name).set(len(self._owed))

    def _note(self, obligation: Obligation, outcome: Outcome, seconds: float) -> None:
        word = "delivered" if outcome.ok else "gone" if outcome.gone else "retry"
        DELIVERIES.labels(self._channel.name, word).inc()
        SECONDS.labels(self._channel.name, word).observe(seconds)
        if outcome.ok and obligation.published is not None and obligation.type == "alert.firing":
            PUBLISH_TO_DELIVERY.observe(max(0.0, self._clock.time() - obligation.published))
        log.info(
            "delivery",
            action="deliver",
            channel=self._channel.name,
            event_id=obligation.event,
            type=obligation.type,
            outcome=word,
            reason=outcome.reason,
            status=outcome.status,
            attempt=obligation.attempts + 1,
        )
