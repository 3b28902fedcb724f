"""The life of an alert: firing, updated, resolved; its ids.

Pure. An episode opens when the score crosses the threshold, is updated when its severity rises or its evidence
doubles, and is resolved exactly once. Ids are hashes, so that a rebuilt store and a replay give the same.
"""

from __future__ import annotations

import hashlib
import math
from typing import Literal

import msgspec

Kind = Literal["firing", "updated", "resolved"]
Severity = Literal["info", "warning", "error", "critical"]
Reason = Literal["quiet", "expired", "merged", "operator", "back", "unseen"]

SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error", "critical")


class EpisodeEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to an episode, with the figures of that moment. Times in seconds since 1970."""

    kind: Kind
    key: str
    episode: int
    """Counts the key's episodes, for display only."""
    opened_by: str
    """Id of the document that crossed the threshold."""
    opened_at: float
    at: float
    since: float
    """When the excursion began."""
    sequence: int
    score: float
    threshold: float
    observed: float
    others: float
    expected: float
    expected_low: float
    expected_high: float
    stories: int
    publishers: int
    share: float
    usual_share: float
    baseline_span: float
    severity: Severity
    excess: float
    excess_low: float
    scores: dict[str, float] = {}
    """Class to its score."""
    reason: Reason | None = None

    @property
    def ratio(self) -> float:
        """Observed over expected; what a hundredth of an item expected gives where nothing was."""
        return self.observed / max(self.expected, 0.01)


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What the statistic says of a key at one moment."""

    since: float
    score: float
    threshold: float
    observed: float
    others: float
    expected: float
    expected_low: float
    expected_high: float
    stories: int
    publishers: int
    share: float
    usual_share: float
    baseline_span: float
    excess: float
    excess_low: float
    scores: dict[str, float]


class Episode(msgspec.Struct, array_like=True):
    """An open episode, as kept in its key's state."""

    number: int
    opened_by: str
    opened_at: float
    sequence: int
    severity: int
    told: float
    """Observed evidence at the last event: twice as much is worth an update."""
    doubt: float
    """Accumulated log-evidence that the burst is over."""
    doubted_to: float
    bursts: list[float]
    """Rate of the burst when it opened, per class (news, social); 0 where the class took no part."""
    unseen: float = 0.0
    """Seconds of its life in which its sources could not be seen."""


def severity(figures: Figures, at: float) -> Severity:
    """From the certain part of the excess, its breadth, and how long it lasts.

    A burst whose excess could be chance in all but a few items is a warning at most; a critical one is large,
    told by several independent publishers (or many posts), and not over in minutes.
    """
    wide = figures.publishers >= 3 or figures.stories >= 15
    return SEVERITIES[_level(figures.excess_low, figures.stories, wide, at - figures.since)]


def _level(certain: float, breadth: int, wide: bool, seconds: float) -> int:
    level = 0
    if certain >= 1.0 and breadth >= 2:
        level = 1
    if certain >= 5.0 and breadth >= 5:
        level = 2
    if certain >= 15.0 and breadth >= 12 and wide:
        level = 3
    if level == 2 and wide and seconds >= 6 * 3600.0 and certain >= 10.0:
        level = 3
    return level


def opened(
    key: str, number: int, document: str, at: float, figures: Figures, bursts: list[float]
) -> tuple[Episode, EpisodeEvent]:
    level = severity(figures, at)
    episode = Episode(number, document, at, 0, SEVERITIES.index(level), figures.observed, 0.0, at, bursts)
    return episode, event(key, episode, "firing", at, figures)


def may_update(episode: Episode, observed: float, excess: float, stories: int) -> bool:
    """Whether ``worth_update`` can be true at all, from what costs nothing to know: most items change nothing.

    The certain part of an excess is never above the excess itself.
    """
    return observed >= 2 * episode.told or _level(excess, stories, wide=True, seconds=math.inf) > episode.severity


def worth_update(episode: Episode, at: float, figures: Figures) -> bool:
    """Whether severity rose or evidence doubled since the last event."""
    level = SEVERITIES.index(severity(figures, at))
    return level > episode.severity or figures.observed >= 2 * episode.told


def updated(key: str, episode: Episode, at: float, figures: Figures) -> EpisodeEvent:
    episode.severity = max(episode.severity, SEVERITIES.index(severity(figures, at)))
    episode.told = figures.observed
    episode.sequence += 1
    return event(key, episode, "updated", at, figures)


def resolved(key: str, episode: Episode, at: float, figures: Figures, reason: Reason) -> EpisodeEvent:
    episode.sequence += 1
    return event(key, episode, "resolved", at, figures, reason)


def event(
    key: str, episode: Episode, kind: Kind, at: float, figures: Figures, reason: Reason | None = None
) -> EpisodeEvent:
    return EpisodeEvent(
        kind=kind,
        key=key,
        episode=episode.number,
        opened_by=episode.opened_by,
        opened_at=episode.opened_at,
        at=at,
        sequence=episode.sequence,
        severity=SEVERITIES[episode.severity],
        reason=reason,
        **msgspec.structs.asdict(figures),
    )


def episode_id(rule: str, key: str, opened_by: str) -> str:
    return _hash("episode", rule, key, opened_by)


def event_id(episode: str, kind: str, sequence: int) -> str:
    """The ``webhook-id``: the same for every copy of one event."""
    return _hash("event", episode, kind, str(sequence))


def dedupe_key(rule: str, key: str) -> str:
    return _hash("dedupe", rule, key)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:32]
