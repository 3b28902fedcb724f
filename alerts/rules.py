"""What users configure about alerts: who is told (routes) and what is kept quiet (silences). Pure.

Without routes every alert goes to every channel and operational events go to log and metrics alone. With routes the
first that matches decides; an event that none matches goes nowhere and is still seen on the page and in the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Literal, Protocol

import msgspec

from alerts.episode import Severity


class Routable(Protocol):
    """What routes and silences look at: an alert, an operational event, or the record of either."""

    @property
    def type(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def severity(self) -> str: ...
    @property
    def watchlists(self) -> tuple[str, ...]: ...


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Who is told of what. An empty list of conditions asks nothing; all the others must hold.

    ``types`` and ``keys`` are shell patterns (``alert.*``, ``entity:ACME*``). Without ``channels`` nobody is told.
    """

    types: tuple[str, ...] = ("alert.*",)
    watchlists: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    severities: tuple[Severity, ...] = ()
    channels: tuple[str, ...]


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """Alerts that are recorded but tell nobody, until ``expires``. Times in seconds since 1970.

    Raises ValueError if it has no condition or ends before it begins: it would hush everything or nothing.
    """

    id: str
    keys: tuple[str, ...] = ()
    """Shell patterns."""
    watchlists: tuple[str, ...] = ()
    severities: tuple[Severity, ...] = ()
    created: float
    expires: float
    author: str = ""
    comment: str = ""

    def __post_init__(self) -> None:
        if not (self.keys or self.watchlists or self.severities):
            raise ValueError(f"silence {self.id}: give keys, watchlists or severities; without one it hushes all")
        if not self.expires > self.created:
            raise ValueError(f"silence {self.id}: expires must be later than created")


def route(event: Routable, routes: Sequence[Route], channels: Iterable[str]) -> tuple[str, ...]:
    """Names of the channels to tell, each once, in configured order."""
    if not routes:
        return tuple(dict.fromkeys(channels)) if event.type.startswith("alert.") else ()
    known = set(channels)
    for one in routes:
        if _matches(one.types, event.type) and _about(event, one.keys, one.watchlists, one.severities):
            return tuple(name for name in dict.fromkeys(one.channels) if name in known)
    return ()


def recipients(
    event: Routable,
    kind: Literal["firing", "updated", "resolved"],
    told: Sequence[str],
    routes: Sequence[Route],
    channels: Iterable[str],
) -> tuple[str, ...]:
    """Channels for an episode's event, ``told`` being those that heard of the episode before.

    An update follows its firing and may reach further, since its severity may have risen; a resolved goes exactly
    where the episode was told, as far as the channels still exist.
    """
    names = tuple(channels)
    if kind == "firing":
        return route(event, routes, names)
    heard = tuple(name for name in dict.fromkeys(told) if name in names)
    if kind == "resolved":
        return heard
    return tuple(dict.fromkeys((*heard, *route(event, routes, names))))


def silenced(event: Routable, silences: Iterable[Silence], now: float) -> Silence | None:
    """The silence that hushes an event at ``now``; of several the one that lasts longest.

    Operational events are never hushed by watch-list or severity alone, only by their own key.
    """
    operational = not event.type.startswith("alert.")
    hushing = [
        one
        for one in silences
        if one.created <= now < one.expires
        and (one.keys or not operational)
        and _about(event, one.keys, one.watchlists, one.severities)
    ]
    return max(hushing, key=lambda one: (one.expires, one.id), default=None)


def _about(event: Routable, keys: Sequence[str], watchlists: Sequence[str], severities: Sequence[str]) -> bool:
    return (
        _matches(keys, event.key)
        and (not watchlists or any(name in watchlists for name in event.watchlists))
        and (not severities or event.severity in severities)
    )


def _matches(patterns: Sequence[str], value: str) -> bool:
    return not patterns or any(fnmatchcase(value, pattern) for pattern in patterns)
