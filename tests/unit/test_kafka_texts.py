"""Topics under ``[retention] texts``: no text may outlive the bound, and what holds none is kept as ever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from pipelines.aggregate import Aggregate
from pipelines.streams.base import COMMANDS, DEAD_LETTERS, DELIVERIES, PROFILES, SERIES, SOURCES, TOPICS
from pipelines.streams.kafka import Layout
from pipelines.streams.kafka.topics import LONG

DAY = 86_400.0
TEXTLESS = {SERIES, DELIVERIES, COMMANDS, PROFILES, SOURCES}


def settings(layout: Layout) -> dict[str, dict[str, str]]:
    return {layout.plain(topic.name): topic.settings for topic in layout.topics([Aggregate])}


@given(retention=some.floats(3_600.0, 60 * DAY), more=some.floats(2 * DAY, 400 * DAY))
def test_no_topic_keeps_a_text_beyond_the_bound(retention: float, more: float) -> None:
    texts = retention + more
    quotes = texts - retention - DAY
    for topic, chosen in settings(Layout(retention=retention, texts=texts)).items():
        if topic in TOPICS and topic not in TEXTLESS:
            # A broker lets go of a segment when its last record is old enough, and looks every five minutes.
            kept = (float(chosen["retention.ms"]) + float(chosen["segment.ms"])) / 1000 + 300.0
            written_with = 0.0 if topic in ("documents", "scores", "evidence", DEAD_LETTERS) else quotes
            assert kept + written_with <= texts, topic
        elif topic == "aggregate-state":
            assert float(chosen["max.compaction.lag.ms"]) / 1000 < DAY


def test_without_a_bound_what_is_shown_is_kept_for_long() -> None:
    free, bounded = settings(Layout()), settings(Layout(texts=30 * DAY))
    for topic in ("alerts", "outbox", DEAD_LETTERS, SERIES):
        assert float(free[topic]["retention.ms"]) == LONG * 1000
        assert "segment.ms" not in free[topic]
    assert float(bounded[SERIES]["retention.ms"]) == LONG * 1000, "a series holds no text"
    assert free[COMMANDS]["retention.ms"] == bounded[COMMANDS]["retention.ms"] == "-1", "as in a file"
