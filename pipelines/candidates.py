"""What the aggregate stage hands on of an episode: its event, with the evidence and what could be seen."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from prometheus_client import Histogram

from alerts.episode import EpisodeEvent
from pipelines import exhibits, tally
from pipelines.documents import Candidate, Coverage, Evidence, epoch, iso
from pipelines.exhibits import Shown

log = structlog.get_logger(__name__)

PUBLISH_TO_ALERT = Histogram(
    "tapewatch_publish_to_alert_seconds",
    "From the publication of the document that crossed the threshold to the decision.",
    buckets=(0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600),
)

BURST = "burst"


def candidate(
    event: EpisodeEvent,
    shown: Shown,
    evidence: Evidence | None,
    *,
    now: float,
    quotes: float | None,
    coverage: Callable[[float], Coverage],
    model: str,
) -> Candidate:
    """A burst's candidate at ``now``. ``evidence``: what crossed the threshold; None where time did. ``quotes``:
    seconds for which a story may be quoted. ``coverage``: what was seen, by the seconds of backlog."""
    # Nothing is decided before it happened, whatever the clock says; replay's stands at its chunk's beginning.
    now, backlog = max(now, event.at), 0.0
    if evidence is not None:
        now = max(now, epoch(evidence.scored))
        backlog = now - epoch(evidence.at)
    if quotes is not None:
        shown = exhibits.without(shown, exhibits.older_than(now - quotes))
    if event.kind == "firing" and evidence is not None:
        tally.observe(PUBLISH_TO_ALERT, max(0.0, now - epoch(evidence.published)))
    log.info("episode", action=event.kind, key=event.key, score=round(event.score, 2), severity=event.severity)
    return Candidate(
        event=event,
        rule=BURST,
        exhibits=tuple(shown.exhibits),
        counter=tuple(shown.counter),
        coverage=coverage(backlog),
        model=model,
        published=evidence.published if evidence else None,
        fetched=evidence.fetched if evidence else None,
        scored=evidence.scored if evidence else None,
        decided=iso(now),
        shared=exhibits.shared(shown),
        came=exhibits.came(shown),
    )
