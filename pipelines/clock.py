"""Time as it is given to those who may ask for it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from typing import Protocol

import structlog

log = structlog.get_logger(__name__)

FURTHEST = 6 * 3_600.0
"""Seconds: a clock that is set back further was wrong before. It is followed: better late than long in the future."""
NOTABLE = 1.0
"""Seconds from which setting the clock back is worth a line in the log."""


class Clock(Protocol):
    """Wall time, monotonic time and waiting, in seconds."""

    def time(self) -> float: ...
    def wall(self) -> float:
        """The machine's clock as it stands, for those who compare it with theirs: it may be set back."""
        ...

    def monotonic(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's clock."""

    def time(self) -> float:
        return time.time()

    def wall(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class ForwardClock:
    """Another clock, whose time never runs back: set back, it goes on at half its speed until that one has caught up.

    Keys' clocks never run back either, so that all that came after would be late. Half speed, since items that come
    while time stands still would have been expected in no time. A clock that is set forward is followed at once.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = clock.time(), clock.monotonic()
        self._behind = False

    def time(self) -> float:
        now, steady = self._clock.time(), self._clock.monotonic()
        last, at = self._last
        floor = last + (steady - at) / 2.0
        behind = FURTHEST >= floor - now > 0.0
        if behind and not self._behind and floor - now > NOTABLE:
            log.warning("clock_set_back", action="go_slow", seconds=round(floor - now, 1))
        elif floor - now > FURTHEST:
            log.error("clock_set_back", action="follow", seconds=round(floor - now, 1))
        self._behind = behind
        self._last = max(now, floor) if behind else now, steady
        return self._last[0]

    def wall(self) -> float:
        return self._clock.wall()

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)


class ManualClock:
    """A clock that moves only when told: replay's and the tests'."""

    def __init__(self, now: float = 0.0) -> None:
        self._now = now
        self._monotonic = 0.0
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def time(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def set(self, now: float) -> None:
        """Moves wall time to ``now``, also backwards; monotonic time stays."""
        self._now = now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (self._monotonic + seconds, next(self._order), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Lets ``seconds`` pass, waking sleepers in their order."""
        end = self._monotonic + seconds
        while self._waiting and self._waiting[0][0] <= end:
            due, _, future = heapq.heappop(self._waiting)
            self._now += due - self._monotonic
            self._monotonic = due
            if not future.done():
                future.set_result(None)
            for _ in range(20):
                await asyncio.sleep(0)
        self._now += end - self._monotonic
        self._monotonic = end
        await asyncio.sleep(0)
