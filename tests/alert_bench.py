"""An alert of Acme, and what goes into it."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from alerts.episode import EpisodeEvent
from alerts.evidence import (
    Alert,
    CoverageFacts,
    Provenance,
    Subject,
    SubjectEntity,
    build_alert,
)
from alerts.exhibits import Exhibit

NOW = 1_790_000_000.0
DAY = 86_400.0

FIRING = EpisodeEvent(
    kind="firing",
    key="entity:ACME",
    episode=3,
    opened_by="doc-7",
    opened_at=NOW,
    at=NOW,
    since=NOW - 2_100,
    sequence=0,
    score=8.123,
    threshold=6.1,
    observed=12.34,
    others=2.0,
    expected=1.7,
    expected_low=0.6,
    expected_high=3.4,
    stories=14,
    publishers=6,
    share=0.86,
    usual_share=0.25,
    baseline_span=12 * DAY,
    severity="error",
    excess=10.6,
    excess_low=4.2,
    scores={"social": 0.0, "news": 8.123},
)
ACME = Subject(
    name="Acme Corp", entities=(SubjectEntity(id="ACME", name="Acme Corp", tickers=["ACME"]),), watchlists=("banks",)
)
PROVENANCE = Provenance(
    version="0.1.0",
    model="default@abc",
    detector="1",
    configuration="f" * 64,
    latency_seconds={"publish_to_fetch": 2.5},
)


def exhibit(number: int, **changes: Any) -> Exhibit:
    start = Exhibit(
        document=f"doc-{number}",
        headline=f"Acme misses for the {number}th time",
        source="newswire",
        publisher="wire",
        url=f"https://wire.example/{number}",
        published=NOW - number,
        first_seen=NOW - number + 5,
        negative=0.9,
        positive=0.02,
        nats=float(number),
        reprints=number,
        publishers=("wire", "post"),
    )
    return msgspec.structs.replace(start, **changes)


def alert(event: EpisodeEvent = FIRING, **changes: Any) -> Alert:
    given: dict[str, Any] = {
        "subject": ACME,
        "exhibits": [exhibit(n) for n in range(8)],
        "coverage": CoverageFacts(sources_expected=3, sources_healthy=3),
        "provenance": PROVENANCE,
        "budget": 0.05,
    }
    return build_alert(event, **(given | changes))


def data(made: Alert) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(made.body)
    return body["data"]  # a dict of the body
