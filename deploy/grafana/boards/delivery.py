"""Delivery: whether alerts reach those who must know."""

from __future__ import annotations

from deploy.grafana.panels import GREEN, GREY, ORANGE, RED, Board, Query, bars, colored, stat, timeseries, variable

CHOSEN = 'channel=~"$channel"'
OUTCOMES = {"delivered": GREEN, "told_again": GREY, "retry": ORANGE, "failed": RED, "gone": RED}

NOW = [
    stat(
        "Waiting", "Deliveries that wait for their next attempt.", Query(f"sum(tapewatch_outbox_pending{{{CHOSEN}}})"),
        unit="short", steps=[(None, GREEN), (1, ORANGE)],
    ),
    stat(
        "Standing", "Alerts that an Alertmanager is told again and again while they last.",
        Query(f"sum(tapewatch_outbox_standing{{{CHOSEN}}})"), unit="short",
    ),
    stat(
        "Given up in an hour", "Deliveries that failed for good, or whose receiver wants nothing any more.",
        Query("sum(tapewatch:deliveries:given_up1h)"), unit="short", steps=[(None, GREEN), (1, RED)],
    ),
    stat(
        "News to receiver, p90", "Nine of ten alerts of the last hour reached a receiver faster after the publication.",
        Query("tapewatch:publish_to_delivery_seconds:p90_1h"), unit="s", steps=[(None, GREEN), (300, ORANGE), (900, RED)],
    ),
    bars(
        "Failing attempts", "Share of the attempts of a quarter of an hour that failed, by channel.",
        Query("tapewatch:deliveries:failure_ratio15m", "{{channel}}"), unit="percentunit", wide=8, high=4,
        steps=[(None, GREEN), (0.1, ORANGE), (0.5, RED)], defaults={"min": 0, "max": 1},
    ),
]  # fmt: skip

HISTORY = [
    timeseries(
        "Attempts", "Attempts a minute by result. told_again: of what stands at an Alertmanager.",
        Query(f"60 * sum by (outcome) (rate(tapewatch_deliveries_total{{{CHOSEN}}}[$__rate_interval]))", "{{outcome}}"),
        unit="short", stack=True, wide=12, overrides=colored(OUTCOMES),
    ),
    timeseries(
        "Failures by channel", "Failed attempts a minute. One channel's trouble delays no other.",
        Query(
            f'60 * sum by (channel) (rate(tapewatch_deliveries_total{{{CHOSEN}, outcome=~"retry|failed|gone"}}[$__rate_interval]))',
            "{{channel}}",
        ),
        unit="short", wide=12,
    ),
    timeseries(
        "Waiting and standing", "What a channel is owed, and what it is told again while it lasts.",
        Query(f"max by (channel) (tapewatch_outbox_pending{{{CHOSEN}}})", "{{channel}}: waiting"),
        Query(f"max by (channel) (tapewatch_outbox_standing{{{CHOSEN}}})", "{{channel}}: standing"),
        unit="short", wide=8, defaults={"min": 0},
    ),
    timeseries(
        "Time of an attempt", "Until the receiver answered, p90 by channel.",
        Query(
            f"histogram_quantile(0.9, sum by (le, channel) (increase(tapewatch_delivery_seconds_bucket{{{CHOSEN}}}[1h])))",
            "{{channel}}",
        ),
        unit="s", wide=8, steps=[(None, GREEN), (10, ORANGE), (20, RED)],
    ),
    timeseries(
        "News to receiver", "From the publication of the document that crossed the threshold to the receiver's answer.",
        Query(
            "histogram_quantile(0.5, sum by (le) (increase(tapewatch_publish_to_delivery_seconds_bucket[1h])))", "p50"
        ),
        Query("tapewatch:publish_to_delivery_seconds:p90_1h", "p90"), unit="s", wide=8,
    ),
    timeseries(
        "Alert events an hour", "What there was to deliver: by event and severity, operational events too.",
        Query("sum by (type, severity) (increase(tapewatch_alerts_total[1h]))", "{{type}}, {{severity}}"), unit="short",
        wide=12,
    ),
    timeseries(
        "Silenced an hour", "Alert events that a silence kept from being sent. They are on the page all the same.",
        Query("sum(increase(tapewatch_alerts_silenced_total[1h]))", "silenced"), unit="short", wide=12,
    ),
    timeseries(
        "Stories explained an hour",
        "Stories in alerts by whether it was searched what makes their headlines bad news. time: not found in time; "
        "model: another one judged them; headline: bad only with the text below; length: more than 64 words.",
        Query("sum by (outcome) (increase(tapewatch_explained_stories_total[1h]))", "{{outcome}}"), unit="short",
        stack=True, wide=12, overrides=colored({"explained": GREEN, "headline": GREY, "time": ORANGE, "model": RED}),
    ),
    timeseries(
        "Waiting for explanations",
        "For how long the alerts of a batch waited for them. At [alerts] explain_within they leave without.",
        Query("histogram_quantile(0.9, sum by (le) (increase(tapewatch_explain_seconds_bucket[1h])))", "p90"),
        unit="s", wide=12,
    ),
]  # fmt: skip

BOARD = Board(
    uid="tapewatch-delivery",
    title="tapewatch: Delivery",
    description="Whether alerts reach those who must know.",
    rows={"Now": NOW, "History": HISTORY},
    variables=[variable("channel", "Channel", "label_values(tapewatch_outbox_pending, channel)")],
)
