"""Model: what it says, how sure it is, and whether the texts are still those it knows."""

from __future__ import annotations

from deploy.grafana.panels import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    Board,
    Query,
    colored,
    heatmap,
    stat,
    table,
    timeseries,
    variable,
)

CHOSEN = 'model=~"$model"'
RATE = "[$__rate_interval]"


def share(part: str, whole: str) -> str:
    """Of the judged documents of five minutes, those that are counted by ``part``."""
    return f"sum(increase({part}[5m])) / clamp_min(sum(increase({whole}[5m])), 1)"


def confidence(quantile: float, head: str) -> Query:
    buckets = f'sum by (le) (increase(tapewatch_model_confidence_bucket{{{CHOSEN}, head="{head}"}}[1h]))'
    return Query(f"histogram_quantile({quantile}, {buckets})", f"p{quantile * 100:.0f}")


NOW = [
    table(
        "Running", "Name and digest of the model that each process judges with, which should agree, and where it runs.",
        Query("max by (instance, model, device) (tapewatch_model_info)", table=True), unit="short", wide=8, high=4, hide=["Value"],
        columns={"instance": "process", "model": "model", "device": "device"},
    ),
    stat("Judged", "Documents a second.", Query("tapewatch:scored_documents:rate5m"), unit="cps"),
    stat(
        "Unsure", "Share of the documents on which it abstains: they count, and are marked.",
        Query(share("tapewatch_abstained_documents_total", "tapewatch_scored_documents_total")), unit="percentunit",
        steps=[(None, GREEN), (0.2, ORANGE), (0.4, RED)],
    ),
    stat(
        "Cut", "Share of the documents of which only head and tail were read.",
        Query(share("tapewatch_truncated_documents_total", "tapewatch_scored_documents_total")), unit="percentunit",
    ),
    stat(
        "Other languages", "Share of the documents that the model can't read: kept, never judged.",
        Query(
            "sum(increase(tapewatch_unsupported_language_total[5m])) / clamp_min(sum(increase(tapewatch_unsupported_language_total[5m]))"
            " + sum(increase(tapewatch_scored_documents_total[5m])), 1)"
        ),
        unit="percentunit", steps=[(None, GREEN), (0.3, ORANGE)],
    ),
]  # fmt: skip

LABELS = [
    timeseries(
        "Sentiment", "Mix of the labels. A mix that drifts without news is the model or the sources, not the market.",
        Query(f"sum by (label) (rate(tapewatch_sentiment_total{RATE}))", "{{label}}"), unit="cps", stack=True, wide=12,
        overrides=colored({"negative": RED, "neutral": GREY, "positive": GREEN}),
    ),
    timeseries(
        "Share of negative texts", "Of all judged texts, over an hour.",
        Query(
            'sum(increase(tapewatch_sentiment_total{label="negative"}[1h])) / clamp_min(sum(increase(tapewatch_sentiment_total[1h])), 1)',
            "negative",
        ),
        unit="percentunit", wide=12, overrides=colored({"negative": RED}), defaults={"min": 0, "max": 1},
    ),
    timeseries(
        "Topics", "Documents a second by topic.",
        Query(f"sum by (label) (rate(tapewatch_topic_total{RATE}))", "{{label}}"), unit="cps", stack=True, wide=24, high=9,
    ),
]  # fmt: skip

RISK = [
    timeseries(
        "Adverse events", "Documents a second by the kinds that were named in them. Nothing, for a model without that head.",
        Query(f"sum by (label) (rate(tapewatch_risk_total{RATE}))", "{{label}}"), unit="cps", stack=True, wide=12,
    ),
    timeseries(
        "Share of adverse texts", "Of all judged texts, over an hour: those that are called adverse.",
        Query(
            "sum(increase(tapewatch_adverse_documents_total[1h])) / clamp_min(sum(increase(tapewatch_scored_documents_total[1h])), 1)",
            "adverse",
        ),
        unit="percentunit", wide=6, overrides=colored({"adverse": RED}), defaults={"min": 0, "max": 1},
    ),
    timeseries(
        "Companies judged", "By whether their own mentions were judged, or they have the text's answers: beyond the window, or no such head.",
        Query(f"sum by (basis) (rate(tapewatch_judged_entities_total{RATE}))", "{{basis}}"), unit="cps", stack=True, wide=6,
    ),
]  # fmt: skip

CONFIDENCE = [
    timeseries(
        "Confidence, sentiment", "Probability of the label that was chosen. A median that sinks means texts it does not know.",
        confidence(0.1, "sentiment"), confidence(0.5, "sentiment"), unit="percentunit", wide=8, defaults={"min": 0, "max": 1},
    ),
    timeseries(
        "Confidence, topic", "Probability of the topic that was chosen.",
        confidence(0.1, "topic"), confidence(0.5, "topic"), unit="percentunit", wide=8, defaults={"min": 0, "max": 1},
    ),
    timeseries(
        "Confidence, adverse events", "Probability of adverse or not, whichever was likelier.",
        confidence(0.1, "risk"), confidence(0.5, "risk"), unit="percentunit", wide=8, defaults={"min": 0, "max": 1},
    ),
    timeseries(
        "Unknown tokens", "Mean share of a text's tokens that the vocabulary has not: other scripts, new tickers, noise.",
        Query(
            f"sum(rate(tapewatch_model_unknown_token_ratio_sum{{{CHOSEN}}}[1h]))"
            f" / sum(rate(tapewatch_model_unknown_token_ratio_count{{{CHOSEN}}}[1h]))",
            "mean",
        ),
        unit="percentunit", wide=24, overrides=colored({"mean": BLUE}), steps=[(None, GREEN), (0.05, RED)],
    ),
    heatmap(
        "How sure it is of the sentiment", "All judged texts by the probability of their label.",
        Query(f'sum by (le) (increase(tapewatch_model_confidence_bucket{{{CHOSEN}, head="sentiment"}}{RATE}))', "{{le}}"),
        unit="percentunit", wide=24, high=9,
    ),
]  # fmt: skip


def of_its_limit(reference: str) -> Query:
    chosen = f'{CHOSEN}, reference="{reference}"'
    parts = f"tapewatch_model_drift{{{chosen}}} / tapewatch_model_drift_threshold{{{chosen}}}"
    return Query(f"max by (class, measure) ({parts})", "{{class}}: {{measure}}")


DRIFT = [
    timeseries(
        "Against the stream's own past",
        "Effect sizes, a line a measure, over their limits: what is above 1 is more than days differ anyway, and rings.",
        of_its_limit("stream"), unit="short", wide=12, high=9, steps=[(None, GREEN), (1, RED)], defaults={"min": 0},
    ),
    timeseries(
        "Against the card",
        "The same for four weeks and the nearest of the sets on which the model was validated: what is above 1 is farther"
        " from all of them than they are from each other.",
        of_its_limit("card"), unit="short", wide=12, high=9, steps=[(None, GREEN), (1, ORANGE)], defaults={"min": 0},
    ),
    timeseries(
        "Effect sizes", "Cohen's w by measure, against the stream's own past: .1 is small, .3 medium, .5 large, 2 the most.",
        Query(f'max by (class, measure) (tapewatch_model_drift{{{CHOSEN}, reference="stream"}})', "{{class}}: {{measure}}"),
        unit="short", wide=20, defaults={"min": 0},
    ),
    stat(
        "Learned", "How much of the stream's own reference is there: 28 days that have texts enough. Before, nothing rings.",
        Query(f"min(tapewatch_model_drift_learned_ratio{{{CHOSEN}}})"), unit="percentunit", high=8,
        steps=[(None, GREY), (1, GREEN)],
    ),
]  # fmt: skip

VERDICTS = [
    timeseries(
        "Verdicts", "What analysts said of alerts, a day. `tapewatch feedback report` says what it comes to.",
        Query("sum by (verdict) (increase(tapewatch_verdicts_total[1d]))", "{{verdict}}"), unit="short", wide=24,
        overrides=colored({"true": GREEN, "false": RED, "unsure": GREY}), defaults={"min": 0},
    ),
]  # fmt: skip

BOARD = Board(
    uid="tapewatch-model",
    title="tapewatch: Model",
    description="What the model says, how sure it is, and whether the texts are still those it knows.",
    rows={
        "Now": NOW,
        "Labels": LABELS,
        "Adverse events": RISK,
        "Confidence": CONFIDENCE,
        "Drift": DRIFT,
        "Verdicts": VERDICTS,
    },
    variables=[variable("model", "Model", "label_values(tapewatch_model_info, model)")],
    span="now-24h",
)
