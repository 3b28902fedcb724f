"""What an alert says beside its figures: what its key is called, and how long the news took."""

from __future__ import annotations

from alerts.body import SubjectEntity
from alerts.evidence import Subject
from pipelines.documents import Candidate, epoch
from pipelines.watch import WatchedKey


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
