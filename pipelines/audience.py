"""Who hears of an alert: routes and silences as they stand at one moment of the log. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from alerts.merging import Burning
from alerts.rules import Facts, Route, Silence, route, silenced
from pipelines.documents import Candidate, epoch
from pipelines.watch import Watch

Channels = Callable[[Burning], Collection[str]]
"""The channels that an episode's alert was told."""


def moment(candidate: Candidate) -> float:
    """The time by which silences judge a candidate, in seconds since 1970: its event's, or when the story that made it
    came in, where that is later. Both are the log's: whoever reads it again, whenever, silences the same."""
    at = candidate.event.at
    return at if candidate.fetched is None else max(at, epoch(candidate.fetched))


class Audience:
    """Asked about an event of ``at``, in seconds since 1970. ``told``: which channels an episode's alert was told."""

    def __init__(
        self,
        watch: Watch,
        routes: Sequence[Route],
        channels: Sequence[str],
        silences: Sequence[Silence],
        at: float,
        told: Channels,
    ) -> None:
        self._watch = watch
        self._routes = routes
        self._channels = channels
        self._silences = [one for one in silences if one.created <= at < one.expires]
        self._at = at
        self._told = told

    def facts(self, kind: str, key: str, severity: str) -> Facts:
        """What routes and silences look at; ``kind``: the type of the event."""
        watched = self._watch.keys.get(key)
        return Facts(
            type=kind, key=key, severity=severity, watchlists=watched.watchlists if watched is not None else ()
        )

    def silence(self, facts: Facts) -> Silence | None:
        """The silence that hushes an event."""
        return silenced(facts, self._silences, self._at) if self._silences else None

    def hushed(self, one: Burning) -> bool:
        """Whether a silence hushes an episode."""
        return bool(self._silences) and self.silence(self.facts("alert.firing", one.key, one.severity)) is not None

    def wanted(self, one: Burning, holder: Burning) -> bool:
        """Whether an episode's route names somebody whom its holder's alert was not told."""
        if not self._routes or self.hushed(one):
            return False
        told = self._told(holder)
        kinds = ("alert.firing", "alert.updated")
        named = {name for kind in kinds for name in self.named(self.facts(kind, one.key, one.severity))}
        return not named <= set(told)

    def named(self, facts: Facts, members: Iterable[Burning] = ()) -> tuple[str, ...]:
        """Channels that the routes of an event name, or those of what it holds, as if each rang by itself."""
        if not self._routes:
            return route(facts, (), self._channels)  # everybody, or nobody, whatever it holds
        alone = [self.facts(facts.type, one.key, one.severity) for one in members if not self.hushed(one)]
        return tuple(
            dict.fromkeys(name for one in (facts, *alone) for name in route(one, self._routes, self._channels))
        )
