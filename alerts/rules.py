"""What users configure about alerts: what rings beside bursts (rules), who is told (routes) and what is kept quiet
(silences). Pure.

Without routes every alert goes to every channel and operational events go to log and metrics alone. With routes the
first that matches decides; an event that none matches goes nowhere and is still seen on the page and in the log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Literal

import msgspec

from alerts.episode import Severity

RuleKind = Literal["burst", "flash", "silence"]

CODE = "1"
"""Version of what decides on flashes and silences."""


class _Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What rules share. ``budget``: false alarms a month that its owner is willing to get, all its keys together.
    ``watchlists``: whose keys it watches; none means all."""

    name: str
    budget: float = 1.0
    watchlists: tuple[str, ...] = ()

    def watches(self, watchlists: Collection[str]) -> bool:
        """Whether it watches a key of these lists."""
        return any(name in watchlists for name in self.watchlists) if self.watchlists else bool(watchlists)

    @property
    def version(self) -> str:
        """Of its kind's code, and eight digits of the rule as it is configured: a changed rule is another one."""
        return f"{CODE}+{hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:8]}"


class FlashRule(_Rule, frozen=True, kw_only=True):
    """One devastating story about a company. What it tells must be one of ``risks`` (kinds of adverse events),
    ``topics`` or ``phrases``, and be bad news for the company with at least ``probability``, by ``publishers``
    independent ones within ``within`` seconds. ``cooldown``: seconds without another such story after which it is over.
    """

    risks: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    probability: float = 0.9
    publishers: int = 1
    within: float = 3_600.0
    cooldown: float = 86_400.0

    @property
    def id(self) -> str:
        """What alerts are told apart by, beside their key."""
        return f"flash:{self.name}"


class SilenceRule(_Rule, frozen=True, kw_only=True):
    """Nothing about a key where at least ``expected`` items are usual, while its sources live."""

    expected: float = 10.0

    @property
    def id(self) -> str:
        return f"silence:{self.name}"


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What rings beside bursts. Of several rules for silence the first that watches a key decides."""

    flash: tuple[FlashRule, ...] = ()
    silence: tuple[SilenceRule, ...] = ()


NO_RULES = Rules()


def kind_of(rule: str) -> tuple[RuleKind, str]:
    """A rule's kind and its name, of what a candidate is told apart by: a burst's is its kind."""
    kind, _, name = rule.partition(":")
    for known in ("flash", "silence"):
        if kind == known:
            return known, name
    return "burst", rule


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What routes and silences look at."""

    type: str
    key: str
    severity: str
    watchlists: tuple[str, ...] = ()


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Who is told of what. An empty list of conditions asks nothing; all the others must hold.

    ``types`` and ``keys`` are shell patterns (``alert.*``, ``entity:ACME*``). Without ``channels`` nobody is told.
    """

    types: tuple[str, ...] = ("alert.*",)
    watchlists: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    severities: tuple[Severity, ...] = ()
    channels: tuple[str, ...]


class Matcher(msgspec.Struct, frozen=True, kw_only=True):
    """What a silence hushes. Each list that isn't empty must hold; ``keys`` are shell patterns.

    One without any condition matches nothing: it would hush everything by a slip.
    """

    keys: tuple[str, ...] = ()
    watchlists: tuple[str, ...] = ()
    severities: tuple[Severity, ...] = ()

    @property
    def empty(self) -> bool:
        return not (self.keys or self.watchlists or self.severities)

    def matches(self, facts: Facts) -> bool:
        return not self.empty and _about(facts, self.keys, self.watchlists, self.severities)


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """Alerts that are recorded but tell nobody, from ``created`` until ``expires`` (seconds since 1970)."""

    id: str
    match: Matcher
    created: float
    expires: float
    author: str = ""
    comment: str = ""


def route(facts: Facts, routes: Sequence[Route], channels: Iterable[str]) -> tuple[str, ...]:
    """Names of the channels to tell, each once, in configured order."""
    if not routes:
        return tuple(dict.fromkeys(channels)) if facts.type.startswith("alert.") else ()
    known = set(channels)
    for one in routes:
        if _matches(one.types, facts.type) and _about(facts, one.keys, one.watchlists, one.severities):
            return tuple(name for name in dict.fromkeys(one.channels) if name in known)
    return ()


def silenced(facts: Facts, silences: Iterable[Silence], now: float) -> Silence | None:
    """The silence that hushes an event at ``now``; of several the one that lasts longest.

    An operational event is hushed only by a silence that names its key: "no warnings" is not meant for a dead source.
    """
    operational = not facts.type.startswith("alert.")
    hushing = [
        one
        for one in silences
        if one.created <= now < one.expires and (one.match.keys or not operational) and one.match.matches(facts)
    ]
    return max(hushing, key=lambda one: (one.expires, one.id), default=None)


def _about(facts: Facts, keys: Sequence[str], watchlists: Sequence[str], severities: Sequence[str]) -> bool:
    return (
        _matches(keys, facts.key)
        and (not watchlists or any(name in watchlists for name in facts.watchlists))
        and (not severities or facts.severity in severities)
    )


def _matches(patterns: Sequence[str], value: str) -> bool:
    return not patterns or any(fnmatchcase(value, pattern) for pattern in patterns)
