"""One channel's queue: what may be sent now, and when to look again. Pure but for its own state.

Obligations of one order (an alert's dedupe key) leave one at a time and in their order: a resolved never overtakes its
firing, it waits until that is delivered or given up. Orders do not wait for each other. What stands (a receiver that
holds alerts is told of it again and again) is told while nothing of its order waits, and goes when the next is
delivered. Times are monotonic seconds, so that a clock that is set moves nothing that waits.
"""

from __future__ import annotations

import heapq
import itertools
from bisect import insort
from typing import NamedTuple

import msgspec

from alerts.outbox import LONGEST, Obligation

BODIES = 256
"""Bodies kept in memory a channel, 5 MB at their largest; of what waits beyond them only the envelope is kept."""

_RANK = {"alert.firing": 0, "alert.updated": 1, "alert.resolved": 2}
"""Breaks ties of what was created in the same instant."""


class Waiting(msgspec.Struct):
    """An obligation in the queue."""

    obligation: Obligation
    due: float
    queued: float = -1.0
    """The due time under which it stands in the heap; -1 where it doesn't."""
    sending: bool = False
    extra: bool = False
    """Brought forward: its attempt does not count on the schedule."""
    recorded: float | None = None
    """When its last attempt was made durable, in wall-clock seconds; None: not since the start."""

    @property
    def standing(self) -> bool:
        return self.obligation.state == "standing"


class _Place(NamedTuple):
    created: float
    rank: int
    event: str


class Lane:
    """``spare_bodies``: whether a body can be read again, so that it need not be kept."""

    def __init__(self, *, spare_bodies: bool = False) -> None:
        self._spare = spare_bodies
        self._waiting: dict[str, Waiting] = {}
        self._orders: dict[str, list[_Place]] = {}
        self._heads: list[tuple[float, int, str]] = []
        self._numbers = itertools.count()
        self._stands: set[str] = set()

    def __len__(self) -> int:
        """How many wait for their delivery; what stands does not."""
        return len(self._waiting) - len(self._stands)

    @property
    def standing(self) -> int:
        return len(self._stands)

    def offer(self, obligation: Obligation, *, now: float, wall: float) -> None:
        """Takes on what is owed. One already known is brought forward if it became due earlier, and takes the body that
        it has by now; it is never doubled."""
        due = now + min(max(0.0, obligation.due - wall), LONGEST)
        known = self._waiting.get(obligation.event)
        if known is not None:
            if not known.sending and obligation.attempts >= known.obligation.attempts and due < known.due:
                known.obligation, known.due = obligation, due
                self._push(obligation.order)
            elif known.obligation.body and obligation.body:
                known.obligation = msgspec.structs.replace(known.obligation, body=obligation.body)
            return
        if self._spare and len(self._waiting) >= BODIES:
            obligation = msgspec.structs.replace(obligation, body=b"")
        self._waiting[obligation.event] = Waiting(obligation, due)
        if obligation.state == "standing":
            self._stands.add(obligation.event)
        insort(self._orders.setdefault(obligation.order, []), _place(obligation))
        if obligation.attempts == 0:
            self._hasten(obligation, now)
        self._push(obligation.order)

    def take(self, now: float) -> Waiting | None:
        """What is to be sent now; it counts as under way until ``settle``."""
        while self._heads and self._heads[0][0] <= now:
            due, _, event = heapq.heappop(self._heads)
            waiting = self._waiting.get(event)
            if waiting is None or waiting.queued != due:
                continue
            waiting.queued = -1.0
            if waiting.due == due and not waiting.sending and self._leads(waiting):
                waiting.sending = True
                return waiting
        return None

    def wake(self) -> float | None:
        """When something may be sent next, as far as is known."""
        return self._heads[0][0] if self._heads else None

    def replaced(self, by: Obligation) -> tuple[str, ...]:
        """What stood in its order until ``by`` was delivered."""
        places = self._orders.get(by.order, [])
        return tuple(place.event for place in places if place.event in self._stands and place < _place(by))

    def settle(self, after: Obligation, *, now: float, wall: float) -> None:
        """Puts back what is still owed after its attempt, or lets the next of its order go."""
        waiting = self._waiting.get(after.event)
        if waiting is None:
            return
        if after.state != "pending":
            for event in self.replaced(after):
                self.remove(self._waiting[event].obligation)
        if after.open:
            waiting.obligation = after
            waiting.due = now + min(max(0.0, after.due - wall), LONGEST)
            waiting.sending = waiting.extra = False
            if after.state == "standing":
                self._stands.add(after.event)
        else:
            self.remove(after)
        self._push(after.order)

    def remove(self, obligation: Obligation) -> None:
        """Lets go of one."""
        if self._waiting.pop(obligation.event, None) is None:
            return
        self._stands.discard(obligation.event)
        places = self._orders[obligation.order]
        places.remove(_place(obligation))
        if not places:
            del self._orders[obligation.order]
        self._push(obligation.order)

    def clear(self) -> None:
        self._waiting.clear()
        self._orders.clear()
        self._heads.clear()
        self._stands.clear()

    def _hasten(self, new: Obligation, now: float) -> None:
        """Brings what holds ``new`` back forward, since ``new`` itself would be tried now.

        Otherwise a receiver that is well again would hear of a new alert only after the old one's long wait.
        """
        head = self._head(new.order)
        if head.obligation.event != new.event and not head.sending and head.due > now:
            head.due, head.extra = now, True

    def _head(self, order: str) -> Waiting:
        """What of an order may go: its first; where that one stands and another waits, the other. Two of an order are
        never under way together: a firing told again could arrive behind the end of it."""
        first, *others = self._orders[order][:2]
        head = self._waiting[first.event]
        if others and head.standing and not head.sending:
            return self._waiting[others[0].event]
        return head

    def _leads(self, waiting: Waiting) -> bool:
        return self._head(waiting.obligation.order) is waiting

    def _push(self, order: str) -> None:
        if order in self._orders:
            head = self._head(order)
            if not head.sending and head.queued != head.due:
                head.queued = head.due
                heapq.heappush(self._heads, (head.due, next(self._numbers), head.obligation.event))


def _place(obligation: Obligation) -> _Place:
    return _Place(obligation.created, _RANK.get(obligation.type, 0), obligation.event)
