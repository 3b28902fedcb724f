"""The open episodes as the notify stage keeps them, and who holds whom: each a row of the table ``burning``, with its
last candidate beside it in ``burst``. Alerts that ended not long ago are remembered in ``burning``, too."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

import msgspec

from alerts.episode import episode_id
from alerts.merging import REMEMBERED, Burning, Width, usual
from pipelines import exhibits
from pipelines.audience import Audience
from pipelines.documents import Candidate, decode, encode
from pipelines.streams.base import State, Table
from pipelines.watch import width


class Burst(msgspec.Struct, array_like=True):
    """An open episode's last candidate: what it says when it rings after all, or ends by merging away."""

    candidate: bytes


def unquote(state: State, gone: exhibits.Gone) -> None:
    """Takes stories that must go out of the candidates that are kept."""
    bursts: Table[Burst] = state.table("burst")
    for name, burst in list(bursts.items()):
        lighter = exhibits.lighter(burst.candidate, gone)
        if lighter is not None:
            bursts.put(name, Burst(lighter))


class Episodes:
    """The open episodes, by name: the id under which each was first told or recorded.

    A copy of the tables, kept from one event to the next, so that none costs a look at every open episode. It is void
    with the state's ``generation``.
    """

    def __init__(self, state: State) -> None:
        self._state, self._generation = state, state.generation
        self._rows: Table[Burning] = state.table("burning")
        self._bursts: Table[Burst] = state.table("burst")
        self._sent = state.table("sent")
        self._open: dict[str, Burning] = {}
        self._names: dict[int, str] = {}
        self._told: dict[str, Burning] = {}
        """Those that rang."""
        self._wide: dict[str, Burning] = {}
        """Lists, topics and the market that have not."""
        self._held: dict[str, dict[str, Burning]] = {}
        """What each holds."""
        self._under: dict[str, tuple[str, float | None]] = {}
        """By whom each is held, as the index has it, and with how much, where it is a company."""
        self._sizes: dict[str, list[float]] = {}
        """How much the companies have that each holds, in its order."""
        self._over: dict[str, Burning] = {}
        """Those whose alert ended not long ago."""
        for name, row in self._rows.items():
            if row.ended is None:
                self._enter(name, row)
            else:
                self._over[name] = row
        for name in self._sizes:
            self._compare(name)

    def holds(self, state: State) -> bool:
        """Whether this is what ``state`` has by now."""
        return self._state is state and self._generation == state.generation

    def __iter__(self) -> Iterator[Burning]:
        return iter(self._open.values())

    def __contains__(self, name: str) -> bool:
        return name in self._open

    def get(self, name: str) -> Burning | None:
        return self._open.get(name)

    def name(self, row: Burning) -> str:
        """The id under which an open one was first told or recorded."""
        return self._names[id(row)]

    def over(self) -> list[tuple[str, Burning]]:
        """Those whose alert ended not long ago, by their names."""
        return sorted(self._over.items())

    def take_in(self, candidate: Candidate) -> Burning:
        """The episode of an event that does not end it, as it is by that; new ones are not held by anything."""
        event = candidate.event
        name = episode_id(candidate.rule, event.key, event.opened_by)
        row = self._open.get(name)
        if row is None:
            row = _row_of(candidate, name)
            if (sent := self._sent.get(name)) is not None and sent.status != "resolved":
                row.rang = event.opened_at  # by a version that merged nothing
            self._enter(name, row)
        else:
            _refresh(row, candidate)
        self._bursts.put(name, Burst(encode(candidate)))
        return row

    def near(self, row: Burning) -> list[Burning]:
        """Those that rang and may account for some of it."""
        return [one for one in self._told.values() if one.width == Width.MARKET or one.key in row.shared]

    def wide_held(self) -> list[Burning]:
        """Lists, topics and the market that are part of an open alert."""
        return [row for row in self._wide.values() if row.holder in self._open]

    def heard(self, audience: Audience) -> list[Burning]:
        """Those that rang and are not hushed: only they may speak for others."""
        return [row for row in self._told.values() if not audience.hushed(row)]

    def members(self, row: Burning) -> list[Burning]:
        """What an episode holds, the largest first."""
        held = self._held.get(self.name(row), {}).values()
        return sorted((one for one in held if one.rang is None), key=lambda one: (-one.excess, one.key))

    def last(self, row: Burning, at: float) -> Candidate:
        """Its last candidate, as if it were of ``at``, where that is later."""
        burst = self._bursts.get(self.name(row))
        if burst is None:
            raise KeyError(f"{row.key}: no candidate is kept of its open episode")
        last = decode(Candidate, burst.candidate)
        return msgspec.structs.replace(last, event=msgspec.structs.replace(last.event, at=max(at, last.event.at)))

    def put(self, *rows: Burning) -> None:
        """Keeps open episodes as they are by now."""
        for row in rows:
            name = self.name(row)
            self._enter(name, row)
            self._rows.put(name, row)

    def _enter(self, name: str, row: Burning) -> None:
        """Puts an episode where the index should have it, as it is by now."""
        self._open[name], self._names[id(row)] = row, name
        for where, belongs in (
            (self._told, row.rang is not None),
            (self._wide, row.rang is None and row.width > Width.COMPANY),
        ):
            if belongs:
                where[name] = row
            else:
                where.pop(name, None)
        size = row.observed if row.width == Width.COMPANY and row.rang is None else None
        if self._under.get(name, ("", None)) == (row.holder, size):
            return
        self._leave(name)
        if row.holder:
            self._under[name] = row.holder, size
            self._held.setdefault(row.holder, {})[name] = row
            if size is not None:
                insort(self._sizes.setdefault(row.holder, []), size)
                self._compare(row.holder)

    def _leave(self, name: str) -> None:
        """Takes an episode out of its holder's."""
        holder, size = self._under.pop(name, ("", None))
        if size is not None:
            sizes = self._sizes[holder]
            del sizes[bisect_left(sizes, size)]
            self._compare(holder)
        if members := self._held.get(holder):
            members.pop(name, None)
            if not members:
                del self._held[holder]
                self._sizes.pop(holder, None)

    def _compare(self, holder: str) -> None:
        """Notes how much is usual among the companies that an episode holds."""
        if (row := self._open.get(holder)) is not None:
            row.usual = usual(self._sizes[holder])

    def forget(self, name: str) -> None:
        """Lets go of an episode that ended."""
        row = self._open.pop(name)
        del self._names[id(row)]
        self._told.pop(name, None)
        self._wide.pop(name, None)
        self._leave(name)
        self._rows.delete(name)
        self._bursts.delete(name)

    def keep(self, name: str, row: Burning, at: float) -> None:
        """Remembers an alert that ended at ``at``, and forgets those of long ago."""
        for other, over in list(self._over.items()):
            if over.ended is None or at - over.ended > 2 * REMEMBERED:
                del self._over[other]
                self._rows.delete(other)
        row.ended, row.shared = at, {}
        self._over[name] = row
        self._rows.put(name, row)


def _row_of(candidate: Candidate, name: str) -> Burning:
    event = candidate.event
    row = Burning(
        key=event.key,
        width=width(event.key),
        alert=name,
        opened_at=event.opened_at,
        moved=event.at,
        severity=event.severity,
        score=event.score,
        threshold=event.threshold,
        observed=event.observed,
        excess=event.excess,
        shared=candidate.shared,
    )
    _refresh(row, candidate)
    return row


def _refresh(row: Burning, candidate: Candidate) -> None:
    event = candidate.event
    row.severity, row.score, row.threshold = event.severity, event.score, event.threshold
    row.observed, row.excess, row.shared = event.observed, event.excess, candidate.shared
    row.since = event.since
    row.largest = max((part for key, part in row.shared.items() if width(key) == Width.COMPANY), default=0.0)
