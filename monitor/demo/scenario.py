"""When the newsroom publishes what. Pure: the same seed and start give the same publications."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence

import msgspec

from monitor.demo import stories

DAY = 86_400.0
HISTORY_DAYS = 21

# Seconds after the start at which the acts begin.
REPRINTS_AT = 10.0
CRISIS_AT = 16.0
CRISIS_FOR = 26.0
SURGE_AT = 20.0
POSITIVE_AT = 30.0
TOPIC_AT = 62.0
TOPIC_FOR = 28.0
QUIET_AT = 95.0
LAST_AT = 600.0

NEWS_FEEDS = ("wire", "ledger", "tabulator")
SOCIAL = "social"
SYNDICATE = "syndicate"


class Publication(msgspec.Struct, frozen=True):
    """One text and when it appears where. ``act`` names the part of the scenario it belongs to."""

    at: float
    feed: str
    title: str
    publisher: str | None
    author: str | None
    act: str

    @property
    def guid(self) -> str:
        identity = f"{self.feed}|{self.at:.3f}|{self.title}|{self.publisher}"
        return hashlib.sha256(identity.encode()).hexdigest()[:16]


class Scenario(msgspec.Struct, frozen=True):
    """``history``: what was published before ``start``; ``live``: what will be after it."""

    start: float
    history: tuple[Publication, ...]
    live: tuple[Publication, ...]


def build(seed: int, start: float) -> Scenario:
    """The scenario whose live part begins at ``start`` (seconds since 1970)."""
    rng = random.Random(seed)  # noqa: S311 (a script, no secret)
    history = sorted(_history(rng, start), key=lambda p: (p.at, p.title))
    live = sorted([*_background(rng, start), *_acts(rng, start)], key=lambda p: (p.at, p.title))
    return Scenario(start, tuple(history), tuple(live))


def _fill(rng: random.Random, template: str, company: str = "") -> str:
    short = stories.COMPANIES[company][1] if company else ""
    return template.format(
        c=company, s=short, n=rng.randint(3, 97), p=rng.choice(stories.PLACES), f=rng.choice(stories.PEOPLE)
    )


def _history(rng: random.Random, start: float) -> Iterator[Publication]:
    begin = start - HISTORY_DAYS * DAY
    for company in stories.COMPANIES:
        for at in _moments(rng, begin, start - 60.0, 2.2 / DAY):
            yield _news(rng, at, _fill(rng, _mood(rng), company), "history")
        for at in _moments(rng, begin, start - 60.0, 1.5 / DAY):
            yield _post(rng, at, _fill(rng, rng.choice(stories.CHATTER), company), "history")
    for at in _moments(rng, begin, start - 60.0, 12.0 / DAY):
        yield _news(rng, at, _fill(rng, rng.choice(stories.MACRO)), "history")


def _mood(rng: random.Random) -> str:
    draw = rng.random()
    if draw < 0.06:
        return rng.choice(stories.GLOOMY)
    return rng.choice(stories.CHEERFUL if draw < 0.18 else stories.ROUTINE)


def _background(rng: random.Random, start: float) -> Iterator[Publication]:
    """Life goes on: a routine story every few seconds, and never a bad one, so that the acts stand out."""
    names = list(stories.COMPANIES)
    for at in _moments(rng, start + 1.0, start + LAST_AT, 1 / 6.0):
        draw = rng.random()
        if draw < 0.45:
            yield _news(rng, at, _fill(rng, rng.choice(stories.ROUTINE), rng.choice(names)), "background")
        elif draw < 0.75:
            yield _news(rng, at, _fill(rng, rng.choice(stories.MACRO)), "background")
        else:
            yield _post(rng, at, _fill(rng, rng.choice(stories.CHATTER), rng.choice(names)), "background")


def _acts(rng: random.Random, start: float) -> Iterator[Publication]:
    for place, publisher in enumerate((*stories.PUBLISHERS, *stories.PUBLISHERS)):
        title = stories.REPRINTED if place < 8 else f"{stories.REPRINTED}: {publisher}"
        yield Publication(start + REPRINTS_AT + 0.5 * place, SYNDICATE, title, publisher, None, "reprints")
    for at, title in _spread(rng, stories.COMPANY_CRISIS, start + CRISIS_AT, CRISIS_FOR):
        yield _news(rng, at, title, "company crisis")
    for at, title in _spread(rng, stories.COMPANY_CRISIS_POSTS, start + CRISIS_AT + 3.0, CRISIS_FOR):
        yield _post(rng, at, title, "company crisis")
    for at, title in _spread(rng, stories.TOPIC_CRISIS, start + TOPIC_AT, TOPIC_FOR):
        yield _news(rng, at, title, "topic crisis")
    for at, title in _spread(rng, stories.POSITIVE_BURST, start + POSITIVE_AT, 15.0):
        yield _news(rng, at, title, "positive burst")
    for number in range(60):
        title = _fill(rng, stories.SURGE[number % len(stories.SURGE)])
        yield _post(rng, start + SURGE_AT + 0.3 * number, title, "neutral surge")


def _spread(rng: random.Random, titles: Sequence[str], begin: float, length: float) -> Iterator[tuple[float, str]]:
    shuffled = list(titles)
    rng.shuffle(shuffled)
    for place, title in enumerate(shuffled):
        yield begin + length * place / len(shuffled), title


def _moments(rng: random.Random, begin: float, end: float, rate: float) -> Iterator[float]:
    at = begin + rng.expovariate(rate)
    while at < end:
        yield round(at, 3)
        at += rng.expovariate(rate)


def _news(rng: random.Random, at: float, title: str, act: str) -> Publication:
    publisher = rng.choice(stories.PUBLISHERS)
    return Publication(at, NEWS_FEEDS[hash_of(publisher) % len(NEWS_FEEDS)], title, publisher, None, act)


def _post(rng: random.Random, at: float, title: str, act: str) -> Publication:
    return Publication(at, SOCIAL, title, None, rng.choice(stories.AUTHORS), act)


def hash_of(text: str) -> int:
    """The same in every process, as hash() is not."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
