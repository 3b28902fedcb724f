"""What an alert shows: the body that receivers get, built from an episode's event and its evidence.

Pure but for the counters. A body is below ``LIMIT`` bytes of JSON whatever the texts hold: a fixed ladder of cuts is
taken until it fits, and ``data.truncated`` names what was cut.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol

import msgspec
from prometheus_client import Counter, Gauge

from alerts import wording
from alerts.body import (
    Alert,
    AlertData,
    AlertType,
    Coverage,
    Cut,
    Detail,
    EpisodeIdentity,
    Expected,
    FirstSource,
    Latencies,
    Links,
    OperationalEvent,
    OperationData,
    OperationType,
    Provenance,
    Rule,
    Shown,
    Story,
    Subject,
    SubjectEntity,
    Unusual,
    encode,
)
from alerts.detector import VERSION
from alerts.episode import SEVERITIES, EpisodeEvent, Severity, dedupe_key, episode_id, event_id
from alerts.wording import iso, plain

ALERTS = Counter("tapewatch_alerts_total", "Events of alerts.", ["rule", "severity", "type"])
FIRING = Gauge("tapewatch_alerts_firing", "Alerts that are firing now.", ["rule", "severity"])

LIMIT = 20_000
"""Bytes. Standard Webhooks asks for bodies below 20 kB, and receivers cut off what is longer."""

STORIES = 5
COUNTER = 2
HEADLINE = 200
NAME = 80
NAMES = 5
STALE = 10
LATE = 60.0
"""Seconds of backlog from which an alert counts as late: a reader may have heard the news elsewhere by then."""

LADDER = (
    (STORIES, COUNTER, HEADLINE, True),
    (STORIES, 1, 140, True),
    (3, 1, 140, True),
    (3, 0, 80, True),
    (3, 0, 80, False),
    (1, 0, 80, False),
    (0, 0, 80, False),
)
"""Cuts, mildest first: stories, counter-evidence, characters of a headline, whether stories keep their links."""

TYPES: dict[str, AlertType] = {
    "firing": "alert.firing",
    "updated": "alert.updated",
    "resolved": "alert.resolved",
}


class Exhibit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One story as it is kept beside a running excursion. Times in seconds since 1970."""

    document: str
    """Id of the first document that told it."""
    headline: str
    source: str
    """Configured source that brought it."""
    publisher: str | None = None
    url: str | None = None
    published: float
    first_seen: float
    negative: float
    positive: float
    nats: float = 0.0
    """What it contributed to the score."""
    reprints: int = 0
    """Further copies of the story, which count for nothing."""
    publishers: tuple[str, ...] = ()
    """Independent publishers that told it."""
    story: int = 0
    """Which story it is, within its key."""
    social: bool = False


class Seen(Protocol):
    """How much of the tape was seen: what ``build_alert`` asks of a coverage."""

    @property
    def sources_expected(self) -> int: ...
    @property
    def sources_healthy(self) -> int: ...
    @property
    def stale(self) -> tuple[str, ...]: ...
    @property
    def backlog_seconds(self) -> float: ...


def build_alert(
    event: EpisodeEvent,
    subject: Subject,
    *,
    exhibits: Sequence[Exhibit],
    coverage: Seen,
    provenance: Provenance,
    budget: float,
    now: float,
    rule: str = "burst",
    rule_version: str = VERSION,
    counter: Sequence[Exhibit] = (),
    links: Links | None = None,
) -> Alert:
    """The body for an episode's event, below ``LIMIT`` bytes.

    ``exhibits`` may come in any order and number: those that contributed most are shown. ``budget`` is the key's
    expected false alarms per month, ``now`` (seconds since 1970) the body's ``timestamp``.
    """
    episode = episode_id(rule, event.key, event.opened_by)
    shown, cuts = _subject(subject)
    seen, stale_cut = _coverage(coverage)
    data = AlertData(
        summary=plain(wording.summary(event, _named(shown)), 480),
        id=event_id(episode, event.kind, event.sequence),
        dedupe_key=dedupe_key(rule, event.key),
        episode=EpisodeIdentity(id=episode, number=event.episode, opened=iso(event.opened_at), sequence=event.sequence),
        status=event.kind,
        reason=event.reason,
        severity=event.severity,
        rule=Rule(rule, rule_version),
        subject=shown,
        unusual=_unusual(event, budget, sum(one.reprints for one in exhibits)),
        evidence=Shown(stories=(), first_source=_first(exhibits), counter=()),
        coverage=seen,
        provenance=provenance,
        links=Links() if links is None else links,
        truncated=(*cuts, *stale_cut),
    )
    return _fit(Alert(type=TYPES[event.kind], timestamp=iso(now), data=data), exhibits, counter)


def build_operation(
    kind: OperationType | Literal["test.ping"],
    subject: str,
    summary: str,
    *,
    at: float,
    severity: Severity = "warning",
    details: Mapping[str, Detail] | None = None,
) -> OperationalEvent:
    """The body of an operational event. Stale and recovered of one source share their ``dedupe_key``."""
    family = "ops.source" if kind.startswith("ops.source") else kind
    kept = dict(sorted((details or {}).items())[:20])
    data = OperationData(
        summary=plain(summary, 480),
        id=_digest("event", kind, subject, iso(at)),
        dedupe_key=dedupe_key(family, subject),
        severity=severity,
        subject=plain(subject, HEADLINE),
        details={
            plain(name, NAME): plain(value, HEADLINE) if isinstance(value, str) else value
            for name, value in kept.items()
        },
        truncated=("details",) if len(details or {}) > len(kept) else (),
    )
    return OperationalEvent(type=kind, timestamp=iso(at), data=data)


def ping(channel: str, at: float) -> OperationalEvent:
    """The signed event that ``tapewatch channels test`` sends."""
    text = f"Test of channel {channel}: if you read this, alerts reach you."
    return build_operation("test.ping", channel, text, at=at, severity="info")


def latencies(
    *, published: float | None, fetched: float | None, scored: float | None, decided: float, now: float
) -> Latencies:
    """Seconds between the moments of the document that crossed. A moment given before its predecessor counts 0."""
    return Latencies(
        published_to_fetched=_between(published, fetched),
        fetched_to_scored=_between(fetched, scored),
        scored_to_decided=_between(scored, decided),
        decided_to_alert=_between(decided, now),
    )


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else round(max(0.0, end - start), 3)


def _named(subject: Subject) -> str:
    names = [(entity.name, entity.tickers) for entity in subject.entities]
    return wording.name_subject(names, subject.topic, subject.watchlists, subject.key)


def _subject(subject: Subject) -> tuple[Subject, tuple[Cut, ...]]:
    entities = tuple(
        SubjectEntity(
            id=plain(one.id, NAME),
            name=plain(one.name, NAME),
            tickers=tuple(plain(ticker, 20) for ticker in one.tickers[:3]),
        )
        for one in subject.entities[:NAMES]
    )
    cuts: list[Cut] = []
    if len(subject.entities) > NAMES:
        cuts.append("entities")
    if len(subject.watchlists) > NAMES:
        cuts.append("watchlists")
    shown = Subject(
        key=subject.key,
        entities=entities,
        entities_total=len(subject.entities),
        topic=None if subject.topic is None else plain(subject.topic, NAME),
        watchlists=tuple(plain(name, NAME) for name in subject.watchlists[:NAMES]),
    )
    return shown, tuple(cuts)


def _coverage(coverage: Seen) -> tuple[Coverage, tuple[Cut, ...]]:
    late = coverage.backlog_seconds > LATE
    missing = coverage.sources_healthy < coverage.sources_expected or bool(coverage.stale)
    seen = Coverage(
        sources_expected=coverage.sources_expected,
        sources_healthy=coverage.sources_healthy,
        stale=tuple(plain(name, NAME) for name in coverage.stale[:STALE]),
        backlog_seconds=round(coverage.backlog_seconds, 3),
        late=late,
        degraded=late or missing,
    )
    return seen, ("stale",) if len(coverage.stale) > STALE else ()


def _unusual(event: EpisodeEvent, budget: float, reprints: int) -> Unusual:
    return Unusual(
        since=iso(event.since),
        until=iso(event.at),
        seconds=round(event.at - event.since, 3),
        negative_stories=event.stories,
        negative_documents=event.stories + reprints,
        publishers=event.publishers,
        observed=round(event.observed, 3),
        expected=Expected(
            value=round(event.expected, 3),
            low=round(event.expected_low, 3),
            high=round(event.expected_high, 3),
        ),
        ratio=round(event.ratio, 2),
        share=_share(event.share),
        usual_share=_share(event.usual_share),
        score=round(event.score, 2),
        threshold=round(event.threshold, 2),
        class_scores={name: round(score, 2) for name, score in sorted(event.scores.items())},
        baseline_span_seconds=round(event.baseline_span),
        false_alarms_per_month=budget,
    )


def _first(exhibits: Sequence[Exhibit]) -> FirstSource | None:
    if not exhibits:
        return None
    first = min(exhibits, key=lambda one: (one.published, one.document))
    return FirstSource(
        source=plain(first.source, NAME),
        publisher=_name(first.publisher),
        url=wording.link(first.url),
        published=iso(first.published),
    )


def _fit(alert: Alert, exhibits: Sequence[Exhibit], counter: Sequence[Exhibit]) -> Alert:
    """Takes the mildest cut of the ladder that keeps the body below the limit."""
    speaking = sorted(exhibits, key=lambda one: (-one.nats, one.published, one.document))
    against = sorted(counter, key=lambda one: (-one.positive, one.published, one.document))
    fitted = alert
    for stories, others, characters, linked in LADDER:
        fitted = _cut(alert, speaking[:STORIES], against[:COUNTER], (stories, others, characters, linked))
        if len(encode(fitted)) < LIMIT:
            break
    return fitted


def _cut(alert: Alert, speaking: list[Exhibit], against: list[Exhibit], rung: tuple[int, int, int, bool]) -> Alert:
    stories, others, characters, linked = rung
    shown = [*speaking[:stories], *against[:others]]
    cuts = list(alert.data.truncated)
    if any(len(one.headline) > characters for one in shown):
        cuts.append("headlines")
    if stories < len(speaking):
        cuts.append("stories")
    if others < len(against):
        cuts.append("counter")
    if not linked and any(one.url for one in shown):
        cuts.append("links")
    evidence = Shown(
        stories=tuple(_story(one, characters, linked) for one in speaking[:stories]),
        first_source=alert.data.evidence.first_source,
        counter=tuple(_story(one, characters, linked) for one in against[:others]),
    )
    data = msgspec.structs.replace(alert.data, evidence=evidence, truncated=tuple(cuts))
    return msgspec.structs.replace(alert, data=data)


def _story(one: Exhibit, characters: int, linked: bool) -> Story:
    return Story(
        id=plain(one.document, NAME),
        headline=plain(one.headline, characters),
        source=plain(one.source, NAME),
        publisher=_name(one.publisher),
        url=wording.link(one.url) if linked else None,
        published=iso(one.published),
        first_seen=iso(one.first_seen),
        reprints=one.reprints,
        publishers=len(one.publishers),
        negative=_share(one.negative),
        neutral=_share(1.0 - one.negative - one.positive),
        positive=_share(one.positive),
        nats=round(one.nats, 2),
        social=one.social,
    )


def _name(name: str | None) -> str | None:
    return None if name is None else plain(name, NAME)


def _share(value: float) -> float:
    return round(min(1.0, max(0.0, value)), 3)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:32]


def count(alert: Alert) -> None:
    """Counts an alert's event, once for each that is told."""
    ALERTS.labels(alert.data.rule.name, alert.severity, alert.type.removeprefix("alert.")).inc()


def set_firing(rule: str, severities: Iterable[str]) -> None:
    """Sets the gauge of a rule's open alerts from their severities; those without any become 0."""
    now = list(severities)
    for severity in SEVERITIES:
        FIRING.labels(rule, severity).set(now.count(severity))
