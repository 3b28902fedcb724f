"""Which episodes ring and which are part of another's alert, as the notify stage keeps and decides it.

``alerts.merging`` compares two of them; here are the open ones, each a row of the table ``burning`` with its last
candidate beside it in ``burst``. What is decided follows from the log's order: nothing waits, so that the first of an
event is told at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import msgspec
import structlog
from prometheus_client import Counter

from alerts.episode import EpisodeEvent, Kind, episode_id
from alerts.merging import FEW, Burning, Width, explained, holder_of, rather, share, stays, taken_by
from pipelines import exhibits, tally
from pipelines.documents import Candidate, decode, encode
from pipelines.streams.base import State, Table
from pipelines.watch import width

log = structlog.get_logger(__name__)

MERGED = Counter("tapewatch_alerts_merged_total", "Episodes that became part of another alert instead of ringing.")


GRAVE = ("error", "critical")
"""Severities from which a company rings at once when the wider alert that held it is over."""


KNOWN = 16
"""Ended alerts that a wider burst remembers."""


class Burst(msgspec.Struct, array_like=True):
    """An open episode's last candidate: what it says when it rings after all, or ends by merging away."""

    candidate: bytes


class Telling(NamedTuple):
    """An event that is to be told, or only recorded."""

    candidate: Candidate
    into: str | None = None
    """The alert that tells of it; then it is recorded, and told to nobody."""
    holder: Burning | None = None
    """The episode that the event is of, where it holds others."""
    members: tuple[Burning, ...] = ()
    """Those others, the largest first."""
    late: bool = False
    """Told already, and now only to those whom its members' routes name besides."""


class Ears(Protocol):
    """Who would hear of an episode at the time of an event."""

    def hushed(self, one: Burning) -> bool:
        """Whether a silence hushes it."""
        ...

    def wanted(self, one: Burning, holder: Burning) -> bool:
        """Whether its route names somebody whom its holder's alert was not told."""
        ...


def unquote(state: State, gone: exhibits.Gone) -> None:
    """Takes stories that must go out of the candidates that are kept."""
    bursts: Table[Burst] = state.table("burst")
    for name, burst in list(bursts.items()):
        lighter = exhibits.lighter(burst.candidate, gone)
        if lighter is not None:
            bursts.put(name, Burst(lighter))


class Fires:
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
        self._under: dict[str, str] = {}
        """By whom each is held, as the index has it."""
        for name, row in self._rows.items():
            self._enter(name, row)

    def holds(self, state: State) -> bool:
        """Whether this is what ``state`` has by now."""
        return self._state is state and self._generation == state.generation

    def settle(self, candidate: Candidate, ears: Ears) -> Iterator[Telling]:
        """What an episode's event, not seen before, leads to: in the order in which it is to be told."""
        event = candidate.event
        name = episode_id(candidate.rule, event.key, event.opened_by)
        row = self._open.get(name)
        if event.kind == "resolved":
            yield from self._end(name, row, candidate, ears)
            return
        if row is None:
            row = _row(candidate, name)
            if (sent := self._sent.get(name)) is not None and sent.status != "resolved":
                row.rang = event.opened_at  # by a version that merged nothing
            self._enter(name, row)
        else:
            _refresh(row, candidate)
        self._bursts.put(name, Burst(encode(candidate)))
        yield from self._move(row, candidate, ears) if row.rang is None else self._grow(row, candidate, ears)

    # -- what an event does to its episode ----------------------------------------------------------------

    def _move(self, row: Burning, candidate: Candidate, ears: Ears) -> Iterator[Telling]:
        """One that has not rung: it stays where it is held, is held by another, or rings."""
        at, told = candidate.event.at, self._near(row)
        heard = [one for one in told if not ears.hushed(one)]
        holder = self._open.get(row.holder)
        if holder is None or not stays(row, holder, told):
            holder = holder_of(row, heard, at)
        if holder is None and row.into and explained(row, heard):
            self._put(row)
            yield Telling(_as(candidate, row), row.into)  # of what is over
            return
        if holder is None and (wide := rather(row, self._wide_held(), self._heard(ears), at)) is not None:
            yield from self._ring(wide, self._last(wide, at), ears)
            holder = wide
        if holder is None:
            yield from self._ring(row, candidate, ears)
        else:
            yield from self._join(row, holder, candidate, ears)

    def _join(self, row: Burning, holder: Burning, candidate: Candidate, ears: Ears) -> Iterator[Telling]:
        self._hold(row, holder, candidate.event.at)
        yield Telling(_as(candidate, row), row.into)
        if ears.wanted(row, holder):
            yield self._telling(_as(self._last(holder, -math.inf), holder), holder)._replace(late=True)

    def _ring(self, row: Burning, candidate: Candidate, ears: Ears) -> Iterator[Telling]:
        event = candidate.event
        was_told = event.kind == "updated" and row.holder == ""
        row.rang, row.moved = event.at, event.at
        self._put(row)
        ended = list(self._take(row, event.at, ears))
        rings = candidate if was_told else _as(candidate, row, "firing")
        yield self._telling(rings, row)
        yield from ended

    def _grow(self, row: Burning, candidate: Candidate, ears: Ears) -> Iterator[Telling]:
        """One that rang has changed: what became a part of it merges away, and what is no part of it any more rings."""
        at = row.moved = candidate.event.at
        self._put(row)
        ended = list(self._take(row, at, ears))
        members = self._members(row)
        left = [one for one in members if one.width < row.width and not stays(one, row, self._near(one))]
        leaving = {id(one) for one in left}
        staying = tuple(one for one in members if id(one) not in leaving)
        yield Telling(_as(candidate, row), None, row, staying)
        yield from ended
        for one in left:
            yield from self._again(one, at, ears)

    def _end(self, name: str, row: Burning | None, candidate: Candidate, ears: Ears) -> Iterator[Telling]:
        if row is None:
            yield Telling(candidate)  # of a version that merged nothing
            return
        ended = _as(candidate, row)
        if row.rang is None:
            yield Telling(ended, row.into)
        else:
            yield self._telling(ended, row)
        members = self._members(row)
        self._forget(name)
        grave = [one for one in members if one.width <= Width.COMPANY < row.width and one.severity in GRAVE][:FEW]
        if row.rang is not None:
            self._remember(row, [one for one in members if one not in grave])
        # The rest rings when it has more to tell, if ever: most of what a wide burst held ends with it, a bit later.
        for one in grave:
            yield from self._again(one, candidate.event.at, ears)

    def _again(self, row: Burning, at: float, ears: Ears) -> Iterator[Telling]:
        """One that was held and is no more, as it stood at its last event."""
        yield from self._move(row, self._last(row, at), ears)

    def _take(self, row: Burning, at: float, ears: Ears) -> Iterator[Telling]:
        """What rang a short while ago and merges away, since ``row`` rings or grew."""
        if ears.hushed(row):
            return  # nobody would hear of what it holds
        for one, into in taken_by(row, self._heard(ears), at):
            last = self._last(one, at)
            yield self._telling(_merged_away(_as(last, one)), one)
            for member in self._members(one):
                self._hold(member, into, at)
            one.rang, one.life = None, one.life + 1
            one.alert = episode_id(last.rule, one.key, _opened_by(last.event, one))
            self._hold(one, into, at)
            yield Telling(_as(last, one, "firing"), one.into)

    def _hold(self, row: Burning, holder: Burning, at: float) -> None:
        name = self._names[id(holder)]
        if row.holder != name:
            tally.inc(MERGED)
            log.info("merged", action="merge", key=row.key, into=holder.key)
        row.holder, row.into, holder.moved = name, holder.alert, at
        self._put(row, holder)

    def _remember(self, ended: Burning, members: list[Burning]) -> None:
        """What ended was told, and makes none of the others ring: not the wider ones that it had a part in, nor, with
        what they had of it, those that it held."""
        for one in members:
            if one.width < ended.width:
                # Twice as much would have been an event. A company is worth a mistake, a list or topic is not.
                one.told = one.observed * (1.0 if one.width <= Width.COMPANY else 2.0)
                self._put(one)
        for one in self._open.values():
            if one.rang is None and one.width > ended.width and share(one, ended) > 0.0 and ended.key not in one.known:
                one.known = (*one.known, ended.key)[-KNOWN:]
                self._put(one)

    # -- rows ---------------------------------------------------------------------------------------------

    def _near(self, row: Burning) -> list[Burning]:
        """Those that rang and may account for some of it."""
        return [one for one in self._told.values() if one.width == Width.MARKET or one.key in row.shared]

    def _wide_held(self) -> list[Burning]:
        """Lists, topics and the market that are part of an open alert."""
        return [row for row in self._wide.values() if row.holder in self._open]

    def _heard(self, ears: Ears) -> list[Burning]:
        """Those that rang and are not hushed: only they may speak for others."""
        return [row for row in self._told.values() if not ears.hushed(row)]

    def _members(self, row: Burning) -> list[Burning]:
        """What an episode holds, the largest first."""
        held = self._held.get(self._names[id(row)], {}).values()
        return sorted((one for one in held if one.rang is None), key=lambda one: (-one.excess, one.key))

    def _telling(self, candidate: Candidate, row: Burning) -> Telling:
        return Telling(candidate, None, row, tuple(self._members(row)))

    def _last(self, row: Burning, at: float) -> Candidate:
        """Its last candidate, as if it were of ``at``, where that is later."""
        burst = self._bursts.get(self._names[id(row)])
        if burst is None:
            raise KeyError(f"{row.key}: no candidate is kept of its open episode")
        last = decode(Candidate, burst.candidate)
        return msgspec.structs.replace(last, event=msgspec.structs.replace(last.event, at=max(at, last.event.at)))

    def _put(self, *rows: Burning) -> None:
        for row in rows:
            name = self._names[id(row)]
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
        if self._under.get(name, "") != row.holder:
            self._leave(name)
            self._under[name] = row.holder
        if row.holder:
            self._held.setdefault(row.holder, {})[name] = row

    def _leave(self, name: str) -> None:
        """Takes an episode out of its holder's."""
        holder = self._under.pop(name, "")
        if members := self._held.get(holder):
            members.pop(name, None)
            if not members:
                del self._held[holder]

    def _forget(self, name: str) -> None:
        row = self._open.pop(name)
        del self._names[id(row)]
        self._told.pop(name, None)
        self._wide.pop(name, None)
        self._leave(name)
        self._rows.delete(name)
        self._bursts.delete(name)


def _row(candidate: Candidate, name: str) -> Burning:
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
    row.largest = max((part for key, part in row.shared.items() if width(key) == Width.COMPANY), default=0.0)


def _opened_by(event: EpisodeEvent, row: Burning) -> str:
    """What an episode's ids are made of: after it merged away those of a new one."""
    return f"{event.opened_by}~{row.life}" if row.life else event.opened_by


def _as(candidate: Candidate, row: Burning, kind: Kind | None = None) -> Candidate:
    """The candidate under the ids that its episode has by now, and as another kind of event."""
    event = candidate.event
    changed = msgspec.structs.replace(event, opened_by=_opened_by(event, row), kind=kind or event.kind)
    return msgspec.structs.replace(candidate, event=changed)


def _merged_away(candidate: Candidate) -> Candidate:
    """The end of an episode that others tell of from here on."""
    event = candidate.event
    over = msgspec.structs.replace(event, kind="resolved", reason="merged", sequence=event.sequence + 1)
    return msgspec.structs.replace(candidate, event=over)
