"""Coverage: which sources can be seen, what each key lives on, and for how long it could not be seen.

A key's exposure stops with the sources that bring its evidence, each by its share: losing one that brings 70 % of a
key's items takes 70 % of its exposure, and nothing from keys that live on others. An outage is what the log's source
records say, and a silence of these records (nobody was reading). What a source brings afterwards from within its
outage shows that it had not lost it: the outage then ends where that begins.

Pure: seconds since 1970 as the log has them, no clock. Sources are told apart by 32 bits of their name.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Collection

import msgspec

from pipelines.documents import Coverage, SourceRecord, epoch

BLIND = ("stale", "down", "stopped")
"""States in which a source, with a reason, can't be seen. A file that was read to its end has none: it is done."""

SILENCE = 900.0
"""Seconds between two records of a source, which come every 15 s, from which nobody was reading."""

KEPT = 4
"""Ended outages that are kept with their times; of older ones only the sum matters."""

SOURCES = 8
"""Sources of a key that are told apart: more than that, and none of them is a great loss."""

MEMORY = 100.0
"""Weight of evidence at which a key's weights are halved: its shares are those of the latest fifty to a hundred."""

KNOWN = 3.0
"""Weight of evidence from which a key's own sources speak; below it stands for its class, blind when all of it is."""

WHOLLY = 0.95
"""Share of a key's evidence from which its loss is blindness: what little is left can't say that it is quiet."""

NOTABLE = 0.01
"""Share of a key's evidence below which a source is not counted among its own."""


def mark_of(source: str) -> int:
    """32 bits of a source's name."""
    return zlib.crc32(source.encode())


class Outages(msgspec.Struct, array_like=True):
    """When something could not be seen: the outage that goes on, and those that ended."""

    told: float | None = None
    """When the log last spoke of it."""
    open: float | None = None
    """Since when it can't be seen."""
    kept: list[tuple[float, float]] = []
    gone: float = 0.0
    """Seconds of ended outages that are no longer kept."""

    @property
    def settled(self) -> float:
        """From when on everything was seen, as far as is known."""
        if self.open is not None:
            return math.inf
        return self.kept[-1][1] if self.kept else -math.inf

    def tell(self, at: float, since: float | None) -> bool:
        """The log says at ``at`` that it can't be seen ``since`` then, or can (None). Whether that changed anything."""
        silent, self.told = self.told, at
        if since is not None:
            if self.open is not None:
                return False
            self.open = max(since, self.settled)
            return True
        if self.open is not None:
            self._end(at)
            return True
        if silent is not None and at - silent > SILENCE:
            self.open = max(silent, self.settled)
            self._end(at)
            return True
        return False

    def bring(self, at: float, fetched: float) -> bool:
        """It brought something from ``at``, ``fetched`` then. Whether that changed anything."""
        changed = False
        if self.open is not None:
            if self.told is not None and fetched <= self.told:
                return False  # fetched before the outage was known, and only now judged
            self._end(fetched)
            self.told = fetched
            changed = True
        for place, (start, end) in enumerate(self.kept):
            # What is dated by its fetching was brought live; only what is older than that comes from a backlog.
            if start < at < end and at < fetched:
                self.kept[place] = (start, at)
                changed = True
        return changed

    def _end(self, at: float) -> None:
        start, self.open = self.open, None
        if start is not None and at > start:
            self.kept.append((start, at))
        while len(self.kept) > KEPT:
            first, last = self.kept.pop(0)
            self.gone += last - first

    def seconds(self, t: float) -> float:
        """Seconds up to ``t`` in which it could not be seen."""
        total = self.gone
        for start, end in self.kept:
            if t > start:
                total += min(t, end) - start
        if self.open is not None and t > self.open:
            total += t - self.open
        return total


class Seen(msgspec.Struct, array_like=True):
    """What is known of one source."""

    name: str
    social: bool
    state: str
    done: bool
    """Read to its end: neither seen nor missing."""
    outages: Outages

    @property
    def blind(self) -> bool:
        return self.outages.open is not None


class Sight(msgspec.Struct, array_like=True):
    """What one key lives on in one class, and for how long it could not be seen. Lists go together."""

    sources: list[int] = []
    weights: list[float] = []
    """Evidence that each brought; halved together now and then."""
    looked: list[float] = []
    """Blind seconds of each when the key last looked."""
    of_class: float = 0.0
    """Blind seconds of its class when the key last looked."""
    total: float = 0.0
    """Sum of the weights."""
    blind: float = 0.0
    """Seconds in which the key could not be seen, each by the share that was missing."""
    at: float = 0.0
    version: int = 0

    def feed(self, place: int, weight: float) -> None:
        """Counts evidence of ``weight`` from the source at ``place``."""
        self.weights[place] += weight
        self.total += weight
        if self.total > MEMORY:
            self.weights = [weight / 2.0 for weight in self.weights]
            self.total = sum(self.weights)

    def seat(self, source: int, looked: float) -> int:
        """A place for a new source, blind for ``looked`` seconds so far: the smallest one's, where all are taken."""
        if len(self.sources) >= SOURCES:
            smallest = min(range(len(self.weights)), key=self.weights.__getitem__)
            self.total -= self.weights[smallest]
            for column in (self.sources, self.weights, self.looked):
                del column[smallest]
        self.sources.append(source)
        self.weights.append(0.0)
        self.looked.append(looked)
        return len(self.sources) - 1


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
    applied: int = -1
    """Offset of the last record that was noted."""
    version: int = 0
    """Grows with every change of an outage."""
    settled: float = -math.inf
    """From when on everything was seen, as far as is known."""

    # -- what the log says --------------------------------------------------------------------------------

    def note(self, record: SourceRecord, offset: int) -> None:
        """Takes in a source's record; one that was noted before changes nothing."""
        if offset <= self.applied:
            return
        self.applied = offset
        at, mark = epoch(record.at), mark_of(record.source)
        seen = self.sources.get(mark)
        if seen is None:
            seen = self.sources[mark] = Seen(record.source, False, "", False, Outages())
        seen.social, seen.state = record.class_ == "social", record.state
        seen.done = record.state == "stopped" and record.reason is None
        changed = seen.outages.tell(at, _missed_since(record, at))
        changed = self._note_class(seen.social, at) or changed
        if changed:
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

    def bring(self, source: int, social: bool, at: float, fetched: float) -> bool:
        """Evidence from within an outage shows that it was none from there on. Whether that changed anything."""
        seen = self.sources.get(source)
        if seen is None or at >= seen.outages.settled:
            return False
        if not seen.outages.bring(at, fetched):
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
        everything = [*self.classes, *(seen.outages for seen in self.sources.values())]
        self.settled = max(outages.settled for outages in everything)

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
            if sight.version != self.version or sight.at < self.settled:
                self._look(sight, whole, at)
            elif at > sight.at:
                sight.at = at
        return sights.blind

    def _open(self, social: bool, at: float) -> Sight:
        """A new key could be seen as long as its class could."""
        seconds = self.classes[social].seconds(at)
        return Sight(of_class=seconds, blind=seconds, at=at, version=self.version)

    def _look(self, sight: Sight, whole: Outages, at: float) -> None:
        # An outage is known some time after it began: no more can be missing than has passed.
        passed = max(0.0, at - sight.at)
        lost = 0.0
        for place, source in enumerate(sight.sources):
            seconds = self._seconds(source, at)
            lost += sight.weights[place] * min(max(0.0, seconds - sight.looked[place]), passed)
            sight.looked[place] = seconds
        seconds = whole.seconds(at)
        of_class, sight.of_class = min(max(0.0, seconds - sight.of_class), passed), seconds
        sight.blind += lost / sight.total if sight.total >= KNOWN else of_class
        sight.at, sight.version = max(sight.at, at), self.version

    def feed(self, sights: Sights, source: int, social: bool, weight: float, at: float) -> None:
        """Counts evidence towards what its key lives on, after a ``look`` at that time."""
        sight = sights.of(social)
        if sight is None:
            return
        try:
            place = sight.sources.index(source)
        except ValueError:
            place = sight.seat(source, self._seconds(source, at))
        sight.feed(place, weight)

    def _seconds(self, source: int, at: float) -> float:
        seen = self.sources.get(source)
        return 0.0 if seen is None else seen.outages.seconds(at)

    def missing(self, sights: Sights, since: float, until: float) -> tuple[float, float]:
        """Share of a key's evidence, by class, that could not be seen between two times; 1 from WHOLLY on."""
        return self._missing(sights, False, since, until), self._missing(sights, True, since, until)

    def _missing(self, sights: Sights, social: bool, since: float, until: float) -> float:
        sight = sights.of(social)
        if until <= since or since >= self.settled:
            return 0.0
        if sight is None or sight.total < KNOWN:
            share = _share(self.classes[social], since, until)
        else:
            share = 0.0
            for source, weight in zip(sight.sources, sight.weights, strict=True):
                seen = self.sources.get(source)
                if seen is not None:
                    share += weight / sight.total * _share(seen.outages, since, until)
        return 1.0 if share >= WHOLLY else share

    def coverage(self, sights: Sights, backlog: float) -> Coverage:
        """What an alert says of its coverage: of all sources, and of those that its key lives on."""
        living = [seen for seen in self.sources.values() if not seen.done]
        stale = tuple(sorted(seen.name for seen in living if seen.blind))
        own = _own(sights)
        lost = {self.sources[source].name: weight for source, weight in own.items() if self._is_blind(source)}
        return Coverage(
            sources_expected=len(living),
            sources_healthy=len(living) - len(stale),
            stale=stale,
            backlog_seconds=round(max(0.0, backlog), 3),
            key_sources=len(own),
            key_healthy=len(own) - len(lost),
            key_stale=tuple(sorted(lost)),
            key_seen=round(1.0 - sum(lost.values()), 3),
        )

    def _is_blind(self, source: int) -> bool:
        seen = self.sources.get(source)
        return seen is not None and seen.blind


def _own(sights: Sights) -> dict[int, float]:
    """The sources that a key lives on, of both classes, with their shares of its evidence."""
    weights: dict[int, float] = {}
    for sight in (sights.news, sights.social):
        if sight is not None:
            for source, weight in zip(sight.sources, sight.weights, strict=True):
                weights[source] = weights.get(source, 0.0) + weight
    total = sum(weights.values())
    return {source: weight / total for source, weight in weights.items() if total > 0 and weight >= NOTABLE * total}


def _share(outages: Outages, since: float, until: float) -> float:
    return (outages.seconds(until) - outages.seconds(since)) / (until - since)


def _missed_since(record: SourceRecord, at: float) -> float | None:
    """Since when a source can't be seen, by its record: a dead one since it was last read, a frozen one from now."""
    if record.state not in BLIND or record.reason is None:
        return None
    if record.state == "stale" or record.last_success is None:
        return at
    return min(at, epoch(record.last_success))
