"""What analysts said of alerts: true, false or unsure, with the alert's figures beside it. Pure.

A verdict holds the figures itself: it outlives its alert wherever that is kept for less long.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args

import msgspec

from alerts.chance import threshold

Said = Literal["true", "false", "unsure"]

VERDICTS: tuple[Said, ...] = get_args(Said)

NOTE = 1_000
"""Characters of a note at most."""


class Figures(msgspec.Struct, frozen=True, kw_only=True, rename={"class_": "class"}):
    """An alert as far as its events tell. Times are ISO 8601 in UTC.

    The figures are those of its peak: the event whose score was farthest above its threshold.
    """

    key: str
    name: str
    class_: str
    """The class of news that contributed most: news or social."""
    rule: str
    version: str
    """Of the rule."""
    kind: str = "burst"
    """Of the rule: burst, flash or silence."""
    severity: str
    """The highest that it had."""
    watchlists: tuple[str, ...] = ()
    since: str
    """When the burst began."""
    opened: str
    resolved: str | None = None
    score: float
    threshold: float
    budget: Annotated[float, msgspec.Meta(gt=0)]
    """False alarms a month that were expected of its key at this threshold."""
    observed: float
    expected: float
    expected_low: float
    expected_high: float
    ratio: float
    stories: int
    documents: int
    publishers: int
    share: float
    usual_share: float
    baseline_span_seconds: float
    model: str
    detector: str
    configuration: str
    quoted: tuple[str, ...] = ()
    """Ids of the documents whose headlines the alert quotes."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody said of an alert. The last one of an alert counts."""

    id: str
    alert: str
    """The episode's id."""
    at: str
    verdict: Said
    by: str = ""
    note: str | None = ""
    """None: there was one, and it was let go of as texts are."""
    figures: Figures


def figures(events: Sequence[dict[str, Any]]) -> Figures:
    """What the events of one alert, as alert records in their order, tell of it."""
    told = [event["body"]["data"] for event in events]
    peak, last = max(told, key=_margin), told[-1]
    unusual, expected = peak["unusual"], peak["unusual"]["expected"]
    scores = unusual["class_scores"] or {"": 0.0}
    ended = [event["at"] for event in events if event["type"] == "alert.resolved"]
    shown = [story["id"] for data in told for name in ("stories", "counter") for story in data["evidence"][name]]
    return Figures(
        key=events[-1]["key"],
        name=last["subject"]["name"],
        class_=max(sorted(scores), key=lambda name: scores[name]),
        rule=last["rule"]["name"],
        version=last["rule"]["version"],
        kind=last["rule"].get("kind", "burst"),  # alerts from before there were others name none
        severity=events[-1]["severity"],
        watchlists=tuple(events[-1]["watchlists"]),
        since=told[0]["unusual"]["since"],
        opened=last["episode"]["opened"],
        resolved=ended[-1] if ended else None,
        score=unusual["score"],
        threshold=unusual["threshold"],
        budget=unusual["false_alarms_per_month"],
        observed=unusual["observed"],
        expected=expected["value"],
        expected_low=expected["low"],
        expected_high=expected["high"],
        ratio=unusual["ratio"],
        stories=unusual["negative_stories"],
        documents=unusual["negative_documents"],
        publishers=unusual["publishers"],
        share=unusual["share"],
        usual_share=unusual["usual_share"],
        baseline_span_seconds=unusual["baseline_span_seconds"],
        model=peak["provenance"]["model"],
        detector=peak["provenance"]["detector"],
        configuration=peak["provenance"]["configuration"],
        quoted=tuple(dict.fromkeys(shown)),
    )


def _margin(data: dict[str, Any]) -> float:
    return float(data["unusual"]["score"]) - float(data["unusual"]["threshold"])


def would_ring(alert: Figures, budget: float) -> bool:
    """Whether an alert would have rung at another budget of false alarms a month.

    A threshold is that of its budget: both are compared by how far above its own the alert rose, whatever scale it had.
    """
    return alert.score - alert.threshold >= threshold(budget) - threshold(alert.budget)


def latest(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdict that counts of each alert; ``verdicts`` in the order in which they were given."""
    return list({verdict.alert: verdict for verdict in verdicts}.values())
