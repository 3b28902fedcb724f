"""What an alert shows: the body that receivers get, built from an episode's event and its evidence. Pure."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args
from urllib.parse import quote

import msgspec

from alerts import chinese, wording
from alerts.body import (
    AlertBody,
    AlertData,
    AlertType,
    Coverage,
    CoverageFacts,
    Cut,
    Detail,
    EpisodeIdentity,
    Expected,
    FirstSource,
    Held,
    Links,
    Merged,
    OperationBody,
    OperationData,
    OperationType,
    Provenance,
    Rule,
    Shown,
    SubjectData,
    SubjectEntity,
    Unusual,
    encode,
)
from alerts.detector import VERSION
from alerts.episode import EpisodeEvent, Severity, dedupe_key, episode_id, event_id
from alerts.exhibits import Exhibit, Why, fit, kinds, mostly
from alerts.retelling import named
from alerts.rules import RuleKind, kind_of
from alerts.wording import HEADLINE, NAME, iso, name, plain, share

__all__ = [
    "Alert",
    "CoverageFacts",
    "Language",
    "Provenance",
    "Subject",
    "SubjectEntity",
    "build_alert",
    "build_operation",
    "ping",
]

Language = Literal["en", "zh"]

SUMMARY = 480
NAMES = 5
STALE = 10
MERGED = 8
"""Other bursts that are named; all are counted."""
DETAILS = 20
LATE = 60.0
"""Seconds of backlog from which an alert counts as late: a reader may have heard the news elsewhere by then."""

_TYPES: dict[str, AlertType] = {kind.removeprefix("alert."): kind for kind in get_args(AlertType)}


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What an alert is about, by the name that people know it by."""

    name: str
    entities: tuple[SubjectEntity, ...] = ()
    topic: str | None = None
    watchlists: tuple[str, ...] = ()


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """An event ready to be stored and sent: its body's bytes, and what routes, silences and the outbox ask of it."""

    id: str
    """The event's id, sent as ``webhook-id``."""
    type: str
    key: str
    severity: Severity
    alert: str
    """The episode's id; empty for operational events."""
    order: str
    """The dedupe key: events of one ``order`` reach a channel in their order."""
    summary: str
    watchlists: tuple[str, ...] = ()
    body: bytes


def build_alert(
    event: EpisodeEvent,
    *,
    subject: Subject,
    exhibits: Sequence[Exhibit],
    coverage: CoverageFacts,
    provenance: Provenance,
    budget: float,
    counter: Sequence[Exhibit] = (),
    rule: str = "burst",
    rule_version: str = VERSION,
    external_url: str = "",
    grafana_url: str = "",
    settings: str = "tapewatch.toml",
    language: Language = "en",
    why: Mapping[str, Why] | None = None,
    merged: Sequence[Held] = (),
    follows: str | None = None,
) -> Alert:
    """The alert for an episode's event. ``language``: of its summary. ``settings``: the daemon's file of them.

    ``exhibits`` may come in any order and number: those that contributed most are shown. ``why``: by document what
    makes the headlines of those bad news. ``budget`` is the key's expected false alarms per month. ``merged``: what
    else burns with it, the largest first. ``follows``: the id of an alert, over, that told of a part of it. The body's
    ``timestamp`` is the event's own time, so that the same log gives the same bytes.
    """
    episode = episode_id(rule, event.key, event.opened_by)
    kind, called = kind_of(rule)
    shown = _subject(event.key, subject)
    data = AlertData(
        summary=_summary(language, kind, called, event, named(shown), exhibits, len(merged), follows is not None),
        id=event_id(episode, event.kind, event.sequence),
        dedupe_key=dedupe_key(rule, event.key),
        episode=EpisodeIdentity(id=episode, number=event.episode, opened=iso(event.opened_at), sequence=event.sequence),
        status=event.kind,
        reason=event.reason,
        severity=event.severity,
        rule=Rule(called, rule_version, kind),
        subject=shown,
        unusual=_unusual(event, budget, sum(one.reprints for one in exhibits)),
        evidence=Shown(stories=(), first_source=_first(exhibits), counter=(), events=kinds(exhibits)),
        coverage=_coverage(coverage),
        provenance=provenance,
        links=_links(event, episode, external_url, grafana_url, settings),
        truncated=_cuts(subject, coverage, merged),
        merged=Merged(total=len(merged), keys=tuple(_held(one) for one in merged[:MERGED])),
        follows=follows,
    )
    type_: AlertType = _TYPES[event.kind]
    return Alert(
        id=data.id,
        type=type_,
        key=event.key,
        severity=event.severity,
        alert=episode,
        order=data.dedupe_key,
        summary=data.summary,
        watchlists=subject.watchlists,
        body=fit(AlertBody(type=type_, timestamp=iso(event.at), data=data), exhibits, counter, why or {}),
    )


def build_operation(
    kind: OperationType,
    *,
    at: float,
    subject: str,
    summary_text: str,
    severity: Severity = "warning",
    details: Mapping[str, Any] | None = None,
) -> Alert:
    """An event about the daemon itself: a source, a stage, a channel named ``subject``.

    A trouble and its end share their ``order``, so that neither overtakes the other.
    """
    family = "ops.source" if kind.startswith("ops.source") else kind.removesuffix("_resolved")
    kept = dict(sorted((details or {}).items())[:DETAILS])
    data = OperationData(
        summary=plain(summary_text, SUMMARY),
        id=hashlib.sha256(f"{kind}\x00{subject}\x00{iso(at)}".encode()).hexdigest()[:32],
        dedupe_key=dedupe_key(family, subject),
        severity=severity,
        subject=plain(subject, HEADLINE),
        details={plain(name, NAME): _detail(value) for name, value in kept.items()},
        truncated=("details",) if len(details or {}) > DETAILS else (),
    )
    return Alert(
        id=data.id,
        type=kind,
        key=subject,
        severity=severity,
        alert="",
        order=data.dedupe_key,
        summary=data.summary,
        body=encode(OperationBody(type=kind, timestamp=iso(at), data=data)),
    )


def ping(channel: str, at: float) -> Alert:
    """The signed event that ``tapewatch channels test`` sends."""
    text = f"Test of channel {channel}: if you read this, alerts reach you."
    return build_operation("test.ping", at=at, subject=channel, summary_text=text, severity="info")


def _summary(
    language: Language,
    kind: RuleKind,
    rule: str,
    event: EpisodeEvent,
    subject: str,
    exhibits: Sequence[Exhibit],
    others: int,
    follows: bool,
) -> str:
    zh = language == "zh"
    if kind == "flash":
        said = (chinese.flash if zh else wording.flash)(event, subject, rule)
    elif kind == "silence":
        said = (chinese.silence if zh else wording.silence)(event, subject)
    else:
        said = (chinese.summary if zh else wording.summary)(event, subject, mostly(exhibits), others, follows=follows)
    return plain(said, SUMMARY)


def _detail(value: object) -> Detail:
    if value is None or isinstance(value, bool | int | float):
        return value
    return plain(str(value), HEADLINE)


def _subject(key: str, subject: Subject) -> SubjectData:
    return SubjectData(
        key=key,
        name=plain(subject.name, HEADLINE),
        entities=tuple(_entity(entity) for entity in subject.entities[:NAMES]),
        topic=name(subject.topic),
        watchlists=tuple(plain(name, NAME) for name in subject.watchlists[:NAMES]),
    )


def _cuts(subject: Subject, coverage: CoverageFacts, merged: Sequence[Held]) -> tuple[Cut, ...]:
    """What is longer than an alert shows it."""
    lengths: tuple[tuple[Cut, int, int], ...] = (
        ("entities", len(subject.entities), NAMES),
        ("watchlists", len(subject.watchlists), NAMES),
        ("stale", len(coverage.stale), STALE),
        ("merged", len(merged), MERGED),
    )
    return tuple(cut for cut, length, most in lengths if length > most)


def _held(one: Held) -> Held:
    return Held(
        key=plain(one.key, NAME),
        name=plain(one.name, NAME),
        severity=one.severity,
        explained=share(one.explained),
        part=share(one.part),
    )


def _entity(entity: SubjectEntity) -> SubjectEntity:
    tickers = [plain(ticker, 20) for ticker in entity["tickers"][:3]]
    return SubjectEntity(id=plain(entity["id"], NAME), name=plain(entity["name"], NAME), tickers=tickers)


def _coverage(coverage: CoverageFacts) -> Coverage:
    late = coverage.backlog_seconds > LATE
    missing = coverage.sources_healthy + len(coverage.unread) < coverage.sources_expected or bool(coverage.stale)
    return Coverage(
        sources_expected=coverage.sources_expected,
        sources_healthy=coverage.sources_healthy,
        stale=tuple(plain(name, NAME) for name in coverage.stale[:STALE]),
        backlog_seconds=round(coverage.backlog_seconds, 3),
        late=late,
        degraded=late or missing,
        subject_sources=coverage.subject_sources,
        subject_healthy=coverage.subject_healthy,
        subject_stale=tuple(plain(name, NAME) for name in coverage.subject_stale[:STALE]),
        subject_seen=share(coverage.subject_seen),
        unread=tuple(plain(name, NAME) for name in coverage.unread[:STALE]),
    )


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
            value=round(event.expected, 3), low=round(event.expected_low, 3), high=round(event.expected_high, 3)
        ),
        ratio=round(event.ratio, 2),
        share=share(event.share),
        usual_share=share(event.usual_share),
        score=round(event.score, 2),
        threshold=round(event.threshold, 2),
        class_scores={name: round(score, 2) for name, score in sorted(event.scores.items())},
        baseline_span_seconds=round(event.baseline_span, 3),
        false_alarms_per_month=budget,
    )


def _first(exhibits: Sequence[Exhibit]) -> FirstSource | None:
    if not exhibits:
        return None
    first = min(exhibits, key=lambda one: (one.published, one.document))
    return FirstSource(
        source=plain(first.source, NAME),
        publisher=name(first.publisher),
        url=wording.link(first.url),
        published=iso(first.published),
    )


def _links(event: EpisodeEvent, episode: str, external_url: str, grafana_url: str, settings: str) -> Links:
    """Where to go on. What is replayed is the daemon's own log: all of it teaches the baselines, and what led to the
    alert may ring from a day before the burst on."""
    home, grafana = external_url.rstrip("/"), grafana_url.rstrip("/")
    start, end = event.since - 3_600.0, event.at + 3_600.0
    window = f"--from {iso(event.since - 86_400.0)} --to {iso(end)}"
    return Links(
        alert=f"{home}/alerts/{episode}" if home else None,
        silence=f"{home}/api/v1/silences" if home else None,
        feedback=f"{home}/api/v1/alerts/{episode}/feedback" if home else None,
        grafana=(
            f"{grafana}/d/tapewatch?var-key={quote(event.key, safe='')}&from={start * 1e3:.0f}&to={end * 1e3:.0f}"
            if grafana
            else None
        ),
        replay=f"tapewatch replay -c {shlex.quote(settings)} {window} --out replay-{episode[:8]}",
    )
