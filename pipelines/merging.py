"""Which episodes ring and which are part of another's alert, as the notify stage keeps and decides it.

``alerts.merging`` compares two of them, ``pipelines.burning`` keeps them. What is decided follows from the log's order:
nothing waits, so that the first of an event is told at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import structlog
from prometheus_client import Counter

from alerts.episode import EpisodeEvent, Kind, episode_id
from alerts.merging import (
    FEW,
    REMEMBERED,
    TIPPED,
    TOGETHER,
    Burning,
    burns_on,
    explained,
    holder_of,
    rather,
    share,
    stays,
    taken_by,
    told_by,
    told_of,
)
from pipelines import tally
from pipelines.audience import Audience
from pipelines.burning import Episodes
from pipelines.documents import Candidate

log = structlog.get_logger(__name__)

MERGED = Counter("tapewatch_alerts_merged_total", "Episodes that became part of another alert instead of ringing.")

GRAVE = ("error", "critical")
"""Severities from which a company rings at once when the wider alert that held it is over."""

KNOWN = 16
"""Ended alerts that a wider burst remembers."""


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


def settle(candidate: Candidate, episodes: Episodes, audience: Audience) -> Iterator[Telling]:
    """What an episode's event, not seen before, leads to: in the order in which it is to be told."""
    return _Event(episodes, audience).settle(candidate)


class _Event:
    """One event of one episode, among all that are open."""

    def __init__(self, episodes: Episodes, audience: Audience) -> None:
        self._all = episodes
        self._audience = audience

    def settle(self, candidate: Candidate) -> Iterator[Telling]:
        if candidate.event.kind == "resolved":
            return self._end(candidate)
        row = self._all.take_in(candidate)
        if row.rang is not None:
            return self._grow(row, candidate)
        self._recall(row, candidate)
        return self._move(row, candidate)

    # -- what an event does to its episode ----------------------------------------------------------------

    def _move(self, row: Burning, candidate: Candidate) -> Iterator[Telling]:
        """One that has not rung: it stays where it is held, is held by another, or rings."""
        at, told = candidate.event.at, self._all.near(row)
        heard = [one for one in told if not self._audience.hushed(one)]
        holder = self._all.get(row.holder)
        if holder is None or not stays(row, holder, told):
            holder = holder_of(row, heard, at)
        if holder is None and row.into and explained(row, heard):
            self._all.put(row)
            yield Telling(_as(candidate, row), row.into)  # of what is over
            return
        if (
            holder is None
            and (wide := rather(row, self._all.wide_held(), self._all.heard(self._audience), at)) is not None
        ):
            yield from self._ring(wide, self._all.last(wide, at))
            holder = wide
        if holder is None:
            yield from self._ring(row, candidate)
        else:
            yield from self._join(row, holder, candidate)

    def _join(self, row: Burning, holder: Burning, candidate: Candidate) -> Iterator[Telling]:
        self._hold(row, holder, candidate.event.at)
        yield Telling(_as(candidate, row), row.into)
        if self._audience.wanted(row, holder):
            yield self._telling(_as(self._all.last(holder, -math.inf), holder), holder)._replace(late=True)

    def _ring(self, row: Burning, candidate: Candidate) -> Iterator[Telling]:
        event = candidate.event
        was_told = event.kind == "updated" and row.holder == ""
        row.rang, row.moved = event.at, event.at
        self._all.put(row)
        ended = list(self._take(row, event.at))
        rings = candidate if was_told else _as(candidate, row, "firing")
        yield self._telling(rings, row)
        yield from ended

    def _grow(self, row: Burning, candidate: Candidate) -> Iterator[Telling]:
        """One that rang has changed: what became a part of it merges away, and what is no part of it any more rings."""
        at = row.moved = candidate.event.at
        self._all.put(row)
        ended = list(self._take(row, at))
        members = self._all.members(row)
        left = [one for one in members if one.width < row.width and not stays(one, row, self._all.near(one))]
        leaving = {id(one) for one in left}
        staying = tuple(one for one in members if id(one) not in leaving)
        yield Telling(_as(candidate, row), None, row, staying)
        yield from ended
        for one in left:
            yield from self._again(one, at)

    def _end(self, candidate: Candidate) -> Iterator[Telling]:
        event = candidate.event
        name = episode_id(candidate.rule, event.key, event.opened_by)
        row = self._all.get(name)
        if row is None:
            yield Telling(candidate)  # of a version that merged nothing
            return
        ended = _as(candidate, row)
        if row.rang is None:
            yield Telling(ended, row.into)
        else:
            yield self._telling(ended, row)
        members = self._all.members(row)
        self._all.forget(name)
        grave = [one for one in members if one.severity in GRAVE and burns_on(one, row)][:FEW]
        if row.rang is not None:
            self._remember(row, [one for one in members if one not in grave])
            if not self._audience.hushed(row):
                self._all.keep(name, row, event.at)
        # The rest rings when it has more to tell, if ever: most of what a wide burst held ends with it, a bit later.
        for one in grave:
            yield from self._again(one, event.at)

    def _again(self, row: Burning, at: float) -> Iterator[Telling]:
        """One that was held and is no more, as it stood at its last event."""
        yield from self._move(row, self._all.last(row, at))

    def _take(self, row: Burning, at: float) -> Iterator[Telling]:
        """What rang a short while ago and merges away, since ``row`` rings or grew."""
        if self._audience.hushed(row):
            return  # nobody would hear of what it holds
        for one, into in taken_by(row, self._all.heard(self._audience), at):
            last = self._all.last(one, at)
            yield self._telling(_merged_away(_as(last, one)), one)
            for member in self._all.members(one):
                self._hold(member, into, at)
            one.rang, one.life = None, one.life + 1
            one.alert = episode_id(last.rule, one.key, _opened_by(last.event, one))
            self._hold(one, into, at)
            yield Telling(_as(last, one, "firing"), one.into)

    def _hold(self, row: Burning, holder: Burning, at: float) -> None:
        name = self._all.name(holder)
        if row.holder != name:
            tally.inc(MERGED)
            log.info("merged", action="merge", key=row.key, into=holder.key)
        row.holder, row.into, holder.moved = name, holder.alert, at
        self._all.put(row, holder)

    def _remember(self, ended: Burning, members: list[Burning]) -> None:
        """What ended was told, and makes none of the others ring: not the wider ones that it had a part in, nor, with
        what they had of it, those that it held."""
        for one in members:
            if one.width < ended.width:
                one.told = told_of(one, ended)
                self._all.put(one)
        for one in self._all:
            if one.rang is None and one.width > ended.width and share(one, ended) > 0.0 and ended.key not in one.known:
                one.known = (*one.known, ended.key)[-KNOWN:]
                self._all.put(one)

    def _recall(self, row: Burning, candidate: Candidate) -> None:
        """Notes what of a burst was told by an alert that is over: it rings by the rest, or is a part of that one."""
        least, at = TIPPED * row.observed, candidate.event.at
        for name, over in self._all.over():
            age = at - (over.ended or 0.0)
            told = told_by(row, candidate.came, over) if age < REMEMBERED else 0.0
            if told > least:
                least, row.follows = told, over.alert
                row.told = max(row.told, told)
                if row.holder not in self._all:
                    row.holder, row.into = name, over.alert
            elif over.key == row.key and age < TOGETHER and not row.follows:
                row.follows = over.alert

    def _telling(self, candidate: Candidate, row: Burning) -> Telling:
        return Telling(candidate, None, row, tuple(self._all.members(row)))


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
