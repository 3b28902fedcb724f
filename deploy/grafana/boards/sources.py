"""Sources: which can be seen, what they bring, and which have gone quiet."""

from __future__ import annotations

from deploy.grafana.panels import (
    GREEN,
    GREY,
    ORANGE,
    RED,
    Board,
    Query,
    colored,
    column,
    stat,
    states,
    table,
    timeseries,
    variable,
)

CHOSEN = '{source=~"$source"}'
UP = {"0": ("down", RED), "1": ("up", GREEN)}
STALE = {"0": ("fresh", GREEN), "1": ("frozen", ORANGE)}

NOW = [
    stat(
        "Seen", "Share of the sources that can be read and bring something new.",
        Query("tapewatch:sources:healthy_ratio"), unit="percentunit", steps=[(None, RED), (0.5, ORANGE), (0.9, GREEN)],
    ),
    stat(
        "Down", "Sources that can't be read; each backs off alone.", Query("count(tapewatch_source_up) - sum(tapewatch_source_up)"),
        unit="short", steps=[(None, GREEN), (1, RED)],
    ),
    stat(
        "Frozen", "Sources that answer, but bring nothing new for far longer than usual.",
        Query("sum(tapewatch_source_stale)"), unit="short", steps=[(None, GREEN), (1, ORANGE)],
    ),
    stat(
        "Latest news", "Time since any source brought something new.",
        Query("time() - max(tapewatch_source_last_new_timestamp_seconds)"), unit="s",
        steps=[(None, GREEN), (1800, ORANGE), (3600, RED)],
    ),
    table(
        "Health", "Every source: whether it can be read, failures in a row, interval, time since its last success and its "
        "last news. GET /api/v1/sources has the reasons.",
        Query(f"max by (source) (tapewatch_source_up{CHOSEN})", table=True),
        Query(f"max by (source) (tapewatch_source_stale{CHOSEN})", table=True),
        Query(f"max by (source) (tapewatch_source_failures{CHOSEN})", table=True),
        Query(f"max by (source) (tapewatch_source_interval_seconds{CHOSEN})", table=True),
        Query(f"time() - max by (source) (tapewatch_source_last_success_timestamp_seconds{CHOSEN})", table=True),
        Query(f"time() - max by (source) (tapewatch_source_last_new_timestamp_seconds{CHOSEN})", table=True),
        unit="short", wide=24, high=9,
        columns={
            "source": "source", "Value #A": "state", "Value #B": "news", "Value #C": "failures", "Value #D": "interval",
            "Value #E": "read", "Value #F": "last news",
        },
        overrides=[
            column("Value #A", words=UP), column("Value #B", words=STALE), column("Value #D", unit="s"),
            column("Value #E", unit="s"), column("Value #F", unit="s"),
        ],
    ),
]  # fmt: skip

HISTORY = [
    states(
        "Readable", "Whether each source could be read.", Query(f"max by (source) (tapewatch_source_up{CHOSEN})", "{{source}}"),
        words=UP, wide=12,
    ),
    states(
        "Fresh", "Whether each source brought something new as often as it usually does.",
        Query(f"max by (source) (tapewatch_source_stale{CHOSEN})", "{{source}}"), words=STALE, wide=12,
    ),
    timeseries(
        "New documents", "Documents a second that are news, by source.",
        Query('sum by (source) (rate(tapewatch_documents_total{source=~"$source", outcome=~"accepted|revision"}[$__rate_interval]))', "{{source}}"),
        unit="cps", stack=True, wide=12,
    ),
    timeseries(
        "What became of items", "Items a second: new, revised, seen before, too old, too large, unreadable.",
        Query(f"sum by (outcome) (rate(tapewatch_documents_total{CHOSEN}[$__rate_interval]))", "{{outcome}}"),
        unit="cps", stack=True, wide=12,
        overrides=colored({"accepted": GREEN, "duplicate": GREY, "stale": ORANGE, "oversize": RED, "invalid": RED}),
    ),
    timeseries(
        "Failures in a row", "A source that fails backs off, up to an hour between two polls.",
        Query(f"max by (source) (tapewatch_source_failures{CHOSEN})", "{{source}}"), unit="short", wide=12,
        steps=[(None, GREEN), (3, RED)],
    ),
    timeseries(
        "Left out", "Items of one answer beyond the number that is read of a feed, a minute.",
        Query(f"60 * sum by (source) (rate(tapewatch_source_left_out_total{CHOSEN}[$__rate_interval]))", "{{source}}"),
        unit="short", wide=12,
    ),
    timeseries(
        "Gone", "Records of a Kafka topic that its retention removed before they could be read.",
        Query(f"sum by (source) (increase(tapewatch_source_gone_total{CHOSEN}[$__rate_interval]))", "{{source}}"),
        unit="short", wide=12,
    ),
]  # fmt: skip

BOARD = Board(
    uid="tapewatch-sources",
    title="tapewatch: Sources",
    description="Which sources can be seen, what they bring, and which have gone quiet.",
    rows={"Now": NOW, "History": HISTORY},
    variables=[variable("source", "Source", "label_values(tapewatch_source_up, source)")],
    span="now-24h",
)
