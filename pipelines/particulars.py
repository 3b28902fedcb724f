"""What an alert says beside its figures: what its key is called, how long the news took, what else burns with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from alerts.body import Held, SubjectEntity
from alerts.detector import VERSION as DETECTOR
from alerts.evidence import Alert, CoverageFacts, Language, Provenance, Subject, build_alert
from alerts.exhibits import Why
from alerts.merging import Burning, share
from pipelines.documents import AlertRecord, Candidate, Coverage, encode, epoch, iso
from pipelines.streams.base import ALERTS, Output
from pipelines.watch import Watch, WatchedKey


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What alerts say about the daemon."""

    version: str
    detector: str
    configuration: str
    budget: float
    external_url: str = ""
    grafana_url: str = ""
    settings: str = "tapewatch.toml"
    """The file of its settings, as an alert's command line names it."""
    language: Language = "en"


def alert_of(
    candidate: Candidate,
    watch: Watch,
    context: Context,
    *,
    why: Mapping[str, Why],
    holder: Burning | None = None,
    members: Sequence[Burning] = (),
) -> Alert:
    """The alert that a candidate makes. ``members``: what ``holder``, its episode, holds, the largest first."""
    key = candidate.event.key
    watched = watch.keys.get(key)
    budget = watched.budget if watched is not None and watched.budget is not None else context.budget
    return build_alert(
        candidate.event,
        rule=candidate.rule,
        rule_version=candidate.version or DETECTOR,
        subject=subject_of(watched, key),
        exhibits=candidate.exhibits,
        why=why,
        counter=candidate.counter,
        coverage=_seen(candidate.coverage),
        provenance=Provenance(
            version=context.version,
            model=candidate.model,
            detector=context.detector,
            configuration=context.configuration,
            latency_seconds=latencies(candidate),
        ),
        budget=budget if candidate.budget is None else candidate.budget,
        merged=[_held(one, holder, watch) for one in members] if holder is not None else (),
        follows=holder.follows or None if holder is not None else None,
        external_url=context.external_url,
        grafana_url=context.grafana_url,
        settings=context.settings,
        language=context.language,
    )


def record_of(
    alert: Alert,
    at: float,
    watchlists: tuple[str, ...],
    *,
    channels: tuple[str, ...] = (),
    silenced_by: str | None = None,
    merged_into: str | None = None,
) -> Output:
    """An alert's record. ``at``: when it happened, in seconds since 1970."""
    record = AlertRecord(
        id=alert.id,
        type=alert.type,
        key=alert.key,
        at=iso(at),
        alert=alert.alert,
        severity=alert.severity,
        watchlists=watchlists,
        channels=channels,
        silenced_by=silenced_by,
        body=msgspec.Raw(alert.body),
        merged_into=merged_into,
    )
    return Output(ALERTS, alert.key, encode(record))


def _held(one: Burning, holder: Burning, watch: Watch) -> Held:
    watched = watch.keys.get(one.key)
    return Held(
        key=one.key,
        name=watched.name if watched is not None else one.key,
        severity=one.severity,
        explained=share(one, holder),
        part=share(holder, one),
    )


def _seen(coverage: Coverage) -> CoverageFacts:
    return CoverageFacts(
        sources_expected=coverage.sources_expected,
        sources_healthy=coverage.sources_healthy,
        stale=coverage.stale,
        backlog_seconds=coverage.backlog_seconds,
        subject_sources=coverage.key_sources,
        subject_healthy=coverage.key_healthy,
        subject_stale=coverage.key_stale,
        subject_seen=coverage.key_seen,
        unread=coverage.unread,
    )


def latencies(candidate: Candidate) -> dict[str, float]:
    """Seconds between a document's clocks, for the one that crossed the threshold."""
    if candidate.published is None or candidate.fetched is None or candidate.scored is None:
        return {}
    published, fetched = epoch(candidate.published), epoch(candidate.fetched)
    scored, decided = epoch(candidate.scored), epoch(candidate.decided)
    return {
        "publish_to_fetch": round(max(0.0, fetched - published), 3),
        "fetch_to_score": round(max(0.0, scored - fetched), 3),
        "score_to_decision": round(max(0.0, decided - scored), 3),
    }


def subject_of(watched: WatchedKey | None, key: str) -> Subject:
    """What an alert about ``key`` calls it."""
    if watched is None:
        return Subject(name=key)
    entities = tuple(
        SubjectEntity(id=entity.id, name=entity.name, tickers=list(entity.tickers)) for entity in watched.entities[:10]
    )
    return Subject(name=watched.name, entities=entities, topic=watched.topic, watchlists=watched.watchlists)
