"""A key's past from its closed blocks, for those who try out what would have rung.

A block holds what was counted in half an hour, and when its key's next block began. Most blocks of a company hold one
item, and then the item is known to the second; where a block holds several, they are set evenly into it, as many of
them wholly bad as its evidence comes to. What could not be seen of the sources is not recorded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from random import Random
from typing import Literal, NamedTuple, get_args

import msgspec

from alerts.baseline import BLOCK, DAY, Profile, Shape
from alerts.key_state import CLEAR, Item
from alerts.power import Past, Story, shape_of
from alerts.week import BlockSummary
from pipelines import week
from pipelines.calendars import closures
from pipelines.documents import SeriesPoint, epoch

ITEMS = 50_000
LATEST = 28 * DAY
"""A key's latest items that are gone through, and the time of which all are: what a busier key knows it has from that
time, since it forgets by items."""

REPRINT = 0.3
"""Weight of an item below which it is taken for a story told again, or one that hardly touches the key."""

OWN = 20
"""Bad stories of its own from which a key needs no other's."""

POOL = 5_000
"""Bad stories that are kept of others."""

TURN = 7
"""Days from one learning of the week's shape to the next."""


class Came(NamedTuple):
    """A block as it was counted: its start, its first item's time, evidence, documents."""

    start: float
    first: float
    bad: float
    others: float
    documents: int
    social: bool


Of = Literal["own", "alike", "class", "any"]
"""Whose bad stories: the key's own of the class, those of keys of its kind, of all keys, or those of both classes."""

OF: tuple[Of, ...] = get_args(Of)


class Drawn(msgspec.Struct, frozen=True):
    """What a crisis is made of."""

    stories: list[Story]
    of: Of


class Recorded:
    """The pasts of ``keys``, with what only all keys together tell: the week's shapes, how bad stories are.

    ``points``: of every key, each key's in the order of time. ``held``: seconds for which they are; None for ever.
    ``calendars``: of the keys that go by one.
    """

    def __init__(
        self,
        points: Iterable[tuple[str, Iterable[SeriesPoint]]],
        keys: Iterable[str],
        calendars: Mapping[str, str],
        *,
        held: float | None = None,
    ) -> None:
        self._wanted = frozenset(keys)
        self.begun, self.end = float("inf"), 0.0
        """When the stream began, as far as is known, and up to when it is."""
        self._held = held
        self._classes: set[bool] = set()
        self._blocks: dict[str, list[Came]] = {}
        self._since: dict[str, float] = {}
        self._pools: defaultdict[tuple[str, bool], list[Story]] = defaultdict(list)
        self._own: defaultdict[tuple[str, bool], list[Story]] = defaultdict(list)
        company: list[BlockSummary] = []
        for key, told in points:
            blocks = self._read(key, told)
            if key in self._wanted and blocks:
                self._blocks[key] = blocks
            if week.counts(key):
                company += [_summary(key, block) for block in blocks]
        self._calendars = calendars
        self._weeks = _weeks(company, calendars.get)

    def classes(self, key: str) -> list[bool]:
        """The classes that a key has had items of, as whether they are social; of a key without any those of all, and
        none where nothing is recorded at all."""
        found = {block.social for block in self._blocks.get(key, ())}
        return sorted(found or self._classes)

    def shape(self, key: str) -> Callable[[float], Shape]:
        """The week by time, as a key sees it."""
        calendar = self._calendars.get(key)
        return shape_of([(one.effective_from, Shape(one, closures(calendar))) for one in self._weeks])

    def past(self, key: str, rng: Random) -> Past:
        """A key's past; ``rng`` places the bad ones among the items of a block."""
        blocks = self._blocks.get(key, [])
        since = self._since.get(key, self.begun)
        if self._held is not None:
            since = max(since, self.end - self._held)  # what was counted before is not there any more
        count, place = 0, len(blocks)
        while place > 0 and (count <= ITEMS or blocks[place - 1].start >= self.end - LATEST):
            place -= 1
            count += blocks[place].documents
        if place > 0:
            since = max(since, blocks[place].start)
        items = [item for block in blocks[place:] for item in _items(block, rng)]
        return Past(key, since, self.end, sorted(items))

    def knows(self, key: str) -> bool:
        """Whether it holds anything of a key."""
        return key in self._blocks

    def count(self, key: str, social: bool) -> int:
        """Documents of a class that the key's past holds."""
        return sum(block.documents for block in self._blocks.get(key, ()) if block.social == social)

    def stories(self, key: str, social: bool) -> Drawn:
        """What a crisis of the key draws on: the narrowest of OF that holds enough."""
        same = chain.from_iterable(pool for (_, one), pool in self._pools.items() if one == social)
        choices = (self._own.get((key, social), []), self._pools.get((kind(key), social), []), list(same))
        for stories, of in zip(choices, OF, strict=False):
            if len(stories) >= OWN:
                return Drawn(stories, of)
        return Drawn(list(chain.from_iterable(self._pools.values())), "any")

    def _read(self, key: str, points: Iterable[SeriesPoint]) -> list[Came]:
        by_class: dict[str, list[SeriesPoint]] = {"news": [], "social": []}
        for point in points:
            if point.documents > 0:
                by_class[point.class_].append(point)
        blocks = []
        for class_, told in by_class.items():
            mine = [Came(*pair, class_ == "social") for pair in _firsts(told)]
            blocks += mine
            if mine:
                first = told[0]
                since = mine[0].start if first.closed_at is None else epoch(first.closed_at) - first.baseline_span
                self._since[key] = min(since, self._since.get(key, since))
                self.begun = min(self.begun, since)
                self.end = max(self.end, mine[-1].start + BLOCK)
                self._classes.add(class_ == "social")
            self._note_stories(key, mine, class_ == "social")
        return sorted(blocks)

    def _note_stories(self, key: str, blocks: Sequence[Came], social: bool) -> None:
        """Of blocks with one item it is known how bad and how new it was."""
        for block in blocks:
            weight = block.bad + block.others
            if block.documents == 1 and weight >= REPRINT and block.bad >= CLEAR * weight:
                story = Story(min(1.0, block.bad / weight), weight)
                if key in self._wanted:
                    self._own[key, social].append(story)
                pool = self._pools[kind(key), social]
                if len(pool) < POOL:
                    pool.append(story)


def kind(key: str) -> str:
    """What a key is: entity, topic, list, market, or pair of a company and a topic."""
    return "pair" if "/" in key else key.split(":")[0]


def _firsts(points: Sequence[SeriesPoint]) -> Iterable[tuple[float, float, float, float, int]]:
    """Blocks with the time of their first item: when the block before was closed."""
    before: SeriesPoint | None = None
    for point in points:
        start = epoch(point.start)
        known = epoch(before.closed_at) if before is not None and before.closed_at is not None else start
        # A block that is missing between the two closed the one before it.
        first = known if start <= known < start + BLOCK else start
        yield start, first, point.bad, point.others, point.documents
        before = point


def _summary(key: str, block: Came) -> BlockSummary:
    return BlockSummary(key, "social" if block.social else "news", block.start, block.bad, block.bad + block.others)


def _items(block: Came, rng: Random) -> list[Item]:
    """As many items as there were documents, the first one at its time."""
    weight = (block.bad + block.others) / block.documents
    gap = (block.start + BLOCK - block.first) / block.documents
    badness, left = [0.0] * block.documents, block.bad
    for place in rng.sample(range(block.documents), block.documents) if weight > 0 else ():
        badness[place] = min(1.0, left / weight)
        left = max(0.0, left - weight)
    return [
        Item(block.first + gap * place, b, weight, block.social, new_story=weight >= REPRINT)
        for place, b in enumerate(badness)
    ]


def _weeks(blocks: list[BlockSummary], calendar: week.Calendars) -> list[Profile]:
    """The versions of the week that would have been learned; flat before there is one."""
    found = [Profile()]
    if not blocks:
        return found
    blocks.sort(key=lambda block: block.start)
    first, end = int(blocks[0].start // DAY), int(blocks[-1].start // DAY) + 1
    begin = until = 0
    for today in range(first + week.LEAST, end + 1, TURN):
        while until < len(blocks) and blocks[until].start < today * DAY:
            until += 1
        while begin < until and blocks[begin].start < (today - week.SPAN) * DAY:
            begin += 1
        profile = week.profile_of(blocks[begin:until], found[-1], today, calendar)
        if profile is not None:
            found.append(profile)
    return found
