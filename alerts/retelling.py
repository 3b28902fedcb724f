"""An alert's sentence told again in another language, of what its body says. Pure."""

from __future__ import annotations

from typing import Literal

from alerts import chinese, wording
from alerts.body import AlertBody, SubjectData
from alerts.episode import EpisodeEvent


def retold(body: AlertBody, language: Literal["en", "zh"]) -> str:
    """The summary as it was sent, if in ``language``, else what it would have been; of which kind of event most stories
    tell is taken then from the kinds' own counts."""
    subject = named(body.data.subject)
    if body.data.summary.startswith(f"{subject}：") == (language == "zh"):
        return body.data.summary
    speech, event = chinese if language == "zh" else wording, _event(body)
    kind = body.data.rule.kind
    if kind == "flash":
        told = speech.flash(event, subject, body.data.rule.name)
    elif kind == "silence":
        told = speech.silence(event, subject)
    else:
        told = speech.summary(event, subject, _mostly(body), body.data.merged.total)
    return wording.plain(told, 480)


def named(subject: SubjectData) -> str:
    """The name, with the ticker of the one entity that it names."""
    for entity in subject.entities if len(subject.entities) == 1 else ():
        ticker = entity["tickers"][0] if entity["tickers"] else ""
        if ticker and subject.name == entity["name"] != ticker:
            return f"{subject.name} ({ticker})"
    return subject.name


def _mostly(body: AlertBody) -> str | None:
    for kind, number in body.data.evidence.events.items():
        return kind if number > 1 and 2 * number >= body.data.unusual.negative_stories else None
    return None


def _event(body: AlertBody) -> EpisodeEvent:
    """As far as a sentence tells of it."""
    data, unusual = body.data, body.data.unusual
    return EpisodeEvent(
        kind=data.status,
        key=data.subject.key,
        episode=data.episode.number,
        opened_by="",
        opened_at=wording.epoch(data.episode.opened),
        at=wording.epoch(body.timestamp),
        since=wording.epoch(unusual.since),
        sequence=data.episode.sequence,
        score=unusual.score,
        threshold=unusual.threshold,
        observed=unusual.observed,
        others=0.0,
        expected=unusual.expected.value,
        expected_low=unusual.expected.low,
        expected_high=unusual.expected.high,
        stories=unusual.negative_stories,
        publishers=unusual.publishers,
        share=unusual.share,
        usual_share=unusual.usual_share,
        baseline_span=unusual.baseline_span_seconds,
        severity=data.severity,
        excess=0.0,
        excess_low=0.0,
        reason=data.reason,
    )
