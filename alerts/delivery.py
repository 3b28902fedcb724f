"""The delivery loop: sends what the outbox owes, one worker a channel, and reports every attempt.

It never changes the outbox: each attempt becomes a record that the notify stage applies. A crash between sending and
recording sends the same body under the same id again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

import structlog
from msgspec.structs import replace
from prometheus_client import Counter, Gauge, Histogram

from alerts.channels.base import Channel, Outcome
from alerts.lane import Lane, Waiting
from alerts.outbox import DeliveryAttempt, Endpoint, Obligation, apply, judge, worth_recording

log = structlog.get_logger(__name__)

DELIVERIES = Counter("tapewatch_deliveries_total", "Delivery attempts by result.", ["channel", "outcome"])
SECONDS = Histogram(
    "tapewatch_delivery_seconds",
    "Time of one delivery attempt.",
    ["channel", "outcome"],
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30),
)
PENDING = Gauge("tapewatch_outbox_pending", "Obligations that wait for delivery.", ["channel"])
STANDING = Gauge("tapewatch_outbox_standing", "Alerts that a channel is told again while they last.", ["channel"])
PUBLISH_TO_DELIVERY = Histogram(
    "tapewatch_publish_to_delivery_seconds",
    "From the publication of the document that crossed the threshold to the receiver's answer.",
    buckets=(0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600),
)

OUTCOMES = ("delivered", "told_again", "retry", "failed", "gone")

IN_FLIGHT = 4
"""Attempts under way at once on one channel: a receiver that drips for 20 s each does not stop the queue."""

REMEMBERED = 4_096
"""Delivered events a channel remembers, so that an outbox record read twice is not sent twice."""

PATIENCE = 30.0
"""Longest wait, in seconds, between two requests to a store that does not answer."""


class Clock(Protocol):
    """The clock's part that the loop needs."""

    def time(self) -> float: ...
    def wall(self) -> float: ...
    def monotonic(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...


T = TypeVar("T")

Record = Callable[[DeliveryAttempt], Awaitable[None]]
"""Makes an attempt durable. The loop goes on with that obligation only when it has returned."""

Read = Callable[[str, str], Awaitable[bytes | None]]
"""The body that is owed, by event and channel; None where it is owed no longer."""


class DeliveryLoop:
    """Delivers to ``channels``, by name.

    ``rng`` draws the jitter. With ``read`` the bodies of a long queue are not kept in memory.
    """

    def __init__(
        self,
        channels: Mapping[str, Channel],
        *,
        clock: Clock,
        record: Record,
        rng: random.Random,
        read: Read | None = None,
        in_flight: int = IN_FLIGHT,
    ) -> None:
        self._workers = {
            name: _Worker(name, channel, clock, record, rng, read, in_flight) for name, channel in channels.items()
        }

    def start(self, pending: Iterable[Obligation], endpoints: Iterable[Endpoint] = ()) -> None:
        """Sets the workers to work on what was owed when the daemon stopped."""
        for endpoint in endpoints:
            if (worker := self._workers.get(endpoint.channel)) is not None:
                worker.endpoint = endpoint
        for obligation in sorted(pending, key=lambda one: (one.created, one.event)):
            # What stands is told at once: nobody told it while the daemon was away.
            self.offer(replace(obligation, due=0.0) if obligation.state == "standing" else obligation)
        for worker in self._workers.values():
            worker.start()

    def offer(self, obligation: Obligation) -> bool:
        """Takes on an obligation; False where there is nothing to do: its channel is unknown, or it is settled."""
        worker = self._workers.get(obligation.channel)
        if worker is None or not obligation.open:
            return False
        worker.offer(obligation)
        return True

    def drop(self, channel: str) -> None:
        """Lets go of everything owed to a channel that was disabled."""
        if channel in self._workers:
            self._workers[channel].clear()

    def pending(self) -> dict[str, int]:
        """How many obligations wait, by channel."""
        return {name: len(worker.lane) for name, worker in self._workers.items()}

    async def stop(self, budget: float) -> int:
        """Begins nothing new and lets the attempts under way end within ``budget`` seconds.

        Returns how many were cut off; they and what waits are owed again at the next start.
        """
        cut = await asyncio.gather(*(worker.stop(budget) for worker in self._workers.values()))
        return sum(cut)


class _Worker:
    """One channel's queue and its attempts. Trouble here delays nobody else."""

    def __init__(
        self,
        name: str,
        channel: Channel,
        clock: Clock,
        record: Record,
        rng: random.Random,
        read: Read | None,
        in_flight: int,
    ) -> None:
        self.lane = Lane(spare_bodies=read is not None)
        self.endpoint = Endpoint(channel=name)
        self._name = name
        self._channel = channel
        self._clock = clock
        self._record = record
        self._rng = rng
        self._read = read
        self._in_flight = in_flight
        self._delivered: dict[str, None] = {}
        self._news = asyncio.Event()
        self._attempts: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        for outcome in OUTCOMES:  # a rate needs the zero before the first
            DELIVERIES.labels(name, outcome)
            SECONDS.labels(name, outcome)
        self._changed()

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"deliver:{self._name}")

    def offer(self, obligation: Obligation) -> None:
        if obligation.event in self._delivered:
            return
        if self.endpoint.disabled:
            # The outbox owes nothing to a disabled channel: an operator has enabled it again.
            self.endpoint = Endpoint(channel=self._name)
        self.lane.offer(obligation, now=self._clock.monotonic(), wall=self._clock.time())
        self._changed()

    def clear(self) -> None:
        self.lane.clear()
        self._changed()

    def _remember(self, event: str) -> None:
        self._delivered[event] = None
        if len(self._delivered) > REMEMBERED:
            del self._delivered[next(iter(self._delivered))]

    async def stop(self, budget: float) -> int:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if not self._attempts:
            return 0
        _, late = await asyncio.wait(self._attempts, timeout=budget)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return len(late)

    async def _run(self) -> None:
        while True:
            self._news.clear()
            now = self._clock.monotonic()
            waiting = self.lane.take(now) if len(self._attempts) < self._in_flight else None
            if waiting is not None:
                task = asyncio.create_task(self._attempt(waiting), name=f"attempt:{self._name}")
                self._attempts.add(task)
                task.add_done_callback(self._ended)
                continue
            wake = self.lane.wake() if len(self._attempts) < self._in_flight else None
            await self._wait(wake)

    async def _wait(self, wake: float | None) -> None:
        """Until something changed, or the monotonic clock reaches ``wake``."""
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(self._news.wait())]
        if wake is not None:
            tasks.append(asyncio.create_task(_sleep_until(self._clock, wake)))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._attempts.discard(task)
        self._changed()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("delivery attempt broke off", action="deliver", channel=self._name, exc_info=error)

    def _changed(self) -> None:
        PENDING.labels(self._name).set(len(self.lane))
        STANDING.labels(self._name).set(self.lane.standing)
        self._news.set()

    # -- one attempt --------------------------------------------------------------------------------------

    async def _attempt(self, waiting: Waiting) -> None:
        obligation = waiting.obligation
        body = await self._body(obligation)
        if body is None:
            self.lane.remove(obligation)
            return
        started = self._clock.monotonic()
        outcome = await self._send(obligation, body)
        attempt = DeliveryAttempt(
            event=obligation.event,
            channel=self._name,
            number=obligation.attempts + 1,
            at=self._clock.time(),
            ok=outcome.ok,
            reason=outcome.reason,
            status=outcome.status,
            seconds=round(self._clock.monotonic() - started, 3),
            retry_after=outcome.retry_after,
            gone=outcome.gone,
            draw=self._rng.random(),
            extra=waiting.extra,
            replaces=self.lane.replaced(obligation) if outcome.ok else (),
        )
        after = apply(obligation, attempt)
        if worth_recording(obligation, after, attempt.at - (waiting.recorded or 0.0)):
            await self._patiently("record", lambda: self._record(attempt))
            waiting.recorded = attempt.at
        self._settle(obligation, after, attempt)

    async def _body(self, obligation: Obligation) -> bytes | None:
        read = self._read
        if obligation.body or read is None:
            return obligation.body
        return await self._patiently("read", lambda: read(obligation.event, self._name))

    async def _send(self, obligation: Obligation, body: bytes) -> Outcome:
        try:
            # The machine's clock: receivers compare the moment of an attempt with their own.
            return await self._channel.send(obligation.event, body, self._clock.wall())
        except Exception:
            # A channel's defect must neither lose the alert nor stop the queue: it is tried again like any failure.
            log.exception("channel failed", action="deliver", channel=self._name, event_id=obligation.event)
            return Outcome(ok=False, reason="defect")

    async def _patiently(self, action: str, ask: Callable[[], Awaitable[T]]) -> T:
        """Asks the store until it answers: an attempt that is not recorded is an alert sent twice."""
        patience = 1.0
        while True:
            try:
                return await ask()
            except Exception as error:  # seconds pass between two tries
                # The engine's errors (a full disk, a broker away) are unknown here, and each asks for patience.
                log.error(  # noqa: TRY400  # the same trace every 30 s would help nobody
                    "store does not answer", action=action, channel=self._name, error=str(error)
                )
            await self._clock.sleep(patience)
            patience = min(PATIENCE, 2.0 * patience)

    def _settle(self, obligation: Obligation, after: Obligation, attempt: DeliveryAttempt) -> None:
        self.lane.settle(after, now=self._clock.monotonic(), wall=self._clock.time())
        self.endpoint = judge(self.endpoint, attempt)
        again = obligation.state == "standing" and attempt.ok
        word = _outcome(attempt, after, again)
        if attempt.ok:
            self._remember(attempt.event)
        DELIVERIES.labels(self._name, word).inc()
        SECONDS.labels(self._name, word).observe(attempt.seconds)
        if again:
            log.debug("told_again", action="deliver", channel=self._name, event_id=obligation.event)
            return
        if attempt.ok and obligation.published is not None and obligation.type == "alert.firing":
            PUBLISH_TO_DELIVERY.observe(max(0.0, attempt.at - obligation.published))
        log.info(
            "delivery",
            action="deliver",
            channel=self._name,
            event_id=obligation.event,
            type=obligation.type,
            outcome=word,
            reason=attempt.reason,
            status=attempt.status,
            attempt=attempt.number,
        )
        if self.endpoint.disabled:
            log.warning("channel disabled", action="disable", channel=self._name, reason=self.endpoint.why)
            self.clear()


def _outcome(attempt: DeliveryAttempt, after: Obligation, again: bool) -> str:
    """The metric's word for an attempt; ``OUTCOMES`` has them all."""
    if attempt.gone:
        return "gone"
    if attempt.ok:
        return "told_again" if again else "delivered"
    return "failed" if after.state == "failed" else "retry"


async def _sleep_until(clock: Clock, wake: float) -> None:
    # The wait is reckoned when it begins: a task may start well after it was made.
    await clock.sleep(max(0.0, wake - clock.monotonic()))
