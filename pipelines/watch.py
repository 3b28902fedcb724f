"""Which keys are watched: a watch-list's entities, topics and their pairs, the list itself, the topics, the market.

Keys: ``entity:ACME``, ``topic:legal-regulation``, ``entity:ACME/topic:earnings``, ``list:banks``, ``market``.
Only watched keys get evidence and can ring.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from alerts.merging import Width
from pipelines.entities import Entity
from pipelines.text import slug

MARKET = "market"

ALSO = 16
"""Other keys that a piece of evidence names: a round-up of a hundred companies says little about what bursts."""


class WatchList(msgspec.Struct, frozen=True, kw_only=True):
    """One list as configured, its entities resolved."""

    name: str
    entities: tuple[Entity, ...] = ()
    topics: tuple[str, ...] = ()
    """Topic labels, spelled as in the model's card."""
    budget: float | None = None
    """Expected false alarms per key and month; None is the detector's default."""
    shared: float | None = None
    """Expected false alarms a month of the whole list, in place of ``budget``."""

    def watched(self) -> list[WatchedKey]:
        """Its keys, each once: the list itself, its topics, its entities and their pairs with the topics. A budget of
        the whole list is shared equally by them, whatever they are: a share by what each usually brings would make a
        key's threshold hang on other keys."""
        found = {key.key: key for key in self._keys()}
        budget = self.shared / len(found) if self.shared is not None and found else self.budget
        return [msgspec.structs.replace(key, watchlists=(self.name,), budget=budget) for key in found.values()]

    def _keys(self) -> Iterator[WatchedKey]:
        if self.entities:
            common = {entity.calendar for entity in self.entities}
            calendar = common.pop() if len(common) == 1 else None
            yield WatchedKey(key=list_key(self.name), entities=self.entities, calendar=calendar)
        for label in self.topics:
            yield WatchedKey(key=topic_key(label), topic=label)
        for entity in self.entities:
            yield WatchedKey(key=entity_key(entity.id), entities=(entity,), calendar=entity.calendar)
            for label in self.topics:
                yield WatchedKey(
                    key=pair_key(entity.id, label), entities=(entity,), topic=label, calendar=entity.calendar
                )


class WatchedKey(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a watched key: what alerts say about it, and its budget."""

    key: str
    entities: tuple[Entity, ...] = ()
    topic: str | None = None
    watchlists: tuple[str, ...] = ()
    budget: float | None = None
    calendar: str | None = None
    """Of the exchange that all its entities are tied to."""

    @property
    def is_company(self) -> bool:
        """Whether it is one company's, whatever the topic."""
        return len(self.entities) == 1 and self.topic is None and self.key.startswith("entity:")

    @property
    def name(self) -> str:
        """What people call it."""
        if self.key == MARKET:
            return "The market"
        if self.key.startswith("list:"):
            return f"Watch-list {', '.join(self.watchlists)}"
        if self.entities and self.topic:
            return f"{self.entities[0].name} ({self.topic})"
        return self.entities[0].name if self.entities else self.topic or self.key


class Match(NamedTuple):
    """A watched key that a document speaks about.

    ``entities``: those of the document whose news is the key's; none where what is said of all counts.
    """

    key: str
    relevance: float
    entities: tuple[str, ...] = ()


def entity_key(entity: str) -> str:
    return f"entity:{entity}"


def topic_key(label: str) -> str:
    return f"topic:{slug(label)}"


def pair_key(entity: str, label: str) -> str:
    return f"{entity_key(entity)}/{topic_key(label)}"


def list_key(name: str) -> str:
    return f"list:{slug(name)}"


def width(key: str) -> Width:
    """How much a key takes in."""
    if key == MARKET:
        return Width.MARKET
    if key.startswith("list:"):
        return Width.LIST
    if key.startswith("topic:"):
        return Width.TOPIC
    return Width.PAIR if "/topic:" in key else Width.COMPANY


def also(key: str, found: Sequence[Match]) -> tuple[tuple[str, float], ...]:
    """Which other keys a document counts for, with its relevance to each: of very many those of few companies."""
    others = [match for match in found if match.key not in (key, MARKET)]
    others.sort(key=lambda match: width(match.key) == Width.PAIR)  # they go first where there are too many
    return tuple((match.key, round(match.relevance, 4)) for match in others[:ALSO])


class Watch:
    """All watched keys, and the lookup from a document's entities and topic to them."""

    def __init__(self, lists: Sequence[WatchList], topics: Iterable[str]) -> None:
        self.lists = tuple(lists)
        self.keys: dict[str, WatchedKey] = {}
        self._lists_of: dict[str, list[str]] = {}
        """Entity to the keys of its lists."""
        self._pairs: set[tuple[str, str]] = set()
        self._topics = {label: topic_key(label) for label in topics}
        for label, key in self._topics.items():
            self._add(WatchedKey(key=key, topic=label))
        self._add(WatchedKey(key=MARKET))
        for watched in lists:
            self._add_list(watched)

    def entities(self) -> list[Entity]:
        """Every watched entity, once."""
        return list({entity.id: entity for listed in self.lists for entity in listed.entities}.values())

    def calendar(self, key: str) -> str | None:
        """The trading calendar that a key goes by; None: every day is as its weekday usually is."""
        watched = self.keys.get(key)
        return watched.calendar if watched is not None else None

    def match(self, entities: Sequence[tuple[str, float]], topic: str | None, probability: float) -> list[Match]:
        """The watched keys of a document: ``entities`` as (id, relevance), ``topic`` with its probability.

        The most specific come first: of those that ring with one document the first gives the alert its name.
        """
        pairs, companies, listed = list[Match](), list[Match](), dict[str, Match]()
        for entity, relevance in entities:
            lists = self._lists_of.get(entity)
            if lists is None:
                continue
            companies.append(Match(entity_key(entity), relevance, (entity,)))
            if topic is not None and (entity, topic) in self._pairs:
                pairs.append(Match(pair_key(entity, topic), relevance * probability, (entity,)))
            for name in lists:
                known = listed.get(name, Match(name, 0.0))
                listed[name] = Match(name, max(known.relevance, relevance), (*known.entities, entity))
        found = [*pairs, *companies, *listed.values()]
        key = self._topics.get(topic) if topic is not None else None
        if key is not None:
            found.append(Match(key, probability))
        return [*found, Match(MARKET, 1.0)]

    def _add_list(self, watched: WatchList) -> None:
        for key in watched.watched():
            self._add(key)
        for label in watched.topics:
            self._topics[label] = topic_key(label)
        for entity in watched.entities:
            self._lists_of.setdefault(entity.id, []).append(list_key(watched.name))
            self._pairs.update((entity.id, label) for label in watched.topics)

    def _add(self, new: WatchedKey) -> None:
        """A key of several lists belongs to all of them, and keeps the largest budget that one of them gives."""
        old = self.keys.get(new.key)
        if old is None:
            self.keys[new.key] = new
            return
        budgets = [budget for budget in (old.budget, new.budget) if budget is not None]
        self.keys[new.key] = msgspec.structs.replace(
            old,
            watchlists=tuple(dict.fromkeys(old.watchlists + new.watchlists)),
            budget=max(budgets, default=None),
        )
