"""What is new, for any number of listeners: kept for a while, so that who was away goes on where it stopped, and the
same bytes for all. A listener is a place in what is kept: a slow one holds nothing up and costs no memory."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import msgspec

KEPT = 10_000
"""Events that are kept: some minutes of a busy tape, and at most some 15 MB."""

TOGETHER = 256
"""Events that are handed out at a time: what is written to a slow listener at once stays small."""

KINDS = ("alert", "document", "series", "source")


class Event(NamedTuple):
    """One event as it is sent, but for its id."""

    kind: str
    keys: Collection[str]
    """The watched keys that it speaks of."""
    sent: bytes


Wanted = Callable[[Event], bool]


class Missed(Exception):
    """What follows a listener's place is not kept any more, or never was."""


def event(kind: str, body: dict[str, Any]) -> Event:
    """Something new as an event."""
    keys = body.get("keys") or ([body["key"]] if "key" in body else ())
    return Event(kind, keys, b"event: %s\ndata: %s\n\n" % (kind.encode(), msgspec.json.encode(body)))


class Broadcast:
    """The events, numbered. Belongs to one event loop."""

    def __init__(self, kept: int = KEPT) -> None:
        self._process = secrets.token_hex(4)
        """Numbers begin anew with every process: another's mean nothing here."""
        self._kept = kept
        self._ring: list[Event] = []
        """The event of number n at n modulo ``kept``."""
        self.end = 0
        """The number of the next event."""
        self._news = asyncio.Event()

    def add(self, events: Sequence[Event]) -> None:
        for one in events:
            if len(self._ring) < self._kept:
                self._ring.append(one)
            else:
                self._ring[self.end % self._kept] = one
            self.end += 1
        told, self._news = self._news, asyncio.Event()
        told.set()

    async def news(self, place: int) -> None:
        """Until there is something at ``place``."""
        while place >= self.end:
            await self._news.wait()

    def id(self, place: int) -> bytes:
        """What tells a listener that it has all before ``place``."""
        return f"id: {self._process}-{place}\n".encode()

    def place(self, last: str) -> int:
        """The place of who says that it was there last. Raises Missed."""
        process, _, number = last.rpartition("-")
        if process != self._process or not (number.isascii() and number.isdecimal() and len(number) < 19):
            raise Missed
        if not self._oldest <= int(number) <= self.end:
            raise Missed
        return int(number)

    @property
    def _oldest(self) -> int:
        return self.end - len(self._ring)

    def after(self, place: int, wanted: Wanted) -> tuple[bytes, int]:
        """Some events from ``place`` on, as they are sent, and the place behind them. Raises Missed."""
        if place < self._oldest:
            raise Missed
        behind = min(self.end, place + TOGETHER)
        found = ((number, self._ring[number % self._kept]) for number in range(place, behind))
        return b"".join(self.id(number + 1) + one.sent for number, one in found if wanted(one)), behind
