"""Newsroom: what rings now and why, and how far each watched key is from ringing."""

from __future__ import annotations

from deploy.grafana.panels import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    SEVERITIES,
    SOURCE,
    YELLOW,
    Board,
    Json,
    Query,
    colored,
    column,
    link,
    series,
    stat,
    table,
    timeseries,
    variable,
)

NAMES = "max by (key, name) (tapewatch_watched_key_info)"
ALERT = link("The key's latest alert", "${tapewatch}/alerts/latest?key=${__data.fields.key:percentencode}")
ONE_ALERT = link("The key's latest alert", "${tapewatch}/alerts/latest?key=${__field.labels.key:percentencode}")
DRILL = link("Show this key", "/d/tapewatch?${datasource:queryparam}&var-key=${__data.fields.key:percentencode}")

ALERTS: Json = {
    "name": "Alerts",
    "datasource": SOURCE,
    "enable": True,
    "expr": 'max by (key, severity) (tapewatch_alert_firing{key=~"$key"} == 1)',
    "step": "30s",
    "titleFormat": "{{key}}",
    "textFormat": "{{severity}}",
    "iconColor": RED,
}

BAND = [
    series("low", **{"custom.lineWidth": 0, "custom.hideFrom": {"legend": True, "tooltip": False, "viz": False}}),
    series(
        "high",
        **{
            "custom.lineWidth": 0,
            "custom.fillBelowTo": "low",
            "custom.fillOpacity": 20,
            "displayName": "expected, 90 %",
        },
        color={"mode": "fixed", "fixedColor": BLUE},
    ),
    series(
        "expected",
        **{"custom.lineStyle": {"dash": [6, 6], "fill": "dash"}},
        color={"mode": "fixed", "fixedColor": BLUE},
    ),
    series("counted", **{"custom.lineWidth": 2}, color={"mode": "fixed", "fixedColor": RED}),
]

NOW = [
    stat(
        "Firing", "Alerts that are firing, of any severity.", Query("sum(tapewatch_alerts_firing)"),
        unit="short", steps=[(None, GREEN), (1, ORANGE)],
    ),
    stat(
        "Critical", "Alerts that are firing as critical: large, told by several publishers, not over in minutes.",
        Query('sum(tapewatch_alerts_firing{severity="critical"})'), unit="short", steps=[(None, GREEN), (1, RED)],
    ),
    stat(
        "Sources seen", "Share of the sources that can be read and bring something new. What can't be seen can't ring.",
        Query("tapewatch:sources:healthy_ratio"), unit="percentunit", steps=[(None, RED), (0.5, ORANGE), (0.9, GREEN)],
        links=[link("Sources", "/d/tapewatch-sources")],
    ),
    stat(
        "Behind", "How long the oldest record waits for the slowest stage; alerts come that late.",
        Query("max(tapewatch:stage_lag_seconds:max)"), unit="s", steps=[(None, GREEN), (60, ORANGE), (600, RED)],
        links=[link("Pipeline", "/d/tapewatch-pipeline")],
    ),
    stat(
        "New documents", "Documents a second that are news, over half an hour. Silence is no calm.",
        Query("tapewatch:new_documents:rate30m"), unit="cps", steps=[(None, RED), (0.0001, GREEN)],
    ),
    stat(
        "Watched keys", "Companies, topics, pairs, lists and the market, on the chosen watch-lists.",
        Query('count(count by (key) (tapewatch_watched_key_info{watchlist=~"$watchlist"}))'), unit="short",
    ),
    table(
        "Ringing now", "Keys whose alert is firing. The link leads to the alert: headlines, expectation, first source.",
        Query(f"(max by (key, severity) (tapewatch_alert_firing == 1)) * on (key) group_left (name) {NAMES}", table=True),
        unit="short", wide=12, high=9, hide=["Value"],
        columns={"name": "who", "key": "key", "severity": "severity"},
        overrides=[
            column("key", link=ALERT), column("name", link=DRILL),
            column("severity", words={name: (name, color) for name, color in SEVERITIES.items()}),
        ],
    ),
    table(
        "Closest to ringing", "Score as a share of the threshold: from 100 % on a key rings.",
        Query(
            "topk(10, max by (key) (tapewatch_spike_score) / on (key) max by (key) (tapewatch_spike_threshold)"
            f" * on (key) group_left (name) {NAMES})",
            table=True,
        ),
        unit="percentunit", wide=12, high=9, columns={"name": "who", "key": "key", "Value": "of the threshold"},
        steps=[(None, GREEN), (0.5, YELLOW), (1, RED)],
        overrides=[column("key", link=ALERT), column("name", link=DRILL), column("Value", unit="percentunit")],
    ),
]  # fmt: skip

KEYS = [
    timeseries(
        "Bad news of $key", "Weighed bad evidence in the current half hour against what the key's own history explains. "
        "Stories count, not documents; the band holds 90 % of the half hours.",
        Query('sum by (key) (tapewatch_negative_stories{key=~"$key"})', "counted"),
        Query('sum by (key) (tapewatch_negative_stories_expected{key=~"$key"})', "expected"),
        Query('sum by (key) (tapewatch_negative_stories_expected_low{key=~"$key"})', "low"),
        Query('sum by (key) (tapewatch_negative_stories_expected_high{key=~"$key"})', "high"),
        unit="short", wide=24, high=8, overrides=BAND, links=[ONE_ALERT], repeat="key", defaults={"min": 0},
    ),
    timeseries(
        "Score against threshold", "How seldom chance brings so much evidence, as a logarithm. A key rings while its score (line) is above its threshold (dashes), which "
        "follows from the budget of false alarms.",
        Query('max by (key) (tapewatch_spike_score{key=~"$key"})', "{{key}}"),
        Query('max by (key) (tapewatch_spike_threshold{key=~"$key"})', "{{key}}, threshold"),
        unit="short", wide=12, links=[ONE_ALERT], defaults={"min": 0},
        overrides=[{
            "matcher": {"id": "byRegexp", "options": "/threshold$/"},
            "properties": [{"id": "custom.lineStyle", "value": {"dash": [6, 6], "fill": "dash"}}],
        }],
    ),
    timeseries(
        "Sentiment", "Mean of p(positive) less p(negative), new stories first, half-life a day. It colours the picture; "
        "what rings is the burst, not the mood.",
        Query('max by (key) (tapewatch_sentiment_index{key=~"$key"})', "{{key}}"),
        unit="short", wide=12, defaults={"min": -1, "max": 1}, links=[ONE_ALERT],
        steps=[(None, RED), (-0.2, GREY), (0.2, GREEN)],
    ),
    timeseries(
        "History", "How long the history is that a key's expectation rests on. A short one asks for more evidence.",
        Query('min by (key) (tapewatch_baseline_span_seconds{key=~"$key"})', "{{key}}"), unit="s", wide=8,
    ),
    table(
        "Sourest", "Lowest sentiment of the chosen watch-lists.",
        Query(
            "bottomk(10, max by (key) (tapewatch_sentiment_index) * on (key) group_left (name) "
            'max by (key, name) (tapewatch_watched_key_info{watchlist=~"$watchlist"}))',
            table=True,
        ),
        unit="short", wide=8, columns={"name": "who", "key": "key", "Value": "sentiment"},
        steps=[(None, RED), (-0.2, GREY), (0.2, GREEN)],
        overrides=[column("key", link=ALERT), column("name", link=DRILL)],
    ),
    timeseries(
        "Alert events an hour", "Alerts that fired, were updated and resolved, of bursts and of the rules flash and silence; "
        "those that a silence kept from being sent, and what became part of another.",
        Query('sum by (type) (increase(tapewatch_alerts_total{rule="burst"}[1h]))', "{{type}}"),
        Query('sum by (rule) (increase(tapewatch_alerts_total{rule=~"flash|silence", type="firing"}[1h]))', "{{rule}}"),
        Query("sum(increase(tapewatch_alerts_silenced_total[1h]))", "silenced"),
        Query("sum(increase(tapewatch_alerts_merged_total[1h]))", "merged"),
        unit="short", wide=8, overrides=colored({"firing": RED, "updated": ORANGE, "resolved": GREEN, "silenced": GREY, "merged": BLUE}),
    ),
]  # fmt: skip

BOARD = Board(
    uid="tapewatch",
    title="tapewatch: Newsroom",
    description="What rings now and why; how far each watched key is from ringing.",
    rows={"Now": NOW, "Keys": KEYS},
    variables=[
        variable("watchlist", "Watch-list", "label_values(tapewatch_watched_key_info, watchlist)"),
        variable(
            "key",
            "Key",
            'label_values(tapewatch_watched_key_info{watchlist=~"$watchlist"}, key)',
            all_=False,
            current="market",
        ),
    ],
    annotations=[ALERTS],
)
