"""Coverage: which sources can be seen, what each key lives on, and for how long it could not be seen.

A key's exposure stops with the sources that bring its evidence, by what they alone bring: losing one that tells 70 %
of a key's stories takes 70 % of its exposure, less what the others tell as well, and nothing from keys that live on
others. An outage is what the log's source records say, and a silence of these records (nobody was reading). What a
source brings afterwards from within its outage shows that it had not lost it: the outage then ends where that begins.

Pure: seconds since 1970 as the log has them, no clock. Sources are told apart by 32 bits of their name.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Collection, Sequence
from functools import lru_cache

import msgspec

from pipelines.documents import Coverage, SourceRecord, epoch
from pipelines.outages import LONGEST, Outages, share_of

BLIND = ("stale", "down", "stopped")
"""States in which a source, with a reason, can't be seen. A file that was read to its end has none: it is done."""

SOURCES = 8
"""Sources of a key that are told apart: more than that, and none of them is a great loss."""

MEMORY = 100.0
"""Items at which a key's counts are halved: its shares are those of the latest fifty to a hundred."""

KNOWN = 3.0
"""Items from which a key's own sources speak; below, it stands for its class, which is blind when all of it is."""

SLOW = 0.2
"""Weight of what comes while all that a key lives on is missing, towards what it lives on."""

WHOLLY = 0.95
"""Share of a key's evidence from which its loss is blindness: what little is left can't say that it is quiet."""

GRACE = 60.0
"""Seconds, or its interval if that is longer, for which a source may be unread before it counts as lost: time for a
first read that waits for its turn and its time-out."""

RESTS = 90.0
"""Seconds without a record of any source, which come every 15 s, from which nobody is taken to have been reading where
minutes matter: to who asks whether a key fell silent. To baselines and bursts they don't."""

NOTABLE = 0.01
"""Share of a key's items below which a source is not counted among its own."""


@lru_cache(1_024)
def mark_of(source: str) -> int:
    """32 bits of a source's name."""
    return zlib.crc32(source.encode())


class Seen(msgspec.Struct, array_like=True):
    """What is known of one source."""

    name: str
    social: bool
    state: str
    done: bool
    """Read to its end: neither seen nor missing."""
    outages: Outages
    unread: float | None = None
    """Since when it is known without having been read once."""


class Sight(msgspec.Struct, array_like=True):
    """What one key lives on in one class, and for how long it could not be seen. Lists go together."""

    sources: list[int] = []
    items: list[float] = []
    """What each brought, by relevance, reprints as well; halved together now and then."""
    looked: list[float] = []
    """Blind seconds of each when the key last looked."""
    of_class: float = 0.0
    """Blind seconds of its class when the key last looked."""
    total: float = 0.0
    """Sum of the items."""
    stories: float = 0.0
    """What was new of them."""
    blind: float = 0.0
    """Seconds in which the key could not be seen, each by the share that was missing."""
    at: float = 0.0
    version: int = 0

    def feed(self, place: int, relevance: float, novelty: float) -> None:
        """Counts an item from the source at ``place``."""
        self.items[place] += relevance
        self.total += relevance
        self.stories += relevance * novelty
        if self.total > MEMORY:
            self.items = [item / 2.0 for item in self.items]
            self.total, self.stories = sum(self.items), self.stories / 2.0

    def seat(self, source: int, looked: float) -> int:
        """A place for a new source, blind for ``looked`` seconds so far: the smallest one's, where all are taken."""
        if len(self.sources) >= SOURCES:
            smallest = min(range(len(self.items)), key=self.items.__getitem__)
            self.total -= self.items[smallest]
            for column in (self.sources, self.items, self.looked):
                del column[smallest]
        self.sources.append(source)
        self.items.append(0.0)
        self.looked.append(looked)
        return len(self.sources) - 1

    @property
    def known(self) -> bool:
        return self.total >= KNOWN and self.stories > 0

    def lost(self, blind: Sequence[float]) -> float:
        """What could not be seen, where each source was blind for ``blind`` (seconds, or a share).

        1 - P(a living source tells a story) is at least 1 - the sum of their shares of the stories: nothing where the
        others tell everything too, the whole share of a source whose stories nobody else tells.
        """
        most = max(blind, default=0.0)
        if most <= 0:
            return 0.0
        told = sum(item * (most - seconds) for item, seconds in zip(self.items, blind, strict=True)) / self.stories
        return min(max(0.0, most - told), most)


class Sights(msgspec.Struct, array_like=True):
    """A key's sights by class."""

    news: Sight | None = None
    social: Sight | None = None

    def of(self, social: bool) -> Sight | None:
        return self.social if social else self.news

    @property
    def blind(self) -> tuple[float, float]:
        """Cumulative seconds in which the key could not be seen, as it last looked."""
        news, social = self.news, self.social
        return 0.0 if news is None else news.blind, 0.0 if social is None else social.blind


class Seeing(msgspec.Struct, array_like=True):
    """Which sources live, and when each, and each class as a whole, could not be seen."""

    sources: dict[int, Seen] = {}
    classes: list[Outages] = msgspec.field(default_factory=lambda: [Outages(), Outages()])
    """News, social."""
    log: Outages = msgspec.field(default_factory=Outages)
    """When nothing was told of any source: what has no records of its own, like what is pushed, was not seen then."""
    applied: int = -1
    """Offset of the last record that was noted."""
    version: int = 0
    """Grows with every change of an outage."""
    dark: set[int] = set()
    """Sources that can't be seen."""
    ended: float = -math.inf
    """When the last outage that is over ended."""
    rests: Outages = msgspec.field(default_factory=Outages)
    """When nothing was told of any source for longer than RESTS: a daemon that was started anew."""

    # -- what the log says --------------------------------------------------------------------------------

    def note(self, record: SourceRecord, offset: int) -> None:
        """Takes in a source's record; one that was noted before changes nothing."""
        if offset <= self.applied:
            return
        self.applied = offset
        at, mark = epoch(record.at), mark_of(record.source)
        seen = self.sources.get(mark)
        if seen is None:
            unread = at if record.unread else None
            seen = self.sources[mark] = Seen(record.source, False, "", False, Outages(), unread)
        seen.social, seen.state = record.class_ == "social", record.state
        seen.done = record.state == "stopped" and record.reason is None
        if not record.unread:
            seen.unread = None  # for good: after a restart it is merely not read again yet
        changed = seen.outages.tell(at, _missed_since(record, at, seen.unread))
        changed = self._note_class(seen.social, at) or changed
        self.rests.tell(at, None, RESTS)
        if self.log.tell(at, None) or changed:
            self._changed()

    def keep(self, known: Collection[str]) -> bool:
        """Forgets sources that left the settings: they are neither missing nor alive. Whether there were any."""
        left = [mark for mark, seen in self.sources.items() if seen.name not in known]
        for mark in left:
            seen = self.sources.pop(mark)
            self._note_class(seen.social, self.classes[seen.social].told or 0.0)
        if left:
            self._changed()
        return bool(left)

    def may_bring(self, source: int, at: float) -> bool:
        """Whether evidence can be from within an outage of its source at all: most is not."""
        return at < self.ended or source in self.dark

    def bring(self, source: int, social: bool, at: float, fetched: float) -> bool:
        """Evidence from within an outage shows that it was none from there on. Whether that changed anything."""
        seen = self.sources.get(source)
        if seen is None or not seen.outages.bring(at, fetched):
            return False
        self.classes[social].bring(at, fetched)
        self._changed()
        return True

    def _note_class(self, social: bool, at: float) -> bool:
        """A class can't be seen while none of its sources can: since the last of them was lost."""
        starts = [s.outages.open for s in self.sources.values() if s.social == social and not s.done]
        lost = [start for start in starts if start is not None]
        return self.classes[social].tell(at, max(lost) if lost and len(lost) == len(starts) else None)

    def _changed(self) -> None:
        self.version += 1
        self.dark = {mark for mark, seen in self.sources.items() if seen.outages.open is not None}
        everything = [self.log, *self.classes, *(seen.outages for seen in self.sources.values())]
        self.ended = max((outages.kept[-1][1] for outages in everything if outages.kept), default=-math.inf)

    # -- what a key asks ----------------------------------------------------------------------------------

    def look(self, sights: Sights, social: bool, at: float) -> tuple[float, float]:
        """Cumulative seconds up to ``at`` in which a key could not be seen, by class; before an item of ``social``."""
        if social:
            if sights.social is None:
                sights.social = self._open(social, at)
        elif sights.news is None:
            sights.news = self._open(social, at)
        for sight, whole in ((sights.news, self.classes[0]), (sights.social, self.classes[1])):
            if sight is None:
                continue
            if sight.version != self.version or sight.at < self.ended or (self.dark and self._concerns(sight, whole)):
                self._look(sight, whole, at)
            elif at > sight.at:
                sight.at = at
        return sights.blind

    def _concerns(self, sight: Sight, whole: Outages) -> bool:
        """Whether what can't be seen now is any of a key's business."""
        return whole.open is not None or not self.dark.isdisjoint(sight.sources)

    def _open(self, social: bool, at: float) -> Sight:
        """A new key could be seen as long as its class could."""
        seconds = self.classes[social].seconds(at)
        return Sight(of_class=seconds, blind=seconds, at=at, version=self.version)

    def _look(self, sight: Sight, whole: Outages, at: float) -> None:
        # An outage is known some time after it began: no more can be missing than has passed.
        passed = max(0.0, at - sight.at)
        seconds = [self._seconds(source, at) for source in sight.sources]
        blind = [min(max(0.0, now - then), passed) for now, then in zip(seconds, sight.looked, strict=True)]
        of_class = whole.seconds(at)
        sight.blind += sight.lost(blind) if sight.known else min(max(0.0, of_class - sight.of_class), passed)
        sight.looked, sight.of_class = seconds, of_class
        sight.at, sight.version = max(sight.at, at), self.version

    def feed(self, sights: Sights, source: int, social: bool, relevance: float, novelty: float, at: float) -> None:
        """Counts an item towards what its key lives on, after a ``look`` at that time.

        While some of it is missing, what others bring counts by the share that is seen: a long outage of one source
        does not make the rest of them the whole.
        """
        sight = sights.of(social)
        if sight is None:
            return
        if self.dark and sight.known and self._concerns(sight, self.classes[social]):
            relevance *= max(SLOW, 1.0 - sight.lost([self._is_blind(one, at) for one in sight.sources]))
        try:
            place = sight.sources.index(source)
        except ValueError:
            place = sight.seat(source, self._seconds(source, at))
        sight.feed(place, relevance, novelty)

    def _outages(self, source: int) -> Outages:
        seen = self.sources.get(source)
        return self.log if seen is None else seen.outages

    def _seconds(self, source: int, at: float) -> float:
        return self._outages(source).seconds(at)

    def missing(self, sights: Sights, since: float, until: float) -> tuple[float, float]:
        """Share of a key's evidence, by class, that could not be seen between two times; 1 from WHOLLY on."""
        return self._missing(sights, False, since, until), self._missing(sights, True, since, until)

    def _missing(self, sights: Sights, social: bool, since: float, until: float) -> float:
        sight = sights.of(social)
        if until <= since or (not self.dark and since >= self.ended):
            return 0.0
        if sight is None or not sight.known:
            share = share_of(self.classes[social], since, until)
        else:
            share = sight.lost([share_of(self._outages(source), since, until) for source in sight.sources])
        return 1.0 if share >= WHOLLY else share

    def watched(self, sights: Sights, since: float, until: float) -> tuple[float, float]:
        """Share of a key's evidence, by class, that could be seen between two times, pauses of the daemon included."""
        news, social = self.missing(sights, since, until)
        rest = share_of(self.rests, since, until) if self.rests.kept and until > since else 0.0
        return 1.0 - max(news, rest), 1.0 - max(social, rest)

    def coverage(self, sights: Sights, at: float, backlog: float) -> Coverage:
        """What an alert says of its coverage: of all sources, and of those that its key lives on."""
        living = [seen for seen in self.sources.values() if not seen.done]
        stale = tuple(sorted(seen.name for seen in living if seen.outages.open is not None))
        unread = tuple(sorted(s.name for s in living if s.unread is not None and s.outages.open is None))
        own = _own(sights)
        lost = [self.sources[source].name for source in own if self._is_blind(source, at)]
        return Coverage(
            sources_expected=len(living),
            sources_healthy=len(living) - len(stale) - len(unread),
            stale=stale,
            backlog_seconds=round(max(0.0, backlog), 3),
            key_sources=len(own),
            key_healthy=len(own) - len(lost),
            key_stale=tuple(sorted(lost)),
            key_seen=round(1.0 - self._lost(sights, at), 3),
            unread=unread,
        )

    def _lost(self, sights: Sights, at: float) -> float:
        """Share of a key's stories, of both classes, that is missing at ``at``."""
        known = [sight for sight in (sights.news, sights.social) if sight is not None and sight.known]
        stories = sum(sight.stories for sight in known)
        parts = (sight.stories * sight.lost([self._is_blind(one, at) for one in sight.sources]) for sight in known)
        return sum(parts) / stories if stories > 0 else 0.0

    def _is_blind(self, source: int, at: float) -> bool:
        seen = self.sources.get(source)
        return seen is not None and seen.outages.open is not None and 0 <= at - seen.outages.open < LONGEST


def _own(sights: Sights) -> list[int]:
    """The sources that a key lives on, of both classes."""
    items: dict[int, float] = {}
    for sight in (sights.news, sights.social):
        if sight is not None:
            for source, item in zip(sight.sources, sight.items, strict=True):
                items[source] = items.get(source, 0.0) + item
    total = sum(items.values())
    return [source for source, item in items.items() if total > 0 and item >= NOTABLE * total]


def _missed_since(record: SourceRecord, at: float, unread: float | None) -> float | None:
    """Since when a source can't be seen, by its record: a dead one since it was last read, a frozen one from now, one
    that is ``unread`` for too long since it is."""
    if unread is not None and at - unread > max(GRACE, record.interval):
        return unread
    if record.state not in BLIND or record.reason is None:
        return None
    if record.state == "stale" or record.last_success is None:
        return at
    return min(at, epoch(record.last_success))
